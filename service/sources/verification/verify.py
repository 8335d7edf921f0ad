"""Chooses the scheme that verifies a request."""

from __future__ import annotations

from service.sources.request import InboundRequest
from service.sources.schema import Source
from service.sources.verification.common import VERIFIED, Scheme, Verification, rejected
from service.sources.verification.hmac import verify_hmac, verify_standard_webhooks
from service.sources.verification.jwt import verify_jwt
from service.sources.verification.token import verify_token

SCHEMES: dict[str, Scheme] = {
    "token": verify_token,
    "hmac": verify_hmac,
    "standard-webhooks": verify_standard_webhooks,
    "jwt": verify_jwt,
}


def verify(
    request: InboundRequest, source: Source, now: float, adapter_scheme: Scheme | None = None
) -> Verification:
    """Applies the source's scheme, or its adapter's where the source names none. Never raises.

    `now` is in Unix seconds. A source whose secret is missing accepts nothing.
    """
    rules = source.verification
    scheme = SCHEMES.get(rules.scheme) if rules.scheme else adapter_scheme
    if scheme is None:
        return VERIFIED
    if not source.secrets:
        return rejected("no secret is set")
    return scheme(request, rules, source.secrets, now)
