"""Names to ids: labels, channels, owners and custom fields of the account, read hourly and never
per lead.

    this process's memory (5 s) -> Redis (an hour) -> Pipedrive

A name that is missing is looked for once more before it is called unknown, because people add
labels while we run. For each kind at most one worker asks, and not within 30 s of the last time;
for a name that stays missing ever more rarely, since a misspelt label must not eat the day's tokens
(a reading every 30 s costs 28,800).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock as ThreadLock

import msgspec
import redis
import structlog

from worker.errors import LeadlineError, OutOfAllowance, PipedriveError, Unavailable, UnknownName
from worker.pipedrive.auth import Lock
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import (
    WORDS,
    Entry,
    Kind,
    Match,
    Names,
    Table,
    first,
    named,
    plain,
    read,
)
from worker.store import keys
from worker.store.connection import ask

MEMORY_SECONDS = 5.0
GAP_SECONDS = 30.0
"""Between two readings of one kind, over all workers."""
LONGEST_GAP_SECONDS = 900.0
FORGIVEN_SECONDS = 3600.0
"""After so long without being asked for, a missing name counts as newly missing."""
SKEW_SECONDS = 60.0
WAIT_SECONDS, WAIT_STEP = 5.0, 0.05
LOCK_SECONDS = 30.0

ASK = """
local last, now = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-inf'), tonumber(ARGV[2])
if now - last < tonumber(ARGV[3]) and last - now < tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
"""Whether we may ask Pipedrive now. A moment in the future was written by a clock that has been set
back since.
"""

log = structlog.get_logger("leadline.catalogue")


