"""Who goes first after a wait, and who stands before whom in RQ's queue, which is first come, first
served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import redis as redis_py

from tests.redis.store import submission
from tests.redis.test_accept import accept, accepting
from tests.settable_clock import SettableClock
from worker.accept.drain import BACKFILL_AFTER_SECONDS, backfill_if_late
from worker.accept.encoding import encode_submissions
from worker.contract import Precedence, State, Submission
from worker.encryption import Cipher
from worker.ledger import ClaimResult, Ledger
from worker.queue.rq_queue import open_queue, queued_ids
from worker.queue.sweeper import DISPATCH_PER_TICK, QUEUE_TARGET_DEPTH, Sweeper
from worker.store import keys

Client = Callable[[], AbstractAsyncContextManager[Any]]
QUEUE = "rq:queue:leadline"
NOW = 1_800_000_000.0
FORM, WEBHOOK, BACKFILL = Precedence


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def ledger(redis: redis_py.Redis, clock: SettableClock) -> Ledger:
    return Ledger(redis, Cipher(()), clock)


@pytest.fixture
def sweeper(ledger: Ledger) -> Sweeper:
    return Sweeper(ledger, open_queue(ledger.redis))


@pytest.fixture
def take(aredis: Client, redis: redis_py.Redis) -> Callable[..., None]:
    def take(*items: Submission) -> None:
        asyncio.run(accept(aredis, redis, items))

    return take


def queued_in_order(redis: redis_py.Redis) -> list[str]:
    """The submissions in RQ's queue, as they will come."""
    return [job.rsplit("-", 1)[0] for job in open_queue(redis).get_job_ids()]


def waiting(
    ledger: Ledger, take: Callable[..., None], sweeper: Sweeper, close: Callable[[str], None]
) -> dict[str, str]:
    """One of each kind, by name; all but the retried one meet what `close` closed. Nothing is left
    in RQ's queue.
    """
    kinds = {
        "new form": submission(precedence=FORM, received_at=NOW - 10),
        "replay": submission(State.DEAD, precedence=FORM, received_at=NOW - 9_000),
        "webhook": submission(received_at=NOW - 300),
        "late": submission(precedence=BACKFILL, received_at=NOW - 8_000),
        "old form": submission(precedence=FORM, received_at=NOW - 200),
        "retried": submission(precedence=FORM, received_at=NOW - 600),
    }
    names = {item.id: name for name, item in kinds.items()}
    take(*kinds.values())
    ledger.claim(kinds["retried"].id, "t", 30)
    ledger.finish(kinds["retried"].id, "t", State.WAITING, next_at=NOW + 20, reason="retry")
    sweeper.replay(kinds["replay"].id, "kim", "", None)
    close(kinds["webhook"].id)
    ledger.redis.delete(QUEUE)
    for name in ("new form", "replay", "webhook", "late", "old form"):
        assert ledger.claim(kinds[name].id, "t", 30) is ClaimResult.GATED
    return names


GATES: dict[str, Callable[[Ledger, str], None]] = {
    "limit": lambda ledger, mine: ledger.gate.close(mine, "limit", NOW + 30, probe=False),
    "outage": lambda ledger, mine: ledger.gate.close(mine, "outage", NOW + 30, probe=True),
    "pause": lambda ledger, _: ledger.gate.pause("audit", "kim"),
}


