"""`callrail`: calls to a tracking number, sent after the call.

`customer_…` is the caller as the phone network names them, often by a town or a phrase such as
"Wireless Caller". The tracking number, the number that rang, `company_name` and `agent_email`
belong to the business that was called. All webhooks of a call have the same id.
https://apidocs.callrail.com/#webhooks
"""

from __future__ import annotations

import re

from service.sources.adapters.base import Adapter, by_body, has_keys
from service.sources.adapters.questions import (
    FieldMap,
    Table,
    body_reader,
    extract_fields,
    no_lead,
    text_at,
)
from service.sources.payload.event import LookupScope, ParsedEvent
from service.sources.request import Outcome
from service.sources.schema import VerifySettings
from worker.lead.templates import UTM_PARTS

FIELD_MAP = FieldMap(
    fields={
        "customer_name": "name", "customer_phone_number": "phone", "customer_country": "country",
        "start_time": "occurred_at", "landing_page_url": "page_url", "referring_url": "referrer",
        **{f"utm_{part}": f"utm_{part}" for part in UTM_PARTS},
        **{name: f"click_ids.{name}" for name in ("gclid", "fbclid", "msclkid")},
    }
)  # fmt: skip
# What is kept of a call; the rest repeats it or is about the business that was called.
CALL_KEYS = (
    *FIELD_MAP.fields, "customer_city", "customer_state", "duration", "answered", "voicemail",
    "first_call", "source_name", "medium", "campaign", "keywords", "tags", "note", "transcription",
    "call_summary", "recording_player",
)  # fmt: skip
# What the network shows for callers who withhold their number: on a keypad these spell ANONYMOUS,
# RESTRICTED, UNAVAILABLE, UNKNOWN and BLOCKED.
NO_NUMBERS = frozenset({"266696687", "7378742833", "86282452253", "8656696", "2562533"})
NO_NAMES = frozenset({
    "anonymous", "anonymous caller", "restricted", "unavailable", "unknown", "unknown caller",
    "blocked", "blocked caller", "private", "private caller", "private number", "name unavailable",
    "no caller id", "wireless caller", "cell phone", "toll free caller", "toll free call",
    "caller", "v",
})  # fmt: skip
_NOT_DIGITS = re.compile(r"[^0-9]+")


def event(top: Table) -> ParsedEvent | None:
    if "customer_phone_number" not in top:
        return None
    event_id = text_at(top, "resource_id") or text_at(top, "id")
    if text_at(top, "direction") == "outbound":
        return no_lead(top, "an outbound call", event_id=event_id)
    is_spam = top.get("spam") is True
    unknown = _find_unknown(top)
    call = {key: top[key] for key in CALL_KEYS if key in top and key not in unknown}
    return ParsedEvent(
        scopes=[LookupScope((), top)],
        fields=list(extract_fields(call, FIELD_MAP)),
        event_id=event_id,
        outcome=Outcome.SPAM if is_spam else None,
        reason="CallRail marked the call as spam" if is_spam else None,
    )


def _find_unknown(top: Table) -> set[str]:
    """The keys of the name and the number if they say nothing about the caller."""
    name = (text_at(top, "customer_name") or "").lower()
    number = _NOT_DIGITS.sub("", text_at(top, "customer_phone_number") or "")
    city, state = (text_at(top, f"customer_{key}") or "" for key in ("city", "state"))
    unknown: set[str] = set()
    if name in NO_NAMES or name in (city.lower(), f"{city} {state}".lower()):
        unknown.add("customer_name")
    if number in NO_NUMBERS:
        unknown.add("customer_phone_number")
    return unknown


ADAPTER = Adapter(
    name="callrail",
    title="CallRail",
    read=body_reader(event),
    detectors=(
        by_body(
            has_keys("customer_phone_number", "tracking_phone_number"),
            "customer_phone_number beside tracking_phone_number",
        ),
    ),
    verify=VerifySettings(scheme="hmac", header="Signature", algorithm="sha1", encoding="base64"),
    reply=200,
)
