"""The `jwt` scheme: an HS256 token that names the SHA-256 of the body, or at least a time."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings
from service.sources.verification.common import (
    VERIFIED,
    Verification,
    any_equal,
    constant_time_equal,
    decode_base64,
    header_bytes,
    header_value,
    rejected,
)

MAX_TOKEN_CHARS = 4_096
DEFAULT_HEADER = "Authorization"


def verify_jwt(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """Only HS256 counts, whatever the token says of itself. The claim `sha256`, where present, must
    be the body's digest in hex.

    Without it, `exp` or `iat` must show that the token is fresh, so that one that was overheard
    does not serve for ever.
    """
    name = rules.header or DEFAULT_HEADER
    sent = (header_value(request, name) or "").removeprefix("Bearer ").strip()
    parts = sent.split(".")
    if len(parts) != 3 or len(sent) > MAX_TOKEN_CHARS:
        return rejected("the token is missing")
    given = decode_base64(parts[2])
    text = header_bytes(f"{parts[0]}.{parts[1]}")
    if given is None or not any_equal(
        [given], [hmac.digest(secret.raw, text, "sha256") for secret in secrets]
    ):
        return rejected("the signature is wrong")
    head, claims = _read(parts[0]), _read(parts[1])
    if head is None or claims is None or head.get("alg") != "HS256":
        return rejected("the token is no HS256 token")
    return _judge(request, claims, rules, now)


def _judge(
    request: InboundRequest, claims: dict[str, Any], rules: VerifySettings, now: float
) -> Verification:
    bound = "sha256" in claims
    if bound and not constant_time_equal(
        str(claims["sha256"]).lower().encode(), hashlib.sha256(request.body).hexdigest().encode()
    ):
        return rejected("the token belongs to another body")
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if any(
        isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12
        for value in times.values()
    ):
        return rejected("the token's times are no Unix times")
    if "exp" in times and now > times["exp"] + rules.tolerance:
        return rejected("the token has expired")
    if any(times.get(name, now) > now + rules.tolerance for name in ("nbf", "iat")):
        return rejected("the token is from the future")
    if (
        not bound
        and "exp" not in times
        and not ("iat" in times and now - times["iat"] <= rules.tolerance)
    ):
        return rejected("the token names neither the body nor a time")
    return VERIFIED


def _read(part: str) -> dict[str, Any] | None:
    raw = decode_base64(part)
    try:
        found = json.loads(raw.decode("utf-8")) if raw else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
