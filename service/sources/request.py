"""What the intake asks of a source and what it gets: a `Request` goes in, a `Reading` comes out.
Pure data, no I/O.
"""

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
    """A request as it came. Header names in lower case, in order, repeats kept; `url` is the public
    URL a scheme may sign.
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


class SourceEvent(Struct, frozen=True, kw_only=True):
    """One event of a request. `outcome` is LEAD, NO_LEAD, NO_CONTACT, NEEDS_FETCH or SPAM; `why`
    says so in plain words.

    `event_id` is the product's own id of the event, for recognising a second delivery of it.
    `fetch` names the record to fetch, for events that carry ids only.
    """

    outcome: Outcome
    lead: Lead | None
    event_id: str | None = None
    reason: str | None = None
    fetch: dict[str, str] | None = None


class CustomResponse(Struct, frozen=True):
    """An answer that the product asks for, where it is not the generic one. `body` is JSON, or
    text, or None for empty.
    """

    status: int
    body: Any = None
    media_type: str = "application/json"


class NormalizationResult(Struct, frozen=True, kw_only=True):
    """The verdict over one request.

    `outcome` is that of the events where they agree (else LEAD if any is one); REFUSED, UNREADABLE
    and HANDSHAKE have no events. `status` is the HTTP status of a REFUSED or UNREADABLE request.
    `answer` is set for handshakes and for products that count only certain answers as success.
    `redirect_to` is a form's own `_redirect`, not yet checked. `why` is the reason of a refusal,
    for the log and for `leadline preview`, not for the sender.
    """

    outcome: Outcome
    events: list[SourceEvent] = field(default_factory=list)
    field_errors: list[FieldError] = field(default_factory=list)
    detail: str | None = None
    status: int = 202
    response: CustomResponse | None = None
    redirect_to: str | None = None
    reason: str | None = None
