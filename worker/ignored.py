"""Causes that people chose to leave alone for now: by the cause's id, since when. One that comes back counts again."""

from __future__ import annotations

from typing import cast

import redis

from worker import keys
from worker.store import ask


def ignore(connection: redis.Redis, cause_id: str, now: float) -> None:
    """What died of it until `now` (Unix seconds) needs nobody. Raises `StoreUnavailable`."""
    ask(lambda: connection.hset(keys.CAUSES_IGNORED, cause_id, repr(now)))


def unignore(connection: redis.Redis, cause_id: str) -> None:
    """Raises `StoreUnavailable`."""
    ask(lambda: connection.hdel(keys.CAUSES_IGNORED, cause_id))


def ignored(connection: redis.Redis) -> dict[str, float]:
    """Cause id -> when it was ignored (Unix seconds). Raises `StoreUnavailable`."""
    found = ask(lambda: cast("dict[bytes, bytes]", connection.hgetall(keys.CAUSES_IGNORED)))
    return {name.decode(): float(at) for name, at in found.items()}
