"""The journal: keeps what Redis acknowledged on our own disk until Redis has it for certain.

A Redis that syncs its file every second loses the newest submissions when the power fails, and one
without a file loses all of them. There, each submission is first written to the spool's file and
stays:

    each write    not journaled, unless LEADLINE_JOURNAL=always
    every second  until Redis has synced it: two seconds, then two looks without a sync outstanding
    no file       until nobody has to do anything about it; a dead letter stays, and id and
                  duplicate key of the others stay for as long as Redis would recognise them

Each row remembers which run of the server took it. After a restart or failover (another run id or
replication id) all of them are handed over again, which the ids make harmless; what was delivered
meanwhile is looked up in Pipedrive first (`worker.ledger.rollback`). Until every process of this
machine has done so, new submissions wait in the spool: one of them may be the twin of a lost one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import structlog

from worker.accept.spool import Spool
from worker.accept.spool_file import UNSEEN, Stored
from worker.contract import ACTIONABLE, WORKING, Receipt, State, Submission
from worker.store.durability import Durability, Sync

log = structlog.get_logger("leadline.journal")

# By then Redis has begun to sync a write, if it syncs every second.
SYNC_SECONDS = 2.0

# How often the server is asked how it syncs while nothing is in the journal.
LOOK_SECONDS = 10.0

# Records per look at their states.
MAX_STATES = 1_000

# The states in which somebody still has to do something: these stay where there is no file.
OPEN_STATES = frozenset({*WORKING, *ACTIONABLE})


class Journal:
    """Decides what is journaled in one process, and for how long.

    Its methods block for a disk sync and belong on one thread, the disk's; `is_on`, `server` and
    `forget_server` are for the event loop. `monotonic` returns seconds, `wall` Unix seconds.
    """

    def __init__(
        self,
        spool: Spool,
        mode: Literal["auto", "always", "never"] = "auto",
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._mode = mode
        self._monotonic = monotonic
        self._wall = wall
        self._durability: Durability | None = None
        self._looked_at = -LOOK_SECONDS
        # When no sync was outstanding last. One that ended a moment before may have held back the
        # next, which begins before Redis replies; so only the look after that one shows its end.
        self._idle_at = -math.inf
        self._not_taken: list[str] = []
        self._offset = 0

    @property
    def is_on(self) -> bool:
        """Whether a submission is journaled now; also while nobody knows how Redis syncs."""
        if self._mode != "auto":
            return self._mode == "always"
        return self._durability is None or self._durability.sync is not Sync.EACH_WRITE

    @property
    def server(self) -> str:
        """The run of the server as it was last seen, for what is given to Redis from now on.

        If the server has been restarted since, the next look shows another run, and the submission
        is handed over once more.
        """
        return self._durability.server if self._durability else UNSEEN

    def forget_server(self) -> None:
        """Redis was away: it may have been restarted with other settings."""
        self._durability = None

    def write(self, submissions: Sequence[Submission], now: float) -> None:
        """Writes submissions that Redis is given next. Raises `SpoolFull` or `SpoolBroken`."""
        self._spool.journal(submissions, now)

    def record(
        self, submissions: Iterable[Submission], receipts: Iterable[Receipt], server: str
    ) -> None:
        """Notes what Redis made of journaled submissions; what it did not take need not stay.

        `server` is its run before the submissions were given to it.
        """
        ids = []
        for submission, receipt in zip(submissions, receipts, strict=True):
            if receipt.duplicate or receipt.conflict or receipt.no_room:
                self._not_taken.append(submission.id)
            else:
                ids.append(submission.id)
        self._spool.keep_stored(ids, Stored(server, self._monotonic()))

    def record_handed_over(
        self, submissions: Iterable[Submission], receipts: Iterable[Receipt], server: str
    ) -> None:
        """Like `record`, for what was acknowledged before: Redis took all of them.

        A duplicate is in Redis as a pointer to the first one, and that is all that stays of it.
        """
        pairs = list(zip(submissions, receipts, strict=True))
        self._spool.keep_stored(
            [submission.id for submission, _ in pairs], Stored(server, self._monotonic())
        )
        self._spool.keep_pointers(
            {submission.id: receipt.id for submission, receipt in pairs if receipt.duplicate}
        )

    def is_due(self) -> bool:
        """Whether to look at the server now."""
        return (
            self._durability is None
            or self._monotonic() - self._looked_at >= LOOK_SECONDS
            or bool(self._not_taken or self._spool.stored())
        )

    def observe(self, durability: Durability, at: float) -> list[str]:
        """Takes out what Redis has for certain, by what it said at `at` (monotonic seconds).

        What another run of the server took is handed over again. Returns the ids whose states
        decide about them, for `resolve`.
        """
        before = self._durability
        self._durability, self._looked_at = durability, at
        if before is None or before.sync is not durability.sync:
            log.info("how Redis syncs", sync=durability.sync.value, journal=self.is_on)
        if lost := self._spool.forget_stored(durability.server):
            log.warning("Redis was restarted: the journal is handed over again", count=lost)
        ages = {each: at - since for each, (_, since) in self._spool.stored().items()}
        certain, self._not_taken = self._not_taken, []
        doubtful: list[str] = []
        if durability.sync in (Sync.NO_FILE, Sync.UNKNOWN):
            doubtful = self._next_part([each for each in ages if ages[each] >= SYNC_SECONDS])
        elif durability.append_only_writes and not durability.sync_pending:
            synced_age = SYNC_SECONDS + at - self._idle_at
            certain += [each for each in ages if ages[each] >= synced_age]
            self._idle_at = at
        if certain:
            self._spool.take_out(certain)
        return doubtful

    def _next_part(self, ids: Sequence[str]) -> list[str]:
        if self._offset >= len(ids):
            self._offset = 0
        part = list(ids[self._offset : self._offset + MAX_STATES])
        self._offset += len(part)
        return part

    def resolve(self, states: Mapping[str, State | None]) -> None:
        """Lets go of what nobody has to do anything about any more; None: Redis lost the record.

        What recognises a duplicate of it stays, since Redis would forget that too.
        Where the journal is half full, what looks like spam has to rely on Redis alone.
        """
        stays = OPEN_STATES - {State.QUARANTINED} if self._spool.half_full else OPEN_STATES
        missing = [each for each, state in states.items() if state is None]
        if missing:
            log.warning("Redis lost submissions: they are handed over again", count=len(missing))
            self._spool.hand_over_again(missing)
        over = [each for each, state in states.items() if state and state not in stays]
        self._spool.keep_receipts(over, self._wall())
        self._offset = max(0, self._offset - len(over))
