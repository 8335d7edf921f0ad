"""Records of a newer version, and jobs whose function is not there: what a worker cannot do is left
for one that can.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.timeouts import TimerDeathPenalty

from service.overview import read_overview
from tests.flow.conftest import Account, Pipeline
from worker import jobs
from worker.contract import VERSION, Lead, State
from worker.delivery import Delivery
from worker.errors import NotAllowed
from worker.ledger import ClaimResult, Ledger
from worker.queue.rq_queue import open_queue
from worker.queue.rq_worker import SlotWorker
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.store.scripts import NEWER_REST_SECONDS

QUEUE = "rq:queue:leadline"


def store_newer_record(pipeline: Pipeline, *, leads: bytes | None = None) -> str:
    """Stores a record as the next version would, with a lead in an unknown format."""
    mine = pipeline.accept()
    pipeline.redis.hset(keys.submission(mine), mapping={"v": VERSION + 1, "shape": "other"})
    if leads:
        pipeline.redis.hset(keys.submission(mine), "lead", leads)
    return mine


def build_newer_worker(pipeline: Pipeline) -> tuple[Sweeper, Delivery]:
    """Returns the sweeper and a slot of a worker of the next version."""
    context, clients = pipeline.build_context()
    ledger = Ledger(pipeline.redis, pipeline.ledger.cipher, pipeline.clock, version=VERSION + 1)
    return Sweeper(ledger, open_queue(pipeline.redis)), Delivery(
        replace(context, ledger=ledger), clients.new_client
    )


def test_an_older_worker_leaves_a_newer_record_alone(
    pipeline: Pipeline, tmp_path: Path, account: Account
) -> None:
    """An older worker leaves it waiting, does not retry it at once, and operators can see it."""
    mine = store_newer_record(pipeline, leads=b"\x00of another shape")
    record = pipeline.deliver(mine)
    assert (record.state, record.reason, record.v, record.unreadable, record.lead) == (
        State.WAITING,
        "newer",
        VERSION + 1,
        True,
        None,
    )
    pipeline.redis.delete(QUEUE)
    for _ in range(3):
        pipeline.advance(3600)
        assert pipeline.sweeper.tick() == 0
    assert (pipeline.redis.llen(QUEUE), len(pipeline.ledger.timeline(mine))) == (0, 2)
    assert "newer-records" in read_overview(pipeline.ledger, tmp_path).degraded
    assert (pipeline.ledger.schedule.count_newer(), account.leads) == (1, [])
    with pytest.raises(NotAllowed):
        pipeline.sweeper.replay(mine, "kim", "", None)


def test_a_newer_worker_delivers_it(pipeline: Pipeline, tmp_path: Path) -> None:
    """A newer worker delivers the record even while an older one sweeps."""
    pipeline.frozen_at = pipeline.clock()
    mine = store_newer_record(pipeline)
    pipeline.deliver(mine)
    assert pipeline.sweeper.tick() == 0, "the older one has the lock now"
    sweeper, slot = build_newer_worker(pipeline)
    pipeline.redis.delete(QUEUE)
    sweeper.tick()
    assert pipeline.redis.llen(QUEUE) == 0, "it rests"
    pipeline.advance(NEWER_REST_SECONDS + 1)
    sweeper.tick()
    assert pipeline.redis.llen(QUEUE) == 1
    assert pipeline.deliver(mine).reason == "newer", "an older worker met it first"
    sweeper.tick()
    assert pipeline.redis.llen(QUEUE) == 1
    pipeline.advance(NEWER_REST_SECONDS + 1)
    sweeper.tick()
    slot(mine)
    assert pipeline.record(mine).state is State.DELIVERED
    assert "newer-records" not in read_overview(pipeline.ledger, tmp_path).degraded


def test_an_older_console_cannot_mend_a_newer_dead_letter(pipeline: Pipeline) -> None:
    """An older console can replay a newer record, but not with an edit."""
    mine = store_newer_record(pipeline)
    ledger = Ledger(pipeline.redis, pipeline.ledger.cipher, pipeline.clock, version=VERSION + 1)
    assert ledger.claim(mine, "t", 30) is ClaimResult.CLAIMED
    ledger.finish(mine, "t", State.DEAD)
    with pytest.raises(NotAllowed):
        pipeline.sweeper.replay(mine, "kim", "", Lead(email="mended@example.com"))
    assert pipeline.sweeper.replay(mine, "kim", "", None) is State.QUEUED


def work_one(pipeline: Pipeline) -> None:
    """Executes the next job as a slot does: through RQ, with its registries."""
    queue = open_queue(pipeline.redis)
    worker = SlotWorker(
        [queue], name="a-worker", connection=pipeline.redis, serializer=queue.serializer
    )
    dequeued: tuple[Job, Queue] | None = None
    try:
        dequeued = Queue.dequeue_any(
            [queue],
            1,
            connection=pipeline.redis,
            serializer=queue.serializer,
            death_penalty_class=TimerDeathPenalty,
        )
    except DequeueTimeout:
        return
    if dequeued is not None:
        worker.execute_job(*dequeued)


def test_a_worker_without_the_job_function_fails_visibly_and_loses_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged and in RQ's list, and a complete worker delivers the submission."""
    mine = pipeline.accept()
    with monkeypatch.context() as broken:
        broken.delattr(jobs, "deliver")
        work_one(pipeline)
    failed = FailedJobRegistry(queue=open_queue(pipeline.redis))
    assert failed.get_job_count() == 1
    assert "deliver" in caplog.text
    assert "ada@example.com" not in caplog.text
    assert pipeline.record(mine).state is State.QUEUED
    pipeline.advance(11)
    assert pipeline.sweeper.sweep() == 1
    token = jobs.current_deliverer.set(pipeline.delivery())
    try:
        work_one(pipeline)
    finally:
        jobs.current_deliverer.reset(token)
    assert pipeline.record(mine).state is State.DELIVERED


def test_two_operators_replay_everything_at_once(pipeline: Pipeline, account: Account) -> None:
    """If two operators replay the same dead letters, each letter gives one lead."""
    account.fault(
        {"operation": "leads.add"},
        {"kind": "answer", "status": 400, "body": {"success": False, "error": '"title" is odd'}},
    )
    ids = [pipeline.accept_and_deliver(email=f"p{n}@example.com").id for n in range(6)]
    assert {pipeline.record(one).state for one in ids} == {State.DEAD}
    account.heal()
    barrier, refused, done = threading.Barrier(2, timeout=20), [], []

    def replay(who: str) -> None:
        sweeper = Sweeper(pipeline.ledger, open_queue(pipeline.redis))
        for one in ids:
            barrier.wait()
            try:
                sweeper.replay(one, who, "", None)
                done.append(one)
            except NotAllowed:
                refused.append(one)

    operators = [threading.Thread(target=replay, args=(who,)) for who in ("kim", "sam")]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join(60)
    assert sorted(done) == sorted(refused) == sorted(ids)
    deliveries = [pipeline.delivery(), pipeline.delivery()]
    for one in ids:
        for delivery in deliveries:
            delivery(one)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}
    assert len(account.leads) == len(ids)
