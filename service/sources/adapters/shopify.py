"""`shopify`: customers, and people who place an order or begin a checkout.

Only headers say what happened, under which id and whether it is a test. The privacy topics that
every app must answer (such as `customers/redact`) make no lead.
https://shopify.dev/docs/apps/build/webhooks
"""

from __future__ import annotations

from service.sources.adapters.base import Adapter, by_body, by_header, has_keys
from service.sources.adapters.questions import FieldMap, Table, body_reader, extract_fields, no_lead
from service.sources.payload.event import LookupScope, ParsedEvent
from service.sources.request import InboundRequest
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import header_value

LEADS = (
    "customers/create", "customers/update", "customers/enable", "orders/create", "checkouts/create",
)  # fmt: skip
PERSON = {"email": "email", "phone": "phone", "first_name": "first_name", "last_name": "last_name"}
ADDRESS = {
    "company": "company", "phone": "phone", "country_code": "country", "country": "country",
    "name": "name",
}  # fmt: skip
ADDRESSES = ("default_address", "addresses.0", "billing_address")
ORDERS = {"total_price": "value.amount", "currency": "value.currency"}
CUSTOMER_FIELDS = FieldMap(
    fields={
        **PERSON, "contact_email": "email", "note": "message", "accepts_marketing": "consent",
        "buyer_accepts_marketing": "consent", "created_at": "occurred_at",
        "landing_site": "page_url", "referring_site": "referrer",
        **{f"customer.{key}": field for key, field in PERSON.items()},
        **{f"{at}.{key}": field for at in ADDRESSES for key, field in ADDRESS.items()},
    },
    ignored=(
        "admin_graphql_api_id", "updated_at", "line_items", "tax_lines", "shipping_lines",
        "client_details",
    ),
)  # fmt: skip
# Of orders only: a customer's `currency` has no amount beside it.
ORDER_FIELDS = FieldMap(
    fields={**CUSTOMER_FIELDS.fields, **ORDERS}, ignored=CUSTOMER_FIELDS.ignored
)


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return body_reader(lambda top: event(top, request))(request, source)


def event(top: Table, request: InboundRequest) -> ParsedEvent:
    topic = header_value(request, "X-Shopify-Topic")
    event_id = header_value(request, "X-Shopify-Webhook-Id")
    is_test = (header_value(request, "X-Shopify-Test") or "").lower() == "true"
    if topic is not None and topic not in LEADS:
        return no_lead(top, "its topic makes no lead", event_id=event_id, is_test=is_test)
    is_customer = topic is None or topic.startswith("customers/")
    field_map = CUSTOMER_FIELDS if is_customer else ORDER_FIELDS
    return ParsedEvent(
        scopes=[LookupScope((), top)],
        fields=list(extract_fields(top, field_map)),
        event_id=event_id,
        is_test=is_test,
    )


ADAPTER = Adapter(
    name="shopify",
    title="Shopify",
    read=read,
    detectors=(
        by_header("x-shopify-hmac-sha256"),
        by_header("x-shopify-topic"),
        by_body(has_keys("admin_graphql_api_id"), "admin_graphql_api_id"),
    ),
    verify=VerifySettings(scheme="hmac", header="X-Shopify-Hmac-SHA256", encoding="base64"),
    reply=200,
)
