"""Bulk actions: canaries, pace, outcomes, stops, and kills at any command."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from redis.client import Pipeline

from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Cause, State
from worker.encryption import Cipher
from worker.lead.edit import EditError
from worker.ledger import ClaimResult, Ledger, bulk
from worker.ledger.audit import AuditTrail
from worker.ledger.bulk import (
    ACTIONS,
    CANARIES,
    CANARIES_FAILED,
    QUEUE_TARGET_DEPTH,
    SUBMISSIONS_PER_TRANSACTION,
    BulkActions,
    CountDiffers,
)
from worker.store import keys

CAUSE = Cause(step="lead", code="invalid", detail="too long")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class Killed(BaseException):
    """The process was killed."""


class BulkHarness:
    def __init__(self, redis: redis_py.Redis, aredis: Callable[[], Any]) -> None:
        self.redis, self._aredis = redis, aredis
        self.ledger = Ledger(redis, Cipher(()))
        self.bulks = BulkActions(self.ledger)

    def put(self, count: int, state: State = State.DEAD) -> list[str]:
        submissions = [submission(state=state) for _ in range(count)]
        asyncio.run(accept(self._aredis, self.redis, submissions))
        return [each.id for each in submissions]

    def start(self, names: list[str], action: str = "retry", **rest: Any) -> str:
        return self.bulks.create(action, names, len(names), "olga", **rest)

    def end(self, name: str, state: State) -> None:
        """Delivers a queued submission as a worker does."""
        assert self.ledger.claim(name, "t", 30.0) is ClaimResult.CLAIMED
        self.ledger.finish(name, "t", state, cause=CAUSE if state is State.DEAD else None)

    def states(self, names: list[str]) -> Counter[State]:
        records = [self.ledger.get(name) for name in names]
        return Counter(record.state for record in records if record)

    def in_state(self, state: State) -> list[str]:
        return [record.id for record in self.ledger.in_state(state, limit=10_000)]

    def work(self, state: State = State.DELIVERED) -> None:
        for name in self.in_state(State.QUEUED):
            self.end(name, state)

    def outcomes(self, bulk_id: str) -> dict[str, Any]:
        progress = self.bulks.progress(bulk_id)
        assert progress is not None
        assert (
            progress.count
            == progress.left + progress.delivered + progress.dead + progress.done + progress.skipped
        )
        counts = {
            name: getattr(progress, name)
            for name in ("left", "delivered", "dead", "done", "skipped", "stopped")
        }
        return {name: value for name, value in counts.items() if value}

    def has_ended(self, bulk_id: str) -> bool:
        progress = self.bulks.progress(bulk_id)
        return progress is not None and progress.ended_at is not None

    def trail(self) -> list[tuple[str, str, str, str | None]]:
        return [
            (entry.who, entry.action, entry.target, entry.detail)
            for entry in AuditTrail(self.redis).read_page()[0]
        ]


@pytest.fixture
def harness(redis: redis_py.Redis, aredis: Callable[[], Any]) -> BulkHarness:
    return BulkHarness(redis, aredis)


def test_the_rest_follows_once_a_canary_is_delivered(harness: BulkHarness) -> None:
    """A retry of ten releases three, and the others once one of them is delivered."""
    names = harness.put(10)
    bulk_id = harness.start(names, detail="state=dead")
    for _ in range(3):
        harness.bulks.tick()
        assert harness.in_state(State.QUEUED)[::-1] == names[:CANARIES]
    harness.end(names[0], State.DEAD)
    harness.bulks.tick()
    assert harness.states(names) == {State.DEAD: 8, State.QUEUED: 2}
    harness.end(names[1], State.DELIVERED)
    harness.bulks.tick()
    assert harness.states(names) == {State.DEAD: 1, State.DELIVERED: 1, State.QUEUED: 8}
    assert harness.outcomes(bulk_id) == {"left": 8, "delivered": 1, "dead": 1}
    harness.work()
    harness.bulks.tick()
    assert harness.outcomes(bulk_id) == {"delivered": 9, "dead": 1}
    assert harness.has_ended(bulk_id)
    assert harness.trail() == [
        ("olga", "bulk retry ended", bulk_id, "delivered: 9; dead: 1"),
        ("olga", "bulk retry", bulk_id, "state=dead"),
    ]
    moment = harness.ledger.timeline(names[5])[-3]
    assert (moment.state, moment.by, moment.why) == (State.QUEUED, "olga", f"retry, bulk {bulk_id}")


def test_it_stops_by_itself_when_all_canaries_die(harness: BulkHarness) -> None:
    """If all canaries die again, the rest is left as it is, free for other actions."""
    names = harness.put(10)
    bulk_id = harness.start(names)
    harness.bulks.tick()
    harness.work(State.DEAD)
    harness.bulks.tick()
    harness.bulks.tick()
    assert harness.outcomes(bulk_id) == {"left": 7, "dead": 3, "stopped": CANARIES_FAILED}
    assert harness.has_ended(bulk_id)
    assert harness.states(names) == {State.DEAD: 10}
    assert harness.redis.hlen(keys.BULK_CLAIMS) == 0
    assert [entry[1] for entry in harness.trail()] == [
        "bulk retry ended",
        "bulk stop",
        "bulk retry",
    ]


def test_three_that_die_are_no_stop(harness: BulkHarness) -> None:
    """If the canaries were all there was, the action ends without a stop."""
    names = harness.put(3)
    bulk_id = harness.start(names)
    harness.bulks.tick()
    harness.work(State.DEAD)
    harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == ({"dead": 3}, True)


def test_a_canary_that_is_discarded_is_replaced(harness: BulkHarness) -> None:
    """If an operator discards a canary, the next submission takes its place."""
    names = harness.put(6)
    harness.start(names)
    harness.ledger.discard(names[0], "kim", "")
    harness.bulks.tick()
    harness.bulks.tick()
    assert set(harness.in_state(State.QUEUED)) == set(names[1:4])


@pytest.mark.parametrize("action", ACTIONS)
def test_which_submissions_count(action: str, harness: BulkHarness) -> None:
    """Only submissions whose state allows the action count."""
    dead, held = harness.put(2), harness.put(3, State.QUARANTINED)
    delivered = harness.put(1, State.QUEUED)
    harness.work()
    names = [*dead, *held, *delivered, "nothing", f"{dead[0]}:timeline", "", "\x00", *dead]
    right = {"retry": 2, "accept": 3, "discard": 5}[action]
    with pytest.raises(CountDiffers) as refused:
        harness.bulks.create(action, names, 6, "olga")
    assert (refused.value.count, refused.value.taken) == (right, 0)
    assert harness.outcomes(harness.bulks.create(action, names, right, "olga")) == {"left": right}


def test_a_discard_needs_no_worker(harness: BulkHarness) -> None:
    """A discard finishes within a few ticks, in chunks."""
    names = harness.put(3 * SUBMISSIONS_PER_TRANSACTION + 1)
    bulk_id = harness.start(names, "discard")
    for _ in range(10):
        harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == (
        {"done": 3 * SUBMISSIONS_PER_TRANSACTION + 1},
        True,
    )
    assert harness.states(names) == {State.DISCARDED: 3 * SUBMISSIONS_PER_TRANSACTION + 1}
    assert 0 < harness.redis.ttl(keys.BULK + bulk_id) <= bulk.RETENTION_SECONDS
    assert [each.id for each in harness.bulks.list_newest()] == [bulk_id]


def test_a_submission_belongs_to_one_action(harness: BulkHarness) -> None:
    """A second action does not get what an unfinished one has, and reports how many those are."""
    names = harness.put(5)
    bulk_id = harness.start(names[:4])
    with pytest.raises(CountDiffers) as refused:
        harness.start(names, "discard")
    assert (refused.value.count, refused.value.taken) == (1, 4)
    assert harness.bulks.stop(bulk_id, "kim")
    assert not harness.bulks.stop(bulk_id, "kim")
    harness.bulks.tick()
    assert harness.outcomes(harness.start(names)) == {"left": 5}


def test_a_stop_leaves_what_was_not_begun(harness: BulkHarness) -> None:
    """After a stop nothing more is released; what was released is still counted."""
    names = harness.put(8)
    bulk_id = harness.start(names)
    harness.bulks.tick()
    harness.bulks.stop(bulk_id, "kim")
    harness.end(names[0], State.DELIVERED)
    harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == (
        {"left": 7, "delivered": 1, "stopped": "stopped by kim"},
        False,
    )
    harness.work()
    harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == (
        {"left": 5, "delivered": 3, "stopped": "stopped by kim"},
        True,
    )
    assert harness.states(names) == {State.DEAD: 5, State.DELIVERED: 3}


def test_nothing_goes_while_deliveries_are_paused(harness: BulkHarness) -> None:
    """A pause holds a bulk retry back; a discard goes on."""
    names, others = harness.put(4), harness.put(4)
    harness.ledger.gate.pause("audit", "kim")
    harness.start(names)
    harness.start(others, "discard")
    harness.bulks.tick()
    assert harness.states(names + others) == {State.DEAD: 4, State.DISCARDED: 4}
    harness.ledger.gate.resume("kim")
    harness.bulks.tick()
    assert harness.states(names) == {State.DEAD: 1, State.QUEUED: 3}


def test_no_faster_than_the_queue_drains(
    harness: BulkHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More is released only while the queue is short."""
    monkeypatch.setattr(bulk, "QUEUE_TARGET_DEPTH", 20)
    monkeypatch.setattr(bulk, "SUBMISSIONS_PER_TRANSACTION", 10)
    names = harness.put(100)
    harness.start(names)
    harness.bulks.tick()
    harness.work()
    for _ in range(3):
        harness.bulks.tick()
        assert harness.states(names)[State.QUEUED] == 20
    harness.work()
    harness.bulks.tick()
    assert harness.states(names) == {State.DELIVERED: 23, State.QUEUED: 20, State.DEAD: 57}
    assert QUEUE_TARGET_DEPTH > SUBMISSIONS_PER_TRANSACTION