class Catalogue(Names):
    """One per process; its methods may be called from any thread.

    Every method may raise `StoreUnavailable`, and, where Pipedrive must be asked, `PipedriveError`
    or `OutOfAllowance`. `clock` is Unix seconds and may ask Redis, so this process's memory goes by
    `monotonic`; `ttl` is seconds; `pause` sleeps while another worker asks.
    """

    def __init__(
        self,
        connection: redis.Redis,
        client: Pipedrive,
        clock: Callable[[], float] = time.time,
        ttl: float = 3600.0,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = connection
        self._client = client
        self._clock = clock
        self._ttl = ttl
        self._pause = pause
        self._monotonic = monotonic
        self._memory: dict[Kind, Table] = {}
        self._memory_at = 0.0
        self._memory_since = -math.inf
        self._memory_lock = ThreadLock()

    def ensure_label(self, name: str, color: str) -> str:
        """The id of a label, which is created if the account has none of this name. One worker at a
        time creates.
        """
        match = named(name)
        found = first(self._fresh(Kind.LABELS).items, match) or first(
            self._reloaded(Kind.LABELS), match
        )
        if found is not None:
            return str(found.id)
        lock = Lock(self._redis, keys.CATALOGUE_LOCK, LOCK_SECONDS)
        for _ in range(round(WAIT_SECONDS / WAIT_STEP)):
            if ask(lock.take):
                try:
                    return self._label_made(name, color)
                finally:
                    ask(lock.release)
            self._pause(WAIT_STEP)
            found = first(self._reloaded(Kind.LABELS), match)
            if found is not None:
                return str(found.id)
        raise Unavailable("labels.add", "another worker is creating a label and has not finished")

    def refresh(self, kinds: Iterable[Kind | str] = tuple(Kind), gap: float = GAP_SECONDS) -> None:
        """Reads these kinds afresh, except those read within the last `gap` seconds by any
        worker.
        """
        for kind in map(Kind, kinds):
            self._renewed(kind, gap=gap)

    def snapshot(self) -> dict[Kind, Table]:
        """What is known now, without asking Pipedrive; kinds that were never read are left out."""
        return dict(self._load())

    # -- finding
    # ----------------------------------------------------------------------------------------------

    def _find(self, kind: Kind, name: str, setting: str, match: Match) -> Entry:
        found = first(self._fresh(kind).items, match) or first(self._reloaded(kind), match)
        if found is None and self._may_look_again(kind, name):
            found = first(self._renewed(kind).items, match)
        if found is None:
            raise UnknownName(
                WORDS[kind],
                name,
                setting=setting,
                known=[entry.name for entry in self._reloaded(kind)],
            )
        return found

    def _fresh(self, kind: Kind) -> Table:
        """A table no older than `ttl`; an older one only where Pipedrive cannot be asked now."""
        table = self._remembered(kind)
        if table is not None and _younger(
            table, self._ttl, self._memory_at + self._memory_seconds()
        ):
            return table
        try:
            return self._renewed(kind, wait=table is None)
        except (PipedriveError, OutOfAllowance) as error:
            if table is None:
                raise
            log.warning("catalogue is old", kind=kind, error=error.code)
            return table

    def _may_look_again(self, kind: Kind, name: str) -> bool:
        """Whether the table is old enough to be read again for this name: 30 s, or a quarter of how
        long it has been missed.
        """
        key, now = f"missed:{kind}:{keys.digest(name)}", self._clock()
        first, _, last = (
            (ask(lambda: self._redis.hget(keys.CATALOGUE, key)) or b"").decode().partition(" ")
        )
        since = float(first) if last and 0 <= now - float(last) < FORGIVEN_SECONDS else now
        ask(lambda: self._redis.hset(keys.CATALOGUE, key, f"{since} {now}"))
        gap = min(max(GAP_SECONDS, (now - since) / 4), LONGEST_GAP_SECONDS)
        table = self._memory.get(kind)
        return table is None or not _younger(table, gap, self._clock())

    # -- reading
    # ----------------------------------------------------------------------------------------------

    def _renewed(self, kind: Kind, *, wait: bool = True, gap: float = GAP_SECONDS) -> Table:
        """The table as read within the last `gap` seconds, by us or by whoever is at it."""
        for _ in range(round(WAIT_SECONDS / WAIT_STEP)):
            table = self._load().get(kind)
            if table is not None and _younger(table, gap, self._clock()):
                return table
            if self._may_ask(kind, gap):
                return self._read(kind)
            if not wait and table is not None:
                return table
            self._pause(WAIT_STEP)
        raise Unavailable("catalogue", f"another worker is reading the {kind} and has not finished")

    def _may_ask(self, kind: Kind, gap: float) -> bool:
        return bool(
            ask(
                lambda: self._redis.eval(
                    ASK,
                    1,
                    keys.CATALOGUE,
                    f"asked:{kind}",
                    repr(self._clock()),
                    repr(gap),
                    repr(SKEW_SECONDS),
                )
            )
        )

    def _read(self, kind: Kind) -> Table:
        """Asks Pipedrive. If that fails the next may ask at once, and hear for itself why."""
        try:
            table = read(kind, self._client, self._clock())
        except LeadlineError:
            ask(lambda: self._redis.hdel(keys.CATALOGUE, f"asked:{kind}"))
            raise
        _warn_of_twins(kind, table.items)
        self._store(kind, table)
        return table

    def _store(self, kind: Kind, table: Table) -> None:
        ask(lambda: self._redis.hset(keys.CATALOGUE, kind, msgspec.json.encode(table)))
        with self._memory_lock:
            self._memory[kind] = table

    def _remembered(self, kind: Kind) -> Table | None:
        if self._memory_seconds() >= MEMORY_SECONDS:
            self._load()
        return self._memory.get(kind)

    def _memory_seconds(self) -> float:
        """How long ago this process's memory was filled."""
        return self._monotonic() - self._memory_since

    def _reloaded(self, kind: Kind) -> list[Entry]:
        table = self._load().get(kind)
        return table.items if table else []

    def _load(self) -> dict[Kind, Table]:
        """All tables from Redis, in one trip, into this process's memory. What cannot be read
        counts as never read.
        """
        kinds = list(Kind)
        since, now = self._monotonic(), self._clock()
        stored = ask(lambda: self._redis.hmget(keys.CATALOGUE, kinds))
        tables = {
            kind: table
            for kind, data in zip(kinds, stored, strict=True)
            if (table := _table(data)) is not None
        }
        with self._memory_lock:
            self._memory, self._memory_at, self._memory_since = tables, now, since
        return tables

    def _label_made(self, name: str, color: str) -> str:
        """Under the lock: looks once more, past every memory, then creates."""
        table = read(Kind.LABELS, self._client, self._clock())
        found = first(table.items, named(name))
        if found is None:
            label = self._client.labels.add(name=name.strip(), color=color)
            found = Entry(id=label.id, name=name.strip(), color=color)
            table = Table(table.at, [*table.items, found])
        self._store(Kind.LABELS, table)
        return str(found.id)


def _table(data: bytes | None) -> Table | None:
    try:
        return msgspec.json.decode(data, type=Table) if data else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _younger(table: Table, seconds: float, now: float) -> bool:
    return -SKEW_SECONDS < now - table.at < seconds


def _warn_of_twins(kind: Kind, entries: Sequence[Entry]) -> None:
    names = [plain(entry.name) for entry in entries]
    twins = sorted({name for name in names if names.count(name) > 1})
    if (
        twins and kind is not Kind.OWNERS
    ):  # owners' names are personal, and are mostly given by id or e-mail
        log.warning(
            "several entries have one name; the first by id is taken", kind=kind, names=twins[:12]
        )
