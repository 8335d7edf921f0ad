"""Authorization headers, and whose token is in one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from service.sources.verification.common import constant_time_equal
from worker.settings.types import OpsToken

MAX_TOKEN_CHARS = 4096


def parse_authorization(header: str) -> tuple[str, str]:
    """The scheme, in lower case, and the token; two empty strings if neither bearer nor Basic."""
    scheme, _, value = header.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if len(value) > MAX_TOKEN_CHARS:
        return "", ""
    if scheme == "bearer":
        return scheme, value
    if scheme != "basic":
        return "", ""
    try:
        return scheme, base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return "", ""


def find_token_owner(value: str, tokens: Sequence[OpsToken]) -> OpsToken | None:
    """Find the owner of a token.

    The time it takes tells neither which token matched, nor how nearly one did, nor how long the
    right ones are.
    """
    match: OpsToken | None = None
    for owner in tokens:  # to the end, also after a match
        if constant_time_equal(_encode(value), _encode(owner.token)):
            match = owner
    return match if value else None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
