"""What makes two events of one source the same, and two bodies of one Idempotency-Key different."""

from __future__ import annotations

import re

import msgspec

from service.intake.body import media_type
from service.problems import HttpProblem
from service.sources.config import Source
from service.sources.reading import Event, Outcome, Request
from worker.contract import DuplicateKey
from worker.keys import digest

LONGEST_KEY = 255
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header. Raises HttpProblem 400 for one that is no key."""
    given = [value for name, value in request.headers if name == "idempotency-key"]
    if not given:
        return None
    if len(set(given)) > 1 or len(given[0]) > LONGEST_KEY or not _VISIBLE.fullmatch(given[0]):
        raise HttpProblem("idempotency-key")
    return given[0]


def duplicate_key(source: Source, request: Request, event: Event, place: int, key: str | None) -> DuplicateKey | None:
    """The key of the event at `place` in its request; None where the source keeps no window and there is no id."""
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
        kind="content", value=_content(request, event, place, body), fingerprint=body, window=source.dedupe_window
    )


def fingerprint(request: Request) -> str:
    """A digest of the body. A multipart boundary is random for each sending and left out of it."""
    body = request.body
    found = _BOUNDARY.search(request.content_type)
    if found and media_type(request.content_type) == "multipart/form-data":
        body = body.replace(found[1].strip().encode("latin-1", "replace"), b"")
    return digest(body.decode("latin-1"))


def _content(request: Request, event: Event, place: int, body: str) -> str:
    """What the fields say, however they were encoded; the bytes where no lead could be read from them.

    A hidden timestamp or a new boundary does not make a double click two leads. A post that looks like spam is never the
    twin of one that does not: else a robot could take a person's place.
    """
    family = "form" if media_type(request.content_type) in _FORMS else "json"
    if event.outcome is Outcome.SPAM:
        family += "-spam"
    if event.lead is None or not event.lead.reachable:
        return digest(family, body, str(place))
    return digest(family, msgspec.json.encode(event.lead, order="deterministic").decode())
