"""`squarespace`: orders, by way of the Orders API.

A notification carries ids only. The key of the signature is the bytes that the hex secret stands
for. An order has the buyer in `billingAddress` and the answers to a checkout form in
`formSubmission`; `shippingAddress` may be somebody else's. https://developers.squarespace.com/webhooks/overview
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from urllib.parse import quote

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
    body_reader,
    event_from_question_list,
    event_needing_fetch,
    extract_fields,
    no_lead,
    objects_at,
    parse_record_id,
    text_at,
    value_at,
    with_fields,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, UnreadableBody
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

ORDER_CREATE = "order.create"
NOTHING_NEW = ("order.update", "extension.uninstall")
NOTIFIED = FieldMap(
    fields={"createdOn": "occurred_at"},
    ignored=("id", "websiteId", "subscriptionId", "topic", "data"),
)
PERSON = {
    "firstName": "first_name", "lastName": "last_name", "phone": "phone", "countryCode": "country",
}  # fmt: skip
ORDER = FieldMap(
    fields={
        "customerEmail": "email", "createdOn": "occurred_at",
        **{f"billingAddress.{key}": field for key, field in PERSON.items()},
        "grandTotal.value": "value.amount", "grandTotal.currency": "value.currency",
    },
    ignored=(
        "id", "formSubmission", "shippingAddress", "internalNotes", "modifiedOn", "testmode",
        "lineItems", "fulfillments", "shippingLines", "discountLines", "subtotal", "shippingTotal",
        "discountTotal", "taxTotal", "refundedTotal", "totals", "priceTaxInterpretation",
        "fulfillmentStatus", "fulfilledOn", "customerId", "externalOrderReference",
    ),
)  # fmt: skip


def scheme(
    request: InboundRequest,
    rules: VerifySettings,  # noqa: ARG001 -- one signature for all schemes
    secrets: Sequence[SourceSecret],
    now: float,  # noqa: ARG001
) -> Verification:
    """HMAC-SHA256 over the raw body, with the bytes that the hex secret stands for."""
    signature = decode_hex(header_value(request, "Squarespace-Signature") or "")
    if signature is None:
        return rejected("the signature is missing")
    keys = filter(None, (decode_hex(secret.value) for secret in secrets))
    expected = [hmac.digest(key, request.body, "sha256") for key in keys]
    return VERIFIED if any_equal([signature], expected) else rejected("the signature is wrong")


def event(top: Table) -> ParsedEvent | None:
    topic, event_id = text_at(top, "topic"), text_at(top, "id")
    if topic in NOTHING_NEW:
        return no_lead(top, f"{topic}: nobody new", event_id=event_id)
    if topic != ORDER_CREATE:
        return None
    order = parse_record_id(value_at(top, "data", "orderId"))
    if order is None:
        return no_lead(top, "the order has no usable id", event_id=event_id)
    reason = "ids only: the order is read from Squarespace"
    return event_needing_fetch(
        top, top, (), NOTIFIED, record=order, event_id=event_id, reason=reason
    )


def read_record(record: Tree, source: Source) -> ParsedEvent:  # noqa: ARG001 -- one signature for all
    if not isinstance(record, dict) or "customerEmail" not in record:
        raise UnreadableBody("no order: customerEmail is missing")
    payload = event_from_question_list(
        record,
        _questions(record),
        at=("formSubmission",),
        event_id=text_at(record, "id"),
        is_test=record.get("testmode") is True,
    )
    return with_fields(payload, extract_fields(record, ORDER))


def _questions(record: Table) -> Iterator[FormQuestion]:
    for number, one in enumerate(objects_at(record, "formSubmission")):
        yield FormQuestion(key=text_at(one, "label") or str(number), value=one.get("value"))


def targets(order: str, source: Source) -> list[str]:  # noqa: ARG001 -- one signature for all
    return [f"/commerce/orders/{quote(order)}"]


ADAPTER = Adapter(
    name="squarespace",
    title="Squarespace",
    read=body_reader(event),
    detectors=(
        by_header("squarespace-signature"),
        by_body(has_keys("websiteId", "subscriptionId", "topic"), "websiteId, subscriptionId"),
        by_record(has_keys("customerEmail", "orderNumber"), "an order as the API answers it"),
    ),
    verify=VerifySettings(),
    scheme=scheme,
    reply=200,
    record_api=RecordApi(
        base_url="https://api.squarespace.com/1.0",
        targets=targets,
        read=read_record,
        token_env="SQUARESPACE_API_KEY",
    ),
)
