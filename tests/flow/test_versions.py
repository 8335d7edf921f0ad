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

from tests.flow.conftest import Account, Road
from worker import jobs
from worker.contract import VERSION, Lead, State
from worker.delivery import Delivery
from worker.errors import NotAllowed
from worker.ledger import ClaimResult, Ledger
from worker.ledger.status import overview
from worker.queue.rq_queue import open_queue
from worker.queue.slots import SlotWorker
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.store.scripts import NEWER_REST_SECONDS

QUEUE = "rq:queue:leadline"


def of_a_newer_version(road: Road, *, leads: bytes | None = None) -> str:
    """A record as the next version would write it, with a lead of a shape that nobody here
    knows.
    """
    mine = road.accept()
    road.redis.hset(keys.submission(mine), mapping={"v": VERSION + 1, "shape": "other"})
    if leads:
        road.redis.hset(keys.submission(mine), "lead", leads)
    return mine


def newer(road: Road) -> tuple[Sweeper, Delivery]:
    """The sweeper and a slot of a worker that knows the next version."""
    workshop, clients = road.workshop()
    ledger = Ledger(road.redis, road.ledger.cipher, road.clock, version=VERSION + 1)
    return Sweeper(ledger, open_queue(road.redis)), Delivery(
        replace(workshop, ledger=ledger), clients.new_client
    )


def test_an_older_worker_leaves_a_newer_record_alone(
    road: Road, tmp_path: Path, account: Account
) -> None:
    """It neither reads nor delivers nor buries it, does not try it over and over, and everybody can
    see that it waits.
    """
    mine = of_a_newer_version(road, leads=b"\x00of another shape")
    record = road.deliver(mine)
    assert (record.state, record.reason, record.v, record.sealed, record.lead) == (
        State.WAITING,
        "newer",
        VERSION + 1,
        True,
        None,
    )
    road.redis.delete(QUEUE)
    for _ in range(3):
        road.ahead(3600)
        assert road.sweeper.tick() == 0
    assert (road.redis.llen(QUEUE), len(road.ledger.timeline(mine))) == (0, 2)
    assert "newer-records" in overview(road.ledger, tmp_path).degraded
    assert (road.ledger.schedule.newer(), account.leads) == (1, [])
    with pytest.raises(NotAllowed):
        road.sweeper.replay(mine, "kim", "", None)


def test_a_worker_that_knows_it_takes_it_up(road: Road, tmp_path: Path) -> None:
    """Even while an older one sweeps and may meet it again, which then rests before the next
    try.
    """
    road.still = road.clock()
    mine = of_a_newer_version(road)
    road.deliver(mine)
    assert road.sweeper.tick() == 0, "the older one has the lock now"
    sweeper, slot = newer(road)
    road.redis.delete(QUEUE)
    sweeper.tick()
    assert road.redis.llen(QUEUE) == 0, "it rests"
    road.ahead(NEWER_REST_SECONDS + 1)
    sweeper.tick()
    assert road.redis.llen(QUEUE) == 1
    assert road.deliver(mine).reason == "newer", "an older worker met it first"
    sweeper.tick()
    assert road.redis.llen(QUEUE) == 1
    road.ahead(NEWER_REST_SECONDS + 1)
    sweeper.tick()
    slot(mine)
    assert road.record(mine).state is State.DELIVERED
    assert "newer-records" not in overview(road.ledger, tmp_path).degraded


def test_an_older_console_cannot_mend_a_newer_dead_letter(road: Road) -> None:
    """A lead of the older shape is not written into a newer record; without an edit it may be
    replayed.
    """
    mine = of_a_newer_version(road)
    ledger = Ledger(road.redis, road.ledger.cipher, road.clock, version=VERSION + 1)
    assert ledger.claim(mine, "t", 30) is ClaimResult.CLAIMED
    ledger.finish(mine, "t", State.DEAD)
    with pytest.raises(NotAllowed):
        road.sweeper.replay(mine, "kim", "", Lead(email="mended@example.com"))
    assert road.sweeper.replay(mine, "kim", "", None) is State.QUEUED


def work_one(road: Road) -> None:
    """As a slot takes the next job: through RQ, with its registries."""
    queue = open_queue(road.redis)
    worker = SlotWorker(
        [queue], name="a-worker", connection=road.redis, serializer=queue.serializer
    )
    found: tuple[Job, Queue] | None = None
    try:
        found = Queue.dequeue_any(
            [queue],
            1,
            connection=road.redis,
            serializer=queue.serializer,
            death_penalty_class=TimerDeathPenalty,
        )
    except DequeueTimeout:
        return
    if found is not None:
        worker.execute_job(*found)


def test_a_worker_without_the_job_function_fails_visibly_and_loses_nothing(
    road: Road, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is in RQ's list and in the log, the submission stays queued, and a good worker
    delivers it.
    """
    mine = road.accept()
    with monkeypatch.context() as broken:
        broken.delattr(jobs, "deliver")
        work_one(road)
    failed = FailedJobRegistry(queue=open_queue(road.redis))
    assert failed.get_job_count() == 1
    assert "deliver" in caplog.text
    assert "ada@example.com" not in caplog.text
    assert road.record(mine).state is State.QUEUED
    road.ahead(11)
    assert road.sweeper.sweep() == 1
    token = jobs.current_deliverer.set(road.delivery())
    try:
        work_one(road)
    finally:
        jobs.current_deliverer.reset(token)
    assert road.record(mine).state is State.DELIVERED


def test_two_operators_replay_everything_at_once(road: Road, account: Account) -> None:
    """Of two that replay the same dead letters, one is told no for each; each makes one lead."""
    account.fault(
        {"operation": "leads.add"},
        {"kind": "answer", "status": 400, "body": {"success": False, "error": "no"}},
    )
    ids = [road.sent(email=f"p{n}@example.com").id for n in range(6)]
    assert {road.record(one).state for one in ids} == {State.DEAD}
    account.heal()
    together, refused, done = threading.Barrier(2, timeout=20), [], []

    def replay(who: str) -> None:
        sweeper = Sweeper(road.ledger, open_queue(road.redis))
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
    deliveries = [road.delivery(), road.delivery()]
    for one in ids:
        for delivery in deliveries:
            delivery(one)
    assert {road.record(one).state for one in ids} == {State.DELIVERED}
    assert len(account.leads) == len(ids)
