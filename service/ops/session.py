"""A browser's session: a cookie that names the token's owner and is signed with the token, so that nothing need be stored.

It holds over restarts and over several processes, and ends when its token is taken out of the settings or changed, after
twelve hours, or at the sign-out, which writes its end down in Redis. The token itself is never in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from msgspec import Struct

from worker.values import OpsToken

COOKIE = "leadline_session"
SESSION_SECONDS = 12 * 3600
_FORM = re.compile(r"1\.([A-Za-z0-9_-]{1,400})\.([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)


class Session(Struct, frozen=True):
    """An owner's session until `ends` (Unix seconds). `nonce` tells one session from another and is no secret."""

    owner: OpsToken
    ends: int
    nonce: str


def issue(owner: OpsToken, now: float) -> str:
    """A new session's cookie."""
    head = f"1.{_encoded(owner.name)}.{int(now) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
    return f"{head}.{_signed(owner, 'session', head)}"


def read(cookie: str, tokens: Sequence[OpsToken], now: float) -> Session | None:
    """The session of a cookie that one of `tokens` signed and that has not run out; None for anything else."""
    found = _FORM.fullmatch(cookie[:600])
    if found is None:
        return None
    name, ends, nonce, signature = found.groups()
    head = cookie.rpartition(".")[0]
    for owner in tokens:
        if _encoded(owner.name) == name and hmac.compare_digest(_signed(owner, "session", head), signature):
            return Session(owner, int(ends), nonce) if now < int(ends) <= now + SESSION_SECONDS else None
    return None


def csrf(owner: OpsToken, nonce: str) -> str:
    """What a page's forms must send back: nobody else's page can know it. An empty nonce is that of HTTP Basic."""
    return _signed(owner, "csrf", nonce)


def csrf_right(given: str, owner: OpsToken, nonce: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), csrf(owner, nonce).encode())


def same_token(given: str, tokens: Sequence[OpsToken]) -> OpsToken | None:
    """The owner of a token, found in a time that tells neither which nor how nearly, nor how long the right ones are."""
    shown = _hashed(given)
    right: OpsToken | None = None
    for owner in tokens:  # to the end, also after a match
        if hmac.compare_digest(shown, _hashed(owner.token)):
            right = owner
    return right if given else None


_HASHING = secrets.token_bytes(32)


def _hashed(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=_HASHING).digest()


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _signed(owner: OpsToken, purpose: str, text: str) -> str:
    key = hashlib.sha256(f"leadline {purpose} 1\n{owner.role}\n{owner.token}".encode()).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
