"""What a source file makes of submissions that are stored already: read again from their raw bytes,
and compared.

The reading is judged, not the door: signatures are old by now and their secrets removed, so nothing
here asks who sent it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from service.ops import masking
from service.sources.normalize import normalize
from service.sources.request import InboundRequest, Outcome, SourceEvent
from service.sources.schema import Source
from service.sources.verification.common import header
from worker.contract import Lead, Raw, State
from worker.errors import Unmappable
from worker.lead.plan import Plan, plan
from worker.lead.settings import SourceWriting
from worker.ledger import Record
from worker.times import format_iso

FIELDS_COUNTED = 2_000
"""Names of fields that are counted each by itself: answers are named by strangers."""
BEFORE = {
    State.QUARANTINED: Outcome.SPAM,
    State.IGNORED: Outcome.NO_LEAD,
    State.DEAD: Outcome.NO_CONTACT,
}
"""What the intake took a submission for, by the state it gave it; else a lead."""
FAILING = frozenset({Outcome.NO_CONTACT, Outcome.UNREADABLE, Outcome.REFUSED})
WRITTEN = (
    "title", "labels", "channel", "channel_id", "owner", "value", "expected_close", "visible_to",
    "organization", "existing",
    "custom",
)  # fmt: skip
"""What of a plan is compared, beside the rule that matched."""


class Verdict(StrEnum):
    """What would become of a submission now, beside what became of it."""

    SAME = "same"
    CHANGED = "changed"
    WRITTEN = "written differently"
    LEAD_NOW = "a lead now"
    NO_LEAD_NOW = "no lead any more"
    FAILS = "fails"
    EDITED = "edited since"
    NO_CONTENT = "content erased"


class Change(Struct, frozen=True):
    """`before` and `after` as JSON; None for what is not there."""

    field: str
    before: Any
    after: Any


class Finding(Struct, frozen=True, kw_only=True):
    """One submission. `fields` of the lead and `writing` of how it is written to Pipedrive, as far
    as they change.

    `new_failure`: it would fail, and did not before. For an `edited_by` lead the fields show what
    the edit changed in what came in, unless the source file of before was given.
    """

    id: str
    source: str
    state: State
    received_at: str | None
    verdict: Verdict
    outcome: Outcome | None = None
    why: str | None = None
    new_failure: bool = False
    edited_by: str | None = None
    fields: list[Change] = field(default_factory=list)
    writing: list[Change] = field(default_factory=list)


Fields = Sequence[Change]


class Judged(Struct, frozen=True, kw_only=True):
    """A submission under one source file. `plan` is set for what is a lead, unless that
    `cannot_be_written`.
    """

    outcome: Outcome
    lead: Lead | None = None
    plan: Plan | None = None
    cannot_be_written: bool = False
    when: Mapping[str, Any] | None = None
    why: str | None = None

    @property
    def fails(self) -> bool:
        return self.outcome in FAILING or self.cannot_be_written


class Totals(Struct):
    """Counts over all findings, in bounded memory."""

    sources: dict[str, Counter[str]] = field(default_factory=dict)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    looked_at: int = 0
    new_failures: int = 0

    def add(self, finding: Finding) -> None:
        self.looked_at += 1
        self.new_failures += finding.new_failure
        counts = self.sources.setdefault(finding.source, Counter())
        counts[finding.verdict] += 1
        counts["new failures"] += finding.new_failure
        for change in (
            (*finding.fields, *finding.writing) if finding.verdict is not Verdict.EDITED else ()
        ):
            key = (finding.source, change.field)
            self.fields[
                (
                    key
                    if key in self.fields or len(self.fields) < FIELDS_COUNTED
                    else (finding.source, "others")
                )
            ] += 1


def backtest(
    record: Record, now: Source | None, before: Source | None = None, *, reveal: bool = False
) -> Finding:
    """One stored submission under the source file `now`; None where that has no such source any
    more.

    `before` is its source in the file as it was: then both read the same bytes. Without it, what is
    stored stands for what came of them, and both leads are written by the file `now`. Personal data
    are masked unless `reveal`.
    """
    told = _Told(record, reveal=reveal)
    if record.raw is None:
        return told.bare(Verdict.NO_CONTENT)
    old = _read(record, before) if before else _stored(record, now)
    if now is None:
        return told.failing(
            Judged(outcome=Outcome.REFUSED, why="the source file has no such source"), old
        )
    new = _read(record, now)
    if new.outcome is Outcome.NEEDS_FETCH:
        # The record that was fetched is not in the raw bytes: it is compared as it is stored.
        old, new = _stored(record, before or now), _stored(record, now)
    if new.fails:
        return told.failing(new, old)
    return _compared(told, old, new, is_edit=record.edited_by is not None and before is None)


def _compared(told: _Told, old: Judged, new: Judged, *, is_edit: bool) -> Finding:
    fields = [] if old.lead is None or new.lead is None else list(changes(old.lead, new.lead))
    if (old.outcome is Outcome.LEAD) is not (new.outcome is Outcome.LEAD):
        verdict = Verdict.LEAD_NOW if new.outcome is Outcome.LEAD else Verdict.NO_LEAD_NOW
        return told.finding(verdict, old, new, fields)
    if is_edit:
        return told.finding(Verdict.EDITED, old, new, fields)
    writing = list(_writing(old, new)) if new.outcome is Outcome.LEAD else []
    verdict = Verdict.CHANGED if fields else Verdict.WRITTEN if writing else Verdict.SAME
    if old.fails:
        verdict = Verdict.LEAD_NOW
    return told.finding(verdict, old, new, fields, writing)


class _Told:
    """Findings about one record, masked where they must be."""

    def __init__(self, record: Record, *, reveal: bool) -> None:
        self._record = record
        self._reveal = reveal

    def failing(self, new: Judged, old: Judged) -> Finding:
        return msgspec.structs.replace(
            self.finding(Verdict.FAILS, old, new), new_failure=not old.fails
        )

    def finding(
        self, verdict: Verdict, old: Judged, new: Judged, fields: Fields = (), writing: Fields = ()
    ) -> Finding:
        leads = [judged.lead for judged in (old, new) if judged.lead]
        why = (
            new.why if self._reveal or new.why is None else masking.sentence(hidden(new.why, leads))
        )
        return msgspec.structs.replace(
            self.bare(verdict),
            outcome=new.outcome,
            why=why,
            fields=[self._shown(change, leads) for change in fields],
            writing=[self._shown(change, leads) for change in writing],
        )

    def bare(self, verdict: Verdict) -> Finding:
        record = self._record
        return Finding(
            id=record.id,
            source=record.source,
            state=record.state,
            received_at=format_iso(record.received_at),
            verdict=verdict,
            edited_by=record.edited_by,
        )

    def _shown(self, change: Change, leads: list[Lead]) -> Change:
        if self._reveal:
            return change
        return Change(
            change.field,
            *(
                _hidden_in(mask(change.field, value), leads)
                for value in (change.before, change.after)
            ),
        )


def _stored(record: Record, source: Source | None) -> Judged:
    """What the record says became of it, as `source` would write it."""
    outcome = BEFORE.get(record.accepted_as, Outcome.LEAD)
    if record.fetch and record.lead:
        outcome = Outcome.NEEDS_FETCH
    if outcome is Outcome.LEAD and (record.lead is None or not record.lead.reachable):
        outcome = Outcome.NO_CONTACT
    return _planned(record, outcome, record.lead, None, source)


def _read(record: Record, source: Source) -> Judged:
    """What its raw bytes say under a source; that event of theirs which the record is of."""
    assert record.raw is not None
    request = request_of(record.raw)
    try:
        reading = normalize(source, request, record.received_at, _header_id(source, request))
    except Exception as error:
        return Judged(outcome=Outcome.UNREADABLE, why=f"a fault of ours: {type(error).__name__}")
    if reading.outcome is Outcome.UNREADABLE:
        return Judged(outcome=Outcome.UNREADABLE, why=reading.detail)
    event = own_event(reading.events, record.lead)
    if event is None:
        return Judged(outcome=Outcome.NO_LEAD, why="the request holds no such event any more")
    return _planned(record, event.outcome, event.lead, event.why, source)


def request_of(raw: Raw) -> InboundRequest:
    """The request as it is stored."""
    return InboundRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)


def _header_id(source: Source, request: InboundRequest) -> str | None:
    """The event's id that the scheme would take from a header once it had checked the signature."""
    rules = source.check
    if rules.scheme == "standard-webhooks":
        return header(request, "webhook-id") or header(request, "svix-id")
    return header(request, rules.id_header) if rules.scheme == "hmac" and rules.id_header else None


