"""What a crash scan needs: one Redis, one sandbox, a victim that dies, and workers to recover."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import redis as redis_py

from tests.chaos.victim import Task, TaskReport
from tests.flow.conftest import Account, Pipeline
from worker.contract import WORKING, State
from worker.delivery import Delivery
from worker.ledger import Record
from worker.queue.rq_queue import open_queue
from worker.store import keys
from worker.store.connection import connect_async

ROOT = Path(__file__).resolve().parents[2]
MAX_ROUNDS = 30
ROUND_SECONDS = 100.0
"""How far the clock moves in each round: past a lease, a settle time and a first retry."""

SOURCES = '[sources.contact]\nadapter = "form"\nrate_limit = "off"\nleads_per_hour = "off"\n'


class Victim:
    """`tests.chaos.victim` as a process, which takes tasks and dies in its children."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.victim"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT,
            )  # fmt: skip

    def perform(self, task: Task) -> TaskReport:
        """Raises RuntimeError if the task failed for any other reason than its death."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(task) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        try:
            return msgspec.json.decode(line, type=TaskReport)
        except msgspec.MsgspecError:
            raise RuntimeError(line.decode() or "the victim is gone") from None

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class CrashEnvironment:
    """Call `reset` before each point: it makes a new `pipeline`, whose clock shows today."""

    def __init__(
        self, client: redis_py.Redis, url: str, account: Account, victim: Victim, folder: Path
    ) -> None:
        self.redis, self.url, self.account, self.victim, self.folder = (
            client,
            url,
            account,
            victim,
            folder,
        )
        self.pipeline: Pipeline
        self.disabled_protections: list[str] = []
        """Protections that are disabled in the victim."""
        self._lead_settings: dict[str, Any] = {}
        self._run_number = 0
        self._metadata: dict[bytes, bytes] = {}
        self.source_file = folder / "leadline.toml"
        self.source_file.write_text(SOURCES, encoding="utf-8")

    def reset(self, **lead: Any) -> None:
        """Empty the store and the account; `lead` are the source's settings.

        The metadata of the account stays cached.
        """
        self.empty_redis()
        self.account.http.post("/_sandbox/reset").raise_for_status()
        self.pipeline = Pipeline(
            self.redis, lambda: connect_async(self.url, timeout=5.0), self.account
        )
        self._lead_settings = lead
        self.pipeline.settings(**lead)
        self._run_number += 1

    def empty_redis(self) -> None:
        """Empty the store, as when a Redis without a file is killed; metadata stay cached."""
        self._metadata = (
            cast("dict[bytes, bytes]", self.redis.hgetall(keys.DEFAULT_ACCOUNT.metadata))
            or self._metadata
        )
        self.redis.flushall()
        if self._metadata:
            self.redis.hset(keys.DEFAULT_ACCOUNT.metadata, mapping=self._metadata)  # type: ignore[arg-type]

    def build_task(self, do: str, **more: Any) -> Task:
        return Task(
            disabled=self.disabled_protections,
            action=do,
            redis_url=self.url,
            pipedrive_url=self.account.url,
            clock_offset=self.pipeline.skew,
            lead_settings=self._lead_settings,
            env=self.env(self.url),
            **more,
        )

    def change_lead_settings(self, **lead: Any) -> None:
        """Change the source's settings from here on."""
        self._lead_settings = lead
        self.pipeline.settings(**lead)

    def env(self, url: str) -> dict[str, str]:
        return {
            "REDIS_URL": url,
            "LEADLINE_CONNECTIONS_PER_ADDRESS": "4096",  # all senders have one address
            "LEADLINE_CONFIG": str(self.source_file),
            "LEADLINE_DATA_DIR": str(self.data_dir),
        }

    @property
    def data_dir(self) -> Path:
        return self.folder / f"data-{self._run_number}"

    def counts(self) -> dict[State, int]:
        return self.pipeline.ledger.counts()

    def records(self) -> list[Record]:
        """All records, without those that point to another one."""
        records = [record for state in State for record in self.pipeline.ledger.each_in(state)]
        return [record for record in records if record.duplicate_of is None]

    def finish(self) -> None:
        """Do what workers would do from here, later and later, until nothing is unfinished."""
        delivery = self.pipeline.delivery()
        for _ in range(MAX_ROUNDS):
            if not any(self.counts()[state] for state in WORKING):
                return
            self.pipeline.advance(ROUND_SECONDS)
            self.step(delivery)

    def step(self, delivery: Delivery | None = None) -> None:
        """Do what workers do now: one sweep, then everything in RQ's queue."""
        self.pipeline.sweeper.sweep()
        queue = open_queue(self.redis)
        jobs = queue.get_job_ids()
        queue.empty()  # type: ignore[no-untyped-call]
        for job in jobs:
            (delivery or self.pipeline.delivery())(job.rsplit("-", 1)[0])


@contextmanager
def open_environment(
    client: redis_py.Redis, url: str, sandbox_url: str, folder: Path
) -> Iterator[CrashEnvironment]:
    victim = Victim(folder / "victim.log")
    try:
        yield CrashEnvironment(client, url, Account(sandbox_url), victim, folder)
    finally:
        victim.close()
