from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any

import pytest
import redis as redis_py
from msgspec import structs
from ulid import ULID

from tests.redis.store import submission
from tests.redis.test_accept import accept
from tests.settable_clock import SettableClock
from worker.contract import MOVES, VERSION, Attempt, Cause, Lead, Precedence, State, Submission
from worker.encryption import Cipher
from worker.errors import LeaseLost, NotAllowed, StoreUnavailable
from worker.ledger import ClaimResult, Ledger
from worker.ledger.schedule import CRASHES_ALLOWED
from worker.queue.rq_queue import open_queue, queued_ids
from worker.queue.sweeper import Sweeper
from worker.store import keys

Client = Callable[[], AbstractAsyncContextManager[Any]]
CAUSE = Cause(step="lead", code="invalid", detail="no")
CALL = Attempt(at=1.0, step="persons.search", outcome="ok", status=200)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(1_800_000_000.0)


@pytest.fixture
def ledger(redis: redis_py.Redis, clock: SettableClock) -> Ledger:
    return Ledger(redis, Cipher(()), clock)


@pytest.fixture
def store(aredis: Client, redis: redis_py.Redis) -> Callable[..., str]:
    """Accepts one submission and returns its id."""

    def take(item: Submission | None = None, **options: Any) -> str:
        mine = item or submission(**options)
        asyncio.run(accept(aredis, redis, [mine]))
        return mine.id

    return take


def state_of(ledger: Ledger, submission_id: str) -> State:
    record = ledger.get(submission_id)
    assert record is not None
    return record.state


def test_a_claimed_submission_is_leased_to_one(ledger: Ledger, store: Callable[..., str]) -> None:
    """Whoever claims first has it; a second claim finds it not wanted."""
    mine = store()
    assert ledger.claim(mine, "a", 30) is ClaimResult.CLAIMED
    assert ledger.claim(mine, "b", 30) is ClaimResult.NOT_WANTED
    assert ledger.claim(str(ULID()), "c", 30) is ClaimResult.UNKNOWN
    assert state_of(ledger, mine) is State.DELIVERING


def test_only_the_lease_holder_may_go_on(ledger: Ledger, store: Callable[..., str]) -> None:
    """Announcing, renewing and finishing with another token are refused and change nothing."""
    mine = store()
    ledger.claim(mine, "a", 30)
    assert ledger.renew(mine, "b", 30) is False
    with pytest.raises(LeaseLost):
        ledger.announce(mine, "b", 30, "lead")
    with pytest.raises(LeaseLost):
        ledger.finish(mine, "b", State.DELIVERED)
    assert state_of(ledger, mine) is State.DELIVERING


@pytest.mark.parametrize("state", sorted(set(State) - MOVES[State.DELIVERING]))
def test_a_move_that_is_not_in_the_table_is_refused(
    ledger: Ledger, store: Callable[..., str], state: State
) -> None:
    """A delivery that asks to end in a state that none may end in fails, and changes nothing."""
    mine = store()
    ledger.claim(mine, "a", 30)
    before = ledger.find_history(mine)
    with pytest.raises(redis_py.ResponseError, match="no move from"):
        ledger.finish(mine, "a", state, facts={"lead_id": "x"}, attempts=[CALL], cause=CAUSE)
    assert ledger.find_history(mine) == before


