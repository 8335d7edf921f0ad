"""The `jwt` scheme: an HS256 token that is bound to the body or, failing that, to a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from jwt import (
    InvalidAlgorithmError,
    InvalidKeyError,
    InvalidSignatureError,
    PyJWS,
    PyJWTError,
)
from jwt.algorithms import HMACAlgorithm

from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings
from service.sources.verification.common import (
    VERIFIED,
    Verification,
    constant_time_equal,
    header_bytes,
    header_value,
    rejected,
)

DEFAULT_HEADER = "Authorization"
MAX_TOKEN_CHARS = 4_096
ALGORITHM = "HS256"


class _AnyLengthHmac(HMACAlgorithm):
    """HMAC without PyJWT's warning about short keys, whose length the sender's settings decide."""

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 -- PyJWT's signature
        return None


# Knows one algorithm only, whatever a token says of itself.
_TOKENS = PyJWS(algorithms=[])
_TOKENS.register_algorithm(ALGORITHM, _AnyLengthHmac(HMACAlgorithm.SHA256))


def verify_jwt(
    request: InboundRequest, rules: VerifySettings, secrets: Sequence[SourceSecret], now: float
) -> Verification:
    """Checks the signature, then that the token belongs to this body or is fresh.

    The claim `sha256`, where present, must be the body's SHA-256 in hex. Without it `exp` or `iat`
    must show that the token is fresh, so that an intercepted one does not work forever.
    """
    value = header_value(request, rules.header or DEFAULT_HEADER) or ""
    token = (value[7:] if value[:7].lower() == "bearer " else value).strip()
    if token.count(".") != 2 or len(token) > MAX_TOKEN_CHARS:
        return rejected("the token is missing")
    reason = "no secret is set"
    for secret in secrets:
        try:
            read = _TOKENS.decode_complete(header_bytes(token), secret.raw, algorithms=[ALGORITHM])
            claims = json.loads(read["payload"])
        except InvalidSignatureError:
            reason = "the signature is wrong"
        except InvalidKeyError:
            reason = f"the secret in {secret.env} is a key of another kind"
        except InvalidAlgorithmError:
            return rejected("the token is not an HS256 token")
        except (PyJWTError, ValueError, RecursionError):
            return rejected("the token cannot be read")
        else:
            if "crit" in read["header"]:
                # What it names must be understood, and we know no extension: RFC 7515, 4.1.11.
                return rejected("the token demands an extension")
            return _check_claims(request, claims, rules, now)
    return rejected(reason)


def _check_claims(
    request: InboundRequest, claims: Any, rules: VerifySettings, now: float
) -> Verification:
    """Times are compared with `now` rather than with PyJWT's own clock."""
    if not isinstance(claims, dict):
        return rejected("the token cannot be read")
    is_bound = "sha256" in claims
    if is_bound and not constant_time_equal(
        str(claims["sha256"]).lower().encode("utf-8", "surrogatepass"),
        hashlib.sha256(request.body).hexdigest().encode(),
    ):
        return rejected("the token belongs to another body")
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if not all(map(_is_unix_time, times.values())):
        return rejected("the token's times are not Unix times")
    if "exp" in times and now > times["exp"] + rules.tolerance:
        return rejected("the token has expired")
    if any(times.get(name, now) > now + rules.tolerance for name in ("nbf", "iat")):
        return rejected("the token is from the future")
    is_recent = "iat" in times and now - times["iat"] <= rules.tolerance
    if not (is_bound or "exp" in times or is_recent):
        return rejected("the token names neither the body nor a recent time")
    return VERIFIED


def _is_unix_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
