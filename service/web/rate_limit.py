"""How many events one address, or all of them together, may post to one source.

This is the generic cell rate algorithm: one number in Redis per limit, the time at which its
allowance is full again. Every event moves it on by one interval, and passes while it stays within
one period from now. One script decides, so that processes cannot give the same room away twice.
While Redis is down, each process counts for itself. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm

A request is admitted as one event, before its body is read. How many it holds is known only
afterwards: the rest is counted then, as a debt that later requests have to wait for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from service.sources.schema import Rate
from worker.accept.breaker import Breaker
from worker.store import keys, scripts

MAX_LOCAL_ADDRESSES = 10_000
# The longest debt, in events: the largest batch that any product sends.
MAX_DEBT_EVENTS = 1_000


class Limit(NamedTuple):
    """A rate, the Redis key of what it counts, and the setting that it comes from."""

    key: str
    rate: Rate
    setting: str = "rate_limit"

    @property
    def interval(self) -> float:
        """Seconds between two events."""
        return self.rate.seconds / self.rate.count

    @property
    def latest_full(self) -> float:
        """In how many seconds, at most, its allowance is full again."""
        return self.rate.seconds + MAX_DEBT_EVENTS * self.interval


class Excess(NamedTuple):
    """The limit that is reached, and the seconds until one event may come in."""

    limit: Limit
    seconds: float


class AddressRateLimiter:
    """One per process.

    `clock` returns seconds and never goes back. `breaker` knows whether Redis is worth asking.
    """

    def __init__(
        self,
        store: redis.asyncio.Redis,
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = store.register_script(scripts.read_source("address_rate_limit"))
        self._breaker = breaker
        self._clock = clock
        self._local: OrderedDict[str, float] = OrderedDict()

    async def wait_seconds(self, source: str, address: str, rate: Rate) -> float:
        """0.0 if the request may pass, else the seconds until one may."""
        excess = await self.admit([Limit(keys.rate_limit(source, address), rate)])
        return excess.seconds if excess else 0.0

    async def admit(self, limits: Sequence[Limit]) -> Excess | None:
        """Count one event, unless a limit is reached: then the one to wait for the longest."""
        return await self._count(limits, 1, is_counted_only=False)

    async def count_rest(self, limits: Sequence[Limit], events: int) -> None:
        """Count more events of a request that was admitted as one."""
        if events > 0:
            await self._count(limits, events, is_counted_only=True)

    async def _count(
        self, limits: Sequence[Limit], events: int, *, is_counted_only: bool
    ) -> Excess | None:
        if not limits:
            return None
        if self._breaker.closed:
            arguments: list[float] = [events, int(is_counted_only)]
            for limit in limits:
                debt = MAX_DEBT_EVENTS * limit.interval
                arguments += [limit.interval * 1000, limit.rate.seconds * 1000, debt * 1000]
            try:
                milliseconds, number = await self._script(
                    keys=[limit.key for limit in limits], args=arguments
                )
                return Excess(limits[number - 1], milliseconds / 1000) if number else None
            except (RedisError, OSError):
                self._breaker.trip()
        return self._count_locally(limits, events, is_counted_only=is_counted_only)

    def _count_locally(
        self, limits: Sequence[Limit], events: int, *, is_counted_only: bool
    ) -> Excess | None:
        now, moved, worst = self._clock(), {}, Excess(limits[0], 0.0005)
        for limit in limits:
            next_full = max(self._local.get(limit.key, 0.0), now) + events * limit.interval
            worst = max(
                worst, Excess(limit, next_full - now - limit.rate.seconds), key=lambda one: one[1]
            )
            moved[limit.key] = min(next_full, now + limit.latest_full)
        if not is_counted_only and worst.seconds > 0.0005:
            return worst
        for key, next_full in moved.items():
            self._local[key] = next_full
            self._local.move_to_end(key)
        while len(self._local) > MAX_LOCAL_ADDRESSES:
            self._local.popitem(last=False)
        return None
