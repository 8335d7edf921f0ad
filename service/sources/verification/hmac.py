"""Signatures over the raw bytes: the `hmac` scheme in its general form, and `standard-webhooks`."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings
from service.sources.verification.common import (
    Verification,
    any_equal,
    decode_base64,
    decode_hex,
    header_bytes,
    header_value,
    rejected,
)
from worker.units import parse_unix_time

# Signatures of one header that are compared.
MAX_SIGNATURES = 32
PLACEHOLDERS = frozenset({"body", "timestamp", "id", "method", "url"})
_PLACEHOLDER = re.compile(r"\{(body|timestamp|id|method|url)\}")


def verify_hmac(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """Checks an HMAC over the template `signed`, alone in a header or listed with its timestamp."""
    value = header_value(request, rules.header or "")
    if not value:
        return rejected("the signature is missing")
    if rules.list_prefixes:
        timestamp, signatures = _parse_list(value, rules.list_prefixes)
    else:
        timestamp, signatures = header_value(request, rules.timestamp_header or ""), [value]
    event_id = header_value(request, rules.id_header or "")
    if reason := find_stale_reason(timestamp, rules, now):
        return rejected(reason)
    content = build_signed_bytes(rules.signed, request, timestamp, event_id)
    if content is None:
        return rejected("the signed content is incomplete: no timestamp, id or public URL")
    digests = [decode_digest(text, rules) for text in signatures[:MAX_SIGNATURES]]
    expected = [hmac.digest(secret.raw, content, rules.algorithm) for secret in secrets]
    if any_equal(filter(None, digests), expected):
        return Verification(True, event_id=event_id, is_id_signed="{id}" in rules.signed)
    return rejected("the signature is wrong")


def verify_standard_webhooks(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """Checks `webhook-id`, `webhook-timestamp` and `webhook-signature`, or the same with `svix-`.

    The secret is base64 after `whsec_`.
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    prefixes = ("webhook", "svix")
    prefix = next((one for one in prefixes if header_value(request, f"{one}-signature")), "webhook")
    event_id, timestamp, value = (
        header_value(request, f"{prefix}-{part}") for part in ("id", "timestamp", "signature")
    )
    if not event_id or not timestamp or not value:
        return rejected("webhook-id, webhook-timestamp or webhook-signature is missing")
    if reason := find_stale_reason(timestamp, rules, now):
        return rejected(reason)
    content = header_bytes(f"{event_id}.{timestamp}.") + request.body
    signatures = [item[3:] for item in value.split(" ")[:MAX_SIGNATURES] if item.startswith("v1,")]
    keys = filter(None, (decode_base64(one.value.removeprefix("whsec_")) for one in secrets))
    expected = [hmac.digest(key, content, "sha256") for key in keys]
    if any_equal(filter(None, map(decode_base64, signatures)), expected):
        return Verification(True, event_id=event_id, is_id_signed=True)
    return rejected("the signature is wrong")


def find_stale_reason(timestamp: str | None, rules: VerifySettings, now: float) -> str | None:
    """Why a timestamp is refused: required and missing, unreadable, or out of tolerance."""
    is_required = (
        rules.timestamp_header or rules.list_prefixes or rules.scheme == "standard-webhooks"
    )
    if not is_required:
        return None
    seconds = parse_unix_time(timestamp or "")
    if seconds is None:
        return "the timestamp is missing or not a Unix time"
    if abs(now - seconds) > rules.tolerance:
        return "the timestamp is too old or in the future"
    return None


def build_signed_bytes(
    template: str, request: InboundRequest, timestamp: str | None, event_id: str | None
) -> bytes | None:
    """The bytes that the sender signed; None if a part of the template is unknown."""
    values = {"body": request.body, "method": request.method.upper().encode("ascii", "replace")}
    for name, text in (("timestamp", timestamp), ("id", event_id), ("url", request.url)):
        if text:
            values[name] = header_bytes(text)
    pieces = _PLACEHOLDER.split(template)  # text and placeholder names in turn
    if any(name not in values for name in pieces[1::2]):
        return None
    return b"".join(values[piece] if at % 2 else piece.encode() for at, piece in enumerate(pieces))


def decode_digest(text: str, rules: VerifySettings) -> bytes | None:
    """The bytes of a signature; None if it lacks the prefix or is not in the right encoding."""
    text = text.strip()
    if not text.lower().startswith(rules.prefix.lower()):
        return None
    digits = text[len(rules.prefix) :].strip()
    return decode_base64(digits) if rules.encoding == "base64" else decode_hex(digits)


def _parse_list(value: str, prefixes: str) -> tuple[str | None, list[str]]:
    """The timestamp and the signatures of `t=…,v1=…,v1=…`."""
    time_prefix, _, digest_prefix = prefixes.partition(",")
    items = [item.strip() for item in value.split(",")[: 2 * MAX_SIGNATURES]]
    times = [item.removeprefix(time_prefix) for item in items if item.startswith(time_prefix)]
    digests = [item.removeprefix(digest_prefix) for item in items if item.startswith(digest_prefix)]
    return (times[0] if len(times) == 1 else None), digests