def own_event(events: list[SourceEvent], lead: Lead | None) -> SourceEvent | None:
    """Of several events of one request, the one that the stored lead was made of: by its id, else
    by what they share.
    """
    if len(events) <= 1 or lead is None:
        return events[0] if events else None
    wanted = dict(_flat(lead))
    by_id = [
        event
        for event in events
        if lead.event_id and event.lead and event.lead.event_id == lead.event_id
    ]
    shared = {at: sum(dict(_flat(event.lead)).get(name) == value for name, value in wanted.items())
              for at, event in enumerate(events) if event.lead}  # fmt: skip
    if len(by_id) == 1 or not shared:
        return by_id[0] if by_id else None
    best = max(shared, key=lambda at: shared[at])
    return events[best] if shared[best] else None


def _planned(
    record: Record, outcome: Outcome, lead: Lead | None, why: str | None, source: Source | None
) -> Judged:
    if outcome is not Outcome.LEAD or lead is None or source is None:
        return Judged(outcome=outcome, lead=lead, why=why)
    writing = SourceWriting(source.name, source.lead, source.rules, source.line)
    try:
        made = plan(
            writing,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=record.received_at,
        )
    except Unmappable as error:
        return Judged(
            outcome=outcome, lead=lead, cannot_be_written=True, why=f"{error} ({error.setting})"
        )
    when = None if made.matched_rule is None else source.rules[made.matched_rule].when
    return Judged(outcome=outcome, lead=lead, plan=made, when=when)


