"""Bulk actions: canaries, pace, outcomes, stops, and that nothing happens twice wherever somebody
is killed.
"""

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
    """The process ends here."""


class Ground:
    def __init__(self, redis: redis_py.Redis, aredis: Callable[[], Any]) -> None:
        self.redis, self._aredis = redis, aredis
        self.ledger = Ledger(redis, Cipher(()))
        self.bulks = BulkActions(self.ledger)

    def put(self, count: int, state: State = State.DEAD) -> list[str]:
        made = [submission(state=state) for _ in range(count)]
        asyncio.run(accept(self._aredis, self.redis, made))
        return [each.id for each in made]

    def make(self, names: list[str], action: str = "retry", **rest: Any) -> str:
        return self.bulks.create(action, names, len(names), "olga", **rest)

    def end(self, name: str, state: State) -> None:
        """What a worker makes of a queued one."""
        assert self.ledger.claim(name, "t", 30.0) is ClaimResult.CLAIMED
        self.ledger.finish(name, "t", state, cause=CAUSE if state is State.DEAD else None)

    def states(self, names: list[str]) -> Counter[State]:
        found = [self.ledger.get(name) for name in names]
        return Counter(record.state for record in found if record)

    def in_state(self, state: State) -> list[str]:
        return [record.id for record in self.ledger.in_state(state, limit=10_000)]

    def work(self, state: State = State.DELIVERED) -> None:
        for name in self.in_state(State.QUEUED):
            self.end(name, state)

    def told(self, made: str) -> dict[str, Any]:
        found = self.bulks.progress(made)
        assert found is not None
        assert found.count == found.left + found.delivered + found.dead + found.done + found.skipped
        counts = {
            name: getattr(found, name)
            for name in ("left", "delivered", "dead", "done", "skipped", "stopped")
        }
        return {name: value for name, value in counts.items() if value}

    def ended(self, made: str) -> bool:
        found = self.bulks.progress(made)
        return found is not None and found.ended_at is not None

    def trail(self) -> list[tuple[str, str, str, str | None]]:
        return [
            (entry.who, entry.action, entry.target, entry.detail)
            for entry in AuditTrail(self.redis).read_page()[0]
        ]


@pytest.fixture
def ground(redis: redis_py.Redis, aredis: Callable[[], Any]) -> Ground:
    return Ground(redis, aredis)


def test_three_go_first_and_the_rest_follows_one_that_is_delivered(ground: Ground) -> None:
    """A retry of ten lets three go, waits until one of them is delivered, then lets the others go;
    outcomes are counted.
    """
    names = ground.put(10)
    made = ground.make(names, detail="state=dead")
    for _ in range(3):
        ground.bulks.tick()
        assert ground.in_state(State.QUEUED)[::-1] == names[:CANARIES]
    ground.end(names[0], State.DEAD)
    ground.bulks.tick()
    assert ground.states(names) == {State.DEAD: 8, State.QUEUED: 2}
    ground.end(names[1], State.DELIVERED)
    ground.bulks.tick()
    assert ground.states(names) == {State.DEAD: 1, State.DELIVERED: 1, State.QUEUED: 8}
    assert ground.told(made) == {"left": 8, "delivered": 1, "dead": 1}
    ground.work()
    ground.bulks.tick()
    assert ground.told(made) == {"delivered": 9, "dead": 1}
    assert ground.ended(made)
    assert ground.trail() == [
        ("olga", "bulk retry ended", made, "delivered: 9; dead: 1"),
        ("olga", "bulk retry", made, "state=dead"),
    ]
    moment = ground.ledger.timeline(names[5])[-3]
    assert (moment.state, moment.by, moment.why) == (State.QUEUED, "olga", f"retry, bulk {made}")


def test_it_stops_by_itself_when_all_canaries_die(ground: Ground) -> None:
    """When all of the first three die again the rest stays as it is and free for others, and the
    reason is told.
    """
    names = ground.put(10)
    made = ground.make(names)
    ground.bulks.tick()
    ground.work(State.DEAD)
    ground.bulks.tick()
    ground.bulks.tick()
    assert ground.told(made) == {"left": 7, "dead": 3, "stopped": CANARIES_FAILED}
    assert ground.ended(made)
    assert ground.states(names) == {State.DEAD: 10}
    assert ground.redis.hlen(keys.BULK_CLAIMS) == 0
    assert [entry[1] for entry in ground.trail()] == ["bulk retry ended", "bulk stop", "bulk retry"]


