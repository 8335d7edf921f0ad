"""Watches what the promise of a 2xx stands on: at start, every minute, and when Redis is back.

    look -> breaches of this process -> log, once when each begins and once when it ends
                                     -> leadline:unsafe, for the consoles and alerts of all

The process itself acts on what it sees, whether or not Redis takes the record: a Redis that is full
or a cluster does not.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import redis
import structlog
from msgspec import Struct

from worker.accept.promise import Breach, Surroundings, Terms, find_breaches
from worker.errors import StoreUnavailable
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.durability import Durability, read_durability

log = structlog.get_logger("leadline.promise")

LOOK_SECONDS = 60.0

# How soon Redis is asked again after it did not respond.
RETRY_SECONDS = 2.0

# A process whose record is older than this is gone.
RECORD_SECONDS = 3 * LOOK_SECONDS


class BreachRecord(Struct, frozen=True):
    """What one process sees, `at` Unix seconds by Redis's clock."""

    at: float
    breaches: list[Breach]


class PromiseWatch:
    """One per process; any thread may read `breaches`, one thread at a time may look.

    `observed` returns what the process notices by itself. `client` must not retry.
    """

    def __init__(
        self,
        client: redis.Redis,
        terms: Terms,
        data_dir: Path,
        *,
        observed: Callable[[], Sequence[Breach]] = tuple,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaches: tuple[Breach, ...] = ()
        self._redis = client
        self._terms = terms
        self._data_dir = data_dir
        self._observed = observed
        self._clock = clock
        self._monotonic = monotonic
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._durability: Durability | None = None
        self._clock_seconds: float | None = None
        self._answered = False
        self._looked_at: float | None = None
        self._is_recorded = False

    @property
    def refusal(self) -> Breach | None:
        """Why no submission may be acknowledged; None if one may."""
        return next((breach for breach in self.breaches if breach.refuses), None)

    @property
    def names(self) -> list[str]:
        """What is broken, as `/readyz` lists it."""
        return [breach.what for breach in self.breaches if not breach.advice]

    def tick(self) -> None:
        """Looks if it is time to. Cheap enough for every second. Never raises because of Redis."""
        if self._is_due():
            self.look()

    def look(self) -> None:
        """Looks now. While Redis does not respond, what it said last stays in force."""
        self._looked_at = self._monotonic()
        self._ask_redis()
        error, free = examine_data_dir(self._data_dir)
        surroundings = Surroundings(
            durability=self._durability,
            data_dir=str(self._data_dir),
            data_dir_error=error,
            free_bytes=free,
            clock_seconds=self._clock_seconds,
        )
        before = self.breaches
        self.breaches = (*find_breaches(surroundings, self._terms), *self._observed())
        _log_changes(before, self.breaches)
        self._record()

    def close(self) -> None:
        """Removes this process's record."""
        self.breaches = ()
        self._record()

    def _is_due(self) -> bool:
        if self._looked_at is None:
            return True
        elapsed = self._monotonic() - self._looked_at
        if elapsed >= (LOOK_SECONDS if self._answered else RETRY_SECONDS):
            return True
        return any(breach not in self.breaches for breach in self._observed())

    def _ask_redis(self) -> None:
        try:
            self._durability = read_durability(self._redis)
            self._clock_seconds = read_clock_seconds(self._redis, self._clock)
            self._answered = True
        except (StoreUnavailable, redis.RedisError, OSError):
            self._answered = False

    def _record(self) -> None:
        """Tells the others; what cannot be told now is told next time."""
        if not self._answered or not (self.breaches or self._is_recorded):
            return
        try:
            now = float(self._redis.time()[0])
            record = BreachRecord(now, list(self.breaches))
            with self._redis.pipeline(transaction=False) as pipe:
                if self.breaches:
                    pipe.hset(keys.UNSAFE, self._name, msgspec.json.encode(record))
                else:
                    pipe.hdel(keys.UNSAFE, self._name)
                pipe.hgetall(keys.UNSAFE)
                stored = pipe.execute()[-1]
            self._is_recorded = bool(self.breaches)
            gone = [name for name, text in stored.items() if not _is_current(_decode(text), now)]
            if gone:
                self._redis.hdel(keys.UNSAFE, *gone)
        except (redis.RedisError, OSError):
            return


def read_clock_seconds(client: redis.Redis, clock: Callable[[], float] = time.time) -> float:
    """By how many seconds Redis's clock is ahead of ours. Raises StoreUnavailable."""
    with translate_errors():
        before = clock()
        seconds, microseconds = client.time()
        after = clock()
    # The server read its clock somewhere between our two looks.
    return float(seconds + microseconds / 1e6 - (before + after) / 2)


def _log_changes(before: Sequence[Breach], after: Sequence[Breach]) -> None:
    """One line for each breach that began or ended, none for one that goes on."""
    present, past = ({breach.what for breach in breaches} for breaches in (after, before))
    for breach in after:
        if breach.what not in past:
            log.warning(
                "the promise of a 2xx is at risk" if not breach.advice else "Redis needs a bound",
                what=breach.what,
                cause=breach.cause,
                effect=breach.effect,
                action=breach.action,
            )
    for breach in before:
        if breach.what not in present:
            log.warning("what put the promise of a 2xx at risk is over", what=breach.what)


def read_recorded(stored: Mapping[bytes, bytes], now: float) -> list[Breach]:
    """What the processes of all machines see, each thing once; one that refuses leads wins.

    `stored` is the hash `keys.UNSAFE`, `now` Unix seconds by Redis's clock.
    """
    records = (_decode(text) for text in stored.values())
    return merge_breaches(
        breach
        for record in records
        if record is not None and _is_current(record, now)
        for breach in record.breaches
    )


def merge_breaches(breaches: Iterable[Breach]) -> list[Breach]:
    """Each `what` once; one that refuses leads wins."""
    merged: dict[str, Breach] = {}
    for breach in breaches:
        if breach.what not in merged or (breach.refuses and not merged[breach.what].refuses):
            merged[breach.what] = breach
    return list(merged.values())


def _decode(text: bytes) -> BreachRecord | None:
    try:
        return msgspec.json.decode(text, type=BreachRecord)
    except msgspec.MsgspecError:
        return None


def _is_current(record: BreachRecord | None, now: float) -> bool:
    return record is not None and now - record.at < RECORD_SECONDS


def examine_data_dir(path: Path) -> tuple[str, int | None]:
    """Why files cannot be written there ("" if they can), and the free bytes.

    Makes the directory, as the spool would, and a file that is removed at once: rights alone do not
    tell, because a disk may be mounted read-only or full.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x")
            file.flush()
        return "", shutil.disk_usage(path).free
    except OSError as error:
        return error.strerror or type(error).__name__, None
