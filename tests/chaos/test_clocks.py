"""Clocks that differ by hours between services, workers and Redis."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service.local.processes import Child
from tests.chaos.cluster import Cluster
from tests.chaos.faults import build_shim
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually

pytestmark = pytest.mark.timeout(600)

HOUR = 3600
AHEAD = {"serve": HOUR, "serve-2": -HOUR, "work": -HOUR, "work-2": HOUR}


class Askew(Cluster):
    """Two services and two workers, each an hour before or behind Redis."""

    def _children(self, sandbox: int | None) -> list[Child]:
        return [
            replace(
                child, env=dict(child.env or {}) | {"CHAOS_CLOCK": str(AHEAD.get(child.name, 0))}
            )
            for child in super()._children(sandbox)
        ]


def posted(running: RunningStack, url: str, key: str, email: str) -> str | None:
    """The id that was told; None where there was no answer yet."""
    try:
        answer = running.http.post(
            f"{url}/in/site",
            data={"email": email, "message": f"about {key}"},
            headers={"Idempotency-Key": key, "Accept": "application/json"},
        )
    except httpx.HTTPError:
        return None
    return str(answer.json()["id"]) if answer.status_code == 202 else None


def taken(running: RunningStack, url: str, key: str, email: str) -> None:
    submission_id: list[str | None] = [None]

    def once() -> bool:
        submission_id[0] = posted(running, url, key, email)
        return submission_id[0] is not None

    assert eventually(once, 180)
    assert running.acknowledged.setdefault(key, str(submission_id[0])) == submission_id[0], (
        "one key, two submissions"
    )


def test_clocks_that_differ_by_hours_cost_nothing(tmp_path: Path) -> None:
    """Two hours between one service or worker and the other, Redis away for a while: all arrives
    once, repeats are known.
    """
    with run_stack(tmp_path, make=Askew, LD_PRELOAD=build_shim(tmp_path)) as running:
        whole = running.stack
        assert isinstance(whole, Askew)
        for number in range(10):
            for url in whole.service_urls:
                taken(running, url, f"both-{number}", f"person{number}@example.com")
        running.fault({"operation": "leads.add", "count": 2}, {"kind": "commit-then-drop"})
        os.kill(whole.pids["redis"], signal.SIGSTOP)
        try:
            for number in range(10):
                taken(
                    running,
                    whole.service_urls[number % 2],
                    f"spooled-{number}",
                    f"spooled{number}@example.com",
                )
        finally:
            os.kill(whole.pids["redis"], signal.SIGCONT)
        assert eventually(
            lambda: all(running.record(one) is not None for one in running.acknowledged.values()),
            60,
        )
        ids = [running.acknowledged[f"spooled-{number}"] for number in range(10)]
        assert max(ids[1::2]) < min(ids[0::2]), "the clocks were the same"
        running.wait_until_idle(90)
        for number in range(10):
            taken(
                running,
                whole.service_urls[number % 2 - 1],
                f"spooled-{number}",
                f"spooled{number}@example.com",
            )
        running.check()
