"""`woocommerce`: people who place an order or open an account in a WooCommerce shop.

The topic is in a header. The buyer is the one who pays: `shipping` may be somebody else. An order's
`meta_data` has the visit that led to it, under names with `_wc_order_attribution_`. A new webhook
first posts its own id as a form, unsigned, and stays inactive unless the answer is a 200.
https://developer.woocommerce.com/docs/apis/rest-api/v3/webhooks/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, by_header, has_keys
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_question_list,
    extract_fields,
    no_lead,
    objects_at,
    text_at,
    with_fields,
)
from service.sources.handshake import accept_ping
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.request import InboundRequest, NormalizationResult
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import header_value
from worker.lead.templates import UTM_PARTS

LEADS = ("order.created", "customer.created")
PERSON = {
    "first_name": "first_name", "last_name": "last_name", "email": "email", "phone": "phone",
    "company": "company", "country": "country",
}  # fmt: skip
FIELD_MAP = FieldMap(
    fields={
        **PERSON,
        **{f"billing.{key}": field for key, field in PERSON.items()},
        "customer_note": "message", "total": "value.amount", "currency": "value.currency",
        "date_created_gmt": "occurred_at",
    }
)  # fmt: skip
# In order of precedence: an account's own name and address before those of its billing.
ORDER_KEYS = (
    "first_name", "last_name", "email", "billing", "customer_note", "total", "currency",
    "date_created_gmt", "payment_method_title", "number",
)  # fmt: skip
ATTRIBUTION = "_wc_order_attribution_"
_PING = re.compile(rb"webhook_id=[0-9]{1,20}")


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return body_reader(lambda top: event(top, request))(request, source)


def event(top: Table, request: InboundRequest) -> ParsedEvent | None:
    if _is_ping(request):
        return no_lead(top, "a new webhook checks the URL")
    topic = header_value(request, "X-WC-Webhook-Topic")
    resource = (topic or ("order." if "order_key" in top else "customer.")).partition(".")[0]
    number = text_at(top, "id")
    event_id = f"{resource}:{number}" if number else None
    if topic is not None and topic not in LEADS:
        again = f"{event_id}#{topic}" if event_id else None
        return no_lead(top, f"{topic}: nobody new", event_id=again)
    if "billing" not in top:
        return None
    metadata = {text_at(one, "key"): one.get("value") for one in objects_at(top, "meta_data")}
    payload = event_from_question_list(
        top,
        _questions(top),
        at=("meta_data",),
        lead_fields=_attribution(metadata),
        event_id=event_id,
    )
    fields = {key: top[key] for key in ORDER_KEYS if key in top}
    return with_fields(payload, extract_fields(fields, FIELD_MAP))


def _questions(top: Table) -> Iterator[FormQuestion]:
    """What was bought, and fields that the shop added to its checkout."""
    names = [text_at(item, "name") for item in objects_at(top, "line_items")]
    if names:
        yield FormQuestion(key="line_items", value=[name for name in names if name])
    for one in objects_at(top, "meta_data"):
        key = text_at(one, "key")
        if key and not key.startswith("_"):
            yield FormQuestion(key=key, value=one.get("value"))


def _attribution(metadata: dict[str | None, Tree]) -> Table:
    """The visit; its UTM parameters only if the link had them: WooCommerce fills in its own."""
    names = UTM_PARTS if metadata.get(f"{ATTRIBUTION}source_type") == "utm" else ()
    return drop_empty(
        page_url=metadata.get(f"{ATTRIBUTION}session_entry"),
        referrer=metadata.get(f"{ATTRIBUTION}referrer"),
        **{
            f"utm_{name}": value
            for name in names
            if (value := metadata.get(f"{ATTRIBUTION}utm_{name}")) != "(none)"
        },
    )


def answer_post(request: InboundRequest, source: Source) -> NormalizationResult | None:  # noqa: ARG001 -- one signature for all
    """A 200 for the ping of a new webhook, which is not stored."""
    return accept_ping() if _is_ping(request) else None


def _is_ping(request: InboundRequest) -> bool:
    return _PING.fullmatch(request.body.strip()) is not None


ADAPTER = Adapter(
    name="woocommerce",
    title="WooCommerce",
    read=read,
    detectors=(
        by_header("x-wc-webhook-topic"),
        by_body(lambda top: top.keys() == {"webhook_id"}, "webhook_id alone", is_posted_form=True),
        by_body(has_keys("billing", "shipping", "order_key"), "an order with its order_key"),
    ),
    verify=VerifySettings(scheme="hmac", header="X-WC-Webhook-Signature", encoding="base64"),
    reply=200,
    answer_post=answer_post,
    answers_unsigned=True,
)
