"""Submissions that must be on a replica before they are acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from service.local.processes import Child, Supervisor
from service.local.redis import find_binary, responds
from tests.polling import eventually
from tests.redis.store import submission
from tests.redis.test_connection import free_port
from worker.accept.acceptor import Acceptor
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.queue.rq_queue import open_queue
from worker.store.connection import connect, connect_async


@pytest.fixture
def pair(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, int]]:  # noqa: ARG001
    """A primary's URL and its replica's process id."""
    primary, replica = free_port(), free_port()
    binary = str(find_binary())
    common = [
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--repl-diskless-sync-delay",
        "0",
    ]
    follow = ["--port", str(replica), "--replicaof", f"127.0.0.1 {primary}"]
    children = [
        Child(
            name,
            [binary, *options, "--dir", str(folder(tmp_path / name)), *common],
            log=tmp_path / f"{name}.log",
        )
        for name, options in (("primary", ["--port", str(primary)]), ("replica", follow))
    ]
    url = f"redis://127.0.0.1:{primary}/0"
    with Supervisor(children) as supervisor:
        assert eventually(lambda: responds(url) and _replicates(url))
        process = supervisor.pids["replica"]
        assert process is not None
        yield url, process
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def _replicates(url: str) -> bool:
    with connect(url, timeout=5) as client:
        client.set("leadline-test", "1")
        return "online" in str(client.info("replication")) and int(client.wait(1, 100)) == 1


def test_nothing_is_acknowledged_that_the_replica_has_not_seen(pair: tuple[str, int]) -> None:
    """With a stopped replica nobody gets a receipt, whatever else the process asks of Redis."""
    url, replica = pair

    async def run() -> list[bool]:
        with connect(url, timeout=5) as store:
            async with connect_async(url, timeout=5) as client:
                acceptor = Acceptor(client, open_queue(store), Cipher(()), wait_replicas=1)
                await acceptor.start()
                [receipt] = await acceptor.accept([submission()])
                assert not receipt.duplicate
                done = asyncio.Event()
                others = [asyncio.create_task(_others(client, done)) for _ in range(3)]
                os.kill(replica, signal.SIGSTOP)
                taken = []
                for _ in range(3):
                    acceptor.breaker.closed = True
                    try:
                        await acceptor.accept([submission()])
                        taken.append(True)
                    except StoreUnavailable:
                        taken.append(False)
                done.set()
                await asyncio.gather(*others, acceptor.stop())
                return taken

    assert asyncio.run(run()) == [False, False, False]


async def _others(client: Any, done: asyncio.Event) -> None:
    """What limiter, metrics and health ask on the same pool of connections."""
    while not done.is_set():
        await asyncio.gather(*(client.get("x") for _ in range(4)))
