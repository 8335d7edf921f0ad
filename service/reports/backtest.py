"""Reads stored submissions again, from their raw bytes, under a source file, and compares.

Signatures are not checked again: they have expired, and the secrets in them were removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from service.reports.changes import (
    BacktestChange,
    compare_leads,
    flatten_lead,
    mask_change,
    mask_sentence,
)
from service.sources.normalize import normalize
from service.sources.request import InboundRequest, Outcome, SourceEvent
from service.sources.schema import Source
from service.sources.verification.common import Verification, header_value
from worker.contract import Lead, Raw, State
from worker.errors import Unmappable
from worker.lead.fields import LEAD_FIELDS, LeadFieldKind
from worker.lead.plan import LeadPlan, build_plan
from worker.ledger import Record
from worker.units import format_iso

# Field names that are counted separately: strangers name the answers.
MAX_FIELDS_COUNTED = 2_000
# The outcome at intake by the state that it led to; otherwise it was a lead.
STATE_OUTCOMES = {
    State.QUARANTINED: Outcome.SPAM,
    State.IGNORED: Outcome.NO_LEAD,
    State.DEAD: Outcome.NO_CONTACT,
}
FAILED_OUTCOMES = frozenset({Outcome.NO_CONTACT, Outcome.UNREADABLE, Outcome.REFUSED})
# The parts of a plan that are compared, besides the rule that matched.
COMPARED_PLAN_FIELDS = (
    *(field.plan_name for field in LEAD_FIELDS if field.kind is not LeadFieldKind.ORIGIN),
    "owners",
    "organization_details",
    "was_seen",
    "enrich",
    "existing",
    "existing_deals",
    "files",
)


class BacktestVerdict(StrEnum):
    """What would become of a submission now, compared with what became of it."""

    SAME = "same"
    CHANGED = "changed"
    WRITTEN = "written differently"
    LEAD_NOW = "a lead now"
    NO_LEAD_NOW = "no lead any more"
    FAILS = "fails"
    EDITED = "edited since"
    NO_CONTENT = "content erased"


class BacktestResult(Struct, frozen=True, kw_only=True):
    """One submission. `fields`: changes of the lead; `writing`: of what Pipedrive receives.

    `new_failure`: it would fail, and did not before. For a lead that somebody edited, `fields` show
    what the edit changed, unless the earlier source file was given.
    """

    id: str
    source: str
    state: State
    received_at: str | None
    verdict: BacktestVerdict
    outcome: Outcome | None = None
    why: str | None = None
    new_failure: bool = False
    edited_by: str | None = None
    fields: list[BacktestChange] = field(default_factory=list)
    writing: list[BacktestChange] = field(default_factory=list)


Fields = Sequence[BacktestChange]


class JudgedSubmission(Struct, frozen=True, kw_only=True):
    """A submission under one source file. A lead has a `plan`, unless it `cannot_be_written`."""

    outcome: Outcome
    lead: Lead | None = None
    plan: LeadPlan | None = None
    cannot_be_written: bool = False
    when: Mapping[str, Any] | None = None
    why: str | None = None

    @property
    def fails(self) -> bool:
        return self.outcome in FAILED_OUTCOMES or self.cannot_be_written


class BacktestTotals(Struct):
    """Counts over all results, in bounded memory."""

    sources: dict[str, Counter[str]] = field(default_factory=dict)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    looked_at: int = 0
    new_failures: int = 0

    def add(self, result: BacktestResult) -> None:
        self.looked_at += 1
        self.new_failures += result.new_failure
        counts = self.sources.setdefault(result.source, Counter())
        counts[result.verdict] += 1
        counts["new failures"] += result.new_failure
        for change in (
            (*result.fields, *result.writing)
            if result.verdict is not BacktestVerdict.EDITED
            else ()
        ):
            key = (result.source, change.field)
            self.fields[
                (
                    key
                    if key in self.fields or len(self.fields) < MAX_FIELDS_COUNTED
                    else (result.source, "others")
                )
            ] += 1


def backtest(
    record: Record, now: Source | None, before: Source | None = None, *, reveal: bool = False
) -> BacktestResult:
    """Judges one stored submission under its source `now`; None: the file no longer has it.

    `before` is its source in an earlier file: then both read the same bytes. Without it, the stored
    lead stands for what the bytes meant, and the plans of both leads come from `now`. Personal data
    are masked unless `reveal`.
    """
    results = _ResultBuilder(record, reveal=reveal)
    if record.raw is None:
        return results.without_changes(BacktestVerdict.NO_CONTENT)
    old = _judge_again(record, before) if before else _judge_stored(record, now)
    if now is None:
        return results.failed(
            JudgedSubmission(outcome=Outcome.REFUSED, why="the source file has no such source"), old
        )
    new = _judge_again(record, now)
    if new.outcome is Outcome.NEEDS_FETCH:
        # The record that was fetched is not in the raw bytes: it is compared as it is stored.
        old, new = _judge_stored(record, before or now), _judge_stored(record, now)
    if new.fails:
        return results.failed(new, old)
    return _compare(results, old, new, is_edit=record.edited_by is not None and before is None)


def _compare(
    results: _ResultBuilder, old: JudgedSubmission, new: JudgedSubmission, *, is_edit: bool
) -> BacktestResult:
    fields = [] if old.lead is None or new.lead is None else list(compare_leads(old.lead, new.lead))
    if (old.outcome is Outcome.LEAD) is not (new.outcome is Outcome.LEAD):
        verdict = (
            BacktestVerdict.LEAD_NOW if new.outcome is Outcome.LEAD else BacktestVerdict.NO_LEAD_NOW
        )
        return results.build(verdict, old, new, fields)
    if is_edit:
        return results.build(BacktestVerdict.EDITED, old, new, fields)
    writing = list(_compare_plans(old, new)) if new.outcome is Outcome.LEAD else []
    verdict = (
        BacktestVerdict.CHANGED
        if fields
        else BacktestVerdict.WRITTEN
        if writing
        else BacktestVerdict.SAME
    )
    if old.fails:
        verdict = BacktestVerdict.LEAD_NOW
    return results.build(verdict, old, new, fields, writing)


class _ResultBuilder:
    """Builds results about one record, masked unless `reveal`."""

    def __init__(self, record: Record, *, reveal: bool) -> None:
        self._record = record
        self._reveal = reveal

    def failed(self, new: JudgedSubmission, old: JudgedSubmission) -> BacktestResult:
        return msgspec.structs.replace(
            self.build(BacktestVerdict.FAILS, old, new), new_failure=not old.fails
        )

    def build(
        self,
        verdict: BacktestVerdict,
        old: JudgedSubmission,
        new: JudgedSubmission,
        fields: Fields = (),
        writing: Fields = (),
    ) -> BacktestResult:
        leads = [judged.lead for judged in (old, new) if judged.lead]
        why = new.why
        if why is not None and not self._reveal:
            why = mask_sentence(why, leads)
        return msgspec.structs.replace(
            self.without_changes(verdict),
            outcome=new.outcome,
            why=why,
            fields=[self._mask_change(change, leads) for change in fields],
            writing=[self._mask_change(change, leads) for change in writing],
        )

    def without_changes(self, verdict: BacktestVerdict) -> BacktestResult:
        record = self._record
        return BacktestResult(
            id=record.id,
            source=record.source,
            state=record.state,
            received_at=format_iso(record.received_at),
            verdict=verdict,
            edited_by=record.edited_by,
        )

    def _mask_change(self, change: BacktestChange, leads: list[Lead]) -> BacktestChange:
        return change if self._reveal else mask_change(change, leads)


def _judge_stored(record: Record, source: Source | None) -> JudgedSubmission:
    """The submission as stored, with the plan that `source` gives."""
    outcome = STATE_OUTCOMES.get(record.accepted_as, Outcome.LEAD)
    if record.fetch and record.lead:
        outcome = Outcome.NEEDS_FETCH
    if outcome is Outcome.LEAD and (record.lead is None or not record.lead.has_contact):
        outcome = Outcome.NO_CONTACT
    return _add_plan(record, outcome, record.lead, None, source)


def _judge_again(record: Record, source: Source) -> JudgedSubmission:
    """The submission's own event as `source` reads it from the raw bytes."""
    assert record.raw is not None
    request = request_from_raw(record.raw)
    try:
        verification = Verification(True, event_id=_header_id(source, request))
        normalized = normalize(source, request, record.received_at, verification)
    except Exception as error:
        return JudgedSubmission(
            outcome=Outcome.UNREADABLE, why=f"internal error: {type(error).__name__}"
        )
    if normalized.outcome is Outcome.UNREADABLE:
        return JudgedSubmission(outcome=Outcome.UNREADABLE, why=normalized.detail)
    event = find_own_event(normalized.events, record.lead)
    if event is None:
        return JudgedSubmission(
            outcome=Outcome.NO_LEAD, why="the request no longer holds this event"
        )
    return _add_plan(record, event.outcome, event.lead, event.reason, source)


