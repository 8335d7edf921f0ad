"""The account's labels, channels, owners, custom fields and currencies: read hourly, not per lead.

    this process's memory (5 s) -> Redis (an hour) -> Pipedrive

Before a missing name counts as unknown the table is read again, because people add labels while we
run. For each kind, one worker at a time reads, at most every 30 s. For a name that stays missing
the reads become rarer, because a misspelt label must not use up the day's tokens (reading labels
every 30 s would cost 28,800).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock as ThreadLock

import msgspec
import redis
import structlog

from worker.errors import LeadlineError, OutOfAllowance, PipedriveError, Unavailable
from worker.pipedrive.auth import SharedLock
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import (
    EntryMatcher,
    MetadataEntry,
    MetadataKind,
    MetadataTable,
    NameResolver,
    find_entry,
    match_name,
    normalize_name,
    read_metadata,
    unknown_name,
)
from worker.store import keys
from worker.store.connection import call_redis

MAX_MEMORY_SECONDS = 5.0
# Between two reads of one kind by any worker.
MIN_READ_GAP_SECONDS = 30.0
MAX_READ_GAP_SECONDS = 900.0
# The same after Pipedrive has refused an id that a table still has.
MIN_REFUSAL_GAP_SECONDS = 2.0
# A name that nobody asked for in this time counts as newly missing.
FORGET_MISS_SECONDS = 3600.0
CLOCK_SKEW_SECONDS = 60.0
WAIT_SECONDS, WAIT_STEP_SECONDS = 5.0, 0.05
LOCK_SECONDS = 30.0

# Returns whether we may ask Pipedrive now. A time in the future was written by a clock that has
# since been set back.
CLAIM_READ = """
local last, now = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-inf'), tonumber(ARGV[2])
if now - last < tonumber(ARGV[3]) and last - now < tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

log = structlog.get_logger("leadline.metadata")