def test_an_edit_applies_to_each_lead(redis: redis_py.Redis, aredis: Callable[[], Any]) -> None:
    """Each lead is edited; one that cannot be decrypted is skipped, and the others continue."""
    harness = BulkHarness(redis, aredis)
    names = harness.put(3)
    redis.hset(keys.submission(names[1]), "lead", Cipher((KEY,)).encrypt(b"x"))
    bulk_id = harness.start(names, edit={"company": "Acme", "utm_source": "spring"})
    assert b"Acme" not in (redis.hget(keys.BULK + bulk_id, "by") or b"")
    harness.bulks.tick()
    harness.work()
    harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == (
        {"delivered": 2, "skipped": 1},
        True,
    )
    records = [harness.ledger.get(name) for name in names]
    assert [record.lead.company if record and record.lead else None for record in records] == [
        "Acme",
        None,
        "Acme",
    ]
    assert redis.hget(keys.BULK + bulk_id, "edit") is None
    with pytest.raises(EditError):
        harness.start(harness.put(1), edit={"nosuch": "x"})


def test_an_action_with_an_unreadable_edit_can_be_stopped(
    redis: redis_py.Redis, aredis: Callable[[], Any]
) -> None:
    """If the key of its edit is gone, nothing more is released, and a stop ends the action."""
    harness = BulkHarness(redis, aredis)
    harness.bulks = BulkActions(Ledger(redis, Cipher((KEY,))))
    names = harness.put(5)
    bulk_id = harness.start(names, edit={"company": "Acme"})
    harness.bulks.tick()
    redis.delete(keys.BULK_LOCK)
    harness.bulks = BulkActions(harness.ledger)
    harness.work(State.DEAD)
    harness.bulks.stop(bulk_id, "kim")
    harness.bulks.tick()
    assert (harness.outcomes(bulk_id), harness.has_ended(bulk_id)) == (
        {"left": 2, "dead": 3, "stopped": "stopped by kim"},
        True,
    )
    assert redis.hlen(keys.BULK_CLAIMS) == 0


