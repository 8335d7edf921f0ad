"""The steps from a request to leads: verify, decode, unwrap, map, match. Pure.

Any bytes give a `NormalizationResult`, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from service.sources.adapters.registry import ADAPTERS, demands_proof
from service.sources.fields.effort import Effort
from service.sources.fields.lead_builder import build_lead
from service.sources.fields.values import VALUE_PARSERS, parse_short_text
from service.sources.handshake import accept_ping, answer_challenge, is_signed
from service.sources.payload.decode import decode_utf8, describe_guess, is_json
from service.sources.payload.event import ParsedEvent
from service.sources.payload.json import MAX_RECORD_VALUES, parse_json
from service.sources.payload.tree import Tree, UnreadableBody, text_of
from service.sources.payload.unwrap import MAX_EVENTS, check_event_count
from service.sources.request import (
    FieldError,
    FieldReading,
    InboundRequest,
    NormalizationResult,
    Outcome,
    SourceEvent,
)
from service.sources.schema import Source
from service.sources.spam import find_spam_reason
from service.sources.verification.common import VERIFIED, Verification
from service.sources.verification.verify import verify
from worker.contract import NO_CONTACT_WHY

REDIRECT_FIELD = "_redirect"
IDEMPOTENCY_KEY_FIELD = "_idempotency_key"
MAX_FIELD_ERRORS = 100
EMPTY_BODIES = (b"", b"{}", b"[]", b"null")
# The fields that give a contact, and what each of them must be.
CONTACT_FIELDS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "name": "a person's name",
    "company": "a company's name",
}


def process_request(
    source: Source, request: InboundRequest, now: float, *, explain: bool = False
) -> NormalizationResult:
    """Verifies a request and normalises it. `now` is in Unix seconds.

    `explain`: the events say how each of their fields was read.
    """
    adapter = ADAPTERS[source.adapter]
    if len(request.body) > source.max_body:
        return _unreadable(UnreadableBody(f"more than {source.max_body} bytes", status=413))
    verification = verify(request, source, now, adapter.scheme)
    if answer := _answer_handshake(source, request, now, verification):
        return answer
    if request.method != "POST":
        if adapter.handshake and request.method == "GET":
            return adapter.handshake(request, source)
        return NormalizationResult(
            outcome=Outcome.REFUSED, status=405, detail="Only POST is accepted here."
        )
    if answer := _answer_challenge(source, request, is_verified=verification.ok):
        return answer
    may_be_ping = bool(
        source.handshake and source.handshake.ping and not is_signed(source, request)
    )
    if verification.ok or may_be_ping:
        result = normalize(source, request, now, verification, explain=explain)
        if may_be_ping and _holds_no_lead(result, request):
            return accept_ping()
        if verification.ok:
            return result
    return NormalizationResult(
        outcome=Outcome.REFUSED,
        status=401,
        detail="The signature, secret or key is missing or wrong.",
        reason=verification.reason,
    )


def _answer_handshake(
    source: Source, request: InboundRequest, now: float, verification: Verification
) -> NormalizationResult | None:
    """The answer to a challenge that the source describes, unless its signature is wrong."""
    if source.handshake is None or (not verification.ok and is_signed(source, request)):
        return None
    secrets = source.secrets if verification.ok else ()
    scheme = ADAPTERS[source.adapter].scheme
    # While a secret is changed, the answer is made with the one that the sender knows.
    signed_with = (
        secret
        for secret in secrets
        if len(secrets) == 1
        or verify(request, msgspec.structs.replace(source, secrets=(secret,)), now, scheme).ok
    )
    return answer_challenge(source, request, next(signed_with, None))


def _holds_no_lead(result: NormalizationResult, request: InboundRequest) -> bool:
    if result.outcome is Outcome.UNREADABLE:
        return request.body.strip() in EMPTY_BODIES
    return result.outcome in (Outcome.NO_LEAD, Outcome.NO_CONTACT)


def normalize(
    source: Source,
    request: InboundRequest,
    now: float,
    verification: Verification = VERIFIED,
    *,
    explain: bool = False,
) -> NormalizationResult:
    """Normalises a request without verifying it, for one that was verified when it arrived.

    `now` is in Unix seconds; `verification` holds the event id, for schemes that carry it.
    """
    adapter = ADAPTERS[source.adapter]
    status = source.reply or (adapter.response.status if adapter.response else adapter.reply)
    if not request.body.strip() and source.adapter != "form" and is_json(request):
        return NormalizationResult(
            outcome=Outcome.NO_LEAD,
            detail="an empty body: a ping",
            status=status,
            response=adapter.response,
        )
    try:
        parsed_events = adapter.read(request, source)
        check_event_count(len(parsed_events), max_events(source))
        if not any(one.fields or one.lead_fields or one.outcome for one in parsed_events):
            raise UnreadableBody("the body holds no fields")
    except UnreadableBody as error:
        return _unreadable(error)
    events: list[SourceEvent] = []
    field_errors: list[FieldError] = []
    effort = Effort()
    for parsed_event in parsed_events:
        event, contact_errors = _build_event(
            parsed_event, source, now, verification, effort, request.query, explain=explain
        )
        events.append(event)
        field_errors += contact_errors
    return NormalizationResult(
        outcome=_combine_outcomes(events),
        events=events,
        field_errors=field_errors[:MAX_FIELD_ERRORS],
        status=status,
        response=adapter.response,
        redirect_to=_find_text(parsed_events[0].top, REDIRECT_FIELD),
        idempotency_key=_find_text(parsed_events[0].top, IDEMPOTENCY_KEY_FIELD)
        if adapter.reads_any_payload
        else None,
        guessed=describe_guess(request) if explain and not adapter.names_charsets else None,
    )


def max_events(source: Source) -> int:
    """How many events one request may hold; of strangers, no more than of any JSON."""
    limit = ADAPTERS[source.adapter].max_events
    return limit if demands_proof(source) else min(limit, MAX_EVENTS)


def normalize_record(
    source: Source,
    record: bytes,
    now: float,
    fetch: Mapping[str, str] | None = None,
    *,
    explain: bool = False,
) -> NormalizationResult:
    """Normalises a fetched record: one event, which is never NEEDS_FETCH.

    `record` is the JSON that the product's API answered. `fetch` is that of the event which named
    the record; canonical fields in it win over the record's. Raises ValueError if the source's
    product has no records.
    """
    adapter = ADAPTERS[source.adapter]
    if adapter.record_api is None:
        raise ValueError(f"{source.adapter} has no records to read")
    event_fields = {name: text for name, text in (fetch or {}).items() if name in VALUE_PARSERS}
    try:
        tree = parse_json(decode_utf8(record), max_values=MAX_RECORD_VALUES)
        parsed_event = adapter.record_api.read(tree, source)
    except UnreadableBody as error:
        return _unreadable(error)
    parsed_event = msgspec.structs.replace(
        parsed_event,
        lead_fields=parsed_event.lead_fields | event_fields,
        event_id=event_fields.get("event_id") or parsed_event.event_id,
    )
    event, field_errors = _build_event(
        parsed_event, source, now, VERIFIED, Effort(), explain=explain
    )
    return NormalizationResult(
        outcome=event.outcome,
        events=[event],
        field_errors=field_errors,
        status=source.reply or adapter.reply,
    )


def _answer_challenge(
    source: Source, request: InboundRequest, *, is_verified: bool
) -> NormalizationResult | None:
    """The answer to a challenge that a product posts; None for anything else.

    A source that is signed and reads any payload knows the challenges of all products.
    """
    adapter = ADAPTERS[source.adapter]
    if adapter.reads_any_payload:
        adapters = [*ADAPTERS.values()] if is_verified and source.secrets else []
    else:
        adapters = [adapter] if is_verified or adapter.answers_unsigned else []
    answers = (one.answer_post(request, source) for one in adapters if one.answer_post)
    return next(filter(None, answers), None)


def _build_event(
    parsed_event: ParsedEvent,
    source: Source,
    now: float,
    verification: Verification,
    effort: Effort,
    query: str = "",
    *,
    explain: bool,
) -> tuple[SourceEvent, list[FieldError]]:
    """The event and, if it has no contact, the fields that would change that."""
    readings: list[FieldReading] | None = [] if explain else None
    lead, rejected = build_lead(parsed_event, source, effort, query=query, readings=readings)
    ids = (
        (_find_event_id(parsed_event, source), False),
        (parsed_event.event_id, parsed_event.is_id_unsigned),
        (lead.event_id, False),
        (parsed_event.number_id(verification.event_id), not verification.is_id_signed),
    )
    event_id, is_id_unsigned = next((pair for pair in ids if pair[0]), (None, False))
    outcome, reason = _find_outcome(parsed_event, source, now)
    if outcome is None and lead.is_test:
        outcome, reason = Outcome.NO_LEAD, "a test event"
    if outcome is None and not lead.has_contact:
        outcome, reason = Outcome.NO_CONTACT, NO_CONTACT_WHY
    test = source.read.test
    is_test = lead.is_test or (test is not None and parsed_event.matches(test))
    if (lead.event_id, lead.is_test) != (lead.event_id or event_id, is_test):
        lead = msgspec.structs.replace(lead, event_id=lead.event_id or event_id, is_test=is_test)
    event = SourceEvent(
        outcome=outcome or Outcome.LEAD,
        lead=lead,
        event_id=event_id,
        is_id_unsigned=is_id_unsigned,
        reason=reason,
        fetch=parsed_event.fetch,
        explanation=tuple(readings or ()),
    )
    return event, _contact_errors(rejected) if outcome is Outcome.NO_CONTACT else []


def _find_event_id(parsed_event: ParsedEvent, source: Source) -> str | None:
    """The id at `read.event_id`, numbered where several events of one body share it."""
    match = parsed_event.find(source.read.event_id) if source.read.event_id else None
    if match is None:
        return None
    path, value = match
    text = parse_short_text(value)
    return text if parsed_event.owns(path) else parsed_event.number_id(text)


def _find_outcome(
    parsed_event: ParsedEvent, source: Source, now: float
) -> tuple[Outcome | None, str | None]:
    """What the product, the source's `read` or the spam checks say of an event, if anything."""
    if parsed_event.outcome:
        return parsed_event.outcome, parsed_event.reason
    read = source.read
    if read.only and not parsed_event.matches(read.only):
        return Outcome.NO_LEAD, f"{read.only.at} is none of the values that make a lead"
    if read.test and parsed_event.matches(read.test):
        return Outcome.NO_LEAD, f"a test event, as {read.test.at} says"
    trees = [scope.tree for scope in parsed_event.scopes]
    if spam_reason := find_spam_reason(trees, source, now):
        return Outcome.SPAM, spam_reason
    return None, None


