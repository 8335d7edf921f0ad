"""Hands over to Redis what is in the spool and the journal of one process.

    Redis is back -> what an earlier run of the server took -> spooled, oldest first -> Redis

After a restart of Redis, new submissions wait in the spool until every process of this machine has
handed its journal over: one of them may be the twin of a lost one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any

import redis.asyncio
import structlog
from msgspec import structs

from worker.accept.breaker import Breaker
from worker.accept.encoding import encode_submissions
from worker.accept.journal import Journal
from worker.accept.ledger_writer import LedgerWriter
from worker.accept.spool import Spool
from worker.accept.spool_file import UNSEEN
from worker.contract import Precedence, Receipt, State, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.durability import aread_durability

log = structlog.get_logger("leadline.accept")

DRAIN_SECONDS = 1.0

# Few enough that a new sender waits only a few milliseconds behind the drain.
MAX_DRAIN_BATCH = 25

# After this many successful batches in a row the batch size doubles again.
SUCCESSES_TO_GROW = 20

# Total size of the bodies in one batch; a single larger body goes alone.
MAX_DRAIN_BYTES = 500_000

MAX_DRAIN_REST_SECONDS = 0.05

# After a restart of Redis: how long to wait for the journals of other processes, and between looks.
MAX_RECOVERY_SECONDS = 15.0
RECOVERY_REST = 0.1

# A submission that was spooled for longer counts as backfill: it enters the ledger at once, but
# RQ's queue only when there is room.
BACKFILL_AFTER_SECONDS = 60.0

# How often the spool folder is searched for files of dead processes.
ADOPT_SECONDS = 15.0


class Drain:
    """The drain of one process. `on_disk` runs work on the disk's thread.

    While `is_held`, spooled submissions stay where they are although Redis is up.
    """

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        writer: LedgerWriter,
        breaker: Breaker,
        cipher: Cipher,
        *,
        spool: Spool,
        journal: Journal | None,
        on_disk: Callable[..., Any],
        clock: Callable[[], float],
    ) -> None:
        self._redis = connection
        self._writer = writer
        self._breaker = breaker
        self._cipher = cipher
        self._spool = spool
        self._journal = journal
        self._on_disk = on_disk
        self._clock = clock
        # Monotonic seconds.
        self._recovering_since: float | None = None
        self.is_held = False

    @property
    def is_recovering(self) -> bool:
        """Whether new submissions wait in the spool, because the journal goes first."""
        return self._recovering_since is not None

    async def prepare(self) -> None:
        """Looks at the server before anything is accepted."""
        if self._journal is None:
            return
        with suppress(StoreUnavailable):
            await self._tend(self._journal)
        if self._journal.is_on and self._spool.in_use():
            self.begin_recovery()

    def note_outage(self) -> None:
        """Redis is away, and may come back as another run of the server."""
        if self._journal is None:
            return
        if self._journal.is_on:
            self.begin_recovery()
        self._journal.forget_server()

    def begin_recovery(self) -> None:
        """Redis was restarted, or may have been: the journal goes first."""
        if self._journal is not None:
            self._journal.forget_server()
            self._recovering_since = time.monotonic()

    async def run(self) -> None:
        """Hands spooled submissions over to Redis, oldest first; adopts files of dead processes.

        A batch that Redis does not take in time is retried with half the size, because each
        submission may be large.
        """
        adopt_at, batch_size, successes = 0.0, MAX_DRAIN_BATCH, 0
        while True:
            try:
                if time.monotonic() >= adopt_at:
                    adopt_at = time.monotonic() + ADOPT_SECONDS
                    await self._on_disk(self._spool.adopt)
                if self._journal is not None and self._breaker.closed:
                    await self._tend(self._journal)
                    if self.is_recovering and not self.is_held:
                        await self._recover(self._journal, batch_size)
                while (
                    self._breaker.closed
                    and not self.is_held
                    and not self.is_recovering
                    and (batch := await self._next_batch(batch_size))
                ):
                    began = time.monotonic()
                    await self._hand_over(batch)
                    successes += 1
                    if successes % SUCCESSES_TO_GROW == 0:
                        batch_size = min(MAX_DRAIN_BATCH, 2 * batch_size)
                    # Resting as long as the batch took leaves half of the time to new senders.
                    await asyncio.sleep(min(time.monotonic() - began, MAX_DRAIN_REST_SECONDS))
            except StoreUnavailable:
                self._breaker.trip()
                self.note_outage()
                batch_size, successes = max(1, batch_size // 2), 0
            except Exception as error:
                log.error("the spool cannot be drained", error=type(error).__name__)
            await asyncio.sleep(RECOVERY_REST if self.is_recovering else DRAIN_SECONDS)

    async def _next_batch(self, size: int, *, again: bool = False) -> list[Submission]:
        return _within_drain_bytes(
            await self._on_disk(partial(self._spool.oldest, size, again=again))
        )

    async def _hand_over(self, batch: list[Submission]) -> None:
        server, now = self._journal.server if self._journal else "", self._clock()
        receipts = await self._writer.write(
            encode_submissions([backfill_if_late(each, now) for each in batch], self._cipher),
            spooled=True,
        )
        await self._on_disk(self._release, batch, receipts, server)
        log.info("spooled submissions handed over", count=len(batch))

    async def _recover(self, journal: Journal, batch_size: int) -> None:
        """Hands over again what an earlier run of the server took, before anything else.

        What came meanwhile waits until the other processes of this machine have done so too, but
        not for ever: one of them may hang.
        """
        await self._on_disk(self._spool.adopt)
        while self._breaker.closed and (batch := await self._next_batch(batch_size, again=True)):
            await self._hand_over(batch)
        server, since = journal.server, self._recovering_since
        await self._on_disk(self._spool.confirm, server)
        if since is not None and time.monotonic() - since > MAX_RECOVERY_SECONDS:
            log.warning("another process has not handed over its journal; going on without it")
        elif await self._on_disk(self._spool.others_behind, server):
            return
        self._recovering_since = None

    def _release(self, submissions: list[Submission], receipts: list[Receipt], server: str) -> None:
        """Takes handed-over submissions out of the spool, or keeps them on as a journal."""
        if self._journal is not None and self._journal.is_on:
            self._journal.record_handed_over(submissions, receipts, server)
        else:
            self._spool.take_out([submission.id for submission in submissions])

    async def _tend(self, journal: Journal) -> None:
        """Looks at how Redis syncs, and lets go of what it has for certain.

        Raises `StoreUnavailable`.
        """
        if not await self._on_disk(journal.is_due):
            return
        at, before = time.monotonic(), journal.server
        durability = await aread_durability(self._redis)
        if journal.is_on and before not in (UNSEEN, durability.server):
            self.begin_recovery()
        if doubtful := await self._on_disk(journal.observe, durability, at):
            states = await self._read_states(doubtful)
            await self._on_disk(journal.resolve, states)

    async def _read_states(self, ids: Sequence[str]) -> dict[str, State | None]:
        with translate_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for submission_id in ids:
                    pipe.hget(keys.submission(submission_id), "state")
                replies = await pipe.execute()
        return {
            each: State(reply.decode()) if reply else None
            for each, reply in zip(ids, replies, strict=True)
        }


def backfill_if_late(submission: Submission, now: float) -> Submission:
    """A submission that lay in the spool for long waits for room behind newer ones."""
    late = now - submission.received_at > BACKFILL_AFTER_SECONDS
    return structs.replace(submission, precedence=Precedence.BACKFILL) if late else submission


def _within_drain_bytes(submissions: list[Submission]) -> list[Submission]:
    """The first submissions whose bodies fit into `MAX_DRAIN_BYTES` together; at least one."""
    sizes = accumulate(len(each.raw.body) for each in submissions)
    return submissions[: max(1, sum(size <= MAX_DRAIN_BYTES for size in sizes))]