def changes(before: Lead, after: Lead) -> Iterator[Change]:
    """Field by field, `utm_source` and `answers.Team` among them, in the lead's order."""
    old, new = dict(_flat(before)), dict(_flat(after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Change(name, old.get(name), new.get(name))


def _flat(lead: Lead | None) -> Iterator[tuple[str, Any]]:
    plain: dict[str, Any] = msgspec.to_builtins(lead) if lead else {}
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from (
                (f"utm_{key}" if name == "utm" else f"{name}.{key}", inner)
                for key, inner in value.items()
            )
        elif value is not None:
            yield name, value


def _writing(old: Judged, new: Judged) -> Iterator[Change]:
    if old.plan is None or new.plan is None:
        return
    if old.when != new.when:
        yield Change("rule", *(_rule(judged) for judged in (old, new)))
    for name in WRITTEN:
        before, after = (_plain(getattr(judged.plan, name)) for judged in (old, new))
        if before != after:
            yield Change(name, before, after)


def _plain(value: Any) -> Any:
    built = msgspec.to_builtins(value)
    return list(built) if isinstance(built, tuple) else built


def _rule(judged: Judged) -> dict[str, Any] | None:
    """A rule by its place, counted from 1 as people do, and its conditions."""
    if judged.plan is None or judged.plan.matched_rule is None:
        return None
    return {"number": judged.plan.matched_rule + 1, "when": judged.when}


def mask(name: str, value: Any) -> Any:
    """A field's value as somebody may see it who may not see personal data."""
    if value is None:
        return None
    if name.startswith("answers."):
        return masking.HIDDEN
    return (
        masking.FIELDS[name](value) if name in masking.FIELDS and isinstance(value, str) else value
    )


def _hidden_in(value: Any, leads: list[Lead]) -> Any:
    if isinstance(value, str):
        return masking.sentence(hidden(value, leads))
    if isinstance(value, list | tuple):
        return [_hidden_in(item, leads) for item in value]
    return value


def hidden(text: str, leads: list[Lead]) -> str:
    """Text without what the leads say of a person."""
    found: dict[str, str] = {}
    for lead in leads:
        for name, value in _flat(lead):
            for said in value if isinstance(value, list) else [value]:
                if isinstance(said, str) and len(said) > 1 and (masked := mask(name, said)) != said:
                    found[said] = masked
        if lead.full_name:
            found[lead.full_name] = masking.name(lead.full_name)
    for said in sorted(found, key=len, reverse=True):
        text = text.replace(said, found[said])
    return text
