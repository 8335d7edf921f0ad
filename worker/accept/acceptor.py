r"""Accepting: submissions into the ledger, in small batches; into the local spool when Redis cannot take them.

What arrives while a batch is on its way to Redis, or within 2 ms, goes together with one transaction: with an append-only
file that is synced before the answer, a transaction costs the same for one submission as for a hundred. Each caller is
answered only when its own submissions are on disk, there or here.

    batch -> Redis -> receipts                       Redis back -> spooled, oldest first -> Redis -> out of the spool
          \-> away -> breaker trips -> spool -> receipts

A submission whose Redis answer was lost is spooled as well; its id makes the later hand-over harmless.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from typing import Any

import msgspec
import redis
import redis.asyncio
import rq
import structlog
from msgspec import structs

from worker.accept.breaker import PROBE_SECONDS, Breaker
from worker.accept.spool import Spool, SpoolBroken, SpoolFull
from worker.contract import DuplicateKey, Precedence, Raw, Receipt, State, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger.identifiers import erasure_marks
from worker.ledger.record import seal
from worker.metrics import SUBMISSIONS, Meter, series
from worker.queue.rq_queue import enqueue
from worker.store import keys, scripts

# How background tasks of an event loop are ended.

MAX_CANCELS = 8


async def cancel_and_wait(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels until all have ended: a cancellation that meets a command under way to Redis can get
    lost in the client.
    """
    for _ in range(MAX_CANCELS):
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=0.5))[1]:
            continue
        return


log = structlog.get_logger("leadline.accept")

GATHER_SECONDS = 0.002
MAX_BATCH_GROUPS = 200
MAX_WAITING_GROUPS = 5_000
"""Submissions that may wait for Redis in one process; beyond it new ones are refused rather than
kept in memory.
"""

REPLICAS_MILLISECONDS = 400
DRAIN_SECONDS = 1.0
MAX_DRAIN_BATCH = 25
"""So few that a sender who comes meanwhile does not wait behind the drain for longer than some
milliseconds.
"""

SUCCESSES_TO_GROW = 20
"""After so many batches without a hitch they may be larger again."""

MAX_DRAIN_BYTES = 500_000
"""Of bodies in one batch; a single larger one goes alone."""

MAX_DRAIN_REST_SECONDS = 0.05

MARKS_PER_QUERY = 2_000
"""Marks of erasure that Redis is asked about at once: one submission can hold tens of thousands of
numbers.
"""

BACKFILL_AFTER_SECONDS = 60.0
"""What lay in the spool for longer is backfill: it goes into the ledger, and into RQ's queue when
there is room.
"""

ADOPT_SECONDS = 15.0
"""How often the spool is looked through for what is left, and the folder for files of processes
that are gone.
"""

ERASED_WHY = "erased on request, before it was handed over"
EMPTY_RAW = Raw(method="", query="", content_type="", headers=[], body=b"")

EncodedSubmission = tuple[Submission, tuple[Any, ...]]
"""A submission, and what the script takes of it."""

WaitingGroup = tuple[list[EncodedSubmission], "asyncio.Future[list[Receipt]]"]


