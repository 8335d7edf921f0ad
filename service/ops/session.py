"""A browser's session: a cookie that names the owner of a token and is signed with the token.

Nothing is stored for it, so it survives restarts and is valid in every process. It ends after
twelve hours, as soon as its token is changed or removed from the settings, or at the sign-out,
which records its end in Redis. The token itself is never in it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Any

from itsdangerous import BadData, Signer, TimestampSigner, URLSafeTimedSerializer
from msgspec import Struct

from service.sources.verification.common import constant_time_equal
from worker.settings.types import OpsToken

COOKIE = "leadline_session"
SESSION_SECONDS = 12 * 3600
MAX_COOKIE_CHARS = 600

# 48 bytes are exactly 64 characters of base64, so that no other text decodes to the same signature.
DIGEST = hashlib.sha384
_COOKIE_FORM = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{64}", re.ASCII)


class Session(Struct, frozen=True):
    """The session of a token's owner. `nonce` tells it from other sessions and is no secret."""

    owner: OpsToken
    nonce: str


class _SignerAt(TimestampSigner):
    """A signer whose time is an argument, in Unix seconds."""

    def __init__(self, *args: Any, now: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._now = int(now)

    def get_timestamp(self) -> int:
        return self._now


def issue_session(owner: OpsToken, now: float) -> str:
    """Start a session. Returns the cookie's value."""
    cookie = _serializer(owner, now).dumps([owner.name, secrets.token_urlsafe(16)])
    return cookie if isinstance(cookie, str) else cookie.decode()


def read_session(cookie: str, tokens: Sequence[OpsToken], now: float) -> Session | None:
    """Read a cookie signed with one of `tokens`; None if it has expired or is not ours."""
    if len(cookie) > MAX_COOKIE_CHARS or not _COOKIE_FORM.fullmatch(cookie):
        return None
    for owner in tokens:
        try:
            # One second less: at the end of the last second the session is over.
            name, nonce = _serializer(owner, now).loads(cookie, max_age=SESSION_SECONDS - 1)
        except (BadData, ValueError, TypeError):
            continue
        if name == owner.name:
            return Session(owner, nonce)
    return None


def csrf_token(owner: OpsToken, nonce: str) -> str:
    """Build what the forms of a session's pages send back; no other site's page can know it.

    An empty nonce stands for HTTP Basic, which has no session.
    """
    signer = Signer(_key(owner), salt="leadline csrf", digest_method=DIGEST)
    return signer.get_signature(nonce).decode()


def is_csrf_token(value: str, owner: OpsToken, nonce: str) -> bool:
    return constant_time_equal(
        value.encode("utf-8", "surrogateescape"), csrf_token(owner, nonce).encode()
    )


def _serializer(owner: OpsToken, now: float) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        _key(owner),
        salt="leadline session",
        signer=_SignerAt,
        signer_kwargs={"now": now, "digest_method": DIGEST},
    )


def _key(owner: OpsToken) -> bytes:
    """The role is part of it, so that a session ends when its owner's role changes."""
    return f"{owner.role}\n{owner.token}".encode("utf-8", "surrogateescape")
