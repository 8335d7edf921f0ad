"""What the bounds of each source let pass and held back in the last hour.

`ledger/accept.lua` counts leads of sources without verification, and what `leads_per_hour` sends to
quarantine. A service process counts what it refuses, and hands that to Redis every second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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

    `leads` flowed, where it verifies nobody; `held_back` says how many requests or submissions did
    not, by the bound that `worker.metrics.BOUNDS` names. The hour before counts in proportion, so
    both are estimates.
    """

    leads: int
    held_back: dict[str, int]


class BoundCounts:
    """What this process has refused and not handed to Redis yet. `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pending: Counter[tuple[int, str]] = Counter()

    def count(self, source: str, bound: str) -> None:
        key = (int(self._clock() // HOUR_SECONDS), f"{source} {bound}")
        if key in self._pending or len(self._pending) < MAX_PENDING:
            self._pending[key] += 1

    async def aflush(self, store: redis.asyncio.Redis) -> None:
        """Hand the counts to Redis, and drop what it does not take."""
        pending, self._pending = self._pending, Counter()
        if not pending:
            return
        try:
            async with store.pipeline(transaction=False) as pipe:
                for (hour, field), amount in pending.items():
                    pipe.hincrby(keys.bounds(hour), field, amount)
                    pipe.expire(keys.bounds(hour), RETENTION_SECONDS)
                await pipe.execute()
        except (RedisError, OSError):
            return


def read_bounds(store: redis.Redis, now: float) -> dict[str, SourceBounds]:
    """The last hour of each source that has one. `now` is in Unix seconds.

    Raises `StoreUnavailable`.
    """
    hour = int(now // HOUR_SECONDS)
    with translate_errors(), store.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.bounds(hour - 1))
        pipe.hgetall(keys.bounds(hour))
        before, here = pipe.execute()
    share = hour + 1 - now / HOUR_SECONDS
    totals: dict[str, dict[str, int]] = {}
    for field in sorted(before.keys() | here.keys()):
        source, _, counted = field.decode().rpartition(" ")
        total = round(share * int(before.get(field, 0)) + int(here.get(field, 0)))
        if total:
            totals.setdefault(source, {})[counted] = total
    return {
        source: SourceBounds(
            counts.get("leads", 0), {bound: counts[bound] for bound in BOUNDS if bound in counts}
        )
        for source, counts in totals.items()
    }
