"""`hubspot`: contacts from workflows, and from subscriptions by way of the CRM API.

A workflow posts the whole contact; a subscription posts a list of events that carry ids only. All
three versions of the signature are in use, and two of them sign the URL as the sender sees it.
https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote, urlencode

from msgspec import structs

from service.sources.adapters.base import (
    Adapter,
    RecordApi,
    by_body,
    by_header,
    by_record,
    has_keys,
)
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    drop_empty,
    event_from_question_list,
    event_needing_fetch,
    extract_fields,
    no_lead,
    object_at,
    objects_at,
    parse_record_id,
    text_at,
    to_iso_time,
    with_fields,
)
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, UnreadableBody
from service.sources.payload.unwrap import parse_events
from service.sources.request import InboundRequest
from service.sources.schema import Source, SourceSecret, VerifySettings
from service.sources.verification.common import (
    VERIFIED,
    Verification,
    any_equal,
    decode_hex,
    header_value,
    rejected,
)
from service.sources.verification.hmac import build_signed_bytes, verify_hmac
from worker.units import parse_unix_time

PROPERTIES = {
    "email": "email", "firstname": "first_name", "lastname": "last_name", "phone": "phone",
    "mobilephone": "phone", "company": "company", "jobtitle": "job_title", "website": "website",
    "country": "country", "message": "message",
    "hs_analytics_first_url": "page_url", "hs_analytics_first_referrer": "referrer",
    "hs_google_click_id": "click_ids.gclid", "hs_facebook_click_id": "click_ids.fbclid",
}  # fmt: skip
# Worth keeping as answers. HubSpot's many other `hs_` properties are counters of its own.
ANSWERS = (
    "city", "state", "zip", "lifecyclestage", "hs_lead_status", "hs_analytics_source",
    "hs_analytics_source_data_1", "hs_analytics_source_data_2", "hs_latest_source", "hs_language",
)  # fmt: skip
CONTACT = FieldMap(
    fields={"createdAt": "occurred_at"},
    ignored=(
        "properties", "form-submissions", "identity-profiles", "list-memberships", "merge-audits",
        "merged-vids", "associated-company", "associated-owner", "is-contact", "updatedAt",
        "archived", "id", "canonical-vid",
    ),
)  # fmt: skip
EVENT = FieldMap(fields={"occurredAt": "occurred_at"}, ignored=("eventId", "attemptNumber"))
WORKFLOW_KEYS = frozenset({
    "vid", "canonical-vid", "portal-id", "is-contact", "identity-profiles", "form-submissions",
})  # fmt: skip
LEAD_EVENTS = re.compile(r"(?:contact|object)\.(?:creation|propertyChange)")
# The `objectTypeId` of contacts, in subscriptions to objects of any kind.
CONTACT_TYPE = "0-1"

V3 = VerifySettings(
    scheme="hmac", header="X-HubSpot-Signature-v3", encoding="base64",
    signed="{method}{url}{body}{timestamp}",
    timestamp_header="X-HubSpot-Request-Timestamp",
)  # fmt: skip
# What the older versions sign behind the secret, by `X-HubSpot-Signature-Version`.
SIGNED = {
    "v1": ("{body}",),
    "v2": ("{method}{url}{body}",),
    None: ("{body}", "{method}{url}{body}"),
}
# What HubSpot decodes in a URL before it signs it (v3).
_ENCODED = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def scheme(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """Version 3 if it is there, otherwise version 1 or 2, which have no timestamp."""
    if header_value(request, V3.header or ""):
        v3 = structs.replace(V3, tolerance=rules.tolerance)
        as_seen = verify_hmac(request, v3, secrets, now)
        url = _ENCODED.sub(lambda match: unquote(match[0]), request.url or "")
        decoded = structs.replace(request, url=url)
        return as_seen if as_seen.ok else verify_hmac(decoded, v3, secrets, now)
    signature = decode_hex(header_value(request, "X-HubSpot-Signature") or "")
    templates = SIGNED.get(
        (header_value(request, "X-HubSpot-Signature-Version") or "").lower() or None
    )
    if signature is None or templates is None:
        return rejected("the signature is missing")
    # Whoever knows a plain hash can extend it, but only by bytes that are not UTF-8, which no body
    # here may contain.
    built = (build_signed_bytes(template, request, None, None) for template in templates)
    signed = [text for text in built if text is not None]
    if not signed:
        return rejected("what is signed is incomplete: the public URL is not known")
    digests = [hashlib.sha256(secret.raw + text).digest() for secret in secrets for text in signed]
    return VERIFIED if any_equal([signature], digests) else rejected("the signature is wrong")


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    top = decode_body(request)
    if not source.read.root:
        if isinstance(top, list) and (not top or _is_subscription(top[0])):
            events = [_subscribed_event(top, str(number), one) for number, one in enumerate(top)]
            return events or [no_lead(top, "an empty batch")]
        if _is_subscription(top):
            return [_subscribed_event(top, None, top)]
        if isinstance(top, dict) and isinstance(top.get("properties"), dict):
            return [contact(top)]
    return parse_events(top, source)


def _is_subscription(one: Tree) -> bool:
    return isinstance(one, dict) and "subscriptionType" in one and "properties" not in one


def _subscribed_event(top: Tree, place: str | None, one: Tree) -> ParsedEvent:
    kind, event_id = text_at(one, "subscriptionType") or "", text_at(one, "eventId")
    record = parse_record_id(one.get("objectId")) if isinstance(one, dict) else None
    if (
        not LEAD_EVENTS.fullmatch(kind)
        or text_at(one, "objectTypeId") not in (None, CONTACT_TYPE)
        or record is None
    ):
        return no_lead(top, f"{kind[:60] or 'an event'}: no contact to read", event_id=event_id)
    at = (place,) if place else ()
    reason = "ids only: the contact is read from HubSpot"
    return event_needing_fetch(top, one, at, EVENT, record=record, event_id=event_id, reason=reason)


def contact(top: Table) -> ParsedEvent:
    """A contact from a workflow, whose values come with their history, or from the API."""
    form = max(
        objects_at(top, "form-submissions"),
        key=lambda one: parse_unix_time(text_at(one, "timestamp") or "") or 0.0,
        default={},
    )
    payload = event_from_question_list(
        top,
        _properties(object_at(top, "properties")),
        at=("properties",),
        lead_fields=drop_empty(
            form_id=text_at(form, "form-id"),
            form_name=text_at(form, "title") or text_at(form, "page-title"),
            page_url=text_at(form, "page-url"),
            occurred_at=to_iso_time(form.get("timestamp")),
        ),
        event_id=text_at(form, "conversion-id"),
    )
    return with_fields(payload, extract_fields(top, CONTACT))


def _properties(properties: Table) -> Iterator[FormQuestion]:
    for name, value in properties.items():
        if not name.startswith("hs_") or name in PROPERTIES or name in ANSWERS:
            yield FormQuestion(
                key=name,
                value=value.get("value") if isinstance(value, dict) else value,
                lead_field=PROPERTIES.get(name),
                whole=True,
            )


def read_record(record: Tree, source: Source) -> ParsedEvent:  # noqa: ARG001 -- one signature for all
    if not isinstance(record, dict) or not object_at(record, "properties"):
        raise UnreadableBody("not a HubSpot contact: properties are missing")
    return structs.replace(contact(record), event_id=text_at(record, "id"))


def targets(contact_id: str, source: Source) -> list[str]:
    """One path, with the properties that are useful here and those that the source maps.

    `map` names a property as `properties.NAME` or NAME.
    """
    mapped = {path.removeprefix("properties.") for path in source.map}
    names = [*PROPERTIES, *ANSWERS, *sorted(mapped - {*PROPERTIES, *ANSWERS})]
    query = urlencode({"properties": ",".join(names)}, safe=",")
    return [f"/crm/v3/objects/contacts/{quote(contact_id)}?{query}"]


def _is_workflow_contact(top: Table) -> bool:
    return bool(object_at(top, "properties")) and bool(top.keys() & WORKFLOW_KEYS)


def _is_record(top: Table) -> bool:
    return {"id", "createdAt", "archived"} <= top.keys() and bool(object_at(top, "properties"))


ADAPTER = Adapter(
    name="hubspot",
    title="HubSpot",
    read=read,
    detectors=(
        by_header("x-hubspot-signature-v3"),
        by_header("x-hubspot-signature"),
        by_body(has_keys("subscriptionType", "objectId"), "subscriptionType with objectId"),
        by_body(_is_workflow_contact, "a contact with properties and portal-id"),
        by_record(
            _is_record, "properties between id and archived: a contact as the API answers it"
        ),
    ),
    verify=VerifySettings(signed=V3.signed),
    scheme=scheme,
    # "Each request from HubSpot can contain up to 100 events":
    # https://developers.hubspot.com/docs/api/webhooks
    max_events=100,
    reply=200,
    record_api=RecordApi(
        base_url="https://api.hubapi.com",
        targets=targets,
        read=read_record,
        token_env="HUBSPOT_ACCESS_TOKEN",
    ),
)
