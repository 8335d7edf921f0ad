"""`intercom`: notifications about contacts.

`id` is the same for every attempt of one notification, and null for the ping that Intercom sends
when a webhook is saved. A contact may have no e-mail yet when it is created:
`contact.lead.added_email` follows. https://developers.intercom.com/docs/webhooks/webhook-notifications
"""

from __future__ import annotations

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FieldMap,
    Table,
    body_reader,
    drop_empty,
    extract_fields,
    no_lead,
    object_at,
    text_at,
    to_iso_time,
)
from service.sources.payload.event import LookupScope, ParsedEvent
from service.sources.schema import VerifySettings
from worker.lead.templates import UTM_PARTS

AT = ("data", "item")
CONTACTS = ("contact", "lead", "user")
# The last words of topics about contacts that are nobody new.
NOTHING_NEW = (
    "deleted", "archived", "unarchived", "merged", "subscribed", "unsubscribed", "attached",
    "detached",
)  # fmt: skip
FIELD_MAP = FieldMap(
    fields={
        "email": "email", "phone": "phone", "name": "name", "referrer": "referrer",
        "sms_consent": "consent", "location.country": "country",
        "companies.data.0.name": "company",
        **{f"utm_{part}": f"utm_{part}" for part in UTM_PARTS},
    },
    matched_by_label=("custom_attributes",),
    ignored=(
        "type", "workspace_id", "avatar", "social_profiles", "tags", "notes", "owner_id",
        "opted_out_subscription_types", "opted_in_subscription_types", "created_at", "updated_at",
        "signed_up_at", "location.type",
        *(f"companies.{key}" for key in ("type", "url", "total_count", "has_more")),
    ),
)  # fmt: skip


def event(top: Table) -> ParsedEvent | None:
    item, topic, event_id = object_at(top, *AT), text_at(top, "topic") or "", text_at(top, "id")
    if topic == "ping" or text_at(item, "type") == "ping":
        return no_lead(top, "a ping", event_id=event_id, is_test=True)
    if not item:
        return None
    last = topic.rpartition(".")[2]
    if text_at(item, "type") not in CONTACTS or last in NOTHING_NEW or ".tag." in topic:
        return no_lead(top, f"{topic or 'an event'}: no new contact", event_id=event_id)
    return ParsedEvent(
        scopes=[LookupScope(AT, item), LookupScope((), top)],
        fields=list(extract_fields(item, FIELD_MAP, AT)),
        lead_fields=drop_empty(occurred_at=to_iso_time(top.get("created_at"))),
        event_id=event_id,
    )


def _is_notification(top: Table) -> bool:
    return (text_at(top, "type") or "").startswith("notification_event")


ADAPTER = Adapter(
    name="intercom",
    title="Intercom",
    read=body_reader(event),
    detectors=(by_body(_is_notification, "type is notification_event"),),
    verify=VerifySettings(
        scheme="hmac", header="X-Hub-Signature", algorithm="sha1", prefix="sha1="
    ),
    reply=200,
)
