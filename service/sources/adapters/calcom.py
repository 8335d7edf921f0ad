"""`calcom`: bookings and routing forms of Cal.com.

`responses` has what the booker entered, under Cal.com's own keys and those of added questions; a
label is the key of a translation (`your_name`) unless somebody wrote it. `organizer`, `team` and
`guests` are other people. A booking keeps its `uid` from the request to the confirmation. https://cal.com/docs/developing/guides/automation/webhooks
"""

from __future__ import annotations

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
    value_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, text_of
from service.sources.schema import VerifySettings

ROOT = "payload"
LEADS = ("BOOKING_CREATED", "BOOKING_REQUESTED", "FORM_SUBMITTED", "FORM_SUBMITTED_NO_EVENT")
# Cal.com's own questions; the location is a phone number if the host is to call.
FIELDS = {
    "name": "name", "email": "email", "attendeePhoneNumber": "phone", "smsReminderNumber": "phone",
    "notes": "message",
}  # fmt: skip
OTHERS = frozenset({"guests", "title", "rescheduleReason"})
ATTENDEE = {"name": "name", "email": "email", "phoneNumber": "phone"}


def event(top: Table) -> ParsedEvent | None:
    kind, booking = text_at(top, "triggerEvent"), object_at(top, ROOT)
    if kind is None or not booking:
        return None
    uid = text_at(booking, "uid")
    if kind == "PING":
        return no_lead(top, "a ping: somebody tested the webhook")
    if kind not in LEADS:
        return no_lead(top, f"{kind}: nobody new", event_id=f"{uid}#{kind}" if uid else None)
    questions = list(_questions(booking))
    return event_from_questions(
        top,
        questions,
        at=(ROOT, "responses"),
        lead_fields=drop_empty(
            form_id=text_at(booking, "eventTypeId") or text_at(booking, "formId"),
            form_name=text_at(booking, "eventTitle")
            or text_at(booking, "formName")
            or text_at(booking, "type"),
            occurred_at=text_at(top, "createdAt"),
            **_find_attendee(booking, {one.lead_field for one in questions if text_of(one.value)}),
        ),
        event_id=uid,
    )


def _questions(booking: Table) -> Iterator[FormQuestion]:
    for key, response in object_at(booking, "responses").items():
        value = value_at(response, "value")
        if key == "location":
            yield _location(key, value)
        elif key not in OTHERS:
            is_own = key in FIELDS
            yield FormQuestion(
                key=key,
                title=None if is_own else text_at(response, "label"),
                value=value,
                lead_field=FIELDS.get(key),
                whole=key == "name",
            )
    for label, value in object_at(booking, "customInputs").items():
        yield FormQuestion(key=label, value=value)
    for key, value in object_at(booking, "metadata").items():
        if key != "videoCallUrl":
            yield FormQuestion(key=key, value=value)


def _location(key: str, value: Tree) -> FormQuestion:
    """Where to meet, as the booker chose or entered it."""
    is_phone = text_at(value, "value") == "phone"
    entered = text_at(value, "optionValue") or text_at(value, "value")
    return FormQuestion(key=key, value=entered, lead_field="phone" if is_phone else None)


def _find_attendee(booking: Table, answered: set[str | None]) -> Table:
    """The fields of the first attendee, who booked, that the responses do not have."""
    attendees = objects_at(booking, "attendees")[:1]
    return {
        field: text_at(person, key)
        for person in attendees
        for key, field in ATTENDEE.items()
        if field not in answered
    }


def _is_event(top: Table) -> bool:
    return text_at(top, "triggerEvent") is not None and bool(object_at(top, ROOT))


ADAPTER = Adapter(
    name="calcom",
    title="Cal.com",
    read=body_reader(event),
    detectors=(
        by_header("x-cal-signature-256"),
        by_body(_is_event, "triggerEvent beside a payload"),
    ),
    verify=VerifySettings(scheme="hmac", header="X-Cal-Signature-256"),
    reply=200,
)
