"""Random lives: many submissions of few people and companies, with crashes, lost queues, gates,
pauses and replays.

Whatever happened, once the trouble ends everything reaches a final state, and nothing is left in
lines, leases or due times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from itertools import pairwise
from typing import Any

import pytest

from tests.redis.store import submission
from tests.redis.test_accept import accept
from tests.redis.test_ledger import CALL, CAUSE
from tests.settable_clock import SettableClock
from worker.contract import MOVES, WORKING, State
from worker.encryption import Cipher
from worker.errors import LeaseLost, NotAllowed
from worker.ledger import ClaimResult, Ledger
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store import keys

Client = Callable[[], AbstractAsyncContextManager[Any]]
SUBMISSIONS = 12
QUEUE = "rq:queue:leadline"


class World:
    """Everything random comes from `dice`."""

    def __init__(self, redis: Any, aredis: Client, seed: int) -> None:
        self.redis, self.dice, self.clock = (
            redis,
            random.Random(seed),
            SettableClock(1_800_000_000.0),
        )
        self.ledger = Ledger(redis, Cipher(()), self.clock)
        self.sweeper = Sweeper(self.ledger, open_queue(redis))
        self.held: dict[str, str] = {}
        items = [
            submission(email=f"p{self.dice.randrange(4)}@example.com") for _ in range(SUBMISSIONS)
        ]
        self.person = {
            item.id: keys.DEFAULT_ACCOUNT.person_queue("email", item.lead.email or "")
            for item in items
            if item.lead
        }
        self.company = {item.id: self.dice.choice(["", "acme", "bolt"]) for item in items}
        asyncio.run(accept(aredis, redis, items))

    def step(self) -> None:
        deeds = [
            self.take,
            self.end,
            self.crash,
            self.lose_queue,
            self.pause,
            self.decide,
            self.later,
        ]
        self.dice.choices(deeds, [40, 35, 5, 2, 2, 4, 12])[0]()

    def take(self) -> None:
        """A slot takes a job that stands in front, not always the first."""
        jobs = self.redis.lrange(QUEUE, 0, 2)
        if jobs:
            job = self.dice.choice(jobs)
            self.redis.lrem(QUEUE, 1, job)
            self.claim(job.decode().rsplit("-", 1)[0])

    def claim(self, mine: str) -> None:
        token, company = f"t{self.dice.random()}", self.company[mine]
        lines = {
            "person_queue": self.person[mine],
            "organization_queue": keys.DEFAULT_ACCOUNT.person_queue("organization", company)
            if company
            else "",
            "organization_key": keys.DEFAULT_ACCOUNT.organization(company) if company else "",
        }
        if self.ledger.claim(mine, token, 30, **lines) is ClaimResult.CLAIMED:
            same = [
                other
                for other, key in self.person.items()
                if key == self.person[mine] and other != mine
            ]
            assert not any(self.state(other) is State.DELIVERING for other in same), (
                "two deliveries for one person"
            )
            self.held[mine] = token

    def end(self) -> None:
        if self.held:
            how = self.dice.choice(["done", "done", "dead", "retry", "settle", "gate", "again"])
            self.finish(self.dice.choice(sorted(self.held)), how)

    def finish(self, mine: str, how: str) -> None:
        token, now = self.held.pop(mine), self.clock.now
        soon = now + self.dice.choice([1, 10, 90])
        with suppress(LeaseLost):
            if how == "done":
                if self.company[mine]:
                    self.redis.set(keys.DEFAULT_ACCOUNT.organization(self.company[mine]), 5)
                woken = self.ledger.finish(mine, token, State.DELIVERED, attempts=[CALL])
            elif how == "dead":
                woken = self.ledger.finish(mine, token, State.DEAD, cause=CAUSE, attempts=[CALL])
            elif how == "gate":
                reason = self.dice.choice(["budget", "credentials", "limit"])
                self.ledger.gate.close(mine, reason, soon, probe=reason == "credentials")
                woken = self.ledger.finish(
                    mine, token, State.WAITING, next_at=soon, reason=reason, used=0
                )
            elif how == "again":
                woken = self.ledger.finish(mine, token, State.QUEUED, used=0)
            else:
                woken = self.ledger.finish(
                    mine, token, State.WAITING, next_at=soon, reason=how, keep_place=how == "settle"
                )
            if self.dice.random() < 0.7:  # else the worker dies in between
                self.sweeper.dispatch(woken)

    def crash(self) -> None:
        if self.held:
            self.held.pop(self.dice.choice(sorted(self.held)))

    def lose_queue(self) -> None:
        self.redis.delete(QUEUE)

    def pause(self) -> None:
        self.dice.choice(
            [lambda: self.ledger.gate.pause("audit", "kim"), self.ledger.gate.resume]
        )()

    def decide(self) -> None:
        for record in self.ledger.in_state(State.DEAD, limit=1):
            with suppress(NotAllowed):
                self.sweeper.replay(record.id, "kim", "", None)

    def later(self) -> None:
        self.clock.now += self.dice.choice([0.5, 5, 20, 40, 61])
        self.sweeper.sweep()

    def state(self, submission_id: str) -> State:
        record = self.ledger.get(submission_id)
        assert record is not None
        return record.state

    def at_work(self) -> int:
        counts = self.ledger.counts()
        assert sum(counts.values()) == SUBMISSIONS
        return sum(counts[state] for state in WORKING)

    def heal(self) -> None:
        """No more trouble: five minutes of five-second rounds are enough for everything that is
        left.
        """
        self.ledger.gate.resume()
        for _ in range(60):
            for mine in sorted(self.held):
                self.finish(mine, "done")
            self.clock.now += 5
            self.sweeper.sweep()
            for _ in range(SUBMISSIONS):
                self.take()


@pytest.mark.parametrize("seed", range(12))
def test_everything_ends_whatever_happens(seed: int, redis: Any, aredis: Client) -> None:
    """After any trouble all are in a final state by legal moves, one at a time for each person, and
    no line is left.
    """
    world = World(redis, aredis, seed)
    for _ in range(120):
        world.step()
    world.heal()
    assert world.at_work() == 0
    assert redis.keys("leadline:account:*:person_queue:*") == []
    assert (redis.zcard(keys.DUE), redis.zcard(keys.LEASES)) == (0, 0)
    for submission_id in world.person:
        moments = world.ledger.timeline(submission_id)
        assert all(later.state in MOVES[earlier.state] for earlier, later in pairwise(moments))
