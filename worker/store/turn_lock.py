"""A lock for work that only one of several processes should do at a time."""

from __future__ import annotations

import secrets

import redis

from worker.store.connection import translate_errors


class TurnLock:
    """Held by one process; expires `milliseconds` after the holder last took it.

    It only saves work: whatever is done under it must be harmless if two processes do it.
    """

    def __init__(self, connection: redis.Redis, key: str, milliseconds: int) -> None:
        self.token = secrets.token_hex(8)
        self._redis = connection
        self._key = key
        self._milliseconds = milliseconds

    def take(self) -> bool:
        """Takes or renews the lock; returns whether it is ours. Raises `StoreUnavailable`."""
        with translate_errors():
            if self._redis.set(self._key, self.token, nx=True, px=self._milliseconds):
                return True
            if self._redis.get(self._key) != self.token.encode():
                return False
            return bool(self._redis.pexpire(self._key, self._milliseconds))

    def release(self) -> None:
        """Gives the lock up, so that nobody has to wait until it expires."""
        with translate_errors():
            if self._redis.get(self._key) == self.token.encode():
                self._redis.delete(self._key)
