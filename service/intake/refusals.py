"""The newest refused requests of each source, for whoever sets a provider up: when and why, never
the body.

They gather in the process and reach Redis with the counters, so that refusing costs an attacker's
flood no round trip.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import redis
import redis.asyncio
from redis.exceptions import RedisError

from worker.store import keys

KEPT = 20
KEPT_SECONDS = 24 * 3600


class Refusals:
    def __init__(self) -> None:
        self._waiting: dict[str, deque[bytes]] = {}

    def note(
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
        """`reason` is our own words, `at` Unix seconds, `size` bytes."""
        entry = {
            "at": at,
            "status": status,
            "reason": reason[:200],
            "request_id": request_id,
            "method": method,
            "bytes": size,
        }
        self._waiting.setdefault(source, deque(maxlen=KEPT)).append(msgspec.json.encode(entry))

    async def aflush(self, store: redis.asyncio.Redis) -> None:
        """Hands over what has gathered; what Redis does not take is dropped."""
        taken, self._waiting = self._waiting, {}
        if not taken:
            return
        try:
            async with store.pipeline(transaction=False) as pipe:
                for source, entries in taken.items():
                    pipe.lpush(keys.refusals(source), *entries)
                    pipe.ltrim(keys.refusals(source), 0, KEPT - 1)
                    pipe.expire(keys.refusals(source), KEPT_SECONDS)
                await pipe.execute()
        except (RedisError, OSError):
            return


def recent(store: redis.Redis, source: str) -> list[dict[str, Any]]:
    """The newest refused requests, the newest first."""
    return [msgspec.json.decode(entry) for entry in store.lrange(keys.refusals(source), 0, -1)]
