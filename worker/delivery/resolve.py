"""Names of the plan to the ids of the account, from the cached catalogue. Done before anything is
created.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from worker.contract import State
from worker.delivery.context import DeliveryRun
from worker.errors import UnknownName
from worker.lead.plan import LeadPlan
from worker.ledger import Ledger, Record
from worker.pipedrive.metadata import KIND_NAMES
from worker.pipedrive.metadata_cache import MetadataCache

AUTOMATIC_ACTORS = frozenset({"intake", "worker", "sweeper"})
"""Who puts a submission into the queue without a person's asking."""

MIN_REPLAY_GAP_SECONDS = 2.0
"""However many are replayed at once, the names are read from Pipedrive no more often than this,
unless somebody asked since.
"""


class ResolvedNames(Struct, frozen=True, kw_only=True):
    label_ids: list[str] = field(default_factory=list)
    channel: int | None = None
    owner_id: int | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    person_custom: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def resolve_names(run: DeliveryRun, metadata: MetadataCache) -> ResolvedNames:
    """Raises `UnknownName` for a name the account does not have.

    After a person's replay a name that is missing is looked for at once: it was probably just added
    in Pipedrive.
    """
    try:
        return _resolve_all(run.plan, metadata)
    except UnknownName as error:
        if not run.record.replayed or run.record.attempts:
            raise
        gap = min(MIN_REPLAY_GAP_SECONDS, _seconds_since_replay(run.ledger, run.record))
        metadata.refresh([kind for kind, word in KIND_NAMES.items() if word == error.kind], gap=gap)
        return _resolve_all(run.plan, metadata)


def _seconds_since_replay(ledger: Ledger, record: Record) -> float:
    """Seconds since a person asked for it again. What was read before that may lack what they have
    just added.
    """
    asked = [
        moment.at
        for moment in ledger.timeline(record.id)
        if moment.state is State.QUEUED and moment.by not in AUTOMATIC_ACTORS
    ]
    return max(0.0, ledger.now() - max(asked, default=0.0))


def _resolve_all(plan: LeadPlan, metadata: MetadataCache) -> ResolvedNames:
    """A text that its custom field cannot take is left out with a sentence about it: the lead still
    flows.
    """
    table = f"sources.{plan.source}.lead"
    custom: dict[str, Any] = {}
    person_custom: dict[str, Any] = {}
    left_out = []
    for name, of_person, text in plan.custom:
        setting = f"{table}.custom.{'person.' if of_person else ''}{name}"
        info = (metadata.person_field if of_person else metadata.field)(name, setting=setting)
        try:
            (person_custom if of_person else custom).update(info.encode(text))
        except ValueError as error:
            left_out.append(f"The field “{name}”: {error}.")
    return ResolvedNames(
        label_ids=[_label_id(plan, name, metadata, f"{table}.labels") for name in plan.labels],
        channel=metadata.channel_id(plan.channel, setting=f"{table}.channel")
        if plan.channel
        else None,
        owner_id=metadata.owner_id(plan.owner, setting=f"{table}.owner_id")
        if plan.owner is not None
        else None,
        custom=custom,
        person_custom=person_custom,
        left_out=tuple(left_out),
    )


def _label_id(plan: LeadPlan, name: str, metadata: MetadataCache, setting: str) -> str:
    return (
        metadata.ensure_label(name, plan.label_color)
        if plan.create_labels
        else metadata.label_id(name, setting=setting)
    )
