"""Negative controls: each protection is taken out, and the same judgement that passes with it must
fail without it.

look-up         an unanswered create is looked for before it is repeated
settle-time     ... and not before it had time to be committed
lease-deadline  a worker that was stopped asks its own clock right before a create
lease-token     a create is announced only under the lease in force
duplicate-key   record and duplicate key are one step
person-queue    one person's deliveries go one after the other
sweeper         what a dead worker held goes back into the queue
recorded-steps  each id is written down before the next call
rollback-lookup what Redis may have forgotten is looked for before anything of it is made
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import ways
from tests.chaos.ground import Ground
from tests.chaos.loop import Plan, run
from tests.chaos.protections import SWITCHES, environment, without
from tests.polling import eventually
from worker.delivery import Delivery
from worker.queue.leases import Lease, Leases

pytestmark = pytest.mark.timeout(240)

Problems = ways.Problems


def lost_answer(place: Ground) -> Problems:
    """The lead is committed and its answer lost."""
    ways.lost_answer(place)
    place.courier.send(place.order("work"))
    place.home()
    return ways.once(place)


def late_commit(place: Ground) -> Problems:
    """The lead is committed a second after its connection broke; a retry would be due sooner than
    it has settled.
    """
    ways.new(place)
    place.account.fault(
        {"operation": "leads.add", "count": 1}, {"kind": "late-commit", "seconds": 1.0}
    )
    place.step()
    place.road.ahead(15)
    place.step()
    made = len(place.account.leads)
    assert eventually(lambda: len(place.account.leads) > made)
    place.home()
    return ways.once(place)


class Stopped(Leases):
    """The leases of a worker that is stopped right before, or right after, it announces the lead,
    while `meanwhile` happens.
    """

    def __init__(self, place: Ground, *, before: bool) -> None:
        super().__init__(place.road.ledger, lambda: time.monotonic() + place.road.skew)
        self._place = place
        self._before = before

    def announce(self, lease: Lease, step: str) -> None:
        if step == "lead" and self._before:
            self._place.home()
        super().announce(lease, step)
        if step == "lead" and not self._before:
            self._place.home()


def stopped(place: Ground, *, before: bool) -> Problems:
    """A worker is stopped for longer than its lease; another finishes; then the first goes on."""
    ways.new(place)
    workshop, clients = place.road.workshop()
    mine = Delivery(replace(workshop, leases=Stopped(place, before=before)), clients.new_client)
    mine(place.records()[0].id)
    place.home()
    return ways.once(place)


def stopped_after_the_announcement(place: Ground) -> Problems:
    return stopped(place, before=False)


def stopped_before_the_announcement(place: Ground) -> Problems:
    return stopped(place, before=True)


def same_key_again(place: Ground) -> Problems:
    """A sender posts again with the same key."""
    ways.nothing(place)
    for _ in range(2):
        place.courier.send(ways.post(place))
    place.home()
    return ways.once(place)


def one_person_at_once(place: Ground) -> Problems:
    """Four submissions of one new e-mail, delivered at the same moment."""
    place.reset(note=True)
    ids = [ways.accepted(place) for _ in range(4)]
    place.account.fault({"operation": "persons.search"}, {"kind": "delay", "seconds": 1.0})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda submission_id: place.road.delivery()(submission_id), ids))
    place.home()
    persons = len(place.account.persons)
    return [f"{persons} persons for one e-mail"] * (persons != 1)


def worker_killed(place: Ground) -> Problems:
    """A worker dies in the middle of a delivery."""
    ways.new(place)
    report = place.courier.send(ways.dying(place.order("work"), 28))
    assert not report.survived
    place.home()
    return ways.once(place)


def note_refused(place: Ground) -> Problems:
    """The lead is there, its note is not: another delivery goes on from the lead."""
    place.reset(note=True, existing="new")
    ways.accepted(place)
    refusal = {"kind": "answer", "status": 429, "headers": {"Retry-After": "1"}}
    place.account.fault({"operation": "notes.add", "count": 1}, refusal)
    place.step()
    place.home()
    return ways.once(place)


def set_back(place: Ground) -> Problems:
    """The store is as it was before the delivery: an old snapshot was loaded."""
    ways.new(place)
    names = list(place.redis.scan_iter())
    kept = {name: (place.redis.dump(name) or b"", max(0, place.redis.pttl(name))) for name in names}
    place.home()
    place.redis.flushall()
    for name, (content, expires) in kept.items():
        place.redis.restore(name, expires, content)
    place.home()
    return ways.once(place)


CONTROLS: dict[str, tuple[Callable[[Ground], Problems], str]] = {
    "look-up": (lost_answer, "'leads': 2"),
    "settle-time": (late_commit, "'leads': 2"),
    "lease-deadline": (stopped_after_the_announcement, "'leads': 2"),
    "lease-token": (stopped_before_the_announcement, "'leads': 2"),
    "duplicate-key": (same_key_again, "2 records"),
    "person-queue": (one_person_at_once, "persons for one e-mail"),
    "sweeper": (worker_killed, "is delivering"),
    "recorded-steps": (note_refused, "'leads': 2"),
    "rollback-lookup": (set_back, "'notes': 2"),
}
"""Protection -> what happens, and what is reported without it."""


@pytest.mark.parametrize("protection", CONTROLS)
@pytest.mark.parametrize("off", [False, True], ids=["with", "without"])
def test_a_protection_is_missed(place: Ground, protection: str, off: bool) -> None:
    """With the protection nothing is wrong; without it the checker says what is."""
    happen, reported = CONTROLS[protection]
    with ExitStack() as stack:
        if off:
            stack.enter_context(without(protection))
            place.without = [protection]
            stack.callback(setattr, place, "without", [])
        problems = happen(place)
    if off:
        assert any(reported in problem for problem in problems), problems
    else:
        assert problems == []


def test_every_switch_has_its_control() -> None:
    """A protection that can be taken out is one that a test misses."""
    assert set(CONTROLS) == set(SWITCHES)


def test_the_storm_finds_leads_made_twice(tmp_path: Path) -> None:
    """A whole machine whose workers repeat unanswered creates blindly: the chaos loop's checker
    reports doubles.
    """
    plan = Plan(seed=3, submissions=60, kills=0, quiet=60.0, settings=environment("look-up"))
    outcome = run(plan, tmp_path)
    assert outcome.doubled > 0, outcome