def request_from_raw(raw: Raw) -> InboundRequest:
    """The request as it was stored."""
    return InboundRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)


def _header_id(source: Source, request: InboundRequest) -> str | None:
    """The event id that the scheme takes from a header once the signature is checked."""
    rules = source.verification
    if rules.scheme == "standard-webhooks":
        return header_value(request, "webhook-id") or header_value(request, "svix-id")
    return (
        header_value(request, rules.id_header)
        if rules.scheme == "hmac" and rules.id_header
        else None
    )


def find_own_event(events: list[SourceEvent], lead: Lead | None) -> SourceEvent | None:
    """The event of the stored lead among a request's: by its id, else by the most equal fields."""
    if len(events) <= 1 or lead is None:
        return events[0] if events else None
    stored_fields = dict(flatten_lead(lead))
    by_id = [
        event
        for event in events
        if lead.event_id and event.lead and event.lead.event_id == lead.event_id
    ]
    shared = {
        at: _count_equal(stored_fields, event.lead) for at, event in enumerate(events) if event.lead
    }
    if len(by_id) == 1 or not shared:
        return by_id[0] if by_id else None
    best = max(shared, key=lambda at: shared[at])
    return events[best] if shared[best] else None


def _count_equal(fields: Mapping[str, Any], lead: Lead) -> int:
    others = dict(flatten_lead(lead))
    return sum(others.get(name) == value for name, value in fields.items())


