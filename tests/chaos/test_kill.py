from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.running_stack import run_stack
from tests.polling import eventually
from worker.contract import State

pytestmark = pytest.mark.timeout(600)


def test_everything_killed_in_turn_delivers_everything_once(tmp_path: Path) -> None:
    """kill -9 of the worker in the middle of deliveries, then of Redis, then of the service: all
    accepted arrives once.
    """
    with run_stack(tmp_path) as running:
        running.fault({"operation": "leads.add", "every": 2}, {"kind": "delay", "seconds": 1.0})
        running.fault({"operation": "persons.add", "every": 3}, {"kind": "commit-then-drop"})
        for number in range(20):
            running.post_until_accepted(f"a{number}", f"someone{number % 12}@example.com")
        assert eventually(lambda: running.counts()[State.DELIVERING] > 0)
        running.kill("work")
        for number in range(10):
            running.post_until_accepted(f"b{number}", f"someone{number}@example.com")
        running.kill("redis")
        for number in range(10):
            running.post_until_accepted(f"c{number}", f"other{number}@example.com", source="fresh")
        running.kill("serve")
        for number in range(10):
            running.post_until_accepted(f"d{number}", f"third{number}@example.com")
        running.heal()
        running.wait_until_idle(150)
        running.check()
        assert len(running.acknowledged) == 50


def test_what_was_accepted_survives_the_next_start(tmp_path: Path) -> None:
    """A machine that ends with work left goes on with it at the next start on the same data
    directory.
    """
    with run_stack(tmp_path) as running:
        running.fault({"operation": "leads.add"}, {"kind": "answer", "status": 503})
        for number in range(5):
            running.post_until_accepted(f"k{number}", f"someone{number}@example.com")
        acknowledged = dict(running.acknowledged)
    with run_stack(tmp_path) as running:
        running.acknowledged = acknowledged
        running.heal()
        running.wait_until_idle(90)
        running.check()


def test_twenty_posts_of_one_new_person_at_once(tmp_path: Path) -> None:
    """Twenty posts of one new e-mail at the same moment make one person, one lead and twenty
    notes.
    """
    with run_stack(tmp_path) as running:
        with ThreadPoolExecutor(20) as pool:
            taken = list(pool.map(lambda n: running.post(f"k{n}", "new@example.com"), range(20)))
        assert all(taken)
        running.wait_until_idle(60)
        running.check()
        account = running.sandbox()
        assert [len(account[kind]) for kind in ("persons", "leads", "notes")] == [1, 1, 20]
