"""The canonical lead's fields: what each holds, what it is called, and who may see it.

The console's form, masking for viewers, the intake's parsers, the names in templates and the
details in a note derive from this table. A new field needs an attribute of `worker.contract.Lead`,
a row here, and the phrases by which forms ask for it in `service.sources.languages`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from worker.contract import Utm


class FieldKind(StrEnum):
    """What a field holds, which decides how it is parsed, edited and masked."""

    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    TEXT = "text"
    LONG_TEXT = "long text"
    WEBSITE = "website"
    PAGE_URL = "page url"
    BOOLEAN = "boolean"
    AMOUNT = "amount"
    CURRENCY = "currency"
    TIME = "time"
    TRACKING = "tracking"


class FieldGroup(StrEnum):
    """The headings under which people read a lead, in this order."""

    PERSON = "Person"
    ENQUIRY = "Enquiry"
    ANSWERS = "Answers"
    CAMPAIGN = "Campaign"
    FORM = "Form"


class CanonicalField(NamedTuple):
    """One field by the name that templates and edits use, such as `value.amount` or `utm_source`.

    `is_personal` hides a text from viewers; other kinds of field are masked by their kind.
    `in_note`: Pipedrive has no field for it, so the note shows it. `is_prominent`: the form shows
    it even if it is empty.
    """

    name: str
    label: str
    group: FieldGroup
    kind: FieldKind = FieldKind.TEXT
    hint: str | None = None
    is_personal: bool = False
    in_note: bool = False
    is_prominent: bool = False


_PERSON, _ENQUIRY = FieldGroup.PERSON, FieldGroup.ENQUIRY
_CAMPAIGN, _FORM = FieldGroup.CAMPAIGN, FieldGroup.FORM

CANONICAL_FIELDS = (
    CanonicalField("name", "Name", _PERSON, FieldKind.NAME, is_prominent=True),
    CanonicalField("first_name", "First name", _PERSON, FieldKind.NAME),
    CanonicalField("last_name", "Last name", _PERSON, FieldKind.NAME),
    CanonicalField("email", "E-mail", _PERSON, FieldKind.EMAIL, is_prominent=True),
    CanonicalField(
        "phone",
        "Phone",
        _PERSON,
        FieldKind.PHONE,
        hint="with country code, such as +44 20 7946 0000",
        is_prominent=True,
    ),
    CanonicalField("job_title", "Job title", _PERSON, is_personal=True, in_note=True),
    CanonicalField("company", "Company", _PERSON, is_prominent=True),
    CanonicalField("website", "Website", _PERSON, FieldKind.WEBSITE, in_note=True),
    CanonicalField("country", "Country", _PERSON, in_note=True),
    CanonicalField("message", "Message", _ENQUIRY, FieldKind.LONG_TEXT, is_prominent=True),
    CanonicalField("value.amount", "Value", _ENQUIRY, FieldKind.AMOUNT),
    CanonicalField(
        "value.currency",
        "Currency",
        _ENQUIRY,
        FieldKind.CURRENCY,
        hint="three letters, such as EUR",
    ),
    CanonicalField("consent", "Consent", _ENQUIRY, FieldKind.BOOLEAN),
    *(
        CanonicalField(f"utm_{part}", f"utm_{part}", _CAMPAIGN, FieldKind.TRACKING)
        for part in Utm.__struct_fields__
    ),
    CanonicalField("page_url", "Page", _CAMPAIGN, FieldKind.PAGE_URL),
    CanonicalField("referrer", "Referrer", _CAMPAIGN, FieldKind.PAGE_URL),
    CanonicalField("form_name", "Form name", _FORM),
    CanonicalField("form_id", "Form id", _FORM),
    CanonicalField("event_id", "Event id", _FORM),
    CanonicalField(
        "occurred_at",
        "Occurred at",
        _FORM,
        FieldKind.TIME,
        hint="ISO 8601, such as 2026-05-01T09:30:00Z",
    ),
    CanonicalField("is_test", "Test event", _FORM, FieldKind.BOOLEAN),
)

# The fields that are attributes of the lead itself, not of its `value` or `utm`.
PLAIN_FIELDS = tuple(
    field
    for field in CANONICAL_FIELDS
    if "." not in field.name and field.kind is not FieldKind.TRACKING
)
