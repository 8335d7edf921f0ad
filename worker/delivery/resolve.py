"""From the names in the plan to the ids of the account, before anything is created."""

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

# Those who queue a submission without a person asking for it.
AUTOMATIC_ACTORS = frozenset({"intake", "worker", "sweeper"})

# However many are replayed at once, names are read from Pipedrive no more often than this, unless
# somebody asked since.
MIN_REPLAY_GAP_SECONDS = 2.0


class ResolvedNames(Struct, frozen=True, kw_only=True):
    """The ids that the names in a plan stand for."""

    label_ids: list[str] = field(default_factory=list)
    channel: int | None = None
    owner_id: int | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    person_custom: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def resolve_names(run: DeliveryRun, metadata: MetadataCache) -> ResolvedNames:
    """Resolve every name in the plan. Raises `UnknownName` for one that the account lacks.

    After a person's replay a missing name is looked up at once: it was probably just added in
    Pipedrive.
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
    """Return how long ago a person asked for the submission again.

    What was read before that may lack what they have just added.
    """
    replays = [
        moment.at
        for moment in ledger.timeline(record.id)
        if moment.state is State.QUEUED and moment.by not in AUTOMATIC_ACTORS
    ]
    return max(0.0, ledger.now() - max(replays, default=0.0))


def _resolve_all(plan: LeadPlan, metadata: MetadataCache) -> ResolvedNames:
    """Resolve the names; text that its custom field cannot take is left out, with a sentence.

    The lead still goes through.
    """
    setting_prefix = f"sources.{plan.source}.lead"
    custom: dict[str, Any] = {}
    person_custom: dict[str, Any] = {}
    left_out = []
    for name, is_person, text in plan.custom:
        setting = f"{setting_prefix}.custom.{'person.' if is_person else ''}{name}"
        info = (metadata.person_field if is_person else metadata.field)(name, setting=setting)
        try:
            (person_custom if is_person else custom).update(info.encode(text))
        except ValueError as error:
            left_out.append(f"The field “{name}”: {error}.")
    return ResolvedNames(
        label_ids=[
            _label_id(plan, name, metadata, f"{setting_prefix}.labels") for name in plan.labels
        ],
        channel=metadata.channel_id(plan.channel, setting=f"{setting_prefix}.channel")
        if plan.channel
        else None,
        owner_id=metadata.owner_id(plan.owner, setting=f"{setting_prefix}.owner_id")
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
