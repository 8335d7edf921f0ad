"""What every scheme of verification is made of: headers as bytes, digests from text, equality in
constant time, the verdict.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from service.sources.payload.decode import decode_percent
from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings

MAX_HEADER_CHARS = 8_192


class Verification(Struct, frozen=True):
    """`id` is the event's id where the scheme has one in a header."""

    ok: bool
    reason: str = ""
    event_id: str | None = None


Scheme = Callable[[InboundRequest, VerifySettings, Sequence[SourceSecret], float], Verification]
"""`(request, rules, secrets, now) -> Verdict`; `now` in Unix seconds. Never raises, whatever the
request holds.
"""
VERIFIED = Verification(True)


def rejected(reason: str) -> Verification:
    return Verification(False, reason)


def header_value(request: InboundRequest, name: str) -> str | None:
    """A header's value, bounded; None if it is missing, empty, or there twice with different
    values.
    """
    values = (
        {value.strip() for key, value in request.headers if key == name.lower()} if name else set()
    )
    value = values.pop() if len(values) == 1 else None
    return value if value and len(value) <= MAX_HEADER_CHARS else None


def query_value(query: str, name: str) -> bytes | None:
    """The first value of a query parameter, as bytes, bounded."""
    wanted = name.encode()
    for pair in query.split("&", 100)[:100]:
        key, _, value = pair.partition("=")
        if len(key) <= 3 * len(wanted) and _unquoted(key) == wanted:
            return _unquoted(value[:MAX_HEADER_CHARS])
    return None


def _unquoted(text: str) -> bytes:
    return decode_percent(text.replace("+", " ").encode("utf-8", "surrogatepass"))


def header_bytes(text: str) -> bytes:
    """The bytes of a header's text, which servers hand over as Latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def decode_hex(text: str) -> bytes | None:
    return (
        bytes.fromhex(text)
        if len(text) <= 256 and len(text) % 2 == 0 and re.fullmatch(r"[0-9A-Fa-f]+", text)
        else None
    )


def decode_base64(text: str) -> bytes | None:
    """Bytes from base64 of either alphabet, with or without padding."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def constant_time_equal(one: bytes, other: bytes) -> bool:
    """Equal, in a time that does not tell how far: digests, so that not even the length shows."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def any_equal(given: Iterable[bytes], wanted: Iterable[bytes]) -> bool:
    """Whether any of the given is any of the wanted; all are compared, so that the time does not
    tell which.
    """
    right = list(wanted)
    return any([constant_time_equal(one, other) for one in given for other in right])  # noqa: C419 -- a generator would stop at the first
