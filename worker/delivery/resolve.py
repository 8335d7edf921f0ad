"""Resolves the names in the plan to ids of the account, before anything is created."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import structs

from worker.contract import State
from worker.delivery.context import DeliveryRun
from worker.errors import Gated, OutOfAllowance, PipedriveError, UnknownName
from worker.lead.plan import LeadPlan
from worker.lead.templates import as_text
from worker.ledger import Ledger, Record
from worker.pipedrive.custom_fields import EncodingContext
from worker.pipedrive.metadata import MetadataKind, NameResolver
from worker.pipedrive.metadata_cache import MetadataCache
from worker.pipedrive.request_bodies import ResolvedNames

# The actors that queue a submission without a person asking for it.
AUTOMATIC_ACTORS = frozenset({"intake", "worker", "sweeper"})

# However many submissions are replayed at once, names are read from Pipedrive no more often than
# this, unless a person has asked since.
MIN_REPLAY_GAP_SECONDS = 2.0

# Looks a name up. Takes the lookup and the name; a result of None is left out of the request.
LookUp = Callable[[Callable[[], Any], Any], Any]


def resolve_names(run: DeliveryRun, metadata: MetadataCache) -> ResolvedNames:
    """Resolve every name in the plan. Raises `UnknownName` for one that the account lacks.

    After a person's retry the names are read from Pipedrive again, because something was probably
    just changed there; else those kinds only of which it has refused an id.
    """
    refused, kinds = run.record.refused, {kind for kind in MetadataKind if kind in run.refused}
    if refused is not None:
        metadata.refresh(kinds, gap=max(0.0, run.ledger.now() - refused.at))
    if run.record.replayed and not run.record.attempts:
        gap = min(MIN_REPLAY_GAP_SECONDS, _seconds_since_replay(run.ledger, run.record))
        metadata.refresh(_kinds_of(run.plan) - kinds, gap=gap)
    names = _resolve(run.plan, metadata)
    if MetadataKind.LABELS in kinds:
        names = structs.replace(names, account_labels=metadata.label_ids())
    return names


def rewrite_ignored_fields(run: DeliveryRun, names: ResolvedNames, metadata: MetadataCache) -> None:
    """Write the custom fields again that the new lead lacks, if they have other keys by now.

    Pipedrive ignores a field that was deleted, without an error:
    https://pipedrive.readme.io/docs/core-api-concepts-custom-fields
    The lead is there, so nothing that fails here is more than a line in its attempts.
    """
    kind = MetadataKind.DEAL_FIELDS
    if run.lead_id is None or not run.ignored_fields or metadata.seconds_to_refusal_read([kind]):
        return
    try:
        metadata.refresh([kind], gap=0.0)
        custom = _resolve(run.plan, metadata).custom
        missing = {key: value for key, value in custom.items() if key not in names.custom}
        if missing:
            run.pipedrive.leads.update(run.lead_id, missing)
            run.record_attempt("lead", "rewritten", "a custom field was made again in Pipedrive")
    except (PipedriveError, OutOfAllowance, Gated, UnknownName) as error:
        run.record_attempt("lead", "left out", f"a custom field was deleted ({error.code})")


def _kinds_of(plan: LeadPlan) -> set[MetadataKind]:
    """Return the kinds of names that the plan uses."""
    uses = {
        MetadataKind.LABELS: bool(plan.labels),
        MetadataKind.CHANNELS: plan.channel is not None,
        MetadataKind.OWNERS: plan.owner is not None or bool(plan.owners),
        MetadataKind.PERSON_LABELS: plan.person is not None and bool(plan.person.labels),
        MetadataKind.DEAL_LABELS: plan.existing_deals and bool(plan.labels),
        MetadataKind.CURRENCIES: plan.value is not None,
        MetadataKind.DEAL_FIELDS: any(not is_person for _, is_person, _ in plan.custom),
        MetadataKind.PERSON_FIELDS: any(is_person for _, is_person, _ in plan.custom),
    }
    return {kind for kind, used in uses.items() if used}


def _seconds_since_replay(ledger: Ledger, record: Record) -> float:
    """Return how long ago a person asked for the submission again.

    Metadata read before that may lack a name that they have just added.
    """
    replays = [
        moment.at
        for moment in ledger.timeline(record.id)
        if moment.state is State.QUEUED and moment.by not in AUTOMATIC_ACTORS
    ]
    return max(0.0, ledger.now() - max(replays, default=0.0))


def _resolve(plan: LeadPlan, metadata: MetadataCache) -> ResolvedNames:
    def label_id(name: str, setting: str) -> str:
        if plan.create_labels:
            return metadata.ensure_label(name, plan.label_color)
        return metadata.label_id(name, setting=setting)

    return resolve_plan(plan, metadata, label_id)


def resolve_plan(
    plan: LeadPlan,
    resolver: NameResolver,
    label_id: Callable[[str, str], Any],
    look_up: LookUp = lambda question, _: question(),
) -> ResolvedNames:
    """Resolve every name in the plan; `label_id` takes a label and its setting.

    Text that does not fit its custom field, and a sum in a currency that the account lacks, are
    left out, with a sentence that says so; the lead still goes through.
    """
    prefix = f"sources.{plan.source}.lead"
    custom: dict[str, Any] = {}
    person_custom: dict[str, Any] = {}
    left_out = []

    def has_currency(code: str) -> bool:
        return look_up(partial(resolver.has_currency, code), True) is not False

    context = EncodingContext(country=plan.country, zone=plan.zone, has_currency=has_currency)
    lacks_currency = plan.value is not None and not has_currency(plan.value.currency)
    if plan.value and lacks_currency:
        value = f"{as_text(plan.value.amount)} {plan.value.currency}"
        left_out.append(
            f"The value “{value}” is left out: the account has no currency {plan.value.currency}."
        )
    for name, is_person, text in plan.custom:
        setting = f"{prefix}.custom.{'person.' if is_person else ''}{name}"
        find = resolver.person_field if is_person else resolver.field
        info = look_up(partial(find, name, setting=setting), None)
        if info is None:
            continue
        try:
            (person_custom if is_person else custom).update(info.encode(text, context))
        except ValueError as error:
            left_out.append(f"The field “{name}”: {error}.")
    labels = [look_up(partial(label_id, name, f"{prefix}.labels"), name) for name in plan.labels]
    person = plan.person
    person_labels = [
        look_up(partial(resolver.person_label_id, name, setting=f"{prefix}.person_labels"), name)
        for name in (person.labels if person else ())
    ]
    has_job_title = person is not None and person.job_title is not None
    deal_labels = (
        look_up(partial(resolver.deal_label_ids, plan.labels), ()) if plan.existing_deals else ()
    )
    channel, owner, owners = plan.channel, plan.owner, plan.owners
    if channel is not None:
        find_channel = partial(resolver.channel_id, channel, setting=f"{prefix}.channel")
        channel = look_up(find_channel, channel)
    if owner is not None:
        owner = look_up(partial(resolver.owner_id, owner, setting=f"{prefix}.owner_id"), owner)
    if owners:
        find_owners = partial(resolver.active_owners, owners, setting=f"{prefix}.owner_id")
        owners = look_up(find_owners, owners) or ()
    return ResolvedNames(
        label_ids=[label for label in labels if label is not None],
        channel=channel,
        owner_id=owner,
        owners=owners,
        custom=custom,
        person_custom=person_custom,
        person_label_ids=[label for label in person_labels if label is not None],
        deal_label_ids=list(deal_labels or ()),
        writes_job_title=has_job_title and look_up(resolver.has_job_title, False),
        left_out=tuple(left_out),
        lacks_currency=lacks_currency,
    )
