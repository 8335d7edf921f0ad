"""How much strangers have stored, and how full Redis is.

    0 ──────────── 80 % ── 90 % ──────── bound
      all is well   said    workers make   the service evicts what is in quarantine, oldest first,
                            room ahead     and refuses strangers' posts where nothing is left there

Verified submissions are not counted and never refused for it. Close to Redis's own limit of memory
strangers may store no more than they have by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import redis
import structlog
from msgspec import Struct

from worker.store import keys
from worker.store.connection import call_redis, translate_errors

log = structlog.get_logger("leadline.storage")

WARN_SHARE = 0.8

# Above this share of Redis's memory strangers may not take more of it: the rest is for verified
# submissions and for what Redis itself needs.
MEMORY_RESERVE_SHARE = 0.9

RECOUNT_SECONDS = 24 * 3600
KEYS_PER_PAGE = 500


class StorageUse(Struct, frozen=True, kw_only=True):
    """What strangers have stored and Redis's memory, in bytes; None or 0: without a limit.

    `evicted` and `refused` count their submissions for ever, with the last time in Unix seconds.
    """

    unverified_bytes: int = 0
    unverified_max: int | None = None
    memory_bytes: int = 0
    memory_max: int = 0
    evicted: int = 0
    evicted_at: float | None = None
    refused: int = 0
    refused_at: float | None = None

    @property
    def unverified_share(self) -> float:
        return self.unverified_bytes / self.unverified_max if self.unverified_max else 0.0

    @property
    def memory_share(self) -> float:
        return self.memory_bytes / self.memory_max if self.memory_max else 0.0

    @property
    def is_low(self) -> bool:
        """Whether somebody should know: before anything is refused."""
        return max(self.unverified_share, self.memory_share) >= WARN_SHARE

    @property
    def memory_is_low(self) -> bool:
        return self.memory_share >= MEMORY_RESERVE_SHARE


def add_storage_commands(pipe: Any) -> None:
    """Adds the commands for `read_storage` to a pipeline, blocking or asynchronous."""
    pipe.hgetall(keys.UNVERIFIED)
    pipe.info("memory")


def read_storage(replies: Sequence[Any]) -> StorageUse:
    """Reads the replies; some hosted servers refuse INFO, then the memory is unknown."""
    stored, memory = replies
    if isinstance(stored, Exception):
        raise stored
    memory = {} if isinstance(memory, Exception) else memory

    def number(name: str) -> float | None:
        return float(stored[name.encode()]) if name.encode() in stored else None

    unverified_max = number("max")
    return StorageUse(
        unverified_bytes=max(0, int(number("bytes") or 0)),
        unverified_max=None if unverified_max is None else int(unverified_max),
        memory_bytes=int(memory.get("used_memory", 0)),
        memory_max=int(memory.get("maxmemory", 0)),
        evicted=int(number("evicted") or 0),
        evicted_at=number("evicted_at"),
        refused=int(number("refused") or 0),
        refused_at=number("refused_at"),
    )


def find_storage_use(connection: redis.Redis) -> StorageUse:
    """How full Redis is now. Raises `StoreUnavailable`."""
    with translate_errors(), connection.pipeline(transaction=False) as pipe:
        add_storage_commands(pipe)
        return read_storage(pipe.execute(raise_on_error=False))


class UnverifiedRecount:
    """Counts once a day what strangers have stored, and corrects the total if it has drifted.

    An older release that erases beside this one, or a script that Redis ended halfway, leaves the
    total wrong. One page of Redis's keys each tick; `clock` returns Unix seconds.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float]) -> None:
        self._redis = connection
        self._clock = clock
        self._due_at = 0.0
        self._cursor = 0
        self._total_at_start: int | None = None
        self._counted = 0

    def tick(self) -> None:
        """Counts one page if a count is due or in progress. Raises `StoreUnavailable`."""
        with translate_errors():
            if self._total_at_start is None:
                now = self._clock()
                if now < self._due_at:
                    return
                self._due_at = now + RECOUNT_SECONDS
                if not self._redis.set(
                    keys.UNVERIFIED_RECOUNT, b"1", nx=True, ex=RECOUNT_SECONDS - 60
                ):
                    return
                self._total_at_start, self._cursor, self._counted = self._total(), 0, 0
            self._count_page()

    def _count_page(self) -> None:
        cursor, names = cast(
            "tuple[int, list[bytes]]",
            call_redis(lambda: self._redis.scan(self._cursor, count=KEYS_PER_PAGE)),
        )
        records, requests = keys.submission("").encode(), keys.RAW.encode()
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                if name.startswith(records) and b":" not in name[len(records) :]:
                    pipe.hget(name, "unverified_bytes")
            self._counted += sum(int(size) for size in pipe.execute() if size)
        for name in names:
            if name.startswith(requests):
                self._counted += self._request_bytes(name)
        self._cursor = cursor
        if cursor == 0:
            self._correct()

    def _request_bytes(self, name: bytes) -> int:
        """The bytes of a shared raw body if strangers sent it; one without holders is removed."""
        fields = cast("list[bytes]", self._redis.hkeys(name))
        holders = [each for each in fields if each != b"raw"]
        with self._redis.pipeline(transaction=False) as pipe:
            for holder in holders:
                pipe.hmget(keys.submission(holder.decode()), "raw_of", "unverified_bytes")
            facts = pipe.execute()
        if not any(raw_of for raw_of, _ in facts):
            self._redis.delete(name)
            return 0
        is_counted = any(size for _, size in facts)
        return self._redis.hstrlen(name.decode(), "raw") if is_counted else 0

    def _correct(self) -> None:
        """Corrects a drift that is larger than what came and went during the count."""
        assert self._total_at_start is not None
        total = self._total()
        moved = abs(total - self._total_at_start)
        drift = self._counted - (total + self._total_at_start) // 2
        self._total_at_start = None
        if abs(drift) > moved:
            self._redis.hincrby(keys.UNVERIFIED, "bytes", drift)
            log.warning("the bytes that strangers store had drifted", corrected_by=drift)

    def _total(self) -> int:
        return int(cast("bytes | None", self._redis.hget(keys.UNVERIFIED, "bytes")) or 0)
