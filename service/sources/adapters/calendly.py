"""`calendly`: bookings, and submissions of routing forms.

A cancellation has the `uri` of the booking that it ends. A rescheduled meeting is a cancellation
and a new booking, which names the `old_invitee`: the person is found again by e-mail. The
organiser's and guests' addresses are in the same payload; none of them is taken. If the host is to
call, the location is the invitee's number.
https://developer.calendly.com/api-docs/ZG9jOjM2MzE2MDM4-webhook-signatures
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, by_header
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    body_reader,
    event_from_question_list,
    extract_fields,
    no_lead,
    object_at,
    objects_at,
    text_at,
    with_fields,
)
from service.sources.payload.event import ParsedEvent
from service.sources.schema import VerifySettings
from worker.lead.templates import UTM_PARTS

ROOT = "payload"
LEADS = ("invitee.created", "routing_form_submission.created")
FIELD_MAP = FieldMap(
    fields={
        "email": "email", "name": "name", "first_name": "first_name", "last_name": "last_name",
        "text_reminder_number": "phone", "created_at": "occurred_at",
        "scheduled_event.name": "form_name", "scheduled_event.event_type": "form_id",
        **{f"tracking.utm_{part}": f"utm_{part}" for part in UTM_PARTS},
    },
    ignored=(
        "questions_and_answers", "uri", "event", "updated_at", "new_invitee", "rescheduled",
        "status", "no_show", "reconfirmation", "invitee_scheduled_by",
        "scheduled_event.event_memberships", "scheduled_event.event_guests",
        "scheduled_event.created_at", "scheduled_event.updated_at", "scheduled_event.uri",
        "scheduled_event.status", "scheduled_event.invitees_counter",
        "scheduled_event.calendar_event",
    ),
)  # fmt: skip
OUTBOUND_CALL = FieldMap(
    fields={**FIELD_MAP.fields, "scheduled_event.location.location": "phone"},
    ignored=(*FIELD_MAP.ignored, "scheduled_event.location.type"),
)


def event(top: Table) -> ParsedEvent | None:
    kind, booking = text_at(top, "event"), object_at(top, ROOT)
    if not booking:
        return None
    uri = text_at(booking, "uri")
    if kind is not None and kind not in LEADS:
        event_id = f"{uri}#{kind.rpartition('.')[2]}" if uri else None
        return no_lead(top, f"{kind}: nobody new", event_id=event_id)
    payload = event_from_question_list(
        top, _questions(booking), at=(ROOT, "questions_and_answers"), event_id=uri
    )
    is_outbound = text_at(booking, "scheduled_event", "location", "type") == "outbound_call"
    field_map = OUTBOUND_CALL if is_outbound else FIELD_MAP
    return with_fields(payload, extract_fields(booking, field_map, (ROOT,)))


def _questions(booking: Table) -> Iterator[FormQuestion]:
    for number, one in enumerate(objects_at(booking, "questions_and_answers")):
        yield FormQuestion(key=str(number), title=text_at(one, "question"), value=one.get("answer"))


def _is_booking(top: Table) -> bool:
    kind = text_at(top, "event") or ""
    return kind.startswith(("invitee.", "routing_form_submission.")) and bool(object_at(top, ROOT))


ADAPTER = Adapter(
    name="calendly",
    title="Calendly",
    read=body_reader(event),
    detectors=(
        by_header("calendly-webhook-signature"),
        by_body(_is_booking, "event is invitee.… with a payload"),
    ),
    verify=VerifySettings(
        scheme="hmac",
        header="Calendly-Webhook-Signature",
        list_prefixes="t=,v1=",
        signed="{timestamp}.{body}",
        tolerance=180.0,
    ),
    reply=200,
)
