"""What the bounds of each source let pass and held back in the last hour.

`ledger/accept.lua` counts leads of sources without verification, and what `leads_per_hour` sends to
quarantine. A service process counts what it refuses, and hands that to Redis every second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import redis
import redis.asyncio
from msgspec import Struct
from redis.exceptions import RedisError

from worker.metrics import BOUNDS
from worker.store import keys
from worker.store.connection import translate_errors

HOUR_SECONDS = 3600
RETENTION_SECONDS = 2 * HOUR_SECONDS
# Counts of a process that Redis has not taken yet; more sources than this are not counted.
MAX_PENDING = 10_000


class SourceBounds(Struct, frozen=True):
    """The last sixty minutes of one source.

    `leads` flowed; `held_back` says how many requests or submissions did not, by the bound that
    `worker.metrics.BOUNDS` names. The hour before counts in proportion, so both are estimates.
    """

    leads: int
    held_back: dict[str, int]


class BoundCounts:
    """What this process has refused and not handed to Redis yet. `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pending: Counter[tuple[str, int, str]] = Counter()

    def count(self, source: str, bound: str) -> None:
        key = (source, int(self._clock() // HOUR_SECONDS), bound)
        if key in self._pending or len(self._pending) < MAX_PENDING:
            self._pending[key] += 1

    async def aflush(self, store: redis.asyncio.Redis) -> None:
        """Hand the counts to Redis, and drop what it does not take."""
        pending, self._pending = self._pending, Counter()
        if not pending:
            return
        try:
            async with store.pipeline(transaction=False) as pipe:
                for (source, hour, bound), amount in pending.items():
                    pipe.hincrby(keys.bounds(source, hour), bound, amount)
                    pipe.expire(keys.bounds(source, hour), RETENTION_SECONDS)
                await pipe.execute()
        except (RedisError, OSError):
            return


def read_bounds(store: redis.Redis, sources: Iterable[str], now: float) -> dict[str, SourceBounds]:
    """The last hour of each source. `now` is in Unix seconds. Raises `StoreUnavailable`."""
    names, hour = list(sources), int(now // HOUR_SECONDS)
    with translate_errors(), store.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(keys.bounds(name, hour - 1))
            pipe.hgetall(keys.bounds(name, hour))
        replies = pipe.execute()
    share = hour + 1 - now / HOUR_SECONDS

    def total(name: str, before: dict[bytes, bytes], here: dict[bytes, bytes]) -> int:
        key = name.encode()
        return round(share * int(before.get(key, 0)) + int(here.get(key, 0)))

    return {
        name: SourceBounds(
            total("leads", *pair),
            {bound: count for bound in BOUNDS if (count := total(bound, *pair))},
        )
        for name, pair in zip(names, zip(replies[::2], replies[1::2], strict=True), strict=True)
    }
