"""What goes into a source, an `InboundRequest`, and what comes out, a `NormalizationResult`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from worker.contract import Lead


class Outcome(StrEnum):
    """What a request turned out to be; the words of `leadline preview`."""

    LEAD = "lead"
    NO_LEAD = "no_lead"
    NO_CONTACT = "no_contact"
    NEEDS_FETCH = "needs_fetch"
    HANDSHAKE = "handshake"
    SPAM = "spam"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    UNREADABLE = "unreadable"


class InboundRequest(Struct, frozen=True, kw_only=True):
    """A request as it arrived.

    Header names are in lower case, in their order, repeats included. `url` is the public URL, which
    some schemes sign.
    """

    method: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    url: str | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def content_type(self) -> str:
        return self.header("content-type") or ""


class FieldError(Struct, frozen=True):
    """One fault of a request: the field it is in and what to do about it."""

    field: str
    message: str


class OtherReading(Struct, frozen=True, kw_only=True):
    """What a field of a payload asks for and did not become.

    `whose` is its owner by the payload's own word, empty for the lead's; `lost` says why.
    """

    became: str
    whose: str = ""
    lost: str


class FieldReading(Struct, frozen=True, kw_only=True):
    """How one field of a payload was read.

    `field` is its path, empty for what the product itself says; `value` is shortened. `became` is
    what came of it: canonical fields, `answer`, `repeated`, `hidden`, `ignored` or `empty`,
    several with commas.
    """

    field: str
    value: str
    became: str
    why: str
    others: tuple[OtherReading, ...] = ()


class SourceEvent(Struct, frozen=True, kw_only=True):
    """One event of a request.

    `outcome` is LEAD, NO_LEAD, NO_CONTACT, NEEDS_FETCH or SPAM, and `reason` explains it in plain
    words. `event_id` is the product's own id of the event, by which a second delivery of it is
    recognised; `is_id_unsigned`: it came in a header that the request's signature does not cover.
    `fetch` names the record to fetch, for events that carry ids only. `explanation` has a reading
    for each field, where it was asked for.
    """

    outcome: Outcome
    lead: Lead | None
    event_id: str | None = None
    is_id_unsigned: bool = False
    reason: str | None = None
    fetch: dict[str, str] | None = None
    explanation: tuple[FieldReading, ...] = ()


class CustomResponse(Struct, frozen=True):
    """The response that a product requires in place of the usual one.

    `body` is JSON, or text for another media type, or None for an empty body. `headers` are those
    of a handshake.
    """

    status: int
    body: Any = None
    media_type: str = "application/json"
    headers: dict[str, str] = {}


class NormalizationResult(Struct, frozen=True, kw_only=True):
    """What one request turned out to be, and how to respond to it.

    `outcome` is that of the events where they agree, else LEAD if any of them is one. REFUSED,
    UNREADABLE and HANDSHAKE have no events. `status` is the HTTP status of the response. `response`
    is set for handshakes, and for products that count only certain responses as success.
    `redirect_to` and `idempotency_key` are a form's own `_redirect` and `_idempotency_key`, not yet
    checked. `reason` says why a request was
    refused, for the log and for `leadline preview`, never for the sender. `guessed` says what of
    the body had to be guessed, where an explanation was asked for.
    """

    outcome: Outcome
    events: list[SourceEvent] = field(default_factory=list)
    field_errors: list[FieldError] = field(default_factory=list)
    detail: str | None = None
    status: int = 202
    response: CustomResponse | None = None
    redirect_to: str | None = None
    idempotency_key: str | None = None
    reason: str | None = None
    guessed: str | None = None
