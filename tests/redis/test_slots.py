from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import redis as redis_py
from rq import Queue, Worker
from rq.exceptions import DequeueTimeout
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.timeouts import JobTimeoutException
from ulid import ULID

from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.metrics import Meter
from worker.queue import rq_queue as queue_module
from worker.queue import rq_worker, slots
from worker.queue.leases import Leases
from worker.queue.rq_queue import EXECUTION_TTL_SECONDS, clear_dead_workers, enqueue, open_queue
from worker.queue.rq_worker import SlotWorker
from worker.queue.slots import Slots
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.store.connection import connect


def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Polls until `true()`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


@contextmanager
def running(redis_url: str, deliver: Callable[[str], None], count: int = 4) -> Iterator[Slots]:
    slots = Slots(
        open_queue(connect(redis_url, timeout=7)),
        count,
        lambda: deliver,
        *_parts(connect(redis_url, timeout=5)),
    )
    thread = threading.Thread(target=slots.run)
    thread.start()
    try:
        yield slots
    finally:
        slots.stop()
        thread.join(60)
        assert not thread.is_alive()


def put(redis: redis_py.Redis, *ids: str) -> None:
    queue = open_queue(redis)
    with redis.pipeline(transaction=True) as pipe:
        pipe.multi()
        for submission_id in ids:
            enqueue(queue, submission_id, pipe)
        pipe.execute()


def test_a_job_that_takes_too_long_is_interrupted(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that takes too long is interrupted, and its slot takes the next one."""
    monkeypatch.setattr(queue_module, "JOB_TIMEOUT_SECONDS", 1)
    stuck, after = str(ULID()), str(ULID())
    ends, done = [], []

    def deliver(submission_id: str) -> None:
        if submission_id == stuck:
            try:
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    time.sleep(0.01)
                ends.append("by itself")
            except JobTimeoutException:
                ends.append("interrupted")
        done.append(submission_id)

    with running(redis_url, deliver, count=1):
        put(redis, stuck, after)
        eventually(lambda: done == [stuck, after])
    assert ends == ["interrupted"]


def test_slots_keep_no_beat(redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Waits for a job vary: of two processes in step, one would get all jobs."""
    waits: list[float] = []

    def nothing(_: Any, seconds: float, **__: Any) -> None:
        waits.append(seconds)
        raise DequeueTimeout(seconds, "leadline")

    monkeypatch.setattr(Queue, "dequeue_any", nothing)
    with running(redis_url, lambda _: None, count=1):
        eventually(lambda: len(waits) >= 50)
    assert all(slots.MIN_DEQUEUE_SECONDS <= wait <= rq_worker.MAX_DEQUEUE_SECONDS for wait in waits)
    assert len(set(waits[:50])) > 40


def test_every_job_is_run_once_and_leaves_nothing_behind(redis_url: str, redis: Any) -> None:
    """Many jobs over several slots: each id is delivered once; queue, registries and job hashes are
    empty afterwards.
    """
    delivered: list[str] = []
    ids = [str(ULID()) for _ in range(60)]
    with running(redis_url, delivered.append):
        put(redis, *ids)
        eventually(lambda: len(delivered) >= len(ids))
        queue = open_queue(redis)
        eventually(lambda: not redis.keys("rq:job:*"))
        assert sorted(delivered) == sorted(ids)
        assert queue.count == 0
        assert redis.llen("rq:queue:leadline:intermediate") == 0
        assert StartedJobRegistry(queue=queue).count == 0
        assert FailedJobRegistry(queue=queue).count == 0


def test_slots_work_side_by_side(redis_url: str, redis: Any) -> None:
    """As many deliveries as there are slots run at once."""
    barrier = threading.Barrier(4, timeout=60)
    met: list[str] = []

    def deliver(submission_id: str) -> None:
        barrier.wait()
        met.append(submission_id)

    with running(redis_url, deliver):
        put(redis, *(str(ULID()) for _ in range(4)))
        eventually(lambda: len(met) == 4)


def test_rq_info_shows_the_queue_and_the_worker(redis_url: str, redis: Any) -> None:
    """`rq info` is right about us during a delivery and after we are gone."""
    hold, held = threading.Event(), threading.Event()

    def deliver(_: str) -> None:
        held.set()
        hold.wait(60)

    with running(redis_url, deliver, count=1) as slots:
        put(redis, str(ULID()), str(ULID()))
        assert held.wait(60)
        info = rq_info(redis_url)
        print(info)
        assert "leadline" in info
        assert slots.name in info
        assert "1 queues, 1 jobs total" in info
        assert "busy" in info
        hold.set()
    assert Worker.all(connection=redis) == []


def rq_info(redis_url: str) -> str:
    command = [
        sys.executable,
        "-m",
        "rq.cli",
        "info",
        "--url",
        redis_url,
        "-S",
        "rq.serializers.JSONSerializer",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_stopping_waits_for_what_is_in_hand(redis_url: str, redis: Any) -> None:
    """A stop lets the delivery in hand finish and starts no other."""
    started, stopping, done = threading.Event(), threading.Event(), []

    def deliver(submission_id: str) -> None:
        started.set()
        stopping.wait(60)
        done.append(submission_id)

    first, second = str(ULID()), str(ULID())
    with running(redis_url, deliver, count=1) as slots:
        put(redis, first)
        assert started.wait(60)
        slots.stop()
        put(redis, second)
        stopping.set()
    assert done == [first]
    assert open_queue(redis).count == 1


def test_a_signal_may_come_at_any_moment(redis_url: str, redis: Any) -> None:  # noqa: ARG001
    """A stop request waits for no lock, not even one that the interrupted thread holds."""
    with running(redis_url, lambda _: None, count=1) as slots, slots._stop._cond:  # type: ignore[attr-defined]
        asking = threading.Thread(target=slots.stop, daemon=True)
        asking.start()
        asking.join(60)
        assert not asking.is_alive()


def test_a_job_that_cannot_be_read_costs_no_slot(redis_url: str, redis: Any) -> None:
    """A corrupt job is skipped and the next one delivered."""
    delivered: list[str] = []
    mine = str(ULID())
    redis.hset(
        "rq:job:broken",
        mapping={
            "data": b"not zlib",
            "created_at": "2026-01-01T00:00:00.000000Z",
            "status": "queued",
        },
    )
    redis.rpush("rq:queue:leadline", "broken")
    put(redis, mine)
    with running(redis_url, delivered.append, count=1):
        eventually(lambda: delivered == [mine])


def test_a_killed_worker_does_not_keep_its_successor_out(redis_url: str, redis: Any) -> None:
    """A worker with the host and process id of a killed one works at once; that one is forgotten."""
    delivered: list[str] = []
    dead = Slots(open_queue(redis), 1, lambda: delivered.append, *_parts(redis))
    assert dead._register() is not None
    redis.hset(keys.WORKERS, dead.name, json.dumps({"at": redis.time()[0] - 61}))
    mine = str(ULID())
    with running(redis_url, delivered.append, count=1) as slots:
        put(redis, mine)
        eventually(lambda: delivered == [mine])
        assert [name.decode() for name in redis.hkeys(keys.WORKERS)] == [slots.name]


HOLDS = """
import sys, threading
from tests.redis.test_slots import running

with running(sys.argv[1], lambda _: threading.Event().wait(), count=2):
    threading.Event().wait()
"""


def test_rq_forgets_a_killed_worker_within_a_minute(redis_url: str, redis: Any) -> None:
    """After kill -9 RQ shows neither the worker nor its jobs, and no maintenance lock remains."""
    queue = open_queue(redis)
    put(redis, str(ULID()), str(ULID()))
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, redis_url])
    try:
        eventually(lambda: queue.started_job_registry.get_job_count(cleanup=False) == 2)
        assert (len(Worker.all(queue=queue)), "2 executing" in rq_info(redis_url)) == (1, True)
        [name] = Worker.all_keys(queue=queue)
        assert 0 < redis.ttl(name) <= rq_worker.HEARTBEAT_TTL_SECONDS
        entries = redis.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
        assert all(0 < ends - time.time() <= EXECUTION_TTL_SECONDS for _, ends in entries)
    finally:
        holder.kill()
        holder.wait()
    eventually(queue.acquire_maintenance_lock)  # one held when it died ends by itself
    assert 0 < redis.ttl(queue.registry_cleaning_key) <= 30
    # As at the end of its time: the worker's record expires, and nothing renews it.
    redis.pexpire(name, 1)
    eventually(lambda: not redis.exists(name))
    Sweeper(Ledger(redis, Cipher(())), queue).sweep()
    info = rq_info(redis_url)
    assert "0 executing, 0 finished, 0 failed" in info
    assert "0 workers" in info
    assert redis.keys("rq:execution*") == redis.keys("rq:job:*") == []