def test_few_need_no_reason_to_stop(ground: Ground) -> None:
    """Three that all die are all there was: nothing is left to stop for."""
    names = ground.put(3)
    made = ground.make(names)
    ground.bulks.tick()
    ground.work(State.DEAD)
    ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == ({"dead": 3}, True)


def test_a_canary_that_somebody_takes_away_is_replaced(ground: Ground) -> None:
    """One of the first that was moved on by a person is no canary; the next one goes in its
    place.
    """
    names = ground.put(6)
    ground.make(names)
    ground.ledger.discard(names[0], "kim", "")
    ground.bulks.tick()
    ground.bulks.tick()
    assert set(ground.in_state(State.QUEUED)) == set(names[1:4])


@pytest.mark.parametrize("action", ACTIONS)
def test_who_is_taken(action: str, ground: Ground) -> None:
    """Only those whose state allows the action count."""
    dead, held = ground.put(2), ground.put(3, State.QUARANTINED)
    delivered = ground.put(1, State.QUEUED)
    ground.work()
    names = [*dead, *held, *delivered, "nothing", f"{dead[0]}:timeline", "", "\x00", *dead]
    right = {"retry": 2, "accept": 3, "discard": 5}[action]
    with pytest.raises(CountDiffers) as refused:
        ground.bulks.create(action, names, 6, "olga")
    assert (refused.value.count, refused.value.taken) == (right, 0)
    assert ground.told(ground.bulks.create(action, names, right, "olga")) == {"left": right}


def test_a_discard_needs_no_worker(ground: Ground) -> None:
    """All go in a beat or few, in chunks, and are done."""
    names = ground.put(3 * SUBMISSIONS_PER_TRANSACTION + 1)
    made = ground.make(names, "discard")
    for _ in range(10):
        ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == (
        {"done": 3 * SUBMISSIONS_PER_TRANSACTION + 1},
        True,
    )
    assert ground.states(names) == {State.DISCARDED: 3 * SUBMISSIONS_PER_TRANSACTION + 1}
    assert 0 < ground.redis.ttl(keys.BULK + made) <= bulk.RETENTION_SECONDS
    assert [each.id for each in ground.bulks.list_newest()] == [made]


def test_no_two_have_the_same(ground: Ground) -> None:
    """What an unfinished bulk action has, no other gets; both list ids, and the second is told how
    many are taken.
    """
    names = ground.put(5)
    made = ground.make(names[:4])
    with pytest.raises(CountDiffers) as refused:
        ground.make(names, "discard")
    assert (refused.value.count, refused.value.taken) == (1, 4)
    assert ground.bulks.stop(made, "kim")
    assert not ground.bulks.stop(made, "kim")
    ground.bulks.tick()
    assert ground.told(ground.make(names)) == {"left": 5}


def test_a_stop_leaves_what_was_not_begun(ground: Ground) -> None:
    """After a stop nothing more goes; what went is still counted, then it is over."""
    names = ground.put(8)
    made = ground.make(names)
    ground.bulks.tick()
    ground.bulks.stop(made, "kim")
    ground.end(names[0], State.DELIVERED)
    ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == (
        {"left": 7, "delivered": 1, "stopped": "stopped by kim"},
        False,
    )
    ground.work()
    ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == (
        {"left": 5, "delivered": 3, "stopped": "stopped by kim"},
        True,
    )
    assert ground.states(names) == {State.DEAD: 5, State.DELIVERED: 3}


def test_nothing_goes_while_deliveries_are_paused(ground: Ground) -> None:
    """A pause holds a bulk retry back; a discard goes on."""
    names, others = ground.put(4), ground.put(4)
    ground.ledger.gate.pause("audit", "kim")
    ground.make(names)
    ground.make(others, "discard")
    ground.bulks.tick()
    assert ground.states(names + others) == {State.DEAD: 4, State.DISCARDED: 4}
    ground.ledger.gate.resume("kim")
    ground.bulks.tick()
    assert ground.states(names) == {State.DEAD: 1, State.QUEUED: 3}


