"""A browser's session: a cookie that names the token's owner and is signed with the token, so that
nothing need be stored.

It holds over restarts and over several processes, and ends when its token is taken out of the
settings or changed, after twelve hours, or at the sign-out, which writes its end down in Redis. The
token itself is never in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio
from msgspec import Struct
from redis.exceptions import RedisError

from service.sources.schema import Rate
from service.web.rate_limit import Limiter
from worker.accept.breaker import Breaker
from worker.store import keys
from worker.values import OpsToken

COOKIE = "leadline_session"
SESSION_SECONDS = 12 * 3600
_FORM = re.compile(
    r"1\.([A-Za-z0-9_-]{1,400})\.([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII
)


class Session(Struct, frozen=True):
    """An owner's session until `ends` (Unix seconds). `nonce` tells one session from another and is
    no secret.
    """

    owner: OpsToken
    ends: int
    nonce: str


def issue(owner: OpsToken, now: float) -> str:
    """A new session's cookie."""
    head = f"1.{_encoded(owner.name)}.{int(now) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
    return f"{head}.{_signed(owner, 'session', head)}"


def read(cookie: str, tokens: Sequence[OpsToken], now: float) -> Session | None:
    """The session of a cookie that one of `tokens` signed and that has not run out; None for
    anything else.
    """
    found = _FORM.fullmatch(cookie[:600])
    if found is None:
        return None
    name, ends, nonce, signature = found.groups()
    head = cookie.rpartition(".")[0]
    for owner in tokens:
        if _encoded(owner.name) == name and hmac.compare_digest(
            _signed(owner, "session", head), signature
        ):
            return (
                Session(owner, int(ends), nonce)
                if now < int(ends) <= now + SESSION_SECONDS
                else None
            )
    return None


def csrf(owner: OpsToken, nonce: str) -> str:
    """What a page's forms must send back: nobody else's page can know it. An empty nonce is that of
    HTTP Basic.
    """
    return _signed(owner, "csrf", nonce)


def csrf_right(given: str, owner: OpsToken, nonce: str) -> bool:
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), csrf(owner, nonce).encode()
    )


def same_token(given: str, tokens: Sequence[OpsToken]) -> OpsToken | None:
    """The owner of a token, found in a time that tells neither which nor how nearly, nor how long
    the right ones are.
    """
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


# Guessing is stopped: after a few wrong tokens an address is heard no more for a minute, right or
# wrong.
#
# Who signed in from an address before stays heard there, so that a guesser behind the same proxy
# locks no operator out.

TRIES = Rate(count=20, seconds=60.0)
"""Wrong tokens that one address may show."""

LOCKED_SECONDS = 60
KNOWN_SECONDS = 30 * 24 * 3600
RENEW_SECONDS = 3600.0
MOST = 10_000


class Lockout:
    """One per process; what it knows is shared through Redis while that answers. `clock` never goes
    back.
    """

    def __init__(
        self,
        store: redis.asyncio.Redis,
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = store
        self._breaker = breaker
        self._clock = clock
        self._tries = Limiter(store, breaker, clock)
        self._locked: OrderedDict[str, float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def seconds(self, address: str) -> int:
        """How long this address is not heard; 0 when it is."""
        here = self._locked.get(address, 0.0) - self._clock()
        left = await self._ask(lambda: self._redis.pttl(keys.lockout(address)), 0)
        return max(0, math.ceil(max(here, left / 1000)))

    async def wrong(self, address: str) -> int:
        """Counts a wrong token. Returns how long the address is not heard from now on; 0 while it
        may try again.
        """
        if not await self._tries.wait_seconds("ops", address, TRIES):
            return 0
        _put(self._locked, address, self._clock() + LOCKED_SECONDS)
        await self._ask(
            lambda: self._redis.set(keys.lockout(address), 1, ex=LOCKED_SECONDS, nx=True), 0
        )
        return LOCKED_SECONDS

    def fresh(self, address: str, owner: str) -> bool:
        """Whether this process heard the owner from this address within the last hour."""
        return self._known.get((address, owner), -math.inf) > self._clock() - RENEW_SECONDS

    async def known(self, address: str, owner: str) -> bool:
        return self.fresh(address, owner) or bool(
            await self._ask(lambda: self._redis.exists(keys.known_address(address, owner)), 0)
        )

    async def right(self, address: str, owner: str) -> None:
        """Remembers that the owner showed the right token from here."""
        _put(self._known, (address, owner), self._clock())
        await self._ask(
            lambda: self._redis.set(keys.known_address(address, owner), 1, ex=KNOWN_SECONDS), 0
        )

    async def _ask(self, question: Callable[[], Any], otherwise: int) -> int:
        if self._breaker.closed:
            try:
                return int(await question() or 0)
            except (RedisError, OSError):
                self._breaker.trip()
        return otherwise


def _put(table: OrderedDict[Any, float], key: Any, value: float) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > MOST:
        table.popitem(last=False)
