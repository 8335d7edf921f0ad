"""The table kept up to date with the ledger: built once in the background, then from the stream of
changes.

    first question -> build: every record, the newest first, 200 at a time
    each question  -> what changed since (one round trip), read again, put into the table -> answer

So an answer knows every change that was made before the question. Who has fallen out of the stream
(it keeps the newest 100,000 changes; a Redis restored or emptied has another one) builds anew
beside what there is.
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
STREAM_START = "0-0"
"""The place in the stream before its first entry."""
PATIENCE_SECONDS = 10.0
"""Seconds that a question waits for the first build, or for another's turn."""
BUILD_PAUSE_SECONDS = 0.002
"""Seconds of rest after each batch of a build, for those who answer requests."""


class Loading(StoreUnavailable):
    """The index is being built: `known` of `total` submissions are in it."""

    code = "loading"

    def __init__(self, known: int, total: int) -> None:
        super().__init__(f"{known} of {total} submissions are read so far")
        self.known = known
        self.total = total


class Freshness(Struct, frozen=True):
    """How far the index is. `ready`: everything is in it. `as_of`: when it was last known to be up
    to date (Unix seconds).
    """

    ready: bool
    known: int
    total: int
    as_of: float | None
    stale: bool


class SearchIndex:
    """One per process. `only` keeps it to some states, and `quiet` it does not log what is well:
    both for commands.
    """

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
        """The table with every change so far. Raises `StoreUnavailable`, and `Loading` when that
        takes longer than `patience`.
        """
        until = time.monotonic() + (self._patience if patience is None else patience)
        try:
            while True:
                if self._last is None:
                    self._wait_for_build(until)
                if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
                    raise Loading(len(self._table), self._total)
                try:
                    if self._last is not None and self._follow():
                        self._as_of, self._stale = time.time(), False
                        return self._table
                finally:
                    self._turn.release()
        except StoreUnavailable as error:
            self._stale = self._stale or not isinstance(error, Loading)
            raise

    def peek(self) -> SearchTable:
        """The table as it is: still loading (which begins now, if it never did), or as it was when
        Redis was last there.
        """
        with self._built:
            if self._last is None:
                self._begin()
        return self._table

    def freshness(self) -> Freshness:
        known, ready = len(self._table), self._last is not None
        return Freshness(
            ready, known, known if ready else max(known, self._total), self._as_of, self._stale
        )

    # -- following
    # ----------------------------------------------------------------------------------------------

    def _follow(self) -> bool:
        """Takes in what changed since; False where the stream no longer tells all of it."""
        changed: dict[str, None] = {}
        last, more = self._last or STREAM_START, True
        while more:
            changes, whole = self._changes(last)
            if not whole:
                if not self._quiet:
                    log.info("the index fell behind and is built anew")
                self._last = None
                return False
            changed |= {submission_id: None for _, submission_id in changes if submission_id}
            last = changes[-1][0] if changes else last
            more = len(changes) == CHANGES_PER_READ
        for batch in batches(changed, BATCH_SIZE):
            self._take(self._table, batch)
        self._last = last
        return True

    def _changes(self, last: str) -> tuple[list[tuple[str, str]], bool]:
        """The next entries after `last`, and whether they are all that came after it."""
        changes, whole = self._ledger.changes_after(last, CHANGES_PER_READ)
        return changes, whole or (last == STREAM_START and len(changes) < CHANGES_PER_READ)

    def _take(self, table: SearchTable, ids: Iterable[str]) -> None:
        """Reads these records again."""
        wanted = list(ids)
        rows, causes, gone = [], [], []
        for submission_id, record in zip(
            wanted, self._ledger.find_many(wanted, raw=False), strict=True
        ):
            if record is None or record.state not in self._only:
                gone.append(submission_id)
                continue
            rows.append(build_row(record, masking.describe_person(record.lead)))
            if record.state is State.DEAD:
                causes.append((record.updated_at, record.cause or UNRECORDED))
        table.put(rows, causes, gone)

    # -- building
    # ----------------------------------------------------------------------------------------------

    def _wait_for_build(self, until: float) -> None:
        """Starts a build unless one is under way, and waits for it."""
        with self._built:
            self._begin()
            done = self._built.wait_for(
                lambda: not self._building, timeout=max(0.0, until - time.monotonic())
            )
            if not done:
                raise Loading(len(self._table), self._total)
            if self._last is None and self._failure is not None:
                raise self._failure

    def _begin(self) -> None:
        """Holding `_built`: a build, unless one is under way."""
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
        """The first table is shown while it fills; a later one replaces it when it is whole."""
        began = time.monotonic()
        anchor = self._ledger.last_change()
        counts = self._ledger.counts()
        self._total = sum(counts[state] for state in self._only)
        first = self._as_of is None
        table = SearchTable()
        if first:
            self._table = table
        for batch in batches(self._ledger.scan(self._only), BATCH_SIZE):
            self._take(table, batch)
            time.sleep(BUILD_PAUSE_SECONDS)
        self._table = table
        self._last = anchor or STREAM_START
        if not self._quiet:
            log.info(
                "the index is built",
                submissions=len(table),
                seconds=round(time.monotonic() - began, 3),
            )