def test_one_process_advances_at_a_time(harness: BulkHarness) -> None:
    """While one process holds the lock, another does nothing."""
    names = harness.put(4)
    harness.start(names)
    other = BulkActions(harness.ledger)
    assert harness.bulks.tick()
    assert not other.tick()
    harness.redis.delete(keys.BULK_LOCK)
    assert other.tick()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("action", ["retry", "discard"])
def test_killed_anywhere(
    action: str, after: bool, harness: BulkHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill at any command the next process continues, and each submission moves once."""
    monkeypatch.setattr(bulk, "SUBMISSIONS_PER_TRANSACTION", 4)
    names = harness.put(11)
    bulk_id = harness.start(names, action, edit={"company": "Acme"} if action == "retry" else None)
    for place in range(200):
        with monkeypatch.context() as patched:
            _kill_at(patched, place % 40, after=after)
            with contextlib.suppress(Killed):
                BulkActions(harness.ledger).tick()
        harness.redis.delete(keys.BULK_LOCK)
        if place % 5 == 4:
            harness.work()
        if harness.has_ended(bulk_id):
            break
    assert harness.has_ended(bulk_id)
    assert harness.outcomes(bulk_id) == ({"delivered": 11} if action == "retry" else {"done": 11})
    expected = State.QUEUED if action == "retry" else State.DISCARDED
    for name in names:
        assert [moment.state for moment in harness.ledger.timeline(name)].count(expected) == 1
    assert harness.redis.hlen(keys.BULK_CLAIMS) == 0


def _kill_at(patched: pytest.MonkeyPatch, place: int, *, after: bool) -> None:
    """Kills the process at its `place`-th command, before or after Redis executes it."""
    left = [place]

    def killing(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **rest: Any) -> Any:
            left[0] -= 1
            if left[0] < 0 and not after:
                raise Killed
            answer = command(*args, **rest)
            if left[0] < 0:
                raise Killed
            return answer

        return run

    patched.setattr(redis_py.Redis, "execute_command", killing(redis_py.Redis.execute_command))
    patched.setattr(Pipeline, "execute", killing(Pipeline.execute))


def test_a_process_that_lost_the_lock_changes_nothing(harness: BulkHarness) -> None:
    """If another process took the lock meanwhile, the steps of the first are refused."""
    names = harness.put(4)
    bulk_id = harness.start(names, "discard")
    stale, fresh = BulkActions(harness.ledger), BulkActions(harness.ledger)
    harness.redis.set(keys.BULK_LOCK, fresh._lock.token)
    stale._send_next(bulk._Job(bulk_id, "discard", "olga", None), 4)
    assert harness.outcomes(bulk_id) == {"left": 4}