@pytest.mark.parametrize("gate", GATES)
def test_after_a_wait_fresh_leads_go_before_replays_and_backfill(
    gate: str, clock: SettableClock, ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """Forms, webhooks, retries that are due, then what was replayed or came late; within each the
    oldest first.
    """
    names = waiting(ledger, take, sweeper, lambda mine: GATES[gate](ledger, mine))
    assert sweeper.sweep() == 0
    clock.now = NOW + 31
    ledger.redis.delete(
        keys.PAUSE, *([keys.DEFAULT_ACCOUNT.gate] if gate == "outage" else [])
    )  # as a resume and a delivered probe do
    sweeper.sweep()
    assert [names[one] for one in queued_in_order(ledger.redis)] == [
        "old form",
        "new form",
        "webhook",
        "retried",
        "replay",
        "late",
    ]


def test_when_the_days_tokens_are_back_the_newest_form_goes_first(
    clock: SettableClock, ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """Who asked a minute ago is still at the desk; kinds keep their order."""
    names = waiting(
        ledger, take, sweeper, lambda mine: ledger.gate.close(mine, "budget", NOW + 30, probe=False)
    )
    clock.now = NOW + 31
    sweeper.sweep()
    assert [names[one] for one in queued_in_order(ledger.redis)] == [
        "new form",
        "old form",
        "webhook",
        "retried",
        "late",
        "replay",
    ]


def test_the_one_that_tries_a_gate_is_a_fresh_one(
    clock: SettableClock, ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """While a gate is tried, those that may try it are fresh; a replay does so only where nobody
    else waits.
    """
    names = waiting(
        ledger,
        take,
        sweeper,
        lambda mine: ledger.gate.close(mine, "credentials", NOW + 30, probe=True),
    )
    clock.now = NOW + 31
    sweeper.sweep()
    assert [names[one] for one in queued_in_order(ledger.redis)] == [
        "old form",
        "new form",
        "webhook",
        "retried",
    ]


def test_two_thousand_replays_do_not_hold_up_a_fresh_lead(
    ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """However many are replayed, and however slow the slots are, a fresh lead has a few before it;
    all replays go out.
    """
    dead = [submission(State.DEAD) for _ in range(2_000)]
    take(*dead)
    for one in dead:
        sweeper.replay(one.id, "kim", "", None)
    redis = ledger.redis
    assert redis.llen(QUEUE) == QUEUE_TARGET_DEPTH
    for _ in range(20):
        fresh = submission(precedence=FORM)
        take(fresh)
        assert queued_in_order(redis).index(fresh.id) <= QUEUE_TARGET_DEPTH + 1
        redis.lpop(QUEUE, 3)  # what slow slots take in a beat
        sweeper.sweep()
    beats = 0
    while sent := redis.llen(QUEUE):
        assert sent <= DISPATCH_PER_TICK
        redis.delete(QUEUE)
        sweeper.sweep()
        beats += 1
    assert beats < 20
    assert redis.zcard(keys.DUE) == 0


def test_what_waits_for_room_is_not_taken_for_lost(
    clock: SettableClock, ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """Of what stands in no queue only what does not wait for its turn either is put back."""
    dead, gone = [submission(State.DEAD) for _ in range(3 * QUEUE_TARGET_DEPTH)], submission()
    take(*dead, gone)
    ledger.redis.delete(QUEUE)
    for one in dead:
        sweeper.replay(one.id, "kim", "", None)
    ledger.gate.pause("audit", "kim")
    clock.now = time.time() + 60
    sweeper.sweep()
    assert ledger.redis.zcard(keys.DUE) == 2 * QUEUE_TARGET_DEPTH
    assert sorted(queued_in_order(ledger.redis)) == sorted(
        [gone.id, *(one.id for one in dead[:QUEUE_TARGET_DEPTH])]
    )


def test_an_endless_rush_stops_no_retry(
    ledger: Ledger, take: Callable[..., None], sweeper: Sweeper
) -> None:
    """While RQ's queue stays long, one retry a beat goes in nevertheless, and no replay."""
    retried, replayed = submission(), submission(State.DEAD)
    take(retried, replayed)
    ledger.claim(retried.id, "t", 30)
    ledger.finish(retried.id, "t", State.WAITING, next_at=NOW - 1, reason="retry")
    ledger.redis.delete(QUEUE)
    take(*(submission() for _ in range(QUEUE_TARGET_DEPTH)))
    sweeper.replay(replayed.id, "kim", "", None)
    assert sweeper.sweep() == 1
    assert queued_in_order(ledger.redis)[-1] == retried.id
    assert replayed.id not in queued_in_order(ledger.redis)


@pytest.mark.parametrize("late", [False, True])
def test_what_lay_in_the_spool_for_long_is_backfill(
    late: bool, aredis: Client, ledger: Ledger, sweeper: Sweeper
) -> None:
    """A submission that comes out of the spool at once goes on at once; one that lay there waits
    for room, and is not lost.
    """
    mine = submission(
        precedence=FORM, received_at=time.time() - (BACKFILL_AFTER_SECONDS + 5 if late else 5)
    )

    async def drain() -> None:
        async with accepting(aredis, ledger.redis) as acceptor:
            await acceptor.writer.write(
                encode_submissions([backfill_if_late(mine, time.time())], acceptor._cipher),
                spooled=True,
            )

    asyncio.run(drain())
    record = ledger.get(mine.id)
    assert record is not None
    assert (record.state, record.precedence) == (State.QUEUED, BACKFILL if late else FORM)
    assert (queued_ids(open_queue(ledger.redis)) == {mine.id}) is not late
    sweeper.sweep()
    assert queued_ids(open_queue(ledger.redis)) == {mine.id}
