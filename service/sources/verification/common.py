"""What the schemes share: bounded headers, digests from text, constant-time comparison."""

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
MAX_QUERY_PARAMETERS = 100
MAX_HEX_CHARS = 256


class Verification(Struct, frozen=True):
    """Whether a request was verified; `reason` says why not, for the log and not for the sender.

    `event_id` is the event's id, for schemes that carry it in a header; `is_id_signed`: the
    signature covers that header.
    """

    ok: bool
    reason: str = ""
    event_id: str | None = None
    is_id_signed: bool = False


VERIFIED = Verification(True)


def rejected(reason: str) -> Verification:
    return Verification(False, reason)


# `(request, rules, secrets, now) -> Verification`, with `now` in Unix seconds. A scheme never
# raises, whatever the request holds: a surprise would be a 500, which a sender tries again.
Scheme = Callable[[InboundRequest, VerifySettings, Sequence[SourceSecret], float], Verification]


def header_value(request: InboundRequest, name: str) -> str | None:
    """The value of a header; None if it is missing, empty, too long, or given twice differently."""
    values = {value.strip() for key, value in request.headers if name and key == name.lower()}
    value = values.pop() if len(values) == 1 else None
    return value if value and len(value) <= MAX_HEADER_CHARS else None


def query_value(query: str, name: str) -> bytes | None:
    """The first value of a query parameter as bytes, cut at `MAX_HEADER_CHARS`."""
    encoded_name = name.encode()
    for pair in query.split("&", MAX_QUERY_PARAMETERS)[:MAX_QUERY_PARAMETERS]:
        key, _, value = pair.partition("=")
        # An escaped byte takes three characters, so a longer key cannot be this one.
        if len(key) <= 3 * len(encoded_name) and _decode_query(key) == encoded_name:
            return _decode_query(value[:MAX_HEADER_CHARS])
    return None


def _decode_query(text: str) -> bytes:
    return decode_percent(text.replace("+", " ").encode("utf-8", "surrogatepass"))


def header_bytes(text: str) -> bytes:
    """The bytes of a header's text, which servers decode as Latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def decode_hex(text: str) -> bytes | None:
    """Bytes from hex digits alone; `bytes.fromhex` would also accept spaces."""
    if len(text) > MAX_HEX_CHARS or len(text) % 2 or not re.fullmatch(r"[0-9A-Fa-f]+", text):
        return None
    return bytes.fromhex(text)


def decode_base64(text: str) -> bytes | None:
    """Bytes from base64 in either alphabet, with or without padding."""
    digits = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def constant_time_equal(one: bytes, other: bytes) -> bool:
    """Compares digests of both, so that the time depends on neither content nor length."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def any_equal(candidates: Iterable[bytes], expected: Iterable[bytes]) -> bool:
    """Whether any candidate equals any expected value, in a time that does not tell which."""
    values = list(expected)
    results = [constant_time_equal(one, other) for one in candidates for other in values]
    return any(results)  # of a list: a generator would stop at the first match
