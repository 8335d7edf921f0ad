"""`shopify`: customers, and who orders or begins a checkout.

What happened, its id and whether it is a test stand in headers alone. The privacy topics that every
app must answer (`customers/redact` and its like) make no lead.
https://shopify.dev/docs/apps/build/webhooks
"""

from __future__ import annotations

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import FieldMap, Table, body_reader, extract_fields, no_lead
from service.sources.payload.event import LookupScope, ParsedEvent
from service.sources.request import InboundRequest
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import header_value

LEADS = (
    "customers/create",
    "customers/update",
    "customers/enable",
    "orders/create",
    "checkouts/create",
)
PERSON = {"email": "email", "phone": "phone", "first_name": "first_name", "last_name": "last_name"}
ADDRESS = {
    "company": "company",
    "phone": "phone",
    "country_code": "country",
    "country": "country",
    "name": "name",
}
ADDRESSES = ("default_address", "addresses.0", "billing_address")
ORDERS = {"total_price": "value.amount", "currency": "value.currency"}
WORDS = FieldMap(
    fields={
        **PERSON, "note": "message", "accepts_marketing": "consent",
        "buyer_accepts_marketing": "consent",
        "created_at": "occurred_at", "landing_site": "page_url", "referring_site": "referrer",
        "contact_email": "email",
        **{f"customer.{key}": field for key, field in PERSON.items()},
        **{f"{at}.{key}": field for at in ADDRESSES for key, field in ADDRESS.items()},
    },
    ignored=("admin_graphql_api_id", "updated_at", "line_items", "tax_lines", "shipping_lines", "client_details"),
)  # fmt: skip
WORDS_OF_ORDERS = FieldMap(fields={**WORDS.fields, **ORDERS}, ignored=WORDS.ignored)
"""A customer's `currency` has no amount beside it."""


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return body_reader(lambda top: event(top, request))(request, source)


def event(top: Table, request: InboundRequest) -> ParsedEvent:
    topic, event_id = (
        header_value(request, "X-Shopify-Topic"),
        header_value(request, "X-Shopify-Webhook-Id"),
    )
    is_test = (header_value(request, "X-Shopify-Test") or "").lower() == "true"
    if topic is not None and topic not in LEADS:
        return no_lead(top, "its topic makes no lead", event_id=event_id, is_test=is_test)
    words = WORDS if topic is None or topic.startswith("customers/") else WORDS_OF_ORDERS
    return ParsedEvent(
        scopes=[LookupScope((), top)],
        fields=list(extract_fields(top, words)),
        event_id=event_id,
        is_test=is_test,
    )


ADAPTER = Adapter(
    name="shopify",
    read=read,
    verify=VerifySettings(scheme="hmac", header="X-Shopify-Hmac-SHA256", encoding="base64"),
    reply=200,
)
