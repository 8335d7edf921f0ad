"""Whether a request comes from whom it says. Reasons are for the log; the sender learns only that
it was refused.
"""

from __future__ import annotations

from service.sources.request import InboundRequest
from service.sources.schema import Source
from service.sources.verification.common import VERIFIED, Scheme, Verification, rejected
from service.sources.verification.hmac import signature, standard_webhooks
from service.sources.verification.jwt import jwt
from service.sources.verification.token import token

SCHEMES: dict[str, Scheme] = {
    "token": token,
    "hmac": signature,
    "standard-webhooks": standard_webhooks,
    "jwt": jwt,
}


def verify(
    request: InboundRequest, source: Source, now: float, own: Scheme | None = None
) -> Verification:
    """The verdict of the source's scheme; `own` is its adapter's, for sources that name none. `now`
    in Unix seconds.
    """
    rules = source.check
    scheme = SCHEMES.get(rules.scheme) if rules.scheme else own
    if scheme is None:
        return VERIFIED
    return (
        scheme(request, rules, source.secrets, now)
        if source.secrets
        else rejected("no secret is set")
    )
