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


def of_a_newer_version(pipeline: Pipeline, *, leads: bytes | None = None) -> str:
    """A record as the next version would write it, with a lead of a shape that nobody here
    knows.
    """
    mine = pipeline.accept()
    pipeline.redis.hset(keys.submission(mine), mapping={"v": VERSION + 1, "shape": "other"})
    if leads:
        pipeline.redis.hset(keys.submission(mine), "lead", leads)
    return mine


def newer(pipeline: Pipeline) -> tuple[Sweeper, Delivery]:
    """The sweeper and a slot of a worker that knows the next version."""
    workshop, clients = pipeline.build_context()
    ledger = Ledger(pipeline.redis, pipeline.ledger.cipher, pipeline.clock, version=VERSION + 1)
    return Sweeper(ledger, open_queue(pipeline.redis)), Delivery(
        replace(workshop, ledger=ledger), clients.new_client
    )


def test_an_older_worker_leaves_a_newer_record_alone(
    pipeline: Pipeline, tmp_path: Path, account: Account
) -> None:
    """It neither reads nor delivers nor buries it, does not try it over and over, and everybody can
    see that it waits.
    """
    mine = of_a_newer_version(pipeline, leads=b"\x00of another shape")
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


def test_a_worker_that_knows_it_takes_it_up(pipeline: Pipeline, tmp_path: Path) -> None:
    """Even while an older one sweeps and may meet it again, which then rests before the next
    try.
    """
    pipeline.frozen_at = pipeline.clock()
    mine = of_a_newer_version(pipeline)
    pipeline.deliver(mine)
    assert pipeline.sweeper.tick() == 0, "the older one has the lock now"
    sweeper, slot = newer(pipeline)
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
    """A lead of the older shape is not written into a newer record; without an edit it may be
    replayed.
    """
    mine = of_a_newer_version(pipeline)
    ledger = Ledger(pipeline.redis, pipeline.ledger.cipher, pipeline.clock, version=VERSION + 1)
    assert ledger.claim(mine, "t", 30) is ClaimResult.CLAIMED
    ledger.finish(mine, "t", State.DEAD)
    with pytest.raises(NotAllowed):
        pipeline.sweeper.replay(mine, "kim", "", Lead(email="mended@example.com"))
    assert pipeline.sweeper.replay(mine, "kim", "", None) is State.QUEUED


def work_one(pipeline: Pipeline) -> None:
    """As a slot takes the next job: through RQ, with its registries."""
    queue = open_queue(pipeline.redis)
    worker = SlotWorker(
        [queue], name="a-worker", connection=pipeline.redis, serializer=queue.serializer
    )
    found: tuple[Job, Queue] | None = None
    try:
        found = Queue.dequeue_any(
            [queue],
            1,
            connection=pipeline.redis,
            serializer=queue.serializer,
            death_penalty_class=TimerDeathPenalty,
        )
    except DequeueTimeout:
        return
    if found is not None:
        worker.execute_job(*found)


def test_a_worker_without_the_job_function_fails_visibly_and_loses_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is in RQ's list and in the log, the submission stays queued, and a good worker
    delivers it.
    """
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
    """Of two that replay the same dead letters, one is told no for each; each makes one lead."""
    account.fault(
        {"operation": "leads.add"},
        {"kind": "answer", "status": 400, "body": {"success": False, "error": "no"}},
    )
    ids = [pipeline.accept_and_deliver(email=f"p{n}@example.com").id for n in range(6)]
    assert {pipeline.record(one).state for one in ids} == {State.DEAD}
    account.heal()
    together, refused, done = threading.Barrier(2, timeout=20), [], []

    def replay(who: str) -> None:
        sweeper = Sweeper(pipeline.ledger, open_queue(pipeline.redis))
        for one in ids:
            together.wait()
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
