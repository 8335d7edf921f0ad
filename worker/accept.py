"""Accepting: submissions into the ledger, in small batches.

What arrives while a batch is on its way to Redis, or within 2 ms, goes together with one transaction: with an append-only
file that is synced before the answer, a transaction costs the same for one submission as for a hundred. Each caller is
answered only when Redis has answered for its own submissions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import redis
import redis.asyncio
import rq

from worker import keys
from worker.contract import DuplicateKey, Receipt, State, Submission
from worker.errors import StoreUnavailable
from worker.ledger import scripts
from worker.ledger.record import seal
from worker.metrics import series
from worker.queue import enqueue
from worker.vault import Vault

GATHER_SECONDS = 0.002
BATCH = 200
WAITING_MOST = 5_000
"""Submissions that may wait for Redis in one process; beyond it new ones are refused rather than kept in memory."""

Waiting = tuple[list[Submission], "asyncio.Future[list[Receipt]]"]


class Acceptor:
    """Takes submissions for one service process. `connection` must not retry and must give up quickly."""

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        queue: rq.Queue,
        vault: Vault,
        *,
        wait_replicas: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._redis = connection
        self._queue = queue
        self._vault = vault
        self._wait_replicas = wait_replicas
        self._clock = clock
        self._inbox: asyncio.Queue[Waiting] = asyncio.Queue(maxsize=WAITING_MOST)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="acceptor")

    async def stop(self) -> None:
        """Takes what is waiting, then ends."""
        await asyncio.wait_for(self._inbox.join(), timeout=5)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def accept(self, submissions: list[Submission]) -> list[Receipt]:
        """Records the submissions, each with its duplicate key and its job. Returns when they are on disk.

        Raises `StoreUnavailable` when Redis does not answer in time: they may or may not be stored, and the same ids may
        be handed over again without harm.
        """
        answer: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        try:
            self._inbox.put_nowait((submissions, answer))
        except asyncio.QueueFull:
            raise StoreUnavailable("too many submissions wait for Redis") from None
        return await answer

    async def _run(self) -> None:
        while True:
            batch = [await self._inbox.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while len(batch) < BATCH and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            await self._answer(batch)
            for _ in batch:
                self._inbox.task_done()

    async def _answer(self, batch: list[Waiting]) -> None:
        submissions = [submission for group, _ in batch for submission in group]
        try:
            receipts = iter(await self._store(submissions))
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for group, answer in batch:
            mine = [next(receipts) for _ in group]
            if not answer.done():
                answer.set_result(mine)

    async def _store(self, submissions: list[Submission]) -> list[Receipt]:
        """One transaction: the records and duplicate keys (a script), and a job for each submission that is to be delivered.

        A job for what the script finds to be a duplicate names an unknown submission and ends at once, so known duplicates
        are looked up first and get no job.
        """
        try:
            known = await self._known(submissions)
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.multi()  # type: ignore[no-untyped-call]
                now = "" if self._clock is None else self._clock()
                arguments = [text for submission in submissions for text in self._arguments(submission)]
                pipe.eval(scripts.source("accept"), 0, now, *arguments)
                for submission, duplicate in zip(submissions, known, strict=True):
                    if submission.state is State.QUEUED and not duplicate:
                        enqueue(self._queue, submission.id, pipe)
                replies = (await pipe.execute())[0]
            if self._wait_replicas:
                await self._replicated()
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {str(error)[:200]}") from error
        return [
            Receipt(id=raw_id.decode(), state=State(state.decode() or "queued"), duplicate=bool(duplicate), conflict=bool(conflict))
            for raw_id, state, duplicate, conflict in replies
        ]

    async def _known(self, submissions: list[Submission]) -> list[bool]:
        with_keys = [_key_of(submission) for submission in submissions]
        wanted = [key for key in with_keys if key]
        if not wanted:
            return [False] * len(submissions)
        found = dict(zip(wanted, await self._redis.mget(wanted), strict=True))
        return [bool(key and found[key]) for key in with_keys]

    async def _replicated(self) -> None:
        """Raises `StoreUnavailable` unless enough replicas have what was just written."""
        milliseconds = 400
        if await self._redis.wait(self._wait_replicas, milliseconds) < self._wait_replicas:
            raise StoreUnavailable(f"fewer than {self._wait_replicas} replicas have it")

    def _arguments(self, submission: Submission) -> tuple[Any, ...]:
        duplicate = submission.duplicate_key
        also = ALSO_COUNTED.get(submission.state)
        return (
            submission.id,
            submission.source,
            submission.state,
            submission.received_at,
            seal(submission.lead, self._vault) if submission.lead is not None else b"",
            seal(submission.raw, self._vault),
            msgspec.json.encode(submission.cause) if submission.cause else b"",
            submission.why or "",
            _key_of(submission),
            duplicate.kind if duplicate else "",
            duplicate.fingerprint if duplicate else "",
            _milliseconds(duplicate),
            series("leadline_submissions_total", source=submission.source, outcome="accepted"),
            series("leadline_submissions_total", source=submission.source, outcome=also) if also else "",
            series("leadline_submissions_total", source=submission.source, outcome="duplicate"),
        )


ALSO_COUNTED = {State.QUARANTINED: "quarantined", State.IGNORED: "ignored"}
"""Everything stored counts as `accepted`, so that accepted = sum of states; these are counted by their own name as well."""


def _key_of(submission: Submission) -> str:
    duplicate = submission.duplicate_key
    return keys.duplicate(submission.source, duplicate.kind, duplicate.value) if duplicate else ""


def _milliseconds(duplicate: DuplicateKey | None) -> str:
    return "" if duplicate is None or duplicate.window is None else str(int(duplicate.window * 1000))