def test_what_ended_while_redis_was_away_leaves_rqs_list(redis_url: str, redis: Any) -> None:
    """A job whose end the worker could not record is not renewed, and not shown for ever."""
    queue = open_queue(redis)
    delivered: list[str] = []
    away = redis_py.ConnectionError("away")
    with (
        mock.patch.object(rq_worker, "HEARTBEAT_TTL_SECONDS", 3),
        mock.patch.object(SlotWorker, "handle_job_success", side_effect=away),
        mock.patch.object(SlotWorker, "handle_job_failure", side_effect=away),
        running(redis_url, delivered.append, count=1),
    ):
        put(redis, str(ULID()))
        eventually(lambda: len(delivered) == 1)
        [entry] = redis.zrange(queue.started_job_registry.key, 0, -1)
        redis.zadd(
            queue.started_job_registry.key, {entry: time.time() + EXECUTION_TTL_SECONDS / 2 + 4}
        )
        eventually(lambda: not queue.started_job_registry.get_job_ids(cleanup=False))
    assert FailedJobRegistry(queue=queue).count == 0


def test_entries_without_their_jobs_are_cleared_in_one_round(redis_url: str, redis: Any) -> None:  # noqa: ARG001
    """An entry whose job hash is gone does not keep the others from being cleared."""
    queue = open_queue(redis)
    redis.zadd(
        queue.started_job_registry.key,
        {f"gone-{number}:execution": time.time() + 300 for number in range(3)},
    )
    assert clear_dead_workers(queue) == 3
    assert redis.zcard(queue.started_job_registry.key) == 0


def test_a_long_delivery_stays_on_rqs_list(redis_url: str, redis: Any) -> None:
    """A long delivery of a living worker is renewed, so it is not cleared as abandoned."""
    hold = threading.Event()
    queue = open_queue(redis)

    def deliver(_: str) -> None:
        hold.wait(60)

    def ends() -> list[float]:
        return [
            end for _, end in redis.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
        ]

    with (
        mock.patch.object(rq_worker, "HEARTBEAT_TTL_SECONDS", 3),
        running(redis_url, deliver, count=1),
    ):
        put(redis, str(ULID()))
        eventually(lambda: bool(ends()))
        first = ends()
        eventually(lambda: ends() > first)
        assert clear_dead_workers(queue) == 0
        assert queue.started_job_registry.count == 1
        hold.set()


def _parts(store: Any) -> tuple[Leases, Sweeper, Meter]:
    ledger = Ledger(store, Cipher(()))
    return Leases(ledger), Sweeper(ledger, open_queue(store)), Meter()
