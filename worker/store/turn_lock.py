"""A lock by which one of several processes does what only one should do at a time."""

from __future__ import annotations

import secrets

import redis

from worker.store.connection import translate_errors


class TurnLock:
    """Held by one process until it lapses, `milliseconds` after the holder last took it.

    It saves work and guards nothing: what is done under it must be harmless when done twice.
    """

    def __init__(self, connection: redis.Redis, key: str, milliseconds: int) -> None:
        self.token = secrets.token_hex(8)
        self._redis = connection
        self._key = key
        self._milliseconds = milliseconds

    def take(self) -> bool:
        """Takes or renews it; whether it is ours now. Raises `StoreUnavailable`."""
        with translate_errors():
            if self._redis.set(self._key, self.token, nx=True, px=self._milliseconds):
                return True
            if self._redis.get(self._key) != self.token.encode():
                return False
            return bool(self._redis.pexpire(self._key, self._milliseconds))
