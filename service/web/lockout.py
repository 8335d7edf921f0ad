"""Stops guessing: after 20 wrong tokens in a minute, an address is refused for a minute.

Even a right token is then refused, unless its owner has signed in from that address before: a
guesser behind the same proxy must not lock an operator out.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from service.sources.schema import Rate
from service.web.rate_limit import AddressRateLimiter
from worker.accept.breaker import Breaker
from worker.store import keys

# Wrong tokens that one address may show.
MAX_WRONG_TOKENS = Rate(count=20, seconds=60.0)
LOCKED_SECONDS = 60
REMEMBERED_SECONDS = 30 * 24 * 3600
RECENT_SECONDS = 3600.0
MAX_ADDRESSES = 10_000


class Lockout:
    """One per process; processes share it through Redis while that answers.

    `clock` measures seconds and never goes back.
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
        self._limiter = AddressRateLimiter(store, breaker, clock)
        self._locked_until: OrderedDict[str, float] = OrderedDict()
        self._signed_in_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def remaining_seconds(self, address: str) -> int:
        """How long this address is still refused; 0 if it is not."""
        here = self._locked_until.get(address, 0.0) - self._clock()
        milliseconds = await self._ask(lambda: self._redis.pttl(keys.lockout(address)), 0)
        return max(0, math.ceil(max(here, milliseconds / 1000)))

    async def record_failure(self, address: str) -> int:
        """Count a wrong token. Returns for how many seconds the address is refused from now on."""
        if not await self._limiter.wait_seconds("ops", address, MAX_WRONG_TOKENS):
            return 0
        _remember(self._locked_until, address, self._clock() + LOCKED_SECONDS)
        await self._ask(
            lambda: self._redis.set(keys.lockout(address), 1, ex=LOCKED_SECONDS, nx=True), 0
        )
        return LOCKED_SECONDS

    def was_seen_recently(self, address: str, owner: str) -> bool:
        """Whether the owner showed this process their token from here within the last hour."""
        signed_in_at = self._signed_in_at.get((address, owner), -math.inf)
        return signed_in_at > self._clock() - RECENT_SECONDS

    async def has_signed_in(self, address: str, owner: str) -> bool:
        """Whether the owner showed any process their token from here within the last month."""
        return self.was_seen_recently(address, owner) or bool(
            await self._ask(lambda: self._redis.exists(keys.known_address(address, owner)), 0)
        )

    async def record_success(self, address: str, owner: str) -> None:
        """Remember that the owner showed their token from here."""
        _remember(self._signed_in_at, (address, owner), self._clock())
        await self._ask(
            lambda: self._redis.set(keys.known_address(address, owner), 1, ex=REMEMBERED_SECONDS), 0
        )

    async def _ask(self, command: Callable[[], Any], default: int) -> int:
        if self._breaker.closed:
            try:
                return int(await command() or 0)
            except (RedisError, OSError):
                self._breaker.trip()
        return default


def _remember(table: OrderedDict[Any, float], key: Any, value: float) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > MAX_ADDRESSES:
        table.popitem(last=False)