def test_no_faster_than_the_queue_drains(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is let go only while the queue is short."""
    monkeypatch.setattr(bulk, "QUEUE_TARGET_DEPTH", 20)
    monkeypatch.setattr(bulk, "SUBMISSIONS_PER_TRANSACTION", 10)
    names = ground.put(100)
    ground.make(names)
    ground.bulks.tick()
    ground.work()
    for _ in range(3):
        ground.bulks.tick()
        assert ground.states(names)[State.QUEUED] == 20
    ground.work()
    ground.bulks.tick()
    assert ground.states(names) == {State.DELIVERED: 23, State.QUEUED: 20, State.DEAD: 57}
    assert QUEUE_TARGET_DEPTH > SUBMISSIONS_PER_TRANSACTION


def test_an_edit_goes_to_each_and_a_fault_is_the_outcome_of_one(
    redis: redis_py.Redis, aredis: Callable[[], Any]
) -> None:
    """Each lead is mended; one whose content cannot be opened is skipped, and the others go on."""
    ground = Ground(redis, aredis)
    names = ground.put(3)
    redis.hset(keys.submission(names[1]), "lead", Cipher((KEY,)).encrypt(b"x"))
    made = ground.make(names, edit={"company": "Acme", "utm_source": "spring"})
    assert b"Acme" not in (redis.hget(keys.BULK + made, "by") or b"")
    ground.bulks.tick()
    ground.work()
    ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == ({"delivered": 2, "skipped": 1}, True)
    records = [ground.ledger.get(name) for name in names]
    assert [record.lead.company if record and record.lead else None for record in records] == [
        "Acme",
        None,
        "Acme",
    ]
    assert redis.hget(keys.BULK + made, "edit") is None
    with pytest.raises(EditError):
        ground.make(ground.put(1), edit={"nosuch": "x"})


def test_one_whose_edit_cannot_be_opened_any_more_can_be_stopped(
    redis: redis_py.Redis, aredis: Callable[[], Any]
) -> None:
    """When the key of its edit is gone nothing more goes, and a stop ends it: outcomes are counted,
    the rest is free.
    """
    ground = Ground(redis, aredis)
    ground.bulks = BulkActions(Ledger(redis, Cipher((KEY,))))
    names = ground.put(5)
    made = ground.make(names, edit={"company": "Acme"})
    ground.bulks.tick()
    redis.delete(keys.BULK_LOCK)
    ground.bulks = BulkActions(ground.ledger)
    ground.work(State.DEAD)
    ground.bulks.stop(made, "kim")
    ground.bulks.tick()
    assert (ground.told(made), ground.ended(made)) == (
        {"left": 2, "dead": 3, "stopped": "stopped by kim"},
        True,
    )
    assert redis.hlen(keys.BULK_CLAIMS) == 0


def test_one_advances_at_a_time(ground: Ground) -> None:
    """While one process has the lock another does nothing."""
    names = ground.put(4)
    ground.make(names)
    other = BulkActions(ground.ledger)
    assert ground.bulks.tick()
    assert not other.tick()
    ground.redis.delete(keys.BULK_LOCK)
    assert other.tick()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("action", ["retry", "discard"])
def test_killed_anywhere(
    action: str, after: bool, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed before or after any of its commands, the next one goes on: each submission
    moved once, none forgotten.
    """
    monkeypatch.setattr(bulk, "SUBMISSIONS_PER_TRANSACTION", 4)
    names = ground.put(11)
    made = ground.make(names, action, edit={"company": "Acme"} if action == "retry" else None)
    for place in range(200):
        with monkeypatch.context() as patched:
            _kill_at(patched, place % 40, after=after)
            with contextlib.suppress(Killed):
                BulkActions(ground.ledger).tick()
        ground.redis.delete(keys.BULK_LOCK)
        if place % 5 == 4:
            ground.work()
        if ground.ended(made):
            break
    assert ground.ended(made)
    assert ground.told(made) == ({"delivered": 11} if action == "retry" else {"done": 11})
    wanted = State.QUEUED if action == "retry" else State.DISCARDED
    for name in names:
        assert [moment.state for moment in ground.ledger.timeline(name)].count(wanted) == 1
    assert ground.redis.hlen(keys.BULK_CLAIMS) == 0


def _kill_at(patched: pytest.MonkeyPatch, place: int, *, after: bool) -> None:
    """The process ends at its `place`-th command, before or after Redis did it."""
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


def test_two_advance_at_once_by_mistake(ground: Ground) -> None:
    """One whose lock went to another meanwhile does nothing more: its steps are refused."""
    names = ground.put(4)
    made = ground.make(names, "discard")
    stale, fresh = BulkActions(ground.ledger), BulkActions(ground.ledger)
    ground.redis.set(keys.BULK_LOCK, fresh._lock.token)
    stale._go(bulk._Job(made, "discard", "olga", None), 4)
    assert ground.told(made) == {"left": 4}
