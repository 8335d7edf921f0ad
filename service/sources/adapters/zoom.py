"""`zoom`: people who register for a meeting, a webinar or a recording.

Before Zoom sends anything, and every few days after that, it posts `endpoint.url_validation` with a
`plainToken`, signed like any event, and expects the token back with its HMAC. `registrant` is the
person; everything else in `object` belongs to the host. The ids of meeting and registrant identify
a registration.
https://developers.zoom.us/docs/api/webhooks/
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, by_header
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    no_lead,
    object_at,
    objects_at,
    text_at,
    to_iso_time,
)
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import UnreadableBody
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import constant_time_equal, header_value
from service.sources.verification.hmac import build_signed_bytes, decode_digest

VALIDATION = "endpoint.url_validation"
REGISTRATION = ".registration_created"
REGISTRANT = ("payload", "object", "registrant")
FIELDS = {
    "first_name": "first_name", "last_name": "last_name", "email": "email", "phone": "phone",
    "org": "company", "job_title": "job_title", "country": "country", "comments": "message",
}  # fmt: skip
# What Zoom adds to a registration, among it the personal link to join.
BOOKKEEPING = frozenset({
    "id", "registrant_id", "status", "join_url", "create_time", "language", "participant_pin_code",
    "custom_questions", "occurrences",
})  # fmt: skip
VERIFY = VerifySettings(
    scheme="hmac",
    header="x-zm-signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="x-zm-request-timestamp",
)


def event(top: Table) -> ParsedEvent | None:
    kind, person = text_at(top, "event") or "", object_at(top, *REGISTRANT)
    if not kind:
        return None
    if not kind.endswith(REGISTRATION) or not person:
        return no_lead(top, f"{kind}: nobody registered")
    meeting = object_at(top, "payload", "object")
    meeting_id, person_id = text_at(meeting, "id"), text_at(person, "id")
    return event_from_questions(
        top,
        _questions(person),
        at=REGISTRANT,
        lead_fields=drop_empty(
            form_id=meeting_id,
            form_name=text_at(meeting, "topic"),
            occurred_at=to_iso_time(top.get("event_ts")),
        ),
        event_id=f"{meeting_id}:{person_id}" if meeting_id and person_id else None,
    )


def _questions(person: Table) -> Iterator[FormQuestion]:
    for key, value in person.items():
        if key not in BOOKKEEPING:
            yield FormQuestion(key=key, value=value, lead_field=FIELDS.get(key))
    for number, one in enumerate(objects_at(person, "custom_questions")):
        yield FormQuestion(
            key=f"custom_questions.{number}", title=text_at(one, "title"), value=one.get("value")
        )


def answer_post(request: InboundRequest, source: Source) -> NormalizationResult | None:
    """Zoom's check of the URL, answered; None for any other POST."""
    try:
        top = decode_body(request)
    except UnreadableBody:
        return None
    token = text_at(top, "payload", "plainToken")
    if token is None or text_at(top, "event") != VALIDATION:
        return None
    if not source.secrets:
        return NormalizationResult(
            outcome=Outcome.REFUSED,
            status=403,
            detail="This challenge is not answered.",
            reason="no secret is set",
        )
    signature = hmac.digest(_find_key(request, source), token.encode(), "sha256").hex()
    return NormalizationResult(
        outcome=Outcome.HANDSHAKE,
        status=200,
        response=CustomResponse(200, {"plainToken": token, "encryptedToken": signature}),
    )


def _find_key(request: InboundRequest, source: Source) -> bytes:
    """The secret with which the request was signed: while rotating, Zoom accepts no other."""
    signature = decode_digest(header_value(request, VERIFY.header or "") or "", VERIFY)
    timestamp = header_value(request, VERIFY.timestamp_header or "")
    content = build_signed_bytes(VERIFY.signed, request, timestamp, None)
    keys = [secret.raw for secret in source.secrets]
    if signature is None or content is None:
        return keys[0]
    matching = (
        key for key in keys if constant_time_equal(hmac.digest(key, content, "sha256"), signature)
    )
    return next(matching, keys[0])


def _is_event(top: Table) -> bool:
    kind = text_at(top, "event") or ""
    return kind == VALIDATION or (kind.endswith(REGISTRATION) and bool(object_at(top, *REGISTRANT)))


ADAPTER = Adapter(
    name="zoom",
    title="Zoom",
    read=body_reader(event),
    detectors=(
        by_header("x-zm-signature"),
        by_body(_is_event, "event is endpoint.url_validation or a registration"),
    ),
    verify=VERIFY,
    reply=200,
    answer_post=answer_post,
)
