"""The newest refused requests of each source, for whoever sets up a provider.

They say when and why, but never hold the body. The process collects them and hands them to Redis
with the counters, so that a flood of refused requests costs no round trips.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import redis
import redis.asyncio
from redis.exceptions import RedisError

from worker.store import keys

MAX_REFUSALS = 20
RETENTION_SECONDS = 24 * 3600


class Refusals:
    """The refusals that this process has not handed to Redis yet."""

    def __init__(self) -> None:
        self._pending: dict[str, deque[bytes]] = {}

    def record(
        self,
        source: str,
        *,
        at: float,
        status: int,
        reason: str,
        request_id: str,
        method: str,
        size: int,
    ) -> None:
        """Remember a refusal. `reason` is our own text, `at` Unix seconds, `size` bytes."""
        entry = {
            "at": at,
            "status": status,
            "reason": reason[:200],
            "request_id": request_id,
            "method": method,
            "bytes": size,
        }
        self._pending.setdefault(source, deque(maxlen=MAX_REFUSALS)).append(
            msgspec.json.encode(entry)
        )

    async def aflush(self, store: redis.asyncio.Redis) -> None:
        """Hand the refusals to Redis, and drop what it does not take."""
        pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            async with store.pipeline(transaction=False) as pipe:
                for source, entries in pending.items():
                    pipe.lpush(keys.refusals(source), *entries)
                    pipe.ltrim(keys.refusals(source), 0, MAX_REFUSALS - 1)
                    pipe.expire(keys.refusals(source), RETENTION_SECONDS)
                await pipe.execute()
        except (RedisError, OSError):
            return


def recent_refusals(store: redis.Redis, source: str) -> list[dict[str, Any]]:
    """The refused requests of a source, newest first."""
    return [msgspec.json.decode(entry) for entry in store.lrange(keys.refusals(source), 0, -1)]
