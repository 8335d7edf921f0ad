"""Turns a normalized request into the submissions that the ledger stores, with duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from service.intake.content import content_digest
from service.sources.adapters.registry import ADAPTERS, demands_proof, hourly_bound
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from service.web.body import media_type
from service.web.problems import HttpProblem
from worker.causes import no_contact
from worker.contract import Cause, DuplicateKey, Precedence, Raw, State, Submission
from worker.store.keys import digest

MAX_KEY_CHARS = 255

STATES = {
    Outcome.LEAD: State.QUEUED,
    Outcome.NEEDS_FETCH: State.QUEUED,
    Outcome.NO_LEAD: State.IGNORED,
    Outcome.SPAM: State.QUARANTINED,
    Outcome.NO_CONTACT: State.DEAD,
}

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def idempotency_key(request: InboundRequest) -> str | None:
    """The Idempotency-Key header, None without one. Raises HttpProblem 400 if it is unusable."""
    values = {value for name, value in request.headers if name == "idempotency-key"}
    if len(values) > 1:
        raise HttpProblem("idempotency-key")
    return _check_key(values.pop()) if values else None


def idempotency_field(result: NormalizationResult) -> str | None:
    """A form's own `_idempotency_key`, None without one. Raises HttpProblem 400 as the header."""
    return _check_key(result.idempotency_key) if result.idempotency_key else None


def _check_key(key: str) -> str:
    if len(key) > MAX_KEY_CHARS or not _VISIBLE.fullmatch(key):
        raise HttpProblem("idempotency-key")
    return key


def duplicate_key(
    source: Source,
    request: InboundRequest,
    event: SourceEvent,
    index: int,
    key: str | None,
    body: str,
    sender: str = "",
) -> DuplicateKey | None:
    """What makes the event at `index` of its request a duplicate of another event of the source.

    A signed event id decides alone: whoever replays a signed request can add a header, and so can
    a proxy on the way. Then counts `key`, the Idempotency-Key; then an event id that nobody signed,
    together with the body, so that whoever guesses an id takes nobody's place; then the content.
    The result is None if there is none of these and the source has no dedupe window.

    `body` is the request's fingerprint. `sender` is the client's address. Where anybody can post,
    the same content is the same event only from the same address: else "duplicate" would tell a
    stranger who guesses it that somebody has posted it.
    """
    if event.event_id and demands_proof(source) and not event.is_id_unsigned:
        return DuplicateKey(kind="event", value=digest(event.event_id), fingerprint=body)
    if key is not None:
        # One key may cover several events; all but the first add their index to it.
        value = digest(key) if index == 0 else digest(key, str(index))
        return DuplicateKey(kind="key", value=value, fingerprint=body)
    if event.event_id:
        return DuplicateKey(kind="event", value=digest(event.event_id, body), fingerprint=body)
    if source.dedupe_window <= 0:
        return None
    return DuplicateKey(
        kind="content",
        value=_content_digest(source, request, event, index, body, sender),
        fingerprint=body,
        window=source.dedupe_window,
    )


def fingerprint(request: InboundRequest) -> str:
    """A digest of the body, without the multipart boundary, which is random for each request."""
    body = request.body
    boundary = _BOUNDARY.search(request.content_type)
    if boundary and media_type(request.content_type) == "multipart/form-data":
        body = body.replace(boundary[1].strip().encode("latin-1", "replace"), b"")
    return digest(body.decode("latin-1"))


def _content_digest(
    source: Source,
    request: InboundRequest,
    event: SourceEvent,
    index: int,
    body: str,
    sender: str,
) -> str:
    """A digest of the lead, however it was encoded; of the bytes where there is no usable lead.

    A post that looks like spam never counts as a duplicate of one that does not: otherwise a robot
    could make a person's submission disappear.
    """
    family = "form" if media_type(request.content_type) in _FORMS else "json"
    if event.outcome is Outcome.SPAM:
        family += "-spam"
    senders = [sender] if sender and not demands_proof(source) else []
    if event.lead is None or not event.lead.has_contact:
        return digest(family, body, str(index), *senders)
    return digest(family, content_digest(source, event.lead), *senders)


def events_of(result: NormalizationResult) -> list[SourceEvent]:
    """The events of a request. A genuine one without any (a ping, an empty batch) counts as one.

    That one event makes no lead, so that the request is stored and visible all the same.
    """
    return result.events or [
        SourceEvent(outcome=Outcome.NO_LEAD, lead=None, reason=result.detail or "no events")
    ]


def has_no_contact(source: Source, result: NormalizationResult) -> bool:
    """Whether the sender should correct the request, because no event names anybody to contact."""
    return ADAPTERS[source.adapter].rejects_no_contact and all(
        event.outcome is Outcome.NO_CONTACT for event in events_of(result)
    )


def build_submissions(
    source: Source,
    request: InboundRequest,
    result: NormalizationResult,
    raw: Raw,
    *,
    key: str | None,
    now: float,
    new_id: Callable[[], str],
    sender: str = "",
) -> list[Submission]:
    """Build one submission for each event.

    `raw` is the request without its secrets, `key` the Idempotency-Key, `now` Unix seconds,
    `sender` the client's address.
    """
    events = events_of(result)
    ids = [new_id() for _ in events]
    body = fingerprint(request)
    return [
        Submission(
            id=submission_id,
            source=source.name,
            state=STATES.get(event.outcome, State.QUEUED),
            received_at=now,
            lead=event.lead,
            raw=raw,
            duplicate_key=duplicate_key(source, request, event, index, key, body, sender),
            cause=_dead_cause(source, result, event),
            why=event.reason,
            fetch=event.fetch,
            precedence=precedence(source, request),
            # What fails its source's check never comes this far.
            verified=demands_proof(source),
            leads_per_hour=hourly_bound(source),
            raw_of=ids[0] if len(events) > 1 else None,
        )
        for index, (submission_id, event) in enumerate(zip(ids, events, strict=True))
    ]


def hourly_bounds(sources: Mapping[str, Source]) -> dict[str, int]:
    """The leads per hour of each source that has such a bound."""
    bounds = {name: hourly_bound(source) for name, source in sources.items()}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def precedence(source: Source, request: InboundRequest) -> Precedence:
    """Rank the leads of people who wait for a call first.

    These are the posts of forms and of any browser, which sends an Origin header with every post.
    """
    is_person = ADAPTERS[source.adapter].sent_by_people or request.header("origin") is not None
    return Precedence.FORM if is_person else Precedence.WEBHOOK


def _dead_cause(source: Source, result: NormalizationResult, event: SourceEvent) -> Cause | None:
    """The cause of an event that is dead on arrival, because it names nobody to contact."""
    if event.outcome is not Outcome.NO_CONTACT:
        return None
    return no_contact(
        source.name,
        "intake",
        event.reason,
        result.field_errors[0].field if result.field_errors else "email",
    )