def test_nothing_arrives_in_a_state_that_only_deliveries_reach(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """The intake cannot record a submission as delivered."""
    mine = submission(State.DELIVERED)
    with pytest.raises(StoreUnavailable, match="no move from"):
        asyncio.run(accept(aredis, redis, [mine]))
    assert not redis.exists(keys.submission(mine.id))


def test_a_fact_is_kept_even_when_the_lease_is_lost(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """An id that an announced create brought is written down although the worker lost its lease
    meanwhile.
    """
    mine = store()
    ledger.claim(mine, "a", 30)
    ledger.announce(mine, "a", 30, "person")
    clock.now += 31
    Sweeper(ledger, open_queue(redis)).sweep()
    ledger.learn(mine, "a", "person", {"person_id": 7})
    record = ledger.get(mine)
    assert record is not None
    assert (record.person_id, record.announced, record.state) == (7, None, State.QUEUED)


def test_a_late_fact_does_not_overwrite_who_went_on(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """Once another worker announced the step for itself, the first one's late answer is refused."""
    mine = store()
    ledger.claim(mine, "a", 30)
    ledger.announce(mine, "a", 30, "lead")
    clock.now += 31
    Sweeper(ledger, open_queue(redis)).sweep()
    ledger.claim(mine, "b", 30)
    ledger.announce(mine, "b", 30, "lead")
    with pytest.raises(LeaseLost):
        ledger.learn(mine, "a", "lead", {"lead_id": "old"})
    ledger.learn(mine, "b", "lead", {"lead_id": "new"})
    record = ledger.get(mine)
    assert record is not None
    assert record.lead_id == "new"


def test_an_abandoned_submission_comes_back(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """When its lease runs out, the sweeper queues it again, not before."""
    mine = store()
    redis.delete("rq:queue:leadline")
    ledger.claim(mine, "a", 30)
    sweeper = Sweeper(ledger, open_queue(redis))
    clock.now += 29
    assert sweeper.sweep() == 0
    clock.now += 2
    assert sweeper.sweep() == 1
    assert state_of(ledger, mine) is State.QUEUED
    assert queued_ids(open_queue(redis)) == {mine}


def test_what_kills_its_workers_is_set_aside(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """After the third worker that died of it, a submission is a dead letter that says so; its line
    is free again.
    """
    mine = store()
    for attempt in range(CRASHES_ALLOWED):
        assert (
            ledger.claim(
                mine, f"t{attempt}", 30, person_queue="leadline:account:default:person_queue:x"
            )
            is ClaimResult.CLAIMED
        )
        clock.now += 31
        Sweeper(ledger, open_queue(redis)).sweep()
    record = ledger.get(mine)
    assert record is not None
    assert record.cause is not None
    assert (record.state, record.cause.code) == (State.DEAD, "poison")
    assert redis.exists("leadline:account:default:person_queue:x") == 0
    assert (
        redis.hget(keys.METRICS, 'leadline_deliveries_total{result="dead",source="contact"}')
        == b"1"
    )


def test_people_stand_in_line(ledger: Ledger, store: Callable[..., str], redis: Any) -> None:
    """Deliveries for one person go one after the other, in order of their claims; the next is due
    when one ends.
    """
    first, second, third = store(), store(), store()
    line = keys.DEFAULT_ACCOUNT.person_queue("email", "ada@example.com")
    assert ledger.claim(first, "a", 30, person_queue=line) is ClaimResult.CLAIMED
    assert ledger.claim(second, "b", 30, person_queue=line) is ClaimResult.IN_PERSON_QUEUE
    assert ledger.claim(third, "c", 30, person_queue=line) is ClaimResult.IN_PERSON_QUEUE
    assert ledger.finish(first, "a", State.DELIVERED) == [second]
    sweeper = Sweeper(ledger, open_queue(redis))
    sweeper.sweep()
    assert ledger.claim(second, "b", 30, person_queue=line) is ClaimResult.CLAIMED
    assert state_of(ledger, third) is State.WAITING
    assert ledger.finish(second, "b", State.DEAD, cause=CAUSE) == [third]


def test_a_line_is_kept_while_a_create_is_unknown(
    ledger: Ledger, store: Callable[..., str]
) -> None:
    """Somebody whose create must settle keeps the person's line, so that nobody creates the person
    a second time.
    """
    first, second = store(), store()
    line = keys.DEFAULT_ACCOUNT.person_queue("email", "ada@example.com")
    ledger.claim(first, "a", 30, person_queue=line)
    ledger.announce(first, "a", 30, "person")
    woken = ledger.finish(
        first, "a", State.WAITING, next_at=ledger.now() + 90, reason="settle", keep_place=True
    )
    assert woken == []
    assert ledger.claim(second, "b", 30, person_queue=line) is ClaimResult.IN_PERSON_QUEUE


def test_a_line_left_by_the_dead_is_passed_over(
    ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """An entry of a line whose submission is finished, or unknown, stops nobody."""
    mine = store()
    line = keys.DEFAULT_ACCOUNT.person_queue("email", "ada@example.com")
    redis.rpush(line, str(ULID()))
    assert ledger.claim(mine, "a", 30, person_queue=line) is ClaimResult.CLAIMED


@pytest.mark.parametrize("announced", [False, True])
def test_who_is_left_for_a_newer_worker_holds_the_line_only_with_a_create(
    announced: bool, ledger: Ledger, store: Callable[..., str], redis: Any, clock: SettableClock
) -> None:
    """A newer worker may never come again: others of the person wait for its submission only where
    it may have made something.
    """
    line = "leadline:account:default:person_queue:p"
    head, behind = store(), store()
    ledger.claim(head, "h", 30, person_queue=line)
    if announced:
        ledger.announce(head, "h", 30, "person")
    ledger.finish(head, "h", State.WAITING, next_at=clock.now, reason="settle", keep_place=True)
    redis.hset(keys.submission(head), "v", VERSION + 1)
    Sweeper(ledger, open_queue(redis)).sweep()
    assert ledger.claim(head, "h", 30, person_queue=line) is ClaimResult.NEWER
    assert ledger.claim(behind, "b", 30, person_queue=line) is (
        ClaimResult.IN_PERSON_QUEUE if announced else ClaimResult.CLAIMED
    )


def test_two_lines_never_lock_each_other(
    ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """Two people of one new company: the second waits for the organisation, and goes on when the
    first ends.
    """
    first, second = store(), store()
    company = keys.DEFAULT_ACCOUNT.person_queue("organization", "acme")
    assert (
        ledger.claim(
            first,
            "a",
            30,
            person_queue="leadline:account:default:person_queue:p1",
            organization_queue=company,
        )
        is ClaimResult.CLAIMED
    )
    assert (
        ledger.claim(
            second,
            "b",
            30,
            person_queue="leadline:account:default:person_queue:p2",
            organization_queue=company,
        )
        is ClaimResult.IN_PERSON_QUEUE
    )
    assert ledger.finish(first, "a", State.DELIVERED) == [second]
    Sweeper(ledger, open_queue(redis)).sweep()
    assert (
        ledger.claim(
            second,
            "b",
            30,
            person_queue="leadline:account:default:person_queue:p2",
            organization_queue=company,
        )
        is ClaimResult.CLAIMED
    )


def test_a_known_organisation_needs_no_line(
    ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """What is in our memory is not created, so nobody waits for it."""
    first, second = store(), store()
    redis.set("leadline:account:default:organization:x", 5)
    for submission_id in (first, second):
        verdict = ledger.claim(
            submission_id,
            submission_id,
            30,
            organization_queue="leadline:account:default:person_queue:o",
            organization_key="leadline:account:default:organization:x",
        )
        assert verdict is ClaimResult.CLAIMED


def test_a_wait_ends_when_its_time_comes(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """A retry is queued again at its time, not before, and keeps its count."""
    mine = store()
    ledger.claim(mine, "a", 30)
    ledger.finish(mine, "a", State.WAITING, next_at=clock.now + 10, reason="retry", cause=CAUSE)
    sweeper = Sweeper(ledger, open_queue(redis))
    clock.now += 9
    assert sweeper.sweep() == 0
    clock.now += 2
    assert sweeper.sweep() == 1
    record = ledger.get(mine)
    assert record is not None
    assert (record.state, record.attempts, record.next_at) == (State.QUEUED, 1, None)


def test_a_pause_stops_new_deliveries_until_resumed(
    ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """While paused nothing is claimed or dispatched; afterwards everything goes on."""
    mine = store()
    ledger.gate.pause("maintenance", "kim")
    assert ledger.claim(mine, "a", 30) is ClaimResult.GATED
    sweeper = Sweeper(ledger, open_queue(redis))
    assert sweeper.sweep() == 0
    paused = ledger.gate.find_pause()
    assert paused is not None
    assert (paused.reason, paused.until, paused.by) == ("maintenance", None, "kim")
    ledger.gate.resume()
    assert sweeper.sweep() == 1
    assert ledger.claim(mine, "a", 30) is ClaimResult.CLAIMED


def test_a_timed_gate_opens_by_itself(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """After a rate limit everybody waits until its reset, and no longer."""
    mine = store()
    ledger.gate.close(mine, "rate limit", clock.now + 5, probe=False)
    assert ledger.claim(mine, "a", 30) is ClaimResult.GATED
    assert Sweeper(ledger, open_queue(redis)).sweep() == 0
    clock.now += 6
    assert Sweeper(ledger, open_queue(redis)).sweep() == 1
    assert ledger.claim(mine, "a", 30) is ClaimResult.CLAIMED
    assert ledger.gate.find_pause() is None


def test_a_probed_gate_lets_one_through_and_opens_on_its_success(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """After refused credentials one submission tries; only when it is delivered do the others
    follow.
    """
    first, second = store(), store()
    ledger.gate.close(second, "unauthorized", clock.now + 30, probe=True)
    assert {ledger.claim(first, "a", 30), ledger.claim(second, "b", 30)} == {ClaimResult.GATED}
    clock.now += 31
    sweeper = Sweeper(ledger, open_queue(redis))
    sweeper.sweep()
    assert ledger.claim(first, "a", 30) is ClaimResult.CLAIMED
    assert ledger.claim(second, "b", 30) is ClaimResult.GATED
    assert sweeper.sweep() == 0
    ledger.finish(first, "a", State.DELIVERED, attempts=[CALL])
    assert ledger.gate.find_pause() is None
    assert sweeper.sweep() == 1
    assert ledger.claim(second, "b", 30) is ClaimResult.CLAIMED


def test_a_failed_probe_keeps_the_gate_closed(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """When the one that tried fails the same way, everybody waits for the next try."""
    mine = store()
    ledger.gate.close(mine, "unauthorized", clock.now + 30, probe=True)
    ledger.claim(mine, "a", 30)
    clock.now += 31
    sweeper = Sweeper(ledger, open_queue(redis))
    sweeper.sweep()
    ledger.claim(mine, "a", 30)
    ledger.gate.close(mine, "unauthorized", clock.now + 60, probe=True)
    ledger.finish(mine, "a", State.WAITING, next_at=clock.now, reason="unauthorized", used=0)
    assert ledger.gate.count_probes() == 2
    assert sweeper.sweep() == 0
    clock.now += 61
    assert sweeper.sweep() == 1


def test_one_refusal_met_by_many_at_once_is_one(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """However many deliveries in hand meet the same refusal, the gate is tried as soon as after
    one.
    """
    for _ in range(8):
        ledger.gate.close(
            store(), "credentials", clock.now + 30 * 2 ** ledger.gate.count_probes(), probe=True
        )
    paused = ledger.gate.find_pause()
    assert paused is not None
    assert (ledger.gate.count_probes(), paused.until) == (1, clock.now + 30)


@pytest.mark.parametrize("precedence", Precedence)
def test_another_one_tries_the_gate_next(
    ledger: Ledger,
    store: Callable[..., str],
    redis: Any,
    clock: SettableClock,
    precedence: Precedence,
) -> None:
    """A submission that is refused each time does not keep the gate closed: others try it too."""
    webhook = structs.replace(submission(), precedence=Precedence.WEBHOOK)
    poison, other = store(structs.replace(submission(), precedence=precedence)), store(webhook)
    queue, tried = open_queue(redis), []
    sweeper = Sweeper(ledger, queue)
    ledger.gate.close(poison, "version", clock.now + 30, probe=True)
    for each in (poison, other):
        ledger.claim(each, "a", 30)
    for _ in range(4):
        queue.empty()  # type: ignore[no-untyped-call]
        clock.now += 31
        sweeper.sweep()
        first, *behind = [job_id.rsplit("-", 1)[0] for job_id in queue.get_job_ids()]
        assert ledger.claim(first, "a", 30) is ClaimResult.CLAIMED
        ledger.gate.close(first, "version", clock.now + 30, probe=True)
        ledger.finish(first, "a", State.WAITING, next_at=clock.now, reason="version", used=0)
        assert {ledger.claim(each, "b", 30) for each in behind} <= {ClaimResult.GATED}
        tried.append(first)
    assert other in tried[:2]


def test_a_short_wait_does_not_open_a_longer_one(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """A rate limit met by a delivery in hand leaves a block in force, and a block takes the place
    of a rate limit.
    """
    ledger.gate.close(store(), "limit", clock.now + 60, probe=False)
    ledger.gate.close(store(), "blocked", clock.now + 600, probe=True)
    ledger.gate.close(store(), "limit", clock.now + 2, probe=False)
    paused = ledger.gate.find_pause()
    assert paused is not None
    assert (paused.reason, paused.until) == ("blocked", clock.now + 600)
    clock.now += 601
    assert ledger.gate.find_pause() is not None, "a block is left by a try, not by time"


def test_who_waits_in_line_does_not_try_the_gate(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """The one that tries the gate is one that really goes out: those in line behind another leave
    it to the next.
    """
    line = "leadline:account:default:person_queue:p"
    head, behind, other = store(), store(), store()
    ledger.claim(head, "h", 30, person_queue=line)
    ledger.finish(
        head, "h", State.WAITING, next_at=clock.now + 3600, reason="settle", keep_place=True
    )
    ledger.gate.close(head, "credentials", clock.now + 30, probe=True)
    clock.now += 31
    assert ledger.claim(behind, "b", 30, person_queue=line) is ClaimResult.IN_PERSON_QUEUE
    assert ledger.claim(other, "o", 30) is ClaimResult.CLAIMED


def test_resuming_tries_a_refused_gate_with_one(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """An operator's resume lets one submission try at once; the others wait for what becomes of
    it.
    """
    first, second = store(), store()
    ledger.gate.close(first, "blocked", clock.now + 3600, probe=True)
    ledger.gate.resume()
    assert ledger.claim(first, "a", 30) is ClaimResult.CLAIMED
    assert ledger.claim(second, "b", 30) is ClaimResult.GATED
    ledger.gate.close(first, "limit", clock.now + 60, probe=False)
    ledger.gate.resume()
    assert ledger.gate.find_pause() is None


def test_a_death_without_a_call_does_not_open_the_gate(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """A submission that dies of the source file has not tried whether Pipedrive answers."""
    mine = store()
    ledger.gate.close(mine, "credentials", clock.now + 30, probe=True)
    clock.now += 31
    ledger.claim(mine, "a", 30)
    ledger.finish(mine, "a", State.DEAD, cause=CAUSE)
    assert ledger.gate.find_pause() is not None


def test_a_death_without_a_call_lets_the_next_one_try_at_once(
    ledger: Ledger, store: Callable[..., str], redis: Any, clock: SettableClock
) -> None:
    """However many die of the source file first, the gate opens as soon as one was delivered."""
    names = [store() for _ in range(5)]
    ledger.gate.close(names[0], "credentials", clock.now + 30, probe=True)
    for name in names:
        ledger.claim(name, "a", 30)
    clock.now += 31
    sweeper = Sweeper(ledger, open_queue(redis))
    for name in names[:-1]:
        sweeper.sweep()
        assert ledger.claim(name, "a", 30) is ClaimResult.CLAIMED
        ledger.finish(name, "a", State.DEAD, cause=CAUSE)
    sweeper.sweep()
    assert ledger.claim(names[-1], "a", 30) is ClaimResult.CLAIMED
    ledger.finish(names[-1], "a", State.DELIVERED, attempts=[CALL])
    assert ledger.gate.find_pause() is None


@pytest.mark.parametrize(
    ("lead", "person_id"),
    [(None, 7), (Lead(email="new@example.com"), None)],
    ids=["as it was", "mended"],
)
def test_a_dead_letter_is_replayed_afresh(
    lead: Lead | None, person_id: int | None, ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """A replay queues the dead letter again, its attempts forgotten and its ids kept, but for whom
    a mended lead may not mean.
    """
    mine = store(key="e1")
    ledger.claim(mine, "a", 30)
    ledger.learn(mine, "a", "", {"person_id": 7})
    ledger.finish(mine, "a", State.DEAD, cause=CAUSE)
    duplicate_key = keys.duplicate("contact", "event", "e1")
    assert 0 < redis.ttl(duplicate_key) <= 7 * 24 * 3600
    before = ledger.get(mine)
    assert before is not None
    assert replay(ledger, redis, mine, lead) == State.QUEUED
    record = ledger.get(mine)
    assert record is not None
    assert (record.attempts, record.cause, record.person_id, record.lead) == (
        0,
        None,
        person_id,
        lead or before.lead,
    )
    assert redis.ttl(duplicate_key) == -1
    assert replay(ledger, redis, mine) is None


def replay(ledger: Ledger, redis: Any, submission_id: str, lead: Lead | None = None) -> str | None:
    try:
        return Sweeper(ledger, open_queue(redis)).replay(submission_id, "kim", "", lead)
    except NotAllowed:
        return None


def test_a_discard_can_be_undone(ledger: Ledger, store: Callable[..., str]) -> None:
    """A discarded submission goes back to where it was."""
    mine = store(state=State.QUARANTINED)
    ledger.discard(mine, "kim", "spam")
    assert state_of(ledger, mine) is State.DISCARDED
    assert ledger.undiscard(mine, "kim") is State.QUARANTINED


@pytest.mark.parametrize("state", [State.QUEUED, State.IGNORED])
def test_a_person_moves_only_what_waits_for_a_person(
    state: State, ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """Replaying and discarding are refused in every state but dead and quarantined."""
    mine = store(state=state)
    with pytest.raises(NotAllowed):
        ledger.discard(mine, "kim", "")
    with pytest.raises(NotAllowed):
        Sweeper(ledger, open_queue(redis)).replay(mine, "kim", "", None)
    assert state_of(ledger, mine) is state


def test_the_timeline_tells_the_whole_life(ledger: Ledger, store: Callable[..., str]) -> None:
    """Every change of state is in the timeline, with who and why, and each is legal."""
    mine = store()
    ledger.claim(mine, "a", 30)
    ledger.finish(mine, "a", State.DEAD, cause=CAUSE, why="no such label")
    moments = ledger.timeline(mine)
    assert [moment.state for moment in moments] == [State.QUEUED, State.DELIVERING, State.DEAD]
    assert (moments[-1].by, moments[-1].why) == ("worker", "no such label")
    assert all(later.state in MOVES[earlier.state] for earlier, later in pairwise(moments))


def test_a_lost_queue_is_rebuilt_from_the_ledger(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """When RQ's keys are gone, what is queued in the ledger gets new jobs."""
    mine = store()
    for key in redis.keys("rq:*"):
        redis.delete(key)
    clock.now = float(redis.zscore(keys.state(State.QUEUED), mine)) + 11
    Sweeper(ledger, open_queue(redis)).sweep()
    assert queued_ids(open_queue(redis)) == {mine}


def test_the_newest_go_first_when_the_days_tokens_are_back(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock, redis: Any
) -> None:
    """What waits for the day's tokens goes by receipt, the newest first, before everything else
    that is due.
    """
    retried, old, new, never_tried = store(), store(), store(), store()
    for submission_id, received_at in ((old, 1.0), (new, 3.0), (never_tried, 2.0)):
        redis.hset(keys.submission(submission_id), "received_at", received_at)
    reset = clock.now + 3600
    for submission_id in (retried, old, new):
        ledger.claim(submission_id, submission_id, 30)
    ledger.gate.close(old, "budget", reset, probe=False)
    for submission_id, reason in ((retried, "retry"), (old, "budget"), (new, "budget")):
        ledger.finish(submission_id, submission_id, State.WAITING, next_at=reset, reason=reason)
    assert ledger.claim(never_tried, "a", 30) is ClaimResult.GATED
    assert Sweeper(ledger, open_queue(redis)).sweep() == 0
    clock.now = reset + 1
    assert ledger.schedule.due(clock.now, 10) == [new, never_tried, old, retried]
    assert Sweeper(ledger, open_queue(redis)).sweep() == 4
    record = ledger.get(new)
    assert record is not None
    assert record.state is State.QUEUED


def test_a_life_of_many_waits_stays_short(
    clock: SettableClock, ledger: Ledger, store: Callable[..., str]
) -> None:
    """The timeline holds the first moment and the newest 199, however often a submission waits."""
    mine = store()
    came = ledger.timeline(mine)[0]
    for _ in range(101):
        clock.now += 1
        ledger.claim(mine, "a", 30)
        ledger.finish(mine, "a", State.QUEUED, used=0)
    timeline = ledger.timeline(mine)
    assert (len(timeline), timeline[0], timeline[-1].state) == (200, came, State.QUEUED)


def test_records_come_the_newest_first(ledger: Ledger, store: Callable[..., str]) -> None:
    """Whoever looks at one state sees what entered it last at the top."""
    ids = [store(state=State.DEAD) for _ in range(3)]
    assert [record.id for record in ledger.each_in(State.DEAD)] == ids[::-1]


def test_what_a_dead_worker_left_between_queue_and_slot_is_cleared(
    ledger: Ledger, redis: Any, clock: SettableClock
) -> None:
    """A job that stays in RQ's intermediate list is cleared away; one that was just taken is left
    alone.
    """
    sweeper = Sweeper(ledger, open_queue(redis))
    redis.lpush("rq:queue:leadline:intermediate", "left-behind")
    sweeper.sweep()
    clock.now += 15
    redis.lpush("rq:queue:leadline:intermediate", "just-taken")
    sweeper.sweep()
    clock.now += 6
    sweeper.sweep()
    assert redis.lrange("rq:queue:leadline:intermediate", 0, -1) == [b"just-taken"]


def test_one_process_sweeps_at_a_time(
    ledger: Ledger, redis: Any, store: Callable[..., str], clock: SettableClock
) -> None:
    """A second sweeper leaves the beat to the first as long as that one beats."""
    mine = store()
    ledger.claim(mine, "a", 30)
    ledger.finish(mine, "a", State.WAITING, next_at=clock.now - 1, reason="retry")
    one, two = Sweeper(ledger, open_queue(redis)), Sweeper(ledger, open_queue(redis))
    assert one.tick() == 1
    ledger.claim(mine, "a", 30)
    ledger.finish(mine, "a", State.WAITING, next_at=clock.now - 1, reason="retry")
    assert two.tick() == 0
    assert one.tick() == 1


def test_states_add_up(ledger: Ledger, store: Callable[..., str]) -> None:
    """The counts of all states are the number of records, whatever was done to them."""
    ids = [store() for _ in range(4)]
    ledger.claim(ids[0], "a", 30)
    ledger.claim(ids[1], "b", 30)
    ledger.finish(ids[1], "b", State.DELIVERED)
    counts = ledger.counts()
    assert sum(counts.values()) == 4
    assert (counts[State.QUEUED], counts[State.DELIVERING], counts[State.DELIVERED]) == (2, 1, 1)


def test_a_full_redis_takes_nothing_new_but_delivers(
    aredis: Client, ledger: Ledger, store: Callable[..., str], redis: Any
) -> None:
    """Without memory left, accepting is refused as a whole and what is there can still be
    delivered.
    """
    mine, refused = store(), submission()
    before = redis.config_get("maxmemory")["maxmemory"]
    try:
        redis.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            asyncio.run(accept(aredis, redis, [refused]))
        assert ledger.claim(mine, "a", 30) is ClaimResult.CLAIMED
        ledger.finish(mine, "a", State.DELIVERED)
    finally:
        redis.config_set("maxmemory", before)
    assert ledger.get(refused.id) is None
    assert sum(ledger.counts().values()) == 1
