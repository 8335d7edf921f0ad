"""A worker that hangs is seen, whatever of it still runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from structlog.testing import capture_logs
from ulid import ULID

from tests.polling import eventually
from tests.redis.test_slots import put, running
from worker.ledger.status import WorkerHeartbeat
from worker.queue import liveness, slots
from worker.queue.liveness import find_worker_fault, judge_heartbeats, latest_by_pid
from worker.queue.rq_worker import JobTimeout
from worker.store import keys

ROOT = Path(__file__).resolve().parents[2]
HOST = socket.gethostname()


@pytest.fixture
def env(redis_url: str, tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "REDIS_URL": redis_url,
        "LEADLINE_DATA_DIR": str(tmp_path),
        "PIPEDRIVE_API_TOKEN": "x",
        "PIPEDRIVE_BASE_URL": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }


def leadline(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service.cli.main", *arguments]


@pytest.fixture
def worker(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        leadline("work"), env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


def check(env: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        leadline("work", "--healthy"), env=env, cwd=ROOT, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_a_stopped_process(
    worker: subprocess.Popen[bytes],
    env: dict[str, str],
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`work --healthy` is 0 while the worker works, and a stopped process is named as hanging."""
    assert eventually(lambda: redis.hlen(keys.WORKERS) == 1)
    assert check(env) == (0, "")
    monkeypatch.setattr(liveness, "MAX_HEARTBEAT_AGE_SECONDS", 3.0)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        assert eventually(lambda: find_worker_fault(redis, HOST, 1))
        assert f"{worker.pid} hangs" in str(find_worker_fault(redis, HOST, 1))
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert eventually(lambda: find_worker_fault(redis, HOST, 1) is None)


def test_a_worker_watches_the_promise(
    redis: redis_py.Redis, request: pytest.FixtureRequest
) -> None:
    """A running worker records what it sees broken, whether or not a service runs."""
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        request.getfixturevalue("worker")
        assert eventually(lambda: "eviction" in str(redis.hvals(keys.UNSAFE)))
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


def test_no_worker(env: dict[str, str]) -> None:
    """Where no worker of this host has reported, it is not healthy."""
    status, text = check(env)
    assert (status, text) == (1, "leadline: 0 of 1 worker processes have reported\n")


def test_without_redis(env: dict[str, str], tmp_path: Path) -> None:
    """Where Redis does not respond, nobody can tell, and it says so."""
    status, text = check(env | {"REDIS_URL": f"unix://{tmp_path}/none.sock"})
    assert status == 1
    assert "cannot be told" in text


def test_slots_that_hang(
    redis_url: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every slot hangs, the thread that reports sends no heartbeat for them, and logs once."""
    monkeypatch.setattr(slots, "MAX_JOB_TURN_SECONDS", 0.1)
    monkeypatch.setattr(slots, "REPORT_SECONDS", 0.05)
    go_on, begun, reports = threading.Event(), threading.Semaphore(0), list[None]()
    enforce = JobTimeout.enforce

    def report() -> None:
        """Each report begins with it."""
        reports.append(None)
        enforce()

    monkeypatch.setattr(JobTimeout, "enforce", report)

    def deliver(_: str) -> None:
        begun.release()
        go_on.wait(60)

    with capture_logs() as logs, running(redis_url, deliver, count=2):
        assert eventually(lambda: redis.hlen(keys.WORKERS) == 1)
        put(redis, str(ULID()), str(ULID()))
        assert begun.acquire(timeout=60)
        assert begun.acquire(timeout=60)
        hangs = "no slot makes progress: the worker hangs"
        assert eventually(lambda: [each for each in logs if each["event"] == hangs])
        redis.delete(keys.WORKERS)
        before = len(reports)
        assert eventually(lambda: len(reports) > before + 2)
        assert not redis.hlen(keys.WORKERS)
        go_on.set()
        assert eventually(lambda: redis.hlen(keys.WORKERS) == 1)
    assert len([each for each in logs if each["event"] == hangs]) == 1


def test_one_slot_that_hangs(
    redis_url: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one slot hangs and another goes on, the worker works."""
    monkeypatch.setattr(slots, "MAX_JOB_TURN_SECONDS", 0.1)
    monkeypatch.setattr(slots, "REPORT_SECONDS", 0.05)
    go_on, begun = threading.Event(), threading.Event()

    def deliver(_: str) -> None:
        begun.set()
        go_on.wait(60)

    with running(redis_url, deliver, count=2):
        put(redis, str(ULID()))
        assert begun.wait(60)
        redis.delete(keys.WORKERS)
        assert eventually(lambda: redis.hlen(keys.WORKERS) == 1)
        go_on.set()


def beat(pid: int, at: float) -> WorkerHeartbeat:
    return WorkerHeartbeat(at=at, pid=pid, host=HOST)


@pytest.mark.parametrize(
    ("heartbeats", "processes", "fault"),
    [
        ([beat(1, 99)], 1, None),
        ([beat(1, 99), beat(2, 99)], 2, None),
        ([beat(1, 99)], 2, "1 of 2"),
        ([], 1, "0 of 1"),
        ([beat(1, 99), beat(2, 50)], 1, "2 hangs"),
        ([beat(1, 50), beat(1, 99)], 1, None),
        ([beat(1, 99), beat(13, 50)], 1, None),
    ],
    ids=str,
)
def test_which_processes_count(
    heartbeats: list[WorkerHeartbeat], processes: int, fault: str | None
) -> None:
    """Every running process must be fresh; what a dead one left, under its id or another, is not."""
    found_fault = judge_heartbeats(
        latest_by_pid(heartbeats), 100.0, processes, is_running=lambda pid: pid != 13
    )
    assert (fault is None) is (found_fault is None)
    assert fault is None or fault in str(found_fault)
