"""Whether a request comes from whom it says. Reasons are for the log; the sender learns only that
it was refused.
"""

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
    """The verdict of the source's scheme; `own` is its adapter's, for sources that name none. `now`
    in Unix seconds.
    """
    rules = source.verification
    scheme = SCHEMES.get(rules.scheme) if rules.scheme else adapter_scheme
    if scheme is None:
        return VERIFIED
    return (
        scheme(request, rules, source.secrets, now)
        if source.secrets
        else rejected("no secret is set")
    )
