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
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:  # noqa: ARG001 -- one signature for all
    """`Bearer` before a token in the Authorization header may be there or not."""
    shown = _shown(request, rules)
    if shown is None:
        return rejected("the token is missing")
    return (
        VERIFIED
        if any_equal([shown], (secret.raw for secret in secrets))
        else rejected("the token is wrong")
    )


def has_valid_token(request: InboundRequest, source: Source) -> bool:
    """Whether a request without a body shows the source's token, for looking up a submission."""
    rules = source.verification
    if rules.scheme != "token" or rules.field or not source.secrets:
        return False
    return verify_token(request, rules, source.secrets, 0.0).ok


def _shown(request: InboundRequest, rules: VerifySettings) -> bytes | None:
    if rules.header:
        value = header_value(request, rules.header)
        is_bearer = (
            value is not None
            and rules.header.lower() == "authorization"
            and value[:7].lower() == "bearer "
        )
        return header_bytes(value[7:] if is_bearer and value else value) if value else None
    if rules.query:
        return query_value(request.query, rules.query)
    try:
        found = resolve(decode_body(request), rules.field or "")
    except UnreadableBody:
        return None
    return (text_of(found[1]) or "").encode("utf-8", "surrogatepass") if found else None
