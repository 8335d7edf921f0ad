"""Draining the spool, when it is heavy or Redis takes only part of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import redis as redis_py

from tests.redis.store import submission
from worker.accept.acceptor import Acceptor
from worker.accept.drain import MAX_DRAIN_BYTES
from worker.accept.encoding import EncodedSubmission
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Receipt, State, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue

Client = Callable[[], AbstractAsyncContextManager[Any]]


class Picky(Acceptor):
    """Its Redis takes at most three submissions in time; `sizes` are those of its batches."""

    max_batch = 3

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sizes: list[int] = []
        self._write = self.writer.write
        self.writer.write = self._write_few  # type: ignore[method-assign]

    async def _write_few(
        self, submissions: Sequence[EncodedSubmission], **more: Any
    ) -> list[Receipt]:
        self.sizes.append(len(submissions))
        if len(submissions) > self.max_batch:
            raise StoreUnavailable("too much at once")
        return await self._write(submissions, **more)


@asynccontextmanager
async def draining(
    kind: type[Acceptor],
    aredis: Client,
    redis: redis_py.Redis,
    folder: Path,
    spooled: list[Submission],
) -> AsyncIterator[tuple[Acceptor, Spool]]:
    spool = Spool(folder / SPOOL_FOLDER, 10**9, Cipher(()))
    spool.put(spooled, time.time())
    async with aredis() as client:
        acceptor = kind(client, open_queue(redis), Cipher(()), spool=spool)
        await acceptor.start()
        try:
            yield acceptor, spool
        finally:
            await acceptor.stop()


async def drained(spool: Spool, seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while spool.count and time.monotonic() < until:
        await asyncio.sleep(0.02)
    return not spool.count


def test_what_redis_does_not_take_at_once_it_gets_in_smaller_portions(
    aredis: Client, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """A batch that is too large for Redis is halved until it is taken; later batches grow again."""
    spooled = [submission(key=str(number)) for number in range(70)]

    async def run() -> list[int]:
        async with draining(Picky, aredis, redis, tmp_path, spooled) as (acceptor, spool):
            assert isinstance(acceptor, Picky)
            assert await drained(spool)
            return acceptor.sizes

    sizes = asyncio.run(run())
    assert sizes[:24] == [25, 12, 6, *[3] * 20, 6]
    assert Ledger(redis, Cipher(())).counts()[State.QUEUED] == 70


def test_a_body_of_numbers_holds_nobody_up(
    aredis: Client, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """Bodies with tens of thousands of phone numbers are handed over like any others."""

    def numbers(first: int) -> bytes:
        return json.dumps(
            {"items": "[" + ",".join(str(first + each) for each in range(36_000)) + "]"}
        ).encode()

    spooled = [submission(key=str(each), body=numbers(100_000 * (each + 1))) for each in range(12)]

    async def run() -> bool:
        async with draining(
            Acceptor, aredis, redis, tmp_path, [*spooled, submission(key="plain")]
        ) as (_, spool):
            return await drained(spool)

    assert asyncio.run(run())
    assert Ledger(redis, Cipher(())).counts()[State.QUEUED] == 13


def test_large_bodies_go_a_few_at_a_time(
    aredis: Client, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """A batch holds no more than half a megabyte of bodies; one that is larger goes alone."""
    sizes = [MAX_DRAIN_BYTES // 2, MAX_DRAIN_BYTES // 2, 10, 2 * MAX_DRAIN_BYTES, 10]
    spooled = [submission(key=str(number), body=b"x" * size) for number, size in enumerate(sizes)]

    async def run() -> list[int]:
        async with draining(Picky, aredis, redis, tmp_path, spooled) as (acceptor, spool):
            assert isinstance(acceptor, Picky)
            assert await drained(spool)
            return acceptor.sizes

    assert asyncio.run(run()) == [2, 1, 1, 1]


def test_an_unknown_error_of_the_client_does_not_keep_redis_away(
    aredis: Client, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """Whatever the library raises during a probe of Redis, the probe is repeated."""

    async def run() -> bool:
        async with draining(Acceptor, aredis, redis, tmp_path, []) as (acceptor, _):
            close = acceptor.breaker.close_when_writable
            failed: list[bool] = []

            async def once() -> None:
                if not failed:
                    failed.append(True)
                    raise RuntimeError("of a connection half closed")
                await close()

            acceptor.breaker.close_when_writable = once  # type: ignore[method-assign]
            for _ in range(2):
                # The first ends the wait that began before `once` was put in its place.
                acceptor.breaker.trip()
                until = time.monotonic() + 60
                while not acceptor.breaker.closed and time.monotonic() < until:
                    await asyncio.sleep(0.02)
            return acceptor.breaker.closed and bool(failed)

    assert asyncio.run(run())
