"""The verdict over one request: verify, decode, unwrap, map, recognise. Pure; any bytes give a
Reading, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from service.sources import spam
from service.sources.adapters.registry import ADAPTERS
from service.sources.fields.lead_builder import build_lead
from service.sources.fields.values import VALUE_PARSERS, parse_short_text
from service.sources.payload.decode import MAX_DEPTH, MAX_FIELDS, decode_utf8
from service.sources.payload.event import ParsedEvent
from service.sources.payload.json import parse_json
from service.sources.payload.tree import Tree, UnreadableBody, resolve, text_of
from service.sources.request import (
    FieldError,
    InboundRequest,
    NormalizationResult,
    Outcome,
    SourceEvent,
)
from service.sources.schema import Source
from service.sources.verification.verify import verify

REDIRECT_FIELD = "_redirect"
MAX_RECORD_VALUES = 20_000
"""Values in a record that we asked for ourselves."""
CONTACT_FIELDS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "name": "a person's name",
    "company": "a company's name",
}


def process_request(source: Source, request: InboundRequest, now: float) -> NormalizationResult:
    """What a request is and what becomes of it. `now` in Unix seconds."""
    adapter = ADAPTERS[source.adapter]
    if request.method != "POST":
        if adapter.handshake and request.method == "GET":
            return adapter.handshake(request, source)
        return NormalizationResult(
            outcome=Outcome.REFUSED, status=405, detail="Only POST is taken here."
        )
    if len(request.body) > source.max_body:
        return _unreadable(UnreadableBody(f"more than {source.max_body} bytes", status=413))
    verdict = verify(request, source, now, adapter.scheme)
    if not verdict.ok:
        detail = "The signature, secret or key is missing or wrong."
        return NormalizationResult(
            outcome=Outcome.REFUSED, status=401, detail=detail, reason=verdict.reason
        )
    return normalize(source, request, now, event_id=verdict.event_id)


def normalize(
    source: Source, request: InboundRequest, now: float, event_id: str | None = None
) -> NormalizationResult:
    """As `judge`, without the check of who sent it: for what was verified when it came. `event_id`
    is from a verified header.
    """
    adapter = ADAPTERS[source.adapter]
    try:
        payloads = adapter.read(request, source)
        if not any(
            payload.fields or payload.lead_fields or payload.outcome for payload in payloads
        ):
            raise UnreadableBody("the body holds no fields")
    except UnreadableBody as fault:
        return _unreadable(fault)
    judged = [_build_event(payload, source, now, event_id) for payload in payloads]
    problems = [
        problem
        for event, missing in judged
        for problem in missing
        if event.outcome is Outcome.NO_CONTACT
    ]
    events = [event for event, _ in judged]
    return NormalizationResult(
        outcome=_combine_outcomes(events),
        events=events,
        field_errors=problems[:100],
        status=source.reply or (adapter.response.status if adapter.response else adapter.reply),
        response=adapter.response,
        redirect_to=_find_redirect(payloads[0].top),
    )


def normalize_record(
    source: Source, record: bytes, now: float, fetch: Mapping[str, str] | None = None
) -> NormalizationResult:
    """What the record of an event that told ids alone becomes: one event, which is never
    NEEDS_FETCH.

    `record` is the JSON that the product's API answered, `fetch` that of the event: what it told of
    itself stays in force. Raises ValueError if the source's product has no records.
    """
    adapter = ADAPTERS[source.adapter]
    if adapter.record_api is None:
        raise ValueError(f"{source.adapter} has no records to read")
    own = {name: text for name, text in (fetch or {}).items() if name in VALUE_PARSERS}
    try:
        payload = adapter.record_api.read(
            parse_json(
                decode_utf8(record), fields=MAX_FIELDS, depth=MAX_DEPTH, values=MAX_RECORD_VALUES
            ),
            source,
        )
    except UnreadableBody as fault:
        return _unreadable(fault)
    event_id = own.get("event_id") or payload.event_id
    payload = msgspec.structs.replace(
        payload, lead_fields=payload.lead_fields | own, event_id=event_id
    )
    event, missing = _build_event(payload, source, now, None)
    problems = missing if event.outcome is Outcome.NO_CONTACT else []
    return NormalizationResult(
        outcome=event.outcome,
        events=[event],
        field_errors=problems,
        status=source.reply or adapter.reply,
    )


def _build_event(
    payload: ParsedEvent, source: Source, now: float, event_id: str | None
) -> tuple[SourceEvent, list[FieldError]]:
    lead, refused = build_lead(payload, source)
    own = (
        _find_event_id(payload, source)
        or payload.event_id
        or lead.event_id
        or payload.number_id(event_id)
    )
    outcome, why = _decide_outcome(payload, source, now)
    if outcome is None and lead.is_test:
        outcome, why = Outcome.NO_LEAD, "a test event"
    if outcome is None and not lead.reachable:
        outcome, why = Outcome.NO_CONTACT, "no e-mail, phone, person or organisation"
    is_test = lead.is_test or (source.read.test is not None and payload.matches(source.read.test))
    lead = msgspec.structs.replace(lead, event_id=lead.event_id or own, is_test=is_test)
    event = SourceEvent(
        outcome=outcome or Outcome.LEAD, lead=lead, event_id=own, reason=why, fetch=payload.fetch
    )
    return event, _contact_errors(refused)


def _decide_outcome(
    payload: ParsedEvent, source: Source, now: float
) -> tuple[Outcome | None, str | None]:
    """What the product, the source's settings or the traps say of an event; None where they say
    nothing.
    """
    if payload.outcome:
        return payload.outcome, payload.reason
    read = source.read
    if read.only and not payload.matches(read.only):
        return Outcome.NO_LEAD, f"{read.only.at} is none of the values that make a lead"
    if read.test and payload.matches(read.test):
        return Outcome.NO_LEAD, f"a test event, as {read.test.at} says"
    if why := spam.find_spam_reason([scope.tree for scope in payload.scopes], source, now):
        return Outcome.SPAM, why
    return None, None


def _find_event_id(payload: ParsedEvent, source: Source) -> str | None:
    """From the body: what several events of it share is told apart by their number."""
    found = payload.find(source.read.event_id) if source.read.event_id else None
    if found is None:
        return None
    text = parse_short_text(found[1])
    return text if payload.owns(found[0]) else payload.number_id(text)


def _combine_outcomes(events: list[SourceEvent]) -> Outcome:
    outcomes = {event.outcome for event in events}
    if len(outcomes) == 1:
        return outcomes.pop()
    order = (Outcome.LEAD, Outcome.NEEDS_FETCH, Outcome.NO_CONTACT, Outcome.SPAM, Outcome.NO_LEAD)
    return next(outcome for outcome in order if outcome in outcomes)


def _contact_errors(refused: dict[str, str]) -> list[FieldError]:
    """The fields that would make somebody reachable; what was sent for one and is none is said
    first.
    """
    wrong = [
        FieldError(field, f"{refused[field] or field} is not {said}")
        for field, said in CONTACT_FIELDS.items()
        if field in refused
    ]
    missing = [
        FieldError(field, f"send {said}")
        for field, said in CONTACT_FIELDS.items()
        if field not in refused
    ]
    return [*wrong, *missing]


def _find_redirect(top: Tree) -> str | None:
    found = resolve(top, REDIRECT_FIELD)
    return text_of(found[1]) if found and isinstance(found[1], str) else None


def _unreadable(fault: UnreadableBody) -> NormalizationResult:
    detail = f"The body cannot be read: {fault.message}."
    return NormalizationResult(
        outcome=Outcome.UNREADABLE,
        status=fault.status,
        detail=detail,
        field_errors=[FieldError(fault.field, fault.message)],
    )
