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
from typing import Any

import pytest

from tests.chaos import scenarios
from tests.chaos.environment import CrashEnvironment
from tests.chaos.loop import Plan, run
from tests.chaos.protections import SWITCHES, disable_protections, process_environment
from tests.polling import eventually
from worker.delivery import Delivery
from worker.queue.leases import Lease, Leases

pytestmark = pytest.mark.timeout(600)

Problems = scenarios.Problems


def lost_answer(environment: CrashEnvironment) -> Problems:
    """The lead is committed and its answer lost."""
    scenarios.lost_answer(environment)
    environment.victim.perform(environment.build_task("work"))
    environment.finish()
    return scenarios.check_delivered_once(environment)


def late_commit(environment: CrashEnvironment) -> Problems:
    """The lead is committed seconds after its connection broke; a retry would be due sooner than
    it has settled.
    """
    scenarios.new_person(environment)
    environment.account.fault(
        {"operation": "leads.add", "count": 1}, {"kind": "late-commit", "seconds": 3.0}
    )
    environment.step()
    environment.pipeline.advance(15)
    environment.step()
    assert eventually(lambda: _first_create(environment)["performed"])
    environment.finish()
    return scenarios.check_delivered_once(environment)


def _first_create(environment: CrashEnvironment) -> dict[str, Any]:
    """As the sandbox logged it."""
    calls = environment.account.state()["calls"]
    return next(call for call in calls if call["operation"] == "leads.add")


class Stopped(Leases):
    """The leases of a worker that is stopped right before, or right after, it announces the lead,
    while `meanwhile` happens.
    """

    def __init__(self, environment: CrashEnvironment, *, before: bool) -> None:
        super().__init__(
            environment.pipeline.ledger, lambda: time.monotonic() + environment.pipeline.skew
        )
        self._environment = environment
        self._before = before

    def announce(self, lease: Lease, step: str) -> None:
        if step == "lead" and self._before:
            self._environment.finish()
        super().announce(lease, step)
        if step == "lead" and not self._before:
            self._environment.finish()


def stopped(environment: CrashEnvironment, *, before: bool) -> Problems:
    """A worker is stopped for longer than its lease; another finishes; then the first goes on."""
    scenarios.new_person(environment)
    delivery_context, clients = environment.pipeline.build_context()
    mine = Delivery(
        replace(delivery_context, leases=Stopped(environment, before=before)), clients.new_client
    )
    mine(environment.records()[0].id)
    environment.finish()
    return scenarios.check_delivered_once(environment)


def stopped_after_the_announcement(environment: CrashEnvironment) -> Problems:
    return stopped(environment, before=False)


def stopped_before_the_announcement(environment: CrashEnvironment) -> Problems:
    return stopped(environment, before=True)


def same_key_again(environment: CrashEnvironment) -> Problems:
    """A sender posts again with the same key."""
    scenarios.empty_store(environment)
    for _ in range(2):
        environment.victim.perform(scenarios.post_task(environment))
    environment.finish()
    return scenarios.check_delivered_once(environment)


def one_person_at_once(environment: CrashEnvironment) -> Problems:
    """Four submissions of one new e-mail, delivered at the same moment."""
    environment.reset(note=True)
    ids = [scenarios.accept(environment) for _ in range(4)]
    environment.account.fault({"operation": "persons.search"}, {"kind": "delay", "seconds": 1.0})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda submission_id: environment.pipeline.delivery()(submission_id), ids))
    environment.finish()
    persons = len(environment.account.persons)
    return [f"{persons} persons for one e-mail"] * (persons != 1)


def worker_killed(environment: CrashEnvironment) -> Problems:
    """A worker dies in the middle of a delivery."""
    scenarios.new_person(environment)
    report = environment.victim.perform(scenarios.dying_task(environment.build_task("work"), 28))
    assert not report.survived
    environment.finish()
    return scenarios.check_delivered_once(environment)


def note_refused(environment: CrashEnvironment) -> Problems:
    """The lead is there, its note is not: another delivery goes on from the lead."""
    environment.reset(note=True, existing="new")
    scenarios.accept(environment)
    refusal = {"kind": "answer", "status": 429, "headers": {"Retry-After": "1"}}
    environment.account.fault({"operation": "notes.add", "count": 1}, refusal)
    environment.step()
    environment.finish()
    return scenarios.check_delivered_once(environment)


def set_back(environment: CrashEnvironment) -> Problems:
    """The store is as it was before the delivery: an old snapshot was loaded."""
    scenarios.new_person(environment)
    names = list(environment.redis.scan_iter())
    dump = {
        name: (environment.redis.dump(name) or b"", max(0, environment.redis.pttl(name)))
        for name in names
    }
    environment.finish()
    environment.redis.flushall()
    for name, (content, expires) in dump.items():
        environment.redis.restore(name, expires, content)
    environment.finish()
    return scenarios.check_delivered_once(environment)


CONTROLS: dict[str, tuple[Callable[[CrashEnvironment], Problems], str]] = {
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
def test_a_protection_is_missed(environment: CrashEnvironment, protection: str, off: bool) -> None:
    """With the protection nothing is wrong; without it the checker says what is."""
    happen, reported = CONTROLS[protection]
    with ExitStack() as stack:
        if off:
            stack.enter_context(disable_protections(protection))
            environment.disabled_protections = [protection]
            stack.callback(setattr, environment, "disabled_protections", [])
        problems = happen(environment)
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
    outcomes = (
        run(
            Plan(
                seed, submissions=60, kills=0, quiet=60.0, settings=process_environment("look-up")
            ),
            tmp_path / str(seed),
        )
        for seed in (3, 4, 5)
    )
    # How the calls fall in time, no seed says.
    assert any(outcome.doubled > 0 for outcome in outcomes)