def _combine_outcomes(events: list[SourceEvent]) -> Outcome:
    """The outcome of a request: the one of its events that matters most."""
    outcomes = {event.outcome for event in events}
    if len(outcomes) == 1:
        return outcomes.pop()
    order = (Outcome.LEAD, Outcome.NEEDS_FETCH, Outcome.NO_CONTACT, Outcome.SPAM, Outcome.NO_LEAD)
    return next(outcome for outcome in order if outcome in outcomes)


def _contact_errors(rejected: dict[str, str]) -> list[FieldError]:
    """The contact fields with what to send; those with an unusable value (and its label) first."""
    wrong = [
        FieldError(field, f"{rejected[field] or field} is not {kind}")
        for field, kind in CONTACT_FIELDS.items()
        if field in rejected
    ]
    missing = [
        FieldError(field, f"send {kind}")
        for field, kind in CONTACT_FIELDS.items()
        if field not in rejected
    ]
    return [*wrong, *missing]


def _find_text(top: Tree, name: str) -> str | None:
    value = top.get(name) if isinstance(top, dict) else None
    return text_of(value) if isinstance(value, str) else None


def _unreadable(error: UnreadableBody) -> NormalizationResult:
    return NormalizationResult(
        outcome=Outcome.UNREADABLE,
        status=error.status,
        detail=f"The body cannot be read: {error.message}.",
        field_errors=[FieldError(error.field, error.message)],
    )
