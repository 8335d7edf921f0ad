"""Disks that are slow, full, fail or cannot be written, under the spool and under Redis, while
senders go on.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from unittest import mock

import pytest

from service.local.redis import EmbeddedRedis
from tests.chaos.cluster import find_children
from tests.chaos.faults import build_shim, limit_resource
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually

pytestmark = pytest.mark.timeout(600)

SLOW_SECONDS = 0.5


@dataclass
class Disk:
    """A machine whose syncs obey two files: `spool` those of the service, `store` those of
    Redis.
    """

    running: RunningStack
    server: EmbeddedRedis
    folder: Path
    spool: Path
    store: Path

    @property
    def spools(self) -> Path:
        return self.folder / "data" / "spool"

    def settled(self) -> None:
        """All that was acknowledged has arrived, once."""
        assert eventually(lambda: self.running.health() == (200, 200, [])), self.running.health()
        assert eventually(
            lambda: all(
                self.running.record(one) is not None for one in self.running.acknowledged.values()
            ),
            60,
        )
        self.running.wait_until_idle(60)
        self.running.check()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    library = build_shim(folder)
    spool, store = folder / "spool-sync", folder / "store-sync"
    with ExitStack() as stack:
        with mock.patch.dict(os.environ, {"LD_PRELOAD": library, "CHAOS_SYNC": str(store)}):
            server = stack.enter_context(EmbeddedRedis(folder / "store"))
        whole = run_stack(folder, REDIS_URL=server.url, LD_PRELOAD=library, CHAOS_SYNC=str(spool))
        yield Disk(stack.enter_context(whole), server, folder, spool, store)


@contextmanager
def away(disk: Disk) -> Iterator[None]:
    """Redis is stopped, and this has been noticed: submissions go into the spool."""
    pid = disk.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert disk.running.post(f"noticed-{time.monotonic_ns()}", "noticed@example.com")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def refused(disk: Disk, key: str) -> bool:
    """Whether a post is answered as it must be where nothing can be stored."""
    answer = disk.running.http.post(
        f"{disk.running.stack.endpoints.service_url}/in/site",
        data={"email": "refused@example.com"},
        headers={"Idempotency-Key": key},
    )
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def test_what_redis_has_not_synced_is_not_acknowledged_by_it(disk: Disk) -> None:
    """Redis's disk takes seconds for a sync and Redis is killed meanwhile: who was told 202 had
    been written down elsewhere.
    """
    before = disk.server.pid
    assert before is not None
    disk.store.write_text("delay 5000")
    try:
        for number in range(5):
            assert disk.running.post(f"unsynced-{number}", f"unsynced{number}@example.com")
        assert disk.running.metric("leadline_spool_submissions") == 5
        os.kill(before, signal.SIGKILL)
    finally:
        disk.store.unlink()
    assert eventually(lambda: disk.server.pid not in (None, before))
    disk.settled()


def test_a_sync_that_fails_is_no_acknowledgement(disk: Disk) -> None:
    """Redis is away and the spool's disk fails: 503, not ready; what was told before stays, and it
    heals without a restart.
    """
    with away(disk):
        assert disk.running.post("whole", "whole@example.com")
        disk.spool.write_text(f"fail {EIO}")
        try:
            assert refused(disk, "broken-1")
            assert refused(disk, "broken-2")
            assert eventually(lambda: disk.running.health() == (200, 503, ["redis", "spool"]))
        finally:
            disk.spool.unlink()
        assert disk.running.post("healed", "healed@example.com")
    disk.settled()


def test_a_slow_sync_is_shared_by_those_who_wait(disk: Disk) -> None:
    """Half a second for each sync of the spool: forty senders at once wait for a few of them, not
    for forty.
    """
    with away(disk), ThreadPoolExecutor(40) as pool:
        disk.spool.write_text(f"delay {1000 * SLOW_SECONDS:.0f}")
        try:
            began = time.monotonic()
            taken = list(
                pool.map(
                    lambda number: disk.running.post(f"slow-{number}", f"slow{number}@example.com"),
                    range(40),
                )
            )
            took = time.monotonic() - began
        finally:
            disk.spool.unlink()
    assert all(taken)
    assert SLOW_SECONDS < took < 40 * SLOW_SECONDS
    disk.settled()


def test_a_full_disk_refuses_until_there_is_room(disk: Disk) -> None:
    """Redis is away and no file may grow: 503 and not ready, nothing half stored; with room again
    senders are taken.
    """
    pid = find_children(disk.running.stack.pids["serve"])[-1]
    with away(disk):
        with limit_resource(pid, resource.RLIMIT_FSIZE, 4096):
            assert refused(disk, "full-1")
            assert eventually(lambda: disk.running.health() == (200, 503, ["redis", "spool"]))
            assert refused(disk, "full-2")
        assert disk.running.post("room", "room@example.com")
    disk.settled()


def test_somebody_elses_lock_costs_one_answer(disk: Disk) -> None:
    """Redis is away and another program holds the spool's file locked: one 503, then another file
    is taken; none is lost.
    """
    with away(disk), ExitStack() as stack:
        for path in disk.spools.glob("*.sqlite"):
            holder = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            holder.execute("begin immediate")
        assert refused(disk, "locked")
        assert disk.running.post("beside", "beside@example.com")
    disk.settled()


def test_without_a_spool_redis_is_enough(disk: Disk) -> None:
    """The spool's folder can be written by nobody: submissions go through Redis, and health names
    the spool until it can.
    """
    before = find_children(disk.running.stack.pids["serve"])[-1]
    aside = disk.spools.rename(disk.folder / "spool-aside")
    disk.spools.symlink_to("/proc/self", target_is_directory=True)
    try:
        os.kill(before, signal.SIGKILL)
        assert eventually(
            lambda: find_children(disk.running.stack.pids["serve"])[-1:] not in ([], [before])
        )
        disk.running.post_until_accepted("without", "without@example.com")
        assert eventually(lambda: disk.running.health() == (200, 200, ["spool"]))
    finally:
        disk.spools.unlink()
        aside.rename(disk.spools)
    disk.settled()
