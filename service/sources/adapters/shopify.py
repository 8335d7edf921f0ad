"""`shopify`: customers, and people who place an order or begin a checkout.

Only headers say what happened, under which id and whether it is a test. The privacy topics that
every app must answer (such as `customers/redact`) make no lead. Whether somebody wants e-mails is
the state of `email_marketing_consent`, which took the place of `accepts_marketing`.
https://shopify.dev/docs/apps/build/webhooks
"""

from __future__ import annotations

from msgspec import structs

from service.sources.adapters.base import Adapter, by_body, by_header, has_keys
from service.sources.adapters.questions import (
    FieldMap,
    Table,
    body_reader,
    drop_empty,
    extract_fields,
    no_lead,
    text_at,
)
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
# States of consent that are an answer; `pending` is none yet.
CONSENT = {"subscribed": True, "not_subscribed": False, "unsubscribed": False}
CONSENT_PATHS = (("email_marketing_consent",), ("customer", "email_marketing_consent"))
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
        "client_details", *(".".join(path) for path in CONSENT_PATHS),
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
        return structs.replace(
            no_lead(top, "its topic makes no lead", event_id=event_id, is_test=is_test),
            is_id_unsigned=True,
        )
    is_customer = topic is None or topic.startswith("customers/")
    field_map = CUSTOMER_FIELDS if is_customer else ORDER_FIELDS
    return ParsedEvent(
        scopes=[LookupScope((), top)],
        fields=list(extract_fields(top, field_map)),
        lead_fields=drop_empty(consent=_find_consent(top)),
        event_id=event_id,
        is_id_unsigned=True,
        is_test=is_test,
    )


def _find_consent(top: Table) -> bool | None:
    """The customer's consent, unless the order itself says what was ticked at its checkout."""
    if isinstance(top.get("buyer_accepts_marketing"), bool):
        return None
    states = (text_at(top, *path, "state") for path in CONSENT_PATHS)
    return next((CONSENT[state] for state in states if state in CONSENT), None)


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