def _add_plan(
    record: Record, outcome: Outcome, lead: Lead | None, why: str | None, source: Source | None
) -> JudgedSubmission:
    if outcome is not Outcome.LEAD or lead is None or source is None:
        return JudgedSubmission(outcome=outcome, lead=lead, why=why)
    try:
        plan = build_plan(
            source.lead_mapping,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=record.received_at,
        )
    except Unmappable as error:
        return JudgedSubmission(
            outcome=outcome, lead=lead, cannot_be_written=True, why=f"{error} ({error.setting})"
        )
    when = None if plan.matched_rule is None else source.rules[plan.matched_rule].when
    return JudgedSubmission(outcome=outcome, lead=lead, plan=plan, when=when)


def _compare_plans(old: JudgedSubmission, new: JudgedSubmission) -> Iterator[BacktestChange]:
    if old.plan is None or new.plan is None:
        return
    if old.when != new.when:
        yield BacktestChange("rule", *(_rule(judged) for judged in (old, new)))
    for name in COMPARED_PLAN_FIELDS:
        before, after = (_plain(getattr(judged.plan, name)) for judged in (old, new))
        if before != after:
            yield BacktestChange(name, before, after)


def _plain(value: Any) -> Any:
    built = msgspec.to_builtins(value)
    return list(built) if isinstance(built, tuple) else built


def _rule(judged: JudgedSubmission) -> dict[str, Any] | None:
    """The rule that matched: its place, counted from 1, and its conditions."""
    if judged.plan is None or judged.plan.matched_rule is None:
        return None
    return {"number": judged.plan.matched_rule + 1, "when": judged.when}
