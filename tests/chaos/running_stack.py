"""Everything on one machine for the tests that kill: real processes, a real Redis, the sandbox."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from service.local.stack import LocalStack
from tests.chaos import fork_server
from tests.polling import eventually
from worker.contract import WORKING, State
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.settings.table import Settings
from worker.store.connection import connect

SOURCES = """
[sources.site]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.site.lead]
labels = ["Website"]
channel = "Web forms"
note = true

[sources.fresh]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.fresh.lead]
existing = "new"
note = false
"""

FAST_SETTINGS = {
    "LEADLINE_SETTLE_SECONDS": "3",
    "LEADLINE_RETRY_DELAYS": "1s,1s,2s,2s,4s,4s,8s,8s,8s,8s",
    "LEADLINE_SLOTS": "8",
    "LEADLINE_CONNECTIONS_PER_ADDRESS": "4096",  # all senders have one address
}


@contextmanager
def run_stack(
    folder: Path, sources: str = SOURCES, make: type[LocalStack] = LocalStack, **settings: str
) -> Iterator[RunningStack]:
    """Run everything in a directory; with the same directory again, it continues where it was.

    `make` is the kind of stack; `settings` are environment variables of its processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "leadline.toml"
    file.write_text(sources, encoding="utf-8")
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LEADLINE_", "PIPEDRIVE_", "REDIS_"))
    }
    env = (
        keep
        | FAST_SETTINGS
        | settings
        | {"LEADLINE_CONFIG": str(file), "LEADLINE_LOG_FORMAT": "json"}
        | fork_server.MARK
    )
    with make(
        Settings.for_all(env), env, data_dir=folder / "data", logs=folder / "logs", free_ports=True
    ) as started:
        running = RunningStack(started)
        try:
            yield running
        finally:
            running.http.close()


@dataclass
class RunningStack:
    stack: LocalStack
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Idempotency key -> submission id, for everything that was answered with a 2xx."""

    def post(self, key: str, email: str, source: str = "site", **fields: str) -> bool:
        """Post once. Returns whether it was acknowledged; otherwise anything may have happened."""
        try:
            answer = self.http.post(
                f"{self.stack.endpoints.service_url}/in/{source}",
                data={"name": "Someone", "email": email, "message": f"about {key}"} | fields,
                headers={"Idempotency-Key": key, "Accept": "application/json"},
            )
        except httpx.HTTPError:
            return False
        if answer.status_code != 202:
            return False
        first = self.acknowledged.setdefault(key, answer.json()["id"])
        assert first == answer.json()["id"], "one key, two submissions"
        return True

    def post_until_accepted(
        self, key: str, email: str, source: str = "site", seconds: float = 60.0
    ) -> None:
        """Post with the same key until it is acknowledged, as a careful sender does."""
        deadline = time.monotonic() + seconds
        while not self.post(key, email, source):
            assert time.monotonic() < deadline, "was never acknowledged"
            time.sleep(0.2)

    def kill(self, part: str) -> int:
        """Kill a process by SIGKILL, once it is alive. Returns its process id."""
        deadline = time.monotonic() + 60
        while (pid := self.stack.pids.get(part)) is None:
            assert time.monotonic() < deadline, f"{part} did not come back"
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        return pid

    def health(self) -> tuple[int, int, list[str]]:
        """What monitors see: the statuses of /healthz and /readyz, and the degraded parts."""
        alive, ready = (
            self.http.get(f"{self.stack.endpoints.service_url}/{probe}")
            for probe in ("healthz", "readyz")
        )
        return alive.status_code, ready.status_code, ready.json()["degraded"]

    def serves(self) -> bool:
        """Whether the service is up and has nothing to complain of."""
        with suppress(httpx.HTTPError):
            return self.health() == (200, 200, [])
        return False

    def is_well(self) -> bool:
        """The same, with every process alive and a worker known."""
        with suppress(httpx.HTTPError):
            return (
                {"serve", "work"} <= self.stack.pids.keys()
                and self.serves()
                and self.metric("leadline_workers") > 0
            )
        return False

    def settle(self, seconds: float = 90.0) -> None:
        """Wait until the machine is well, has stored all that was acknowledged, and is idle."""
        assert eventually(self.is_well, seconds), self.stack.pids
        ids = list(self.acknowledged.values())
        assert eventually(lambda: all(self.record(one) is not None for one in ids), seconds)
        self.wait_until_idle(seconds)

    def metric(self, series: str) -> float:
        """The value of a series in /metrics; 0 if it is not there."""
        text = self.http.get(f"{self.stack.endpoints.service_url}/metrics").text
        return next(
            (
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.rpartition(" ")[0] == series
            ),
            0.0,
        )

    def sandbox(self) -> dict[str, Any]:
        return dict(
            self.http.get(
                f"{self.stack.endpoints.sandbox_url}/_sandbox/state", params={"calls": 0}
            ).json()
        )

    def fault(self, match: dict[str, Any], effect: dict[str, Any]) -> None:
        self.http.post(
            f"{self.stack.endpoints.sandbox_url}/_sandbox/faults",
            json={"match": match, "effect": effect},
        ).raise_for_status()

    def heal(self) -> None:
        self.http.delete(f"{self.stack.endpoints.sandbox_url}/_sandbox/faults").raise_for_status()

    def counts(self) -> dict[State, int]:
        with connect(self.stack.endpoints.redis_url, timeout=5) as client:
            return Ledger(client, Cipher(())).counts()

    def record(self, submission_id: str) -> Any:
        with connect(self.stack.endpoints.redis_url, timeout=5) as client:
            return Ledger(client, Cipher(())).get(submission_id)

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until nothing is queued, waiting or in delivery."""
        deadline = time.monotonic() + seconds
        left: dict[str, object]
        while True:
            try:
                left = {
                    state.value: n for state, n in self.counts().items() if state in WORKING and n
                }
            except Exception as error:
                left = {"error": repr(error)}
            if not left:
                return
            assert time.monotonic() < deadline, f"still at work: {left}"
            time.sleep(0.1)

    def check(self) -> None:
        """Every acknowledged submission is delivered, once; no person twice; the books balance."""
        account = self.sandbox()
        origins = [lead["origin_id"] for lead in account["leads"]]
        lost = []
        for key, submission_id in self.acknowledged.items():
            record = self.record(submission_id)
            if record is not None and record.duplicate_of:
                # An earlier post of the same key, whose answer never came, was spooled and handed
                # over first.
                record = self.record(record.duplicate_of)
            if record is None or record.state is not State.DELIVERED:
                lost.append((key, submission_id, record and record.state, record and record.cause))
            elif record.result == "created":
                assert sum(record.id in origin for origin in origins) == 1, (
                    f"{key}: not exactly one lead"
                )
        assert lost == []
        assert account["totals"]["duplicates"] == {"origin_ids": {}, "emails": {}}
        notes = [note["content"].rsplit(":", 1)[-1] for note in account["notes"]]
        assert len(notes) == len(set(notes)), "a note twice"
