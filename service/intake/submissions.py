"""From what a request said to what the ledger takes."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from service.web.body import media_type
from service.web.problems import HttpProblem
from worker.causes import no_contact
from worker.contract import Cause, DuplicateKey, Precedence, Raw, State, Submission
from worker.store.keys import digest

# What makes two events of one source the same, and two bodies of one Idempotency-Key different.

LONGEST_KEY = 255
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def idempotency_key(request: InboundRequest) -> str | None:
    """The Idempotency-Key header. Raises HttpProblem 400 for one that is no key."""
    given = [value for name, value in request.headers if name == "idempotency-key"]
    if not given:
        return None
    if len(set(given)) > 1 or len(given[0]) > LONGEST_KEY or not _VISIBLE.fullmatch(given[0]):
        raise HttpProblem("idempotency-key")
    return given[0]


def duplicate_key(
    source: Source, request: InboundRequest, event: SourceEvent, place: int, key: str | None
) -> DuplicateKey | None:
    """The key of the event at `place` in its request; None where the source keeps no window and
    there is no id.
    """
    body = fingerprint(request)
    if key is not None:
        # Several events may come under one key: each has its own place below it.
        value = digest(key) if place == 0 else digest(key, str(place))
        return DuplicateKey(kind="key", value=value, fingerprint=body)
    if event.event_id:
        return DuplicateKey(kind="event", value=digest(event.event_id), fingerprint=body)
    if source.dedupe_window <= 0:
        return None
    return DuplicateKey(
        kind="content",
        value=_content(request, event, place, body),
        fingerprint=body,
        window=source.dedupe_window,
    )


def fingerprint(request: InboundRequest) -> str:
    """A digest of the body. A multipart boundary is random for each sending and left out of it."""
    body = request.body
    found = _BOUNDARY.search(request.content_type)
    if found and media_type(request.content_type) == "multipart/form-data":
        body = body.replace(found[1].strip().encode("latin-1", "replace"), b"")
    return digest(body.decode("latin-1"))


def _content(request: InboundRequest, event: SourceEvent, place: int, body: str) -> str:
    """What the fields say, however they were encoded; the bytes where no lead could be read from
    them.

    A hidden timestamp or a new boundary does not make a double click two leads. A post that looks
    like spam is never the twin of one that does not: else a robot could take a person's place.
    """
    family = "form" if media_type(request.content_type) in _FORMS else "json"
    if event.outcome is Outcome.SPAM:
        family += "-spam"
    if event.lead is None or not event.lead.reachable:
        return digest(family, body, str(place))
    return digest(family, msgspec.json.encode(event.lead, order="deterministic").decode())


DIRECT = frozenset({"form", "json"})
"""Adapters whose sender is a person or a partner who can mend the request; a product would drop the
event instead.
"""

STATES = {
    Outcome.LEAD: State.QUEUED,
    Outcome.NEEDS_FETCH: State.QUEUED,
    Outcome.NO_LEAD: State.IGNORED,
    Outcome.SPAM: State.QUARANTINED,
    Outcome.NO_CONTACT: State.DEAD,
}


def events_of(reading: NormalizationResult) -> list[SourceEvent]:
    """The events; a genuine request without any (a ping, an empty batch) is one event that makes no
    lead.
    """
    return reading.events or [
        SourceEvent(outcome=Outcome.NO_LEAD, lead=None, why=reading.detail or "no events")
    ]


def nobody_to_reach(source: Source, reading: NormalizationResult) -> bool:
    """Whether the sender should mend the request: a form or partner post in which no event can be
    answered.
    """
    return source.adapter in DIRECT and all(
        event.outcome is Outcome.NO_CONTACT for event in events_of(reading)
    )


def submissions(
    source: Source,
    request: InboundRequest,
    reading: NormalizationResult,
    raw: Raw,
    *,
    key: str | None,
    now: float,
    new_id: Callable[[], str],
) -> list[Submission]:
    """One submission for each event. `raw` is the request without its secrets, `key` the
    Idempotency-Key.
    """
    return [
        Submission(
            id=new_id(),
            source=source.name,
            state=STATES.get(event.outcome, State.QUEUED),
            received_at=now,
            lead=event.lead,
            raw=raw,
            duplicate_key=duplicate_key(source, request, event, place, key),
            cause=_cause(source, reading, event),
            why=event.why,
            fetch=event.fetch,
            precedence=precedence(source, request),
        )
        for place, event in enumerate(events_of(reading))
    ]


def precedence(source: Source, request: InboundRequest) -> Precedence:
    """Whether a person waits for a call: at a form, or in any browser, which names its page's
    origin in every post.
    """
    person = source.adapter == "form" or request.header("origin") is not None
    return Precedence.FORM if person else Precedence.WEBHOOK


def _cause(source: Source, reading: NormalizationResult, event: SourceEvent) -> Cause | None:
    """Why an event is parked at once: nobody can be reached by it."""
    if event.outcome is not Outcome.NO_CONTACT:
        return None
    return no_contact(
        source.name, "intake", event.why, reading.problems[0].field if reading.problems else "email"
    )
