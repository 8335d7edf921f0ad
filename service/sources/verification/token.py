"""The `token` scheme: a shared secret in a header, in the query or in a field of the body."""

from __future__ import annotations

from collections.abc import Sequence

from service.sources.payload.decode import decode_body
from service.sources.payload.tree import UnreadableBody, resolve, text_of
from service.sources.request import InboundRequest
from service.sources.schema import Source, SourceSecret, VerifySettings
from service.sources.verification.common import (
    VERIFIED,
    Verification,
    any_equal,
    header_bytes,
    header_value,
    query_value,
    rejected,
)


def verify_token(
    request: InboundRequest,
    rules: VerifySettings,
    secrets: Sequence[SourceSecret],
    now: float,  # noqa: ARG001 -- one signature for all schemes
) -> Verification:
    """Checks the token; in the Authorization header, `Bearer` may precede it."""
    token = _find_token(request, rules)
    if token is None:
        return rejected("the token is missing")
    if any_equal([token], (secret.raw for secret in secrets)):
        return VERIFIED
    return rejected("the token is wrong")


def shows_token(request: InboundRequest, source: Source) -> bool:
    """Whether a request without a body shows anything where the source's token belongs."""
    rules = source.verification
    return rules.scheme == "token" and not rules.field and bool(_find_token(request, rules))


def has_valid_token(request: InboundRequest, source: Source) -> bool:
    """Whether a request without a body, such as a lookup, shows the source's token."""
    rules = source.verification
    if rules.scheme != "token" or rules.field or not source.secrets:
        return False
    return verify_token(request, rules, source.secrets, 0.0).ok


def _find_token(request: InboundRequest, rules: VerifySettings) -> bytes | None:
    if rules.header:
        value = header_value(request, rules.header)
        if value and rules.header.lower() == "authorization" and value[:7].lower() == "bearer ":
            value = value[7:]
        return header_bytes(value) if value is not None else None
    if rules.query:
        return query_value(request.query, rules.query)
    try:
        match = resolve(decode_body(request), rules.field or "")
    except UnreadableBody:
        return None
    return (text_of(match[1]) or "").encode("utf-8", "surrogatepass") if match else None
