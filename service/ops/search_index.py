"""Keeps the table up to date: builds it in the background, then follows the change stream.

    first question -> build: every record, the newest first, 200 at a time
    each question  -> read again what changed since (one round trip), put it into the table, answer

So an answer reflects every change that was made before the question. The stream keeps the newest
100,000 changes, and a Redis that was restored or emptied has another stream. An index that lost its
place is rebuilt beside the old table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable

import structlog
from msgspec import Struct

from service.ops import masking
from service.ops.search_table import SearchTable, build_row
from worker.causes import UNRECORDED
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.reader import batches

log = structlog.get_logger("leadline.index")


BATCH_SIZE = 200
CHANGES_PER_READ = 2_000
# The place in the stream before its first entry.
STREAM_START = "0-0"
# How long a question waits for the first build, or for its turn.
PATIENCE_SECONDS = 10.0
# A rest after each batch of a build, so that requests are answered meanwhile.
BUILD_PAUSE_SECONDS = 0.002


class Loading(StoreUnavailable):
    """The index is being built: `loaded` of `total` submissions are in it."""

    code = "loading"

    def __init__(self, loaded: int, total: int) -> None:
        super().__init__(f"{loaded} of {total} submissions are read so far")
        self.loaded = loaded
        self.total = total


class Freshness(Struct, frozen=True):
    """How far the index is: `loaded` of `total` submissions are in it, all where `ready`.

    `as_of` is when it was last known to be up to date, in Unix seconds; `stale`: Redis is away.
    """

    ready: bool
    loaded: int
    total: int
    as_of: float | None
    stale: bool


class SearchIndex:
    """One per process. For commands: `only` keeps it to some states, `quiet` the log to faults."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        only: Collection[State] = tuple(State),
        patience: float = PATIENCE_SECONDS,
        quiet: bool = False,
    ) -> None:
        self._ledger = ledger
        self._only = frozenset(only)
        self._patience = patience
        self._quiet = quiet
        self._turn = threading.Lock()
        self._built = threading.Condition()
        self._building = False
        self._table = SearchTable()
        self._last: str | None = None
        self._total = 0
        self._as_of: float | None = None
        self._stale = False
        self._failure: Exception | None = None

    def current(self, patience: float | None = None) -> SearchTable:
        """The table with every change so far.

        Raises `StoreUnavailable`, and `Loading` where that takes longer than `patience` seconds.
        """
        until = time.monotonic() + (self._patience if patience is None else patience)
        try:
            while True:
                if self._last is None:
                    self._wait_for_build(until)
                if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
                    raise Loading(len(self._table), self._total)
                try:
                    if self._last is not None and self._catch_up():
                        self._as_of, self._stale = time.time(), False
                        return self._table
                finally:
                    self._turn.release()
        except StoreUnavailable as error:
            self._stale = self._stale or not isinstance(error, Loading)
            raise

    def peek(self) -> SearchTable:
        """The table as it is: while it loads (it begins now, if need be) or Redis is away."""
        with self._built:
            if self._last is None:
                self._start_build()
        return self._table

    def freshness(self) -> Freshness:
        loaded, ready = len(self._table), self._last is not None
        return Freshness(
            ready, loaded, loaded if ready else max(loaded, self._total), self._as_of, self._stale
        )

    def _catch_up(self) -> bool:
        """Take in what changed since; False where the stream no longer holds all of it."""
        changed: dict[str, None] = {}
        last, more = self._last or STREAM_START, True
        while more:
            changes, whole = self._read_changes(last)
            if not whole:
                if not self._quiet:
                    log.info("the index fell behind and is built anew")
                self._last = None
                return False
            changed |= {submission_id: None for _, submission_id in changes if submission_id}
            last = changes[-1][0] if changes else last
            more = len(changes) == CHANGES_PER_READ
        for batch in batches(changed, BATCH_SIZE):
            self._read_into(self._table, batch)
        self._last = last
        return True

    def _read_changes(self, last: str) -> tuple[list[tuple[str, str]], bool]:
        """The next entries after `last`, and whether they are all that came after it."""
        changes, whole = self._ledger.changes_after(last, CHANGES_PER_READ)
        return changes, whole or (last == STREAM_START and len(changes) < CHANGES_PER_READ)

    def _read_into(self, table: SearchTable, ids: Iterable[str]) -> None:
        """Read these records again."""
        changed = list(ids)
        rows, causes, gone = [], [], []
        for submission_id, record in zip(
            changed, self._ledger.find_many(changed, raw=False), strict=True
        ):
            if record is None or record.state not in self._only:
                gone.append(submission_id)
                continue
            rows.append(build_row(record, masking.describe_person(record.lead)))
            if record.state is State.DEAD:
                causes.append((record.updated_at, record.cause or UNRECORDED))
        table.put(rows, causes, gone)

    def _wait_for_build(self, until: float) -> None:
        """Start a build unless one is under way, and wait for it."""
        with self._built:
            self._start_build()
            done = self._built.wait_for(
                lambda: not self._building, timeout=max(0.0, until - time.monotonic())
            )
            if not done:
                raise Loading(len(self._table), self._total)
            if self._last is None and self._failure is not None:
                raise self._failure

    def _start_build(self) -> None:
        """Start a build unless one is under way; the caller holds `_built`."""
        if not self._building:
            self._building, self._failure = True, None
            threading.Thread(target=self._build, name="index", daemon=True).start()

    def _build(self) -> None:
        failure: Exception | None = None
        try:
            self._read_everything()
        except Exception as error:
            failure = error
            if not isinstance(error, StoreUnavailable):
                log.error("the index cannot be built", exc_info=error)
        with self._built:
            self._building, self._failure = False, failure
            self._built.notify_all()

    def _read_everything(self) -> None:
        """Fill a table; the first is used meanwhile, a later one replaces the old when full."""
        began = time.monotonic()
        anchor = self._ledger.last_change()
        counts = self._ledger.counts()
        self._total = sum(counts[state] for state in self._only)
        first = self._as_of is None
        table = SearchTable()
        if first:
            self._table = table
        for batch in batches(self._ledger.scan(self._only), BATCH_SIZE):
            self._read_into(table, batch)
            time.sleep(BUILD_PAUSE_SECONDS)
        self._table = table
        self._last = anchor or STREAM_START
        if not self._quiet:
            log.info(
                "the index is built",
                submissions=len(table),
                seconds=round(time.monotonic() - began, 3),
            )
