r"""Accepts submissions: into the ledger in small batches, or into the local spool.

Submissions that arrive while a batch is on its way to Redis, or within 2 ms, share a transaction:
with an append-only file that is synced before the reply, a transaction costs the same for one
submission as for a hundred. Each caller gets its receipts only when its own submissions are on
disk, in Redis or in the spool.

    batch -> Redis -> receipts
          \-> down -> breaker trips -> spool -> receipts

Where Redis may lose what it acknowledged, the batch is written to the journal first.

A submission whose reply from Redis was lost is spooled as well; its id makes the later hand-over
harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import redis.asyncio
import rq
import structlog

from worker.accept.breaker import PROBE_SECONDS, Breaker
from worker.accept.drain import Drain
from worker.accept.encoding import EncodedSubmission, encode_submissions
from worker.accept.journal import Journal
from worker.accept.ledger_writer import LedgerWriter, ServerRestarted
from worker.accept.spool import Spool, SpoolBroken, SpoolFull
from worker.accept.spool_file import UNSEEN
from worker.contract import Receipt, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.metrics import SUBMISSIONS, Meter

log = structlog.get_logger("leadline.accept")

GATHER_SECONDS = 0.002
MAX_BATCH_GROUPS = 200

# Groups that may wait for Redis in one process; more are refused, to bound the memory.
MAX_WAITING_GROUPS = 5_000

# How often to look how full Redis is.
STORAGE_SECONDS = 2.0

STOP_TIMEOUT_SECONDS = 5.0

MAX_CANCELS = 8

WaitingGroup = tuple[list[EncodedSubmission], "asyncio.Future[list[Receipt]]"]


async def cancel_and_wait(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits for them to end.

    Cancels repeatedly, because the Redis client can swallow a cancellation that arrives during a
    command.
    """
    for _ in range(MAX_CANCELS):
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=0.5))[1]:
            continue
        return


class Acceptor:
    """Takes the submissions of one service process.

    `connection` must not retry, and must give up quickly. A `journal` is kept in the `spool`.
    Strangers may store `unverified_max` bytes; None: as much as there is room for. `drain` is None
    without a spool.
    """

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        queue: rq.Queue,
        cipher: Cipher,
        *,
        spool: Spool | None = None,
        journal: Journal | None = None,
        meter: Meter | None = None,
        wait_replicas: int = 0,
        unverified_max: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cipher = cipher
        self.spool = spool
        self._journal = journal
        self._meter = meter or Meter()
        self._clock = clock
        self._inbox: asyncio.Queue[WaitingGroup] = asyncio.Queue(maxsize=MAX_WAITING_GROUPS)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._tasks: list[asyncio.Task[None]] = []
        self.breaker = Breaker(connection)
        self.writer = LedgerWriter(
            connection, queue, cipher, wait_replicas=wait_replicas, unverified_max=unverified_max
        )
        self.drain: Drain | None = None
        if spool is not None:
            self.drain = Drain(
                connection,
                self.writer,
                self.breaker,
                cipher,
                spool=spool,
                journal=journal,
                on_disk=self._on_disk,
                clock=clock,
            )

    async def start(self) -> None:
        tasks = {
            "acceptor": self._run(),
            "breaker": self._run_breaker(),
            "storage": self._watch_storage(),
        }
        if self.drain is not None:
            await self.drain.prepare()
            tasks["spool"] = self.drain.run()
        self._tasks = [asyncio.create_task(run, name=name) for name, run in tasks.items()]

    async def stop(self) -> None:
        """Records what is waiting, then stops; spooled submissions stay for the next process."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._inbox.join(), timeout=STOP_TIMEOUT_SECONDS)
        await cancel_and_wait(self._tasks)
        if self.spool is not None:
            await self._on_disk(self.spool.close)
        self._disk.shutdown()

    async def accept(self, submissions: list[Submission]) -> list[Receipt]:
        """Records submissions with their duplicate keys and jobs; returns when they are on disk.

        Raises `StoreUnavailable` if neither Redis nor the spool can take them. They may be stored
        all the same, but the same ids can safely be handed over again.
        """
        answer: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        try:
            # Encode here: a submission that cannot be encoded then fails for its own sender only,
            # not for the whole batch.
            self._inbox.put_nowait((encode_submissions(submissions, self._cipher), answer))
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
            receipts = await self._record([encoded for group, _ in batch for encoded in group])
            for group, answer in batch:
                group_receipts, receipts = receipts[: len(group)], receipts[len(group) :]
                if not answer.done():
                    answer.set_result(group_receipts)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)

    async def _record(self, submissions: list[EncodedSubmission]) -> list[Receipt]:
        """Records the submissions in Redis, else in the spool."""
        spool, drain = self.spool, self.drain
        if self.breaker.closed and not (drain and drain.is_recovering):
            try:
                return await self._store(submissions)
            except (SpoolFull, SpoolBroken) as error:
                raise StoreUnavailable(f"the journal: {error}") from error
            except ServerRestarted:
                if drain is None:
                    raise
                drain.begin_recovery()
            except StoreUnavailable as error:
                self.breaker.trip()
                log.warning("Redis is down", error=str(error), spooling=spool is not None)
                if drain is None:
                    raise
                drain.note_outage()
        if spool is None:
            raise StoreUnavailable("Redis is down")
        return await self._spool_all(spool, [each.submission for each in submissions])

    async def _store(self, submissions: list[EncodedSubmission]) -> list[Receipt]:
        """Records the submissions in Redis, and in the journal before where Redis may lose them.

        Raises `StoreUnavailable`, or `SpoolFull` or `SpoolBroken` for the journal.
        """
        journal = self._journal
        if journal is None or not journal.is_on:
            return await self.writer.write(submissions)
        if journal.server == UNSEEN:
            raise ServerRestarted("nobody has looked at the server yet")
        plain, server = [each.submission for each in submissions], journal.server
        await self._on_disk(journal.write, plain, self._clock())
        receipts = await self.writer.write(submissions, server=server)
        # Nobody waits for this note: without it they are handed over again.
        self._disk.submit(journal.record, plain, receipts, server)
        return receipts

    async def _spool_all(self, spool: Spool, submissions: list[Submission]) -> list[Receipt]:
        try:
            receipts: list[Receipt] = await self._on_disk(spool.put, submissions, self._clock())
        except (SpoolFull, SpoolBroken) as error:
            raise StoreUnavailable(str(error)) from error
        for submission, receipt in zip(submissions, receipts, strict=True):
            if not (receipt.duplicate or receipt.conflict or receipt.no_room):
                self._meter.count(SUBMISSIONS, source=submission.source, outcome="spooled")
        return receipts

    async def _run_breaker(self) -> None:
        while True:
            try:
                await self.breaker.close_when_writable()
                log.info("Redis is back")
            except Exception as error:
                log.error("the breaker's probe failed", error=type(error).__name__)
                await asyncio.sleep(PROBE_SECONDS)

    async def _watch_storage(self) -> None:
        while True:
            if self.breaker.closed:
                try:
                    await self.writer.look_at_storage()
                except Exception as error:
                    log.error("the storage cannot be watched", error=type(error).__name__)
            await asyncio.sleep(STORAGE_SECONDS)

    async def _on_disk(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
