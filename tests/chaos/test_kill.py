from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.running_stack import RunningStack
from tests.polling import eventually
from worker.contract import State

pytestmark = pytest.mark.timeout(600)


def test_everything_killed_in_turn_delivers_everything_once(running: RunningStack) -> None:
    """kill -9 of the worker in the middle of deliveries, then of Redis, then of the service: all
    accepted arrives once.
    """
    running.fault({"operation": "leads.add", "every": 2}, {"kind": "delay", "seconds": 1.0})
    running.fault({"operation": "persons.add", "every": 3}, {"kind": "commit-then-drop"})
    for number in range(20):
        running.post_until_accepted(f"a{number}", f"killed{number % 12}@example.com")
    assert eventually(lambda: running.counts()[State.DELIVERING] > 0)
    running.kill("work")
    for number in range(10):
        running.post_until_accepted(f"b{number}", f"killed{number}@example.com")
    running.kill("redis")
    for number in range(10):
        running.post_until_accepted(f"c{number}", f"killed-other{number}@example.com", "fresh")
    running.kill("serve")
    for number in range(10):
        running.post_until_accepted(f"d{number}", f"killed-third{number}@example.com")
    running.heal()
    running.wait_until_idle(150)
    running.check()
    assert len(running.acknowledged) == 50


def test_twenty_posts_of_one_new_person_at_once(running: RunningStack) -> None:
    """Twenty posts of one new e-mail at the same moment make one person, one lead and twenty
    notes.
    """
    with ThreadPoolExecutor(20) as pool:
        taken = list(
            pool.map(lambda n: running.post(f"twenty-{n}", "twenty@example.com"), range(20))
        )
    assert all(taken)
    running.wait_until_idle(60)
    running.check()
    account = running.sandbox()
    assert [len(account[kind]) for kind in ("persons", "leads", "notes")] == [1, 1, 20]
