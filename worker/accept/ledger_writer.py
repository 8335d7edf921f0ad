"""Writes submissions into the ledger: records, duplicate keys and jobs, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import redis
import redis.asyncio
import rq
import structlog

from worker.accept.encoding import EncodedSubmission, duplicate_key_name
from worker.accept.late_erasure import drop_erased
from worker.contract import Precedence, Receipt, State
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger.storage import StorageUse, add_storage_commands, read_storage
from worker.metrics import EVICTED_SERIES
from worker.queue.rq_queue import enqueue
from worker.store import keys, scripts

log = structlog.get_logger("leadline.accept")

REPLICAS_MILLISECONDS = 400

ERASED_WHY = "erased on request, before it was handed over"


class ServerRestarted(StoreUnavailable):
    """Redis is another run of the server than expected: the journal goes first."""

    code = "server-restarted"


class LedgerWriter:
    """One per process.

    `connection` must not retry, and must give up quickly. Strangers may store `unverified_max`
    bytes; None: as much as there is room for. `storage` is how full Redis was at the last look.
    """

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        queue: rq.Queue,
        cipher: Cipher,
        *,
        wait_replicas: int = 0,
        unverified_max: int | None = None,
    ) -> None:
        self._redis = connection
        self._queue = queue
        self._cipher = cipher
        self._wait_replicas = wait_replicas
        self._unverified_max = unverified_max
        self.storage = StorageUse(unverified_max=unverified_max)

    async def write(
        self,
        submissions: Sequence[EncodedSubmission],
        *,
        spooled: bool = False,
        server: str | None = None,
    ) -> list[Receipt]:
        """Writes records, duplicate keys and a job for each delivery, all in one transaction.

        A job for a submission that the script finds to be a duplicate names an unknown id and ends
        at once; known duplicates are looked up first and get no job.

        A `spooled` submission was acknowledged, so each id gets a record: a duplicate points to the
        first submission, and one that reuses a key with another body is kept under key and body.

        Raises `StoreUnavailable`; with `server`, `ServerRestarted` if this is another run of it.
        """
        try:
            are_duplicates = await self._find_duplicates(submissions)
            async with self._redis.pipeline(transaction=True) as pipe:
                erased: dict[str, str] = {}
                if spooled:
                    erased, submissions = await drop_erased(
                        self._redis, pipe, submissions, self._cipher
                    )
                pipe.multi()  # type: ignore[no-untyped-call]
                scripts.add_accept(
                    pipe,
                    [each.packed for each in submissions],
                    spooled=spooled,
                    server=server,
                    unverified_max=self._unverified_max,
                    memory_low=self.storage.memory_is_low,
                    evicted=EVICTED_SERIES,
                )
                for (submission, _), duplicate in zip(submissions, are_duplicates, strict=True):
                    backfill = submission.precedence is Precedence.BACKFILL
                    if submission.state is State.QUEUED and not duplicate and not backfill:
                        enqueue(self._queue, submission.id, pipe)
                for submission_id, mark in erased.items():
                    args = {"id": submission_id, "why": ERASED_WHY, "mark": mark, "by_mark": True}
                    pipe.eval(scripts.source("ledger/erase"), 0, "", scripts.pack(args))
                replies = (await pipe.execute())[0]
            if self._wait_replicas:
                await self._await_replicas()
        except (redis.RedisError, OSError) as error:
            if scripts.ANOTHER_RUN in str(error):
                raise ServerRestarted(str(error)) from error
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {str(error)[:200]}") from error
        return [
            Receipt(
                raw_id.decode(),
                State(state.decode() or State.QUEUED),
                duplicate=bool(duplicate),
                conflict=bool(conflict),
                no_room=bool(no_room),
            )
            for raw_id, state, duplicate, conflict, no_room in replies
        ]

    async def _find_duplicates(self, submissions: Sequence[EncodedSubmission]) -> list[bool]:
        names = [duplicate_key_name(each.submission) for each in submissions]
        used = [name for name in names if name]
        if not used:
            return [False] * len(submissions)
        first_ids = dict(zip(used, await self._redis.mget(used), strict=True))
        return [bool(name and first_ids[name]) for name in names]

    async def _await_replicas(self) -> None:
        """Waits for replicas; raises `StoreUnavailable` if too few have the transaction.

        WAIT covers writes up to the last one of its own connection, and the pool may give us
        another connection than the transaction's. So we write once more first: that write is later
        than the whole transaction.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.WRITE_CHECK, b"1", px=60_000)
            pipe.wait(self._wait_replicas, REPLICAS_MILLISECONDS)
            _, replicas = await pipe.execute()
        if replicas < self._wait_replicas:
            raise StoreUnavailable(f"fewer than {self._wait_replicas} replicas have the write")

    async def look_at_storage(self) -> None:
        """Brings `storage` up to date, if Redis answers; else whoever stores next notices."""
        before = self.storage
        with suppress(redis.RedisError, OSError):
            async with self._redis.pipeline(transaction=False) as pipe:
                add_storage_commands(pipe)
                self.storage = read_storage(await pipe.execute(raise_on_error=False))
            if self._unverified_max not in (None, self.storage.unverified_max):
                await self._redis.hset(keys.UNVERIFIED, "max", self._unverified_max)
        if self.storage.is_low and not before.is_low:
            log.warning(
                "storage runs low",
                unverified_bytes=self.storage.unverified_bytes,
                unverified_max=self.storage.unverified_max,
                memory_bytes=self.storage.memory_bytes,
                memory_max=self.storage.memory_max,
            )
