"""Signatures over the raw bytes: the `hmac` scheme in its general form, and `standard-webhooks`."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings
from service.sources.spam import parse_unix_time
from service.sources.verification.common import (
    Verification,
    any_equal,
    decode_base64,
    decode_hex,
    header_bytes,
    header_value,
    rejected,
)

MAX_SIGNATURES = 32
"""Signatures of one header that are looked at."""
PLACEHOLDERS = frozenset({"body", "timestamp", "id", "method", "url"})
_PLACEHOLDER = re.compile(r"\{(body|timestamp|id|method|url)\}")


def verify_hmac(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """An HMAC over what `signed` says, in its general form."""
    sent = header_value(request, rules.header or "")
    if not sent:
        return rejected("the signature is missing")
    listed = _listed(sent, rules.list_prefixes) if rules.list_prefixes else (None, [sent])
    timestamp = (
        listed[0] if rules.list_prefixes else header_value(request, rules.timestamp_header or "")
    )
    event_id = header_value(request, rules.id_header or "")
    if reason := find_stale_reason(timestamp, rules, now):
        return rejected(reason)
    text = build_signed_bytes(rules.signed, request, timestamp, event_id)
    if text is None:
        return rejected(
            "what is signed is incomplete: the timestamp, the id or the public URL is not known"
        )
    given = [
        raw
        for item in listed[1][:MAX_SIGNATURES]
        if (raw := decode_digest(item, rules)) is not None
    ]
    wanted = [hmac.digest(secret.raw, text, rules.algorithm) for secret in secrets]
    if any_equal(given, wanted):
        return Verification(True, event_id=event_id)
    return rejected("the signature is wrong")


def verify_standard_webhooks(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """webhook-id, webhook-timestamp and webhook-signature, or the same under svix-; the secret is
    base64 after `whsec_`.
    """
    names = ("webhook", "svix")
    kind = next((name for name in names if header_value(request, f"{name}-signature")), "webhook")
    event_id, timestamp, sent = (
        header_value(request, f"{kind}-{part}") for part in ("id", "timestamp", "signature")
    )
    if not event_id or not timestamp or not sent:
        return rejected("webhook-id, webhook-timestamp or webhook-signature is missing")
    if reason := find_stale_reason(timestamp, rules, now):
        return rejected(reason)
    text = header_bytes(f"{event_id}.{timestamp}.") + request.body
    items = [item[3:] for item in sent.split(" ")[:MAX_SIGNATURES] if item.startswith("v1,")]
    given = [raw for item in items if (raw := decode_base64(item)) is not None]
    keys = [
        key
        for secret in secrets
        if (key := decode_base64(secret.value.removeprefix("whsec_"))) is not None
    ]
    wanted = [hmac.digest(key, text, "sha256") for key in keys]
    if any_equal(given, wanted):
        return Verification(True, event_id=event_id)
    return rejected("the signature is wrong")


def build_signed_bytes(
    template: str, request: InboundRequest, timestamp: str | None, event_id: str | None
) -> bytes | None:
    """The bytes that were signed; None if a part of them is not known."""
    parts = {"body": request.body, "method": request.method.upper().encode("ascii", "replace")}
    for name, value in (("timestamp", timestamp), ("id", event_id), ("url", request.url)):
        if value:
            parts[name] = header_bytes(value)
    pieces = _PLACEHOLDER.split(template)
    if any(name not in parts for name in pieces[1::2]):
        return None
    return b"".join(parts[piece] if at % 2 else piece.encode() for at, piece in enumerate(pieces))


def find_stale_reason(timestamp: str | None, rules: VerifySettings, now: float) -> str | None:
    """Why the timestamp is refused: missing where one is expected, no time, or further from `now`
    than the tolerance.
    """
    if (
        not rules.timestamp_header
        and not rules.list_prefixes
        and rules.scheme != "standard-webhooks"
    ):
        return None
    at = parse_unix_time(timestamp or "")
    if at is None:
        return "the timestamp is missing or no Unix time"
    return None if abs(now - at) <= rules.tolerance else "the timestamp is too old or in the future"


def decode_digest(text: str, rules: VerifySettings) -> bytes | None:
    """A signature's bytes from its header; None if the prefix is missing or it is not in its
    encoding.
    """
    text = text.strip()
    if not text.lower().startswith(rules.prefix.lower()):
        return None
    encoded = text[len(rules.prefix) :].strip()
    return decode_base64(encoded) if rules.encoding == "base64" else decode_hex(encoded)


def _listed(sent: str, listed: str) -> tuple[str | None, list[str]]:
    """The timestamp and the signatures of `t=…,v1=…,v1=…`."""
    at_prefix, _, digest_prefix = listed.partition(",")
    items = [item.strip() for item in sent.split(",")[: 2 * MAX_SIGNATURES]]
    times = [item.removeprefix(at_prefix) for item in items if item.startswith(at_prefix)]
    digests = [item.removeprefix(digest_prefix) for item in items if item.startswith(digest_prefix)]
    return (times[0] if len(times) == 1 else None), digests
