"""`gohighlevel`: the webhook action of a HighLevel workflow, and ContactCreate events of apps.

A workflow sends the contact at the top level, in snake case, beside the custom fields under the
names that people gave them; `customData` is what the action adds. `user` and `owner` are the
colleague to whom the contact is assigned, `location` is the account itself: none of their addresses
is the contact's. An app's event (`type` beside `locationId`) has the same in camel case. Deliveries
have no id.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    body_reader,
    event_from_questions,
    extract_fields,
    no_lead,
    object_at,
    text_at,
    with_fields,
)
from service.sources.payload.event import ParsedEvent

CONTACT_CREATE = "ContactCreate"
# The contact's own names, in a workflow and in an app's event.
CONTACT = {
    "first_name": "first_name", "last_name": "last_name", "full_name": "name", "email": "email",
    "phone": "phone", "company_name": "company", "website": "website", "country": "country",
    "firstName": "first_name", "lastName": "last_name", "name": "name", "companyName": "company",
}  # fmt: skip
# HighLevel's names for the visit from which a contact came; `attributionSource` is the first one.
ATTRIBUTION = {
    "url": "page_url", "referrer": "referrer", "utmSource": "utm_source",
    "utmMedium": "utm_medium", "campaign": "utm_campaign", "utmCampaign": "utm_campaign",
    "utmContent": "utm_content", "utmTerm": "utm_term", "gclid": "click_ids.gclid",
    "fbclid": "click_ids.fbclid", "msclkid": "click_ids.msclkid",
}  # fmt: skip
# What a visit says of the browser and of the kind of form.
MACHINES = ("ip", "userAgent", "fbp", "fbc", "medium", "mediumId")
VISITS = ("contact.attributionSource", "attributionSource")
# Kept as answers, whose names are HighLevel's and never matched.
ANSWERS = (
    "tags", "address1", "city", "state", "postal_code", "postalCode", "full_address",
    "date_of_birth", "dateOfBirth", "contact_source", "source", "opportunity_name", "lead_value",
    "opportunity_source", "pipeline_name", "pipleline_stage", "calendar", "customFields",
)  # fmt: skip
IGNORED = (
    "contact_id", "contact_type", "date_created", "timezone", "location", "user", "owner",
    "workflow", "triggerData", "id", "status", "pipeline_id", "type", "locationId", "contactId",
    "companyId", "assignedTo", "attachments", "dateAdded", "dateUpdated", "dnd", "dndSettings",
    "webhookId", "timestamp", "versionId", "appId",
)  # fmt: skip
FIELD_MAP = FieldMap(
    fields={
        **CONTACT,
        **{f"{at}.{key}": field for at in VISITS for key, field in ATTRIBUTION.items()},
    },
    matched_by_label=("customData",),
    ignored=(
        *IGNORED, "contact.lastAttributionSource", "calendar.created_by",
        "calendar.created_by_user_id", "calendar.last_updated_by_user_id",
        *(f"{at}.{key}" for at in VISITS for key in MACHINES),
    ),
)  # fmt: skip
OWN_KEYS = frozenset({
    *CONTACT, *ANSWERS, *IGNORED, "contact", "attributionSource", "lastAttributionSource",
    "customData",
})  # fmt: skip


def event(top: Table) -> ParsedEvent:
    kind = text_at(top, "type")
    if kind not in (None, CONTACT_CREATE) and "locationId" in top:
        return no_lead(top, f"a {kind} event: only {CONTACT_CREATE} is somebody new")
    contact = {key: value for key, value in top.items() if key in OWN_KEYS}
    payload = event_from_questions(top, _custom_fields(top), at=())
    return with_fields(payload, extract_fields(contact, FIELD_MAP))


def _custom_fields(top: Table) -> Iterator[FormQuestion]:
    return (FormQuestion(key=key, value=top[key]) for key in top if key not in OWN_KEYS)


def _is_workflow(top: Table) -> bool:
    return "contact_id" in top and bool(object_at(top, "location") or object_at(top, "workflow"))


def _is_app_event(top: Table) -> bool:
    return "locationId" in top and (text_at(top, "type") or "").startswith("Contact")


ADAPTER = Adapter(
    name="gohighlevel",
    title="GoHighLevel",
    read=body_reader(event),
    detectors=(
        by_body(_is_workflow, "contact_id beside location and workflow"),
        by_body(_is_app_event, "type is Contact… with a locationId"),
    ),
    reply=200,
)
