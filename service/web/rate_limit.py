"""How often one address may post to one source.

This is the generic cell rate algorithm: one number in Redis per address, the time at which its
allowance is full again. Every request moves it on by one interval, and passes while it stays within
one period from now. One script decides, so that processes cannot give the same room away twice.
While Redis is down, each process counts for itself. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import redis.asyncio
from redis.exceptions import RedisError

from service.sources.schema import Rate
from worker.accept.breaker import Breaker
from worker.store import keys, scripts

MAX_LOCAL_ADDRESSES = 10_000


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
        key = keys.rate_limit(source, address)
        if self._breaker.closed:
            try:
                milliseconds = await self._script(
                    keys=[key], args=[rate.seconds * 1000 / rate.count, rate.seconds * 1000]
                )
                return int(milliseconds) / 1000
            except (RedisError, OSError):
                self._breaker.trip()
        return self._decide_locally(key, rate)

    def _decide_locally(self, key: str, rate: Rate) -> float:
        now = self._clock()
        next_full = max(self._local.get(key, 0.0), now) + rate.seconds / rate.count
        wait = next_full - now - rate.seconds
        if wait > 0.0005:
            return wait
        self._local[key] = next_full
        self._local.move_to_end(key)
        while len(self._local) > MAX_LOCAL_ADDRESSES:
            self._local.popitem(last=False)
        return 0.0
