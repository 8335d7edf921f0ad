"""Which product sent a request: by the shape of its body, by its headers, by the question it asks
of a URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from service.sources.payload.tree import Tree
from service.sources.wizard.captured import Captured

HEADERS = {
    "typeform-signature": "typeform",
    "tally-signature": "tally",
    "x-webflow-signature": "webflow",
    "calendly-webhook-signature": "calendly",
    "x-hubspot-signature-v3": "hubspot",
    "x-hubspot-signature": "hubspot",
    "x-li-signature": "linkedin",
    "x-shopify-hmac-sha256": "shopify",
    "x-shopify-topic": "shopify",
}
"""Headers that no other product sends."""
_GRAVITY = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_CF7 = re.compile(
    r"your-[a-z-]+|(?:text|email|tel|url|textarea|menu|checkbox|radio|acceptance|number|date)-[0-9]+"
)


class Tell(Struct, frozen=True):
    """`adapter` by its name in the source file; `why` in plain words. `is_record`: the body is an
    answer of the product's API.
    """

    adapter: str
    why: str
    is_record: bool = False


def tell(captured: Captured) -> Tell | None:
    """The product, or None for a form or JSON of nobody in particular."""
    return next(_all(captured), None)


def _all(captured: Captured) -> Iterator[Tell]:
    names = [name for name, _ in captured.request.headers]
    for name, adapter in HEADERS.items():
        if name in names:
            yield Tell(adapter, f"the header {name}")
    for adapter, (holds, why) in SHAPES.items():
        if holds(captured):
            yield Tell(adapter, why)
    for adapter, (holds, why) in RECORDS.items():
        if holds(captured):
            yield Tell(adapter, why, is_record=True)
    for kind in ("webhook", "svix"):
        if {f"{kind}-id", f"{kind}-timestamp", f"{kind}-signature"} <= set(names):
            yield Tell(
                "standard-webhooks", f"the headers {kind}-id, {kind}-timestamp and {kind}-signature"
            )
    query = captured.request.query
    if "hub.mode=" in query and "hub.challenge=" in query:
        yield Tell(
            "meta-lead-ads",
            "hub.mode and hub.challenge in the query: Meta asks whether the URL is yours",
        )
    if captured.request.method == "GET" and "challengeCode=" in query:
        yield Tell("linkedin", "challengeCode in the query: LinkedIn asks whether the URL is yours")


def _says(captured: Captured, key: str, *starts: str) -> bool:
    value = captured.top.get(key)
    return isinstance(value, str) and value.startswith(starts)


def _typeform(captured: Captured) -> bool:
    return bool(
        captured.table("form_response").keys() & {"answers", "definition", "form_id", "token"}
    )


def _tally(captured: Captured) -> bool:
    return isinstance(captured.table("data").get("fields"), list) and "eventType" in captured.top


def _webflow(captured: Captured) -> bool:
    is_first = {"site", "data", "_id", "d"} <= captured.top.keys() and bool(captured.table("data"))
    return is_first or (_says(captured, "triggerType", "") and bool(captured.table("payload")))


def _hubspot(captured: Captured) -> bool:
    if {"subscriptionType", "objectId"} <= captured.top.keys():
        return True
    marks = {
        "vid",
        "canonical-vid",
        "portal-id",
        "is-contact",
        "identity-profiles",
        "form-submissions",
    }
    return bool(captured.table("properties")) and bool(captured.top.keys() & marks)


def _meta(captured: Captured) -> bool:
    entries = captured.top.get("entry")
    return isinstance(entries, list) and any(
        isinstance(entry, dict) and "changes" in entry for entry in entries
    )


def _elementor(captured: Captured) -> bool:
    fields = captured.table("fields").values()
    if fields and all(
        isinstance(field, dict) and {"id", "type", "value"} <= field.keys() for field in fields
    ):
        return captured.is_form
    marks = {"Powered by", "Remote IP", "User Agent"} & captured.top.keys()
    return captured.is_form and (
        len(marks) > 1 or any(key.startswith("No Label ") for key in captured.top)
    )


def _contact_form_7(captured: Captured) -> bool:
    keys = captured.top.keys()
    tags = sum(bool(_CF7.fullmatch(key)) for key in keys)
    return (
        any(key.startswith("_wpcf7") for key in keys)
        or (tags > 0 and bool(keys & {"_remote_ip", "_url"}))
        or tags > 2
    )


def _gravity_forms(captured: Captured) -> bool:
    keys = captured.top.keys()
    numbered = any(_GRAVITY.fullmatch(key) for key in keys)
    return (
        numbered
        and {"form_id", "id"} <= keys
        and bool(keys & {"date_created", "source_url", "is_starred"})
    )


def _calendly(captured: Captured) -> bool:
    is_booking = _says(captured, "event", "invitee.", "routing_form_submission.")
    return is_booking and bool(captured.table("payload"))


def _netlify(captured: Captured) -> bool:
    marks = {"human_fields", "ordered_human_fields", "site_url", "form_name"}
    return len(marks & captured.top.keys()) > 1 and bool(captured.table("data"))


def _mailchimp(captured: Captured) -> bool:
    return (
        captured.is_form
        and {"type", "fired_at"} <= captured.top.keys()
        and bool(captured.table("data"))
    )


def _keys(*names: str) -> Callable[[Captured], bool]:
    wanted = set(names)
    return lambda captured: wanted <= captured.top.keys()


def _graph_lead(captured: Captured) -> bool:
    data: Tree = captured.top.get("field_data")
    return isinstance(data, list) and all(
        isinstance(one, dict) and {"name", "values"} <= one.keys() for one in data
    )


def _contact_record(captured: Captured) -> bool:
    properties = captured.table("properties")
    return {"id", "createdAt", "archived"} <= captured.top.keys() and bool(properties)


SHAPES: dict[str, tuple[Callable[[Captured], bool], str]] = {
    "typeform": (_typeform, "the object form_response with its token and answers"),
    "tally": (_tally, "eventType beside data.fields"),
    "webflow": (_webflow, "triggerType with a payload, or site, data and d beside each other"),
    "jotform": (_keys("rawRequest", "formID"), "the parts formID and rawRequest"),
    "unbounce": (_keys("data.json"), "the parameter data.json"),
    "meta-lead-ads": (_meta, "entry with its changes"),
    "google-ads": (
        lambda captured: bool(captured.top.keys() & {"user_column_data", "google_key"}),
        "user_column_data or google_key",
    ),
    "linkedin": (_keys("leadGenFormResponse"), "leadGenFormResponse"),
    "hubspot": (_hubspot, "subscriptionType with objectId, or a contact with properties and portal-id"),
    "calendly": (_calendly, "event is invitee.… with a payload"),
    "intercom": (lambda captured: _says(captured, "type", "notification_event"), "type is notification_event"),
    "netlify": (_netlify, "data beside human_fields, form_name and site_url"),
    "mailchimp": (_mailchimp, "type and fired_at beside data[…]"),
    "shopify": (_keys("admin_graphql_api_id"), "admin_graphql_api_id"),
    "gravity-forms": (_gravity_forms, "numbered answers among form_id, date_created and source_url"),
    "elementor": (_elementor, "fields[…][type] and fields[…][value], or labels as Elementor writes them"),
    "contact-form-7": (_contact_form_7, "tags such as your-email beside _remote_ip, _url or _wpcf7"),
}  # fmt: skip
"""Adapter -> whether the body is its own, and how that shows."""
RECORDS: dict[str, tuple[Callable[[Captured], bool], str]] = {
    "meta-lead-ads": (_graph_lead, "field_data: a lead as the Graph API answers it"),
    "linkedin": (_keys("formResponse"), "formResponse: a response as the API answers it"),
    "hubspot": (
        _contact_record,
        "properties between id and archived: a contact as the API answers it",
    ),
}
