"""A short lock over all workers, in Redis. It saves work and money; nothing is wrong if two hold it."""

from __future__ import annotations

import secrets

import redis

RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Lock:
    """Held by at most one owner, and for at most `seconds`. Methods may raise `redis.RedisError`."""

    def __init__(self, connection: redis.Redis, key: str, seconds: float) -> None:
        self._redis = connection
        self._key = key
        self._seconds = seconds
        self._owner = secrets.token_hex(12)

    def take(self) -> bool:
        """Whether it is ours now."""
        return bool(self._redis.set(self._key, self._owner, nx=True, px=round(self._seconds * 1000)))

    def release(self) -> None:
        """Gives it back, unless it lapsed and is another's by now."""
        self._redis.eval(RELEASE, 1, self._key, self._owner)
