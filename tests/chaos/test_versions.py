"""Old and new releases side by side, as while a deployment rolls on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.local.processes import Child
from service.local.stack import leadline_argv
from service.overview import read_overview
from tests.chaos.cluster import Cluster
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually
from worker.contract import VERSION, State
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)

SHIM = Path(__file__).resolve().parent / "shim"
NEXT = {
    "CHAOS_VERSION": str(VERSION + 1),
    "PYTHONPATH": os.pathsep.join([str(SHIM), str(SHIM.parents[2])]),
}
"""A process of the next release, whose records this one does not know."""


class Rolling(Cluster):
    """A service of this release, one of the next, and a worker of this release."""

    def _children(self, sandbox: int | None) -> list[Child]:
        return [
            replace(child, env=dict(child.env or {}) | NEXT) if child.name == "serve-2" else child
            for child in super()._children(sandbox)
            if child.name != "work-2"
        ]


@contextmanager
def newer_worker(running: RunningStack, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            leadline_argv("work"),
            env=running.stack.endpoints.env | NEXT,
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def post(running: RunningStack, service: str, number: int) -> str:
    answer = running.http.post(
        f"{service}/in/site",
        data={"email": f"someone{number}@example.com"},
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 202
    return str(answer.json()["id"])


def test_a_newer_releases_records_wait_for_its_workers(tmp_path: Path) -> None:
    """Older workers deliver their own, leave what the newer service took, and say so; a newer one
    takes it up beside them.
    """
    with (
        run_stack(tmp_path, make=Rolling) as running,
        connect(running.stack.endpoints.redis_url, timeout=5) as client,
    ):
        whole, ledger = running.stack, Ledger(client, Cipher(()))
        assert isinstance(whole, Rolling)
        assert eventually(lambda: all(map(up, whole.service_urls)), 60)
        old, new = [
            [post(running, url, 10 * index + n) for n in range(8)]
            for index, url in enumerate(whole.service_urls)
        ]

        def states(ids: list[str]) -> set[Any]:
            return {record and (record.state, record.reason) for record in map(ledger.get, ids)}

        assert eventually(lambda: states(old) == {(State.DELIVERED, None)}, 60)
        assert eventually(lambda: states(new) == {(State.WAITING, "newer")}, 60)
        assert "newer-records" in read_overview(ledger, tmp_path / "data").degraded
        lives = [len(ledger.timeline(one)) for one in new]
        assert eventually(
            lambda: (
                b"wait for a newer worker"
                in b"".join(log.read_bytes() for log in tmp_path.glob("logs/work*"))
            ),
            60,
        )
        assert [len(ledger.timeline(one)) for one in new] == lives, (
            "an older worker tries again and again"
        )
        with newer_worker(running, tmp_path / "newer.log"):
            assert eventually(lambda: states(new) == {(State.DELIVERED, None)}, 120), states(new)
        assert "newer-records" not in read_overview(ledger, tmp_path / "data").degraded
        assert len(running.sandbox()["leads"]) == len(old) + len(new)
