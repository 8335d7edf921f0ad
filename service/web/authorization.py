"""The one way in for every token: operators' under `/ops`, theirs and a source's at receipts.

Wherever a token is taken, wrong ones count, and after too many of them an address is locked out
everywhere: a second way in would be a second number of tries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from service.sources.verification.common import constant_time_equal
from service.web.lockout import Lockout
from service.web.problems import HttpProblem
from worker.settings.types import OpsToken

MAX_TOKEN_CHARS = 4096
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Leadline"'}


class TokenGuard:
    """One per process."""

    def __init__(self, tokens: Sequence[OpsToken], lockout: Lockout) -> None:
        self._tokens = tokens
        self._lockout = lockout

    async def require_owner(self, address: str, token: str) -> OpsToken:
        """The owner of an ops token. Raises HttpProblem 401 or 429."""
        owner = find_token_owner(token, self._tokens)
        await self.check_locked_out(address, owner.name if owner else None, counts=bool(token))
        if owner is None:
            raise HttpProblem("not-signed-in", headers=CHALLENGE)
        return owner

    async def is_right(self, address: str, token: str, source_owner: str | None) -> bool:
        """Whether a token shown at a receipt is right: an operator's, or `source_owner`'s own.

        `source_owner` names whose token it is by another rule than ours, None if nobody's. Raises
        HttpProblem 429 once the address has shown too many wrong ones.
        """
        owner = find_token_owner(token, self._tokens)
        name = owner.name if owner else source_owner
        await self.check_locked_out(address, name, counts=True)
        return name is not None

    async def check_locked_out(self, address: str, owner: str | None, *, counts: bool) -> None:
        """Count a token shown from an address: a wrong one (`owner` None) if it `counts`.

        After too many wrong ones even a right one is refused, unless its owner has shown it from
        there before. Raises HttpProblem 429.
        """
        if owner and self._lockout.was_seen_recently(address, owner):
            return
        wait = await self._lockout.remaining_seconds(address)
        if owner and (not wait or await self._lockout.has_signed_in(address, owner)):
            await self._lockout.record_success(address, owner)
            return
        wait = wait or (await self._lockout.record_failure(address) if counts else 0)
        if wait:
            raise HttpProblem("locked-out", headers={"Retry-After": str(wait)})


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
