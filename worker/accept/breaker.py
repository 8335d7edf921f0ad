"""Whether Redis is worth asking just now. One per service process, shared by all that wait for an
answer in a request.

A Redis that hangs costs its time-out to whoever asks; after the first failure nobody does, except
one probe every half second.
"""

from __future__ import annotations

import asyncio

import redis.asyncio
from redis.exceptions import RedisError

from worker.store import keys

PROBE_SECONDS = 0.5


class Breaker:
    """`closed`: ask. `probe` belongs to one task."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._tripped = asyncio.Event()
        self.closed = True

    def trip(self) -> None:
        """Somebody found that Redis does not answer, or takes no writes."""
        self.closed = False
        self._tripped.set()

    async def mend(self) -> None:
        """Waits until it was tripped, then until Redis takes a write again, and closes it."""
        await self._tripped.wait()
        while not await writable(self._redis):
            await asyncio.sleep(PROBE_SECONDS)
        self._tripped.clear()
        self.closed = True


async def writable(connection: redis.asyncio.Redis) -> bool:
    """Whether Redis answers and takes a write: not loading, no replica, neither full nor unable to
    save.
    """
    try:
        await connection.set(keys.WRITE_CHECK, b"1", px=60_000)
    except (RedisError, OSError):
        return False
    return True