class MetadataCache(NameResolver):
    """One per process; its methods may be called from any thread.

    Every method may raise `StoreUnavailable` and, where Pipedrive must be asked, `PipedriveError`
    or `OutOfAllowance`. `clock` returns Unix seconds and may ask Redis, so the age of this
    process's memory is measured with `monotonic`. `ttl` is in seconds; `pause` sleeps while another
    worker reads.
    """

    def __init__(
        self,
        connection: redis.Redis,
        client: Pipedrive,
        clock: Callable[[], float] = time.time,
        ttl: float = 3600.0,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._account = account
        self._client = client
        self._clock = clock
        self._ttl = ttl
        self._pause = pause
        self._monotonic = monotonic
        self._memory: dict[MetadataKind, MetadataTable] = {}
        self._decoded: dict[MetadataKind, tuple[bytes | None, MetadataTable | None]] = {}
        self._memory_at = 0.0
        self._memory_since = -math.inf
        self._memory_lock = ThreadLock()

    def ensure_label(self, name: str, color: str) -> str:
        """Return the id of a label; create it if the account has none of this name.

        Only one worker at a time creates labels.
        """
        match = match_name(name)
        label = find_entry(self._table(MetadataKind.LABELS).items, match) or find_entry(
            self._reload_entries(MetadataKind.LABELS), match
        )
        if label is not None:
            return str(label.id)
        lock = SharedLock(self._redis, self._account.metadata_lock, LOCK_SECONDS)
        for _ in range(round(WAIT_SECONDS / WAIT_STEP_SECONDS)):
            if call_redis(lock.take):
                try:
                    return self._create_label(name, color)
                finally:
                    call_redis(lock.release)
            self._pause(WAIT_STEP_SECONDS)
            label = find_entry(self._reload_entries(MetadataKind.LABELS), match)
            if label is not None:
                return str(label.id)
        raise Unavailable("labels.add", "another worker is still creating a label")

    def refresh(
        self,
        kinds: Iterable[MetadataKind | str] = tuple(MetadataKind),
        gap: float = MIN_READ_GAP_SECONDS,
    ) -> None:
        """Read these kinds again, except those that a worker has read in the last `gap` seconds."""
        for kind in map(MetadataKind, kinds):
            self._refresh(kind, gap=gap)

    def seconds_to_refusal_read(self, kinds: Iterable[MetadataKind | str]) -> float:
        """Return how long to wait before reading kinds of which Pipedrive refused an id.

        Not at all at first; ever longer while refusals go on, because reading does not help then.
        """
        tables, now, waits = self._load(), self._clock(), [0.0]
        for kind in map(MetadataKind, kinds):
            gap = self._count_miss(f"refused:{kind}", MIN_REFUSAL_GAP_SECONDS)
            if kind in tables and _is_younger(tables[kind], gap, now):
                waits.append(tables[kind].at + gap - now)
        return max(waits)

    def reread(self, kind: MetadataKind) -> MetadataTable:
        """Read a table from Pipedrive now, for all workers: a person asks for it."""
        return self._read(kind)

    def snapshot(self) -> dict[MetadataKind, MetadataTable]:
        """Return the tables that are in Redis now, without asking Pipedrive."""
        return dict(self._load())

    # -- lookups

    def _find(
        self, kind: MetadataKind, name: str, setting: str, match: EntryMatcher
    ) -> MetadataEntry:
        entry = find_entry(self._table(kind).items, match) or find_entry(
            self._reload_entries(kind), match
        )
        if entry is None and self._may_read_for(kind, name):
            entry = find_entry(self._refresh(kind).items, match)
        if entry is None:
            raise unknown_name(kind, name, setting, self._load().get(kind), match)
        return entry

    def _table(self, kind: MetadataKind) -> MetadataTable:
        """Return a table no older than `ttl`, or an older one if Pipedrive cannot be asked."""
        table = self._table_in_memory(kind)
        if table is not None and _is_younger(
            table, self._ttl, self._memory_at + self._memory_age()
        ):
            return table
        try:
            return self._refresh(kind, wait=table is None)
        except (PipedriveError, OutOfAllowance) as error:
            if table is None:
                raise
            log.warning("using old metadata", kind=kind, error=error.code)
            return table

    def _may_read_for(self, kind: MetadataKind, name: str) -> bool:
        """Return whether the table is old enough to be read again for this name."""
        gap = self._count_miss(f"missed:{kind}:{keys.digest(name)}", MIN_READ_GAP_SECONDS)
        table = self._memory.get(kind)
        return table is None or not _is_younger(table, gap, self._clock())

    def _count_miss(self, key: str, shortest: float) -> float:
        """Return how old a table must be to be read again for what is missing under `key`.

        That is a quarter of the time for which it has been missing, within `shortest` and 15
        minutes.
        """
        now = self._clock()
        first, _, last = (
            (call_redis(lambda: self._redis.hget(self._account.metadata, key)) or b"")
            .decode()
            .partition(" ")
        )
        since = float(first) if last and 0 <= now - float(last) < FORGET_MISS_SECONDS else now
        call_redis(lambda: self._redis.hset(self._account.metadata, key, f"{since} {now}"))
        return min(max(shortest, (now - since) / 4), MAX_READ_GAP_SECONDS)

    # -- reading

    def _refresh(
        self, kind: MetadataKind, *, wait: bool = True, gap: float = MIN_READ_GAP_SECONDS
    ) -> MetadataTable:
        """Return a table that we or another worker read in the last `gap` seconds."""
        for _ in range(round(WAIT_SECONDS / WAIT_STEP_SECONDS)):
            table = self._load().get(kind)
            if table is not None and _is_younger(table, gap, self._clock()):
                return table
            if self._claim_read(kind, gap):
                return self._read(kind)
            if not wait and table is not None:
                return table
            self._pause(WAIT_STEP_SECONDS)
        raise Unavailable("metadata", f"another worker is reading the {kind} and has not finished")

    def _claim_read(self, kind: MetadataKind, gap: float) -> bool:
        return bool(
            call_redis(
                lambda: self._redis.eval(
                    CLAIM_READ,
                    1,
                    self._account.metadata,
                    f"asked:{kind}",
                    repr(self._clock()),
                    repr(gap),
                    repr(CLOCK_SKEW_SECONDS),
                )
            )
        )

    def _read(self, kind: MetadataKind) -> MetadataTable:
        """Ask Pipedrive. If that fails, the next caller may ask at once and meet its own error."""
        try:
            table = read_metadata(kind, self._client, self._clock())
        except LeadlineError:
            call_redis(lambda: self._redis.hdel(self._account.metadata, f"asked:{kind}"))
            raise
        _warn_about_duplicates(kind, table.items)
        self._store(kind, table)
        return table

    def _store(self, kind: MetadataKind, table: MetadataTable) -> None:
        call_redis(
            lambda: self._redis.hset(self._account.metadata, kind, msgspec.json.encode(table))
        )
        with self._memory_lock:
            self._memory[kind] = table

    def _table_in_memory(self, kind: MetadataKind) -> MetadataTable | None:
        if self._memory_age() >= MAX_MEMORY_SECONDS:
            self._load()
        return self._memory.get(kind)

    def _memory_age(self) -> float:
        """Return how many seconds ago this process's memory was filled."""
        return self._monotonic() - self._memory_since

    def _reload_entries(self, kind: MetadataKind) -> list[MetadataEntry]:
        table = self._load().get(kind)
        return table.items if table else []

    def _load(self) -> dict[MetadataKind, MetadataTable]:
        """Load all tables from Redis into this process's memory, in one round trip.

        What cannot be decoded counts as never read.
        """
        kinds = list(MetadataKind)
        since, now = self._monotonic(), self._clock()
        stored = call_redis(lambda: self._redis.hmget(self._account.metadata, kinds))
        tables = {
            kind: table
            for kind, data in zip(kinds, stored, strict=True)
            if (table := self._decode(kind, data)) is not None
        }
        with self._memory_lock:
            self._memory, self._memory_at, self._memory_since = tables, now, since
        return tables

    def _decode(self, kind: MetadataKind, data: bytes | None) -> MetadataTable | None:
        """Decode a table unless it is as before: one with thousands of options takes a while."""
        before = self._decoded.get(kind)
        if before is None or before[0] != data:
            before = self._decoded[kind] = (data, decode_table(data))
        return before[1]

    def _create_label(self, name: str, color: str) -> str:
        """Ask Pipedrive once more, then create the label. The caller holds the lock."""
        table = read_metadata(MetadataKind.LABELS, self._client, self._clock())
        entry = find_entry(table.items, match_name(name))
        if entry is None:
            label = self._client.labels.add(name=name.strip(), color=color)
            entry = MetadataEntry(id=label.id, name=name.strip(), color=color)
            table = MetadataTable(table.at, [*table.items, entry])
        self._store(MetadataKind.LABELS, table)
        return str(entry.id)


def decode_table(data: bytes | None) -> MetadataTable | None:
    """Return a stored table; None if there is none that this version can read."""
    try:
        return msgspec.json.decode(data, type=MetadataTable) if data else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_younger(table: MetadataTable, seconds: float, now: float) -> bool:
    return -CLOCK_SKEW_SECONDS < now - table.at < seconds


def _warn_about_duplicates(kind: MetadataKind, entries: Sequence[MetadataEntry]) -> None:
    names = [normalize_name(entry.name) for entry in entries]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if (
        duplicates and kind is not MetadataKind.OWNERS
    ):  # owners' names are personal, and owners are mostly given by id or e-mail
        log.warning(
            "several entries have the same name; using the first by id",
            kind=kind,
            names=duplicates[:12],
        )
