"""A circuit breaker for Redis, one per service process.

A Redis that hangs costs every caller a time-out. So after the first failure nobody calls it, except
for a probe every half second.
"""

from __future__ import annotations

import asyncio

import redis.asyncio
from redis.exceptions import RedisError

from worker.store import keys

PROBE_SECONDS = 0.5


class Breaker:
    """While `closed`, Redis may be called. Only one task may call `close_when_writable`."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._tripped = asyncio.Event()
        self.closed = True

    def trip(self) -> None:
        """Opens the breaker: Redis does not respond, or takes no writes."""
        self.closed = False
        self._tripped.set()

    async def close_when_writable(self) -> None:
        """Waits until the breaker trips, then until Redis takes a write again, and closes it."""
        await self._tripped.wait()
        while not await writable(self._redis):
            await asyncio.sleep(PROBE_SECONDS)
        self._tripped.clear()
        self.closed = True


async def writable(connection: redis.asyncio.Redis) -> bool:
    """Whether Redis takes a write: it is neither loading, a replica, full, nor unable to save."""
    try:
        await connection.set(keys.WRITE_CHECK, b"1", px=60_000)
    except (RedisError, OSError):
        return False
    return True
