r"""Accepts submissions: into the ledger in small batches, or into the local spool.

Submissions that arrive while a batch is on its way to Redis, or within 2 ms, share a transaction:
with an append-only file that is synced before the reply, a transaction costs the same for one
submission as for a hundred. Each caller gets its receipts only when its own submissions are on
disk, in Redis or in the spool.

    batch -> Redis -> receipts
          \-> down -> breaker trips -> spool -> receipts

    Redis is back -> spooled, oldest first -> Redis -> out of the spool

Where Redis may lose what it acknowledged, the batch is written to the journal first.

A submission whose reply from Redis was lost is spooled as well; its id makes the later hand-over
harmless.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import redis
import redis.asyncio
import rq
import structlog
from msgspec import structs

from worker.accept.breaker import PROBE_SECONDS, Breaker
from worker.accept.encoding import EncodedSubmission, duplicate_key_name, encode_submissions
from worker.accept.journal import Journal
from worker.accept.spool import Spool, SpoolBroken, SpoolFull
from worker.accept.spool_file import UNSEEN
from worker.contract import EMPTY_RAW, Precedence, Receipt, State, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger.email_search import EmailPattern
from worker.ledger.identifiers import (
    erasure_marks,
    event_raw,
    has_other_contact,
    mentioned_addresses,
    raw_texts,
)
from worker.ledger.reader import batches
from worker.ledger.storage import StorageUse, add_storage_commands, read_storage
from worker.metrics import EVICTED_SERIES, SUBMISSIONS, Meter
from worker.queue.rq_queue import enqueue
from worker.store import keys, scripts
from worker.store.connection import translate_errors
from worker.store.durability import aread_durability

log = structlog.get_logger("leadline.accept")

GATHER_SECONDS = 0.002
MAX_BATCH_GROUPS = 200

# Groups that may wait for Redis in one process; more are refused, to bound the memory.
MAX_WAITING_GROUPS = 5_000

REPLICAS_MILLISECONDS = 400
# How often to look how full Redis is.
STORAGE_SECONDS = 2.0

STOP_TIMEOUT_SECONDS = 5.0
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

# Erasure marks per query to Redis: one submission can hold tens of thousands of phone numbers.
MARKS_PER_QUERY = 2_000

# A submission that was spooled for longer counts as backfill: it enters the ledger at once, but
# RQ's queue only when there is room.
BACKFILL_AFTER_SECONDS = 60.0

# How often the spool folder is searched for files of dead processes.
ADOPT_SECONDS = 15.0

ERASED_WHY = "erased on request, before it was handed over"

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


class ServerRestarted(StoreUnavailable):
    """Redis is another run of the server than expected: the journal goes first."""

    code = "server-restarted"


class Acceptor:
    """Takes the submissions of one service process.

    `connection` must not retry, and must give up quickly. Strangers may store `unverified_max`
    bytes; None: as much as there is room for. `storage` is how full Redis was two seconds ago.
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
        self._redis = connection
        self._queue = queue
        self._cipher = cipher
        self.spool = spool
        self._journal = journal
        # Monotonic seconds; while it is set, new submissions wait in the spool.
        self._recovering_since: float | None = None
        self._meter = meter or Meter()
        self._wait_replicas = wait_replicas
        self._unverified_max = unverified_max
        self.storage = StorageUse(unverified_max=unverified_max)
        self._clock = clock
        self._inbox: asyncio.Queue[WaitingGroup] = asyncio.Queue(maxsize=MAX_WAITING_GROUPS)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._tasks: list[asyncio.Task[None]] = []
        self.breaker = Breaker(connection)
        # While it is set, spooled submissions stay in the spool although Redis is up.
        self.holds_spool = False

    async def start(self) -> None:
        if self._journal is not None and self.spool is not None:
            with suppress(StoreUnavailable):
                await self._tend(self._journal)
            if self._journal.is_on and self.spool.in_use():
                self._begin_recovery(self._journal)
        self._tasks = [
            asyncio.create_task(self._run(), name="acceptor"),
            asyncio.create_task(self._run_breaker(), name="breaker"),
            asyncio.create_task(self._watch_storage(), name="storage"),
        ]
        if self.spool is not None:
            self._tasks.append(asyncio.create_task(self._drain_loop(self.spool), name="spool"))

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
        if self.breaker.closed and self._recovering_since is None:
            try:
                return await self._store_certainly(submissions)
            except (SpoolFull, SpoolBroken) as error:
                raise StoreUnavailable(f"the journal: {error}") from error
            except ServerRestarted:
                if self._journal is None or self.spool is None:
                    raise
                self._begin_recovery(self._journal)
            except StoreUnavailable as error:
                self._trip()
                log.warning("Redis is down", error=str(error), spooling=self.spool is not None)
                if self.spool is None:
                    raise
        elif self.spool is None:
            raise StoreUnavailable("Redis is down")
        return await self._spool_all(self.spool, [each.submission for each in submissions])

    async def _store_certainly(self, submissions: list[EncodedSubmission]) -> list[Receipt]:
        """Records the submissions in Redis, and in the journal before where Redis may lose them.

        Raises `StoreUnavailable`, or `SpoolFull` or `SpoolBroken` for the journal.
        """
        journal = self._journal
        if journal is None or not journal.is_on:
            return await self._store(submissions)
        if journal.server == UNSEEN:
            raise ServerRestarted("nobody has looked at the server yet")
        plain, server = [each.submission for each in submissions], journal.server
        await self._on_disk(journal.write, plain, self._clock())
        receipts = await self._store(submissions, server=server)
        # Nobody waits for this note: without it they are handed over again.
        self._disk.submit(journal.record, plain, receipts, server)
        return receipts

    def _trip(self) -> None:
        self.breaker.trip()
        if self._journal is not None:
            if self._journal.is_on:
                self._begin_recovery(self._journal)
            self._journal.forget_server()

    def _begin_recovery(self, journal: Journal) -> None:
        journal.forget_server()
        self._recovering_since = time.monotonic()

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
                    await self.look_at_storage()
                except Exception as error:
                    log.error("the storage cannot be watched", error=type(error).__name__)
            await asyncio.sleep(STORAGE_SECONDS)

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

    async def _drain_loop(self, spool: Spool) -> None:
        """Hands spooled submissions over to Redis, oldest first; adopts files of dead processes.

        A batch that Redis does not take in time is retried with half the size, because each
        submission may be large.
        """
        adopt_at, batch_size, successes = 0.0, MAX_DRAIN_BATCH, 0
        while True:
            try:
                if time.monotonic() >= adopt_at:
                    adopt_at = time.monotonic() + ADOPT_SECONDS
                    await self._on_disk(spool.adopt)
                if self._journal is not None and self.breaker.closed:
                    await self._tend(self._journal)
                    if self._recovering_since is not None:
                        await self._recover(spool, self._journal, batch_size)
                while (
                    self.breaker.closed
                    and not self.holds_spool
                    and self._recovering_since is None
                    and (batch := await self._next_batch(spool, batch_size))
                ):
                    began = time.monotonic()
                    await self._hand_over(spool, batch)
                    successes += 1
                    if successes % SUCCESSES_TO_GROW == 0:
                        batch_size = min(MAX_DRAIN_BATCH, 2 * batch_size)
                    # Resting as long as the batch took leaves half of the time to new senders.
                    await asyncio.sleep(min(time.monotonic() - began, MAX_DRAIN_REST_SECONDS))
            except StoreUnavailable:
                self._trip()
                batch_size, successes = max(1, batch_size // 2), 0
            except Exception as error:
                log.error("the spool cannot be drained", error=type(error).__name__)
            await asyncio.sleep(DRAIN_SECONDS if self._recovering_since is None else RECOVERY_REST)

    async def _next_batch(
        self, spool: Spool, size: int, *, again: bool = False
    ) -> list[Submission]:
        return _within_drain_bytes(await self._on_disk(partial(spool.oldest, size, again=again)))

    async def _hand_over(self, spool: Spool, batch: list[Submission]) -> None:
        server = self._journal.server if self._journal else ""
        receipts = await self._store(
            encode_submissions(map(self._as_backfill_when_late, batch), self._cipher),
            spooled=True,
        )
        await self._on_disk(self._release, spool, batch, receipts, server)
        log.info("spooled submissions handed over", count=len(batch))

    async def _recover(self, spool: Spool, journal: Journal, batch_size: int) -> None:
        """Hands over again what an earlier run of the server took, before anything else.

        What came meanwhile waits until the other processes of this machine have done so too, but
        not for ever: one of them may hang.
        """
        await self._on_disk(spool.adopt)
        while self.breaker.closed and (
            batch := await self._next_batch(spool, batch_size, again=True)
        ):
            await self._hand_over(spool, batch)
        server, since = journal.server, self._recovering_since
        await self._on_disk(spool.confirm, server)
        if since is not None and time.monotonic() - since > MAX_RECOVERY_SECONDS:
            log.warning("another process has not handed over its journal; going on without it")
        elif await self._on_disk(spool.others_behind, server):
            return
        self._recovering_since = None

    def _release(
        self,
        spool: Spool,
        submissions: list[Submission],
        receipts: list[Receipt],
        server: str,
    ) -> None:
        """Takes handed-over submissions out of the spool, or keeps them on as a journal."""
        if self._journal is not None and self._journal.is_on:
            self._journal.record_handed_over(submissions, receipts, server)
        else:
            spool.take_out([submission.id for submission in submissions])

    async def _tend(self, journal: Journal) -> None:
        """Looks at how Redis syncs, and lets go of what it has for certain.

        Raises `StoreUnavailable`.
        """
        if not await self._on_disk(journal.is_due):
            return
        at, before = time.monotonic(), journal.server
        durability = await aread_durability(self._redis)
        if journal.is_on and before not in (UNSEEN, durability.server):
            self._begin_recovery(journal)
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

    def _as_backfill_when_late(self, submission: Submission) -> Submission:
        late = self._clock() - submission.received_at > BACKFILL_AFTER_SECONDS
        return structs.replace(submission, precedence=Precedence.BACKFILL) if late else submission

    async def _on_disk(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _store(
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

        With `server`, raises `ServerRestarted` if this is another run of the server.
        """
        try:
            are_duplicates = await self._find_duplicates(submissions)
            async with self._redis.pipeline(transaction=True) as pipe:
                erased: dict[str, str] = {}
                if spooled:
                    erased, submissions = await self._without_erased(pipe, submissions)
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

    async def _without_erased(
        self, pipe: Any, submissions: Sequence[EncodedSubmission]
    ) -> tuple[dict[str, str], Sequence[EncodedSubmission]]:
        """Drops what is spooled of people who were erased since, so that it gets nowhere in Redis.

        Returns the submissions that are erased (id -> mark), and all of them without that content.
        Events that only share a request with such a person lose its raw body, and others that
        mention the address have it redacted. A mark that is set after this look makes the
        transaction fail.
        """
        items = [each.submission for each in submissions]
        await pipe.watch(keys.ERASURES)
        is_any = bool(await self._redis.exists(keys.ERASURES))
        marks = await asyncio.to_thread(lambda: [_marks(each, mentions=is_any) for each in items])
        erased_at = await self._read_marks(
            pipe, {mark for each in marks for mark in (*each.event, *each.request, *each.mentions)}
        )
        if not erased_at:
            return {}, submissions
        erased: dict[str, str] = {}
        tainted: set[str] = set()
        mentioned: dict[str, list[str]] = {}
        for item, each in zip(items, marks, strict=True):

            def reached(of_item: Iterable[str], received_at: float = item.received_at) -> list[str]:
                return [mark for mark in of_item if received_at <= erased_at.get(mark, -math.inf)]

            addresses = [each.mentions[mark] for mark in reached(each.mentions)]
            if its_marks := reached(each.event):
                erased[item.id] = its_marks[0]
            elif addresses and not has_other_contact(item.lead):
                erased[item.id] = keys.erased("email", addresses[0])
            elif addresses:
                mentioned[item.id] = addresses
            if item.raw_of and reached(each.request):
                tainted.add(item.raw_of)
        left = []
        for item in items:
            if item.id in erased:
                item = structs.replace(
                    item, lead=None, raw=EMPTY_RAW, cause=None, why=None, fetch=None
                )
            elif item.raw_of in tainted:
                item = structs.replace(item, raw=EMPTY_RAW)
            left.append(_redact(item, mentioned.get(item.id, ())))
        return erased, encode_submissions(left, self._cipher)

    async def _read_marks(self, pipe: Any, marks: set[str]) -> dict[str, float]:
        """When each of these marks was set (Unix seconds), and watches them."""
        erased_at: dict[str, float] = {}
        for part in batches(marks, MARKS_PER_QUERY):
            await pipe.watch(*part)
            args = scripts.pack({"marks": part})
            reply = await self._redis.eval(scripts.source("ledger/marked"), 0, "", args)
            erased_at |= {
                mark.decode(): float(at) for mark, at in zip(reply[::2], reply[1::2], strict=True)
            }
        return erased_at

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


def _within_drain_bytes(submissions: list[Submission]) -> list[Submission]:
    """The first submissions whose bodies fit into `MAX_DRAIN_BYTES` together; at least one."""
    sizes = accumulate(len(each.raw.body) for each in submissions)
    return submissions[: max(1, sum(size <= MAX_DRAIN_BYTES for size in sizes))]


class _Marks(NamedTuple):
    """Keys of erasure marks: of an event, of its whole request, of addresses that it mentions."""

    event: list[str]
    request: list[str]
    mentions: dict[str, str]


def _marks(item: Submission, *, mentions: bool) -> _Marks:
    event, request = erasure_marks(item)
    content = [
        msgspec.to_builtins([item.lead, item.cause, item.why, item.fetch]),
        raw_texts(event_raw(item)),
    ]
    return _Marks(event, request, mentioned_addresses(content) if mentions else {})


def _redact(item: Submission, addresses: Sequence[str]) -> Submission:
    """What somebody else's submission says of an erased person is redacted."""
    if not addresses:
        return item
    content = msgspec.to_builtins(item, builtin_types=(bytes,))
    key = content.pop("duplicate_key", None)
    for address in addresses:
        content = EmailPattern(address).redact(content)
    return msgspec.convert(content | {"duplicate_key": key}, Submission)
