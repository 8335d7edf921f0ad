"""Guessing is stopped: after a few wrong tokens an address is heard no more for a minute, right or wrong.

Who signed in from an address before stays heard there, so that a guesser behind the same proxy locks no operator out.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from service.intake.limits import Limiter
from service.sources.units import Rate
from worker import keys
from worker.breaker import Breaker

TRIES = Rate(count=20, seconds=60.0)
"""Wrong tokens that one address may show."""

LOCKED_SECONDS = 60
KNOWN_SECONDS = 30 * 24 * 3600
RENEW_SECONDS = 3600.0
MOST = 10_000


class Lockout:
    """One per process; what it knows is shared through Redis while that answers. `clock` never goes back."""

    def __init__(self, store: redis.asyncio.Redis, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
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
        """Counts a wrong token. Returns how long the address is not heard from now on; 0 while it may try again."""
        if not await self._tries.wait_seconds("ops", address, TRIES):
            return 0
        _put(self._locked, address, self._clock() + LOCKED_SECONDS)
        await self._ask(lambda: self._redis.set(keys.lockout(address), 1, ex=LOCKED_SECONDS, nx=True), 0)
        return LOCKED_SECONDS

    def fresh(self, address: str, owner: str) -> bool:
        """Whether this process heard the owner from this address within the last hour."""
        return self._known.get((address, owner), -math.inf) > self._clock() - RENEW_SECONDS

    async def known(self, address: str, owner: str) -> bool:
        return self.fresh(address, owner) or bool(await self._ask(lambda: self._redis.exists(keys.known(address, owner)), 0))

    async def right(self, address: str, owner: str) -> None:
        """Remembers that the owner showed the right token from here."""
        _put(self._known, (address, owner), self._clock())
        await self._ask(lambda: self._redis.set(keys.known(address, owner), 1, ex=KNOWN_SECONDS), 0)

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