class Acceptor:
    """Takes submissions for one service process. `connection` must not retry and must give up
    quickly.
    """

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        queue: rq.Queue,
        cipher: Cipher,
        *,
        spool: Spool | None = None,
        meter: Meter | None = None,
        wait_replicas: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = connection
        self._queue = queue
        self._cipher = cipher
        self.spool = spool
        self._meter = meter or Meter()
        self._wait_replicas = wait_replicas
        self._clock = clock
        self._inbox: asyncio.Queue[WaitingGroup] = asyncio.Queue(maxsize=MAX_WAITING_GROUPS)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._tasks: list[asyncio.Task[None]] = []
        self.breaker = Breaker(connection)

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._run(), name="acceptor"),
            asyncio.create_task(self._mend_breaker(), name="breaker"),
        ]
        if self.spool is not None:
            self._tasks.append(asyncio.create_task(self._drain_for_ever(self.spool), name="spool"))

    async def stop(self) -> None:
        """Takes what is waiting, then ends. What is spooled stays for the next process."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._inbox.join(), timeout=5)
        await cancel_and_wait(self._tasks)
        if self.spool is not None:
            await self._on_disk(self.spool.close)
        self._disk.shutdown()

    async def accept(self, submissions: list[Submission]) -> list[Receipt]:
        """Records the submissions, each with its duplicate key and its job. Returns when they are
        on disk.

        Raises `StoreUnavailable` when neither Redis nor the spool can take them: they may or may
        not be stored, and the same ids may be handed over again without harm.
        """
        answer: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        try:
            # Sealed here, so that one that cannot be encoded is its own sender's trouble and not
            # the whole batch's.
            self._inbox.put_nowait(
                ([self._encode(submission) for submission in submissions], answer)
            )
        except asyncio.QueueFull:
            raise StoreUnavailable("too many submissions wait for Redis") from None
        return await answer

    async def _run(self) -> None:
        while True:
            batch = [await self._inbox.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while len(batch) < MAX_BATCH_GROUPS and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            await self._answer(batch)
            for _ in batch:
                self._inbox.task_done()

    async def _answer(self, batch: list[WaitingGroup]) -> None:
        try:
            receipts = await self._record([sealed for group, _ in batch for sealed in group])
            for group, answer in batch:
                mine, receipts = receipts[: len(group)], receipts[len(group) :]
                if not answer.done():
                    answer.set_result(mine)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)

    async def _record(self, submissions: list[EncodedSubmission]) -> list[Receipt]:
        """In Redis, else in the spool."""
        if self.breaker.closed:
            try:
                return await self._store(submissions)
            except StoreUnavailable as error:
                self.breaker.trip()
                log.warning("Redis is away", error=str(error), spooling=self.spool is not None)
                if self.spool is None:
                    raise
        elif self.spool is None:
            raise StoreUnavailable("Redis is away")
        return await self._spool_all(self.spool, [submission for submission, _ in submissions])

    async def _spool_all(self, spool: Spool, submissions: list[Submission]) -> list[Receipt]:
        try:
            receipts: list[Receipt] = await self._on_disk(spool.put, submissions, self._clock())
        except (SpoolFull, SpoolBroken) as error:
            raise StoreUnavailable(str(error)) from error
        for submission, receipt in zip(submissions, receipts, strict=True):
            if not receipt.duplicate and not receipt.conflict:
                self._meter.count(SUBMISSIONS, source=submission.source, outcome="spooled")
        return receipts

    async def _mend_breaker(self) -> None:
        while True:
            try:
                await self.breaker.mend()
                log.info("Redis is back")
            except Exception as error:
                log.error("Redis cannot be asked", error=type(error).__name__)
                await asyncio.sleep(PROBE_SECONDS)

    async def _drain_for_ever(self, spool: Spool) -> None:
        """Hands what is spooled over to Redis, oldest first, whenever Redis is there; takes over
        files of dead processes.

        What Redis did not take in time it gets in ever smaller portions: each of them may be large.
        """
        adopt_at, portion, successes = 0.0, MAX_DRAIN_BATCH, 0
        while True:
            try:
                if time.monotonic() >= adopt_at:
                    adopt_at = time.monotonic() + ADOPT_SECONDS
                    await self._on_disk(spool.adopt)
                while self.breaker.closed and (
                    found := _within_drain_bytes(await self._on_disk(spool.oldest, portion))
                ):
                    began = time.monotonic()
                    await self._store(
                        [
                            self._encode(self._as_backfill_when_late(submission))
                            for submission in found
                        ],
                        spooled=True,
                    )
                    await self._on_disk(spool.take_out, [submission.id for submission in found])
                    log.info("spooled submissions handed over", count=len(found))
                    successes += 1
                    if successes % SUCCESSES_TO_GROW == 0:
                        portion = min(MAX_DRAIN_BATCH, 2 * portion)
                    # As long a rest as it took: new senders have the process, and Redis, half of
                    # the time.
                    await asyncio.sleep(min(time.monotonic() - began, MAX_DRAIN_REST_SECONDS))
            except StoreUnavailable:
                self.breaker.trip()
                portion, successes = max(1, portion // 2), 0
            except Exception as error:
                log.error("the spool cannot be drained", error=type(error).__name__)
            await asyncio.sleep(DRAIN_SECONDS)

    def _as_backfill_when_late(self, submission: Submission) -> Submission:
        late = self._clock() - submission.received_at > BACKFILL_AFTER_SECONDS
        return structs.replace(submission, precedence=Precedence.BACKFILL) if late else submission

    async def _on_disk(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _store(
        self, submissions: Sequence[EncodedSubmission], *, spooled: bool = False
    ) -> list[Receipt]:
        """One transaction: the records and duplicate keys (a script), and a job for each submission
        that is to be delivered.

        A job for what the script finds to be a duplicate names an unknown submission and ends at
        once, so known duplicates are looked up first and get no job.

        What was `spooled` was acknowledged, so each id gets a record: a twin of an earlier one
        points to it, and one that reuses a key with another body stands under both.
        """
        try:
            known = await self._find_duplicates(submissions)
            async with self._redis.pipeline(transaction=True) as pipe:
                erased = await self._find_erased(pipe, submissions) if spooled else {}
                submissions = [
                    self._without_content(each) if each[0].id in erased else each
                    for each in submissions
                ]
                pipe.multi()  # type: ignore[no-untyped-call]
                arguments = [text for _, texts in submissions for text in texts]
                pipe.eval(scripts.source("ledger/accept"), 0, "", int(spooled), *arguments)
                for (submission, _), duplicate in zip(submissions, known, strict=True):
                    backfill = submission.precedence is Precedence.BACKFILL
                    if submission.state is State.QUEUED and not duplicate and not backfill:
                        enqueue(self._queue, submission.id, pipe)
                for submission_id, mark in erased.items():
                    pipe.eval(
                        scripts.source("ledger/erase"),
                        0,
                        "",
                        submission_id,
                        "",
                        ERASED_WHY,
                        "",
                        "",
                        mark,
                        1,
                    )
                replies = (await pipe.execute())[0]
            if self._wait_replicas:
                await self._await_replicas()
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {str(error)[:200]}") from error
        return [
            Receipt(
                raw_id.decode(),
                State(state.decode() or State.QUEUED),
                duplicate=bool(duplicate),
                conflict=bool(conflict),
            )
            for raw_id, state, duplicate, conflict in replies
        ]

    async def _find_duplicates(self, submissions: Sequence[EncodedSubmission]) -> list[bool]:
        with_keys = [_duplicate_key(submission) for submission, _ in submissions]
        wanted = [key for key in with_keys if key]
        if not wanted:
            return [False] * len(submissions)
        found = dict(zip(wanted, await self._redis.mget(wanted), strict=True))
        return [bool(key and found[key]) for key in with_keys]

    async def _find_erased(
        self, pipe: Any, submissions: Sequence[EncodedSubmission]
    ) -> dict[str, str]:
        """Of what was spooled, that of people erased since: id -> mark. A mark that is set from
        here on fails the transaction.
        """
        own, every = await asyncio.to_thread(_erasure_marks, [each for each, _ in submissions])
        before: dict[str, float] = {}
        for start in range(0, len(every), MARKS_PER_QUERY):
            await pipe.watch(*every[start : start + MARKS_PER_QUERY])
            found = await self._redis.eval(
                scripts.source("ledger/marked"), 0, "", *every[start : start + MARKS_PER_QUERY]
            )
            before |= {
                mark.decode(): float(at) for mark, at in zip(found[::2], found[1::2], strict=True)
            }
        if not before:
            return {}
        return {
            each.id: mark
            for (each, _), mine in zip(submissions, own, strict=True)
            for mark in mine
            if each.received_at <= before.get(mark, -math.inf)
        }

    def _without_content(self, sealed: EncodedSubmission) -> EncodedSubmission:
        """Without what it says: nothing of an erased person gets into Redis, nor into its files."""
        return self._encode(
            structs.replace(sealed[0], lead=None, raw=EMPTY_RAW, cause=None, why=None, fetch=None)
        )

    async def _await_replicas(self) -> None:
        """Raises `StoreUnavailable` unless enough replicas have what was just written.

        WAIT counts up to the last write of its own connection, and the pool may give us another one
        than the transaction's; so it goes behind a write, which is later than all of the
        transaction.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.WRITE_CHECK, b"1", px=60_000)
            pipe.wait(self._wait_replicas, REPLICAS_MILLISECONDS)
            _, have = await pipe.execute()
        if have < self._wait_replicas:
            raise StoreUnavailable(f"fewer than {self._wait_replicas} replicas have it")

    def _encode(self, submission: Submission) -> EncodedSubmission:
        duplicate = submission.duplicate_key
        also = ALSO_COUNTED.get(submission.state)
        return submission, (
            submission.id,
            submission.source,
            submission.state,
            submission.received_at,
            seal(submission.lead, self._cipher) if submission.lead is not None else b"",
            seal(submission.raw, self._cipher),
            msgspec.json.encode(submission.cause) if submission.cause else b"",
            submission.why or "",
            _duplicate_key(submission),
            duplicate.kind if duplicate else "",
            duplicate.fingerprint if duplicate else "",
            _window_milliseconds(duplicate),
            series("leadline_submissions_total", source=submission.source, outcome="accepted"),
            (
                series("leadline_submissions_total", source=submission.source, outcome=also)
                if also
                else ""
            ),
            series("leadline_submissions_total", source=submission.source, outcome="duplicate"),
            msgspec.json.encode(submission.fetch) if submission.fetch else "",
            int(submission.precedence),
        )


ALSO_COUNTED = {State.QUARANTINED: "quarantined", State.IGNORED: "ignored"}
"""Everything stored counts as `accepted`, so that accepted = sum of states; these are counted by
their own name as well.
"""


def _within_drain_bytes(submissions: list[Submission]) -> list[Submission]:
    """The first of them, as far as they are no more than `DRAIN_BYTES` together."""
    sizes = accumulate(len(each.raw.body) for each in submissions)
    return submissions[: max(1, sum(size <= MAX_DRAIN_BYTES for size in sizes))]


def _erasure_marks(submissions: Sequence[Submission]) -> tuple[list[list[str]], list[str]]:
    """The marks of each, and all of them once."""
    own = [erasure_marks(each.id, each.lead, each.raw) for each in submissions]
    return own, list({mark for mine in own for mark in mine})


def _duplicate_key(submission: Submission) -> str:
    duplicate = submission.duplicate_key
    return keys.duplicate(submission.source, duplicate.kind, duplicate.value) if duplicate else ""


def _window_milliseconds(duplicate: DuplicateKey | None) -> str:
    return (
        "" if duplicate is None or duplicate.window is None else str(int(duplicate.window * 1000))
    )
