"""The ground a crash scan is made on: one Redis, one sandbox, a courier that dies, and the way home
for what it left behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import redis as redis_py

from tests.chaos.courier import Order, Report
from tests.flow.conftest import Account, Road
from worker.contract import WORKING, State
from worker.delivery import Delivery
from worker.ledger import Record
from worker.queue.rq_queue import open_queue
from worker.store import keys
from worker.store.connection import connect_async

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 30
ROUND_SECONDS = 100.0
"""How far the clock goes in a round on the way home: further than a lease, a settle time and a
first retry.
"""

SOURCES = '[sources.contact]\nadapter = "form"\nrate_limit = "off"\n'


class Courier:
    """`tests.chaos.courier` as a process: takes orders, dies in its children."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.courier"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT,
            )  # fmt: skip

    def send(self, order: Order) -> Report:
        """Raises RuntimeError where the order failed for another reason than its death."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        try:
            return msgspec.json.decode(line, type=Report)
        except msgspec.MsgspecError:
            raise RuntimeError(line.decode() or "the courier is gone") from None

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Ground:
    """`reset` before each point; `road` is then new, with the clock of today."""

    def __init__(
        self, client: redis_py.Redis, url: str, account: Account, courier: Courier, folder: Path
    ) -> None:
        self.redis, self.url, self.account, self.courier, self.folder = (
            client,
            url,
            account,
            courier,
            folder,
        )
        self.road: Road
        self.without: list[str] = []
        """Protections that the courier goes without."""
        self._lead: dict[str, Any] = {}
        self._turn = 0
        self._catalogue: dict[bytes, bytes] = {}
        self.source_file = folder / "leadline.toml"
        self.source_file.write_text(SOURCES, encoding="utf-8")

    def reset(self, **lead: Any) -> None:
        """An empty store and account; `lead` are the source's settings. The names of the account
        are known from before.
        """
        self._catalogue = (
            cast("dict[bytes, bytes]", self.redis.hgetall(keys.DEFAULT_ACCOUNT.metadata)) or self._catalogue
        )
        self.redis.flushall()
        if self._catalogue:
            self.redis.hset(keys.DEFAULT_ACCOUNT.metadata, mapping=self._catalogue)  # type: ignore[arg-type]
        self.account.http.post("/_sandbox/reset").raise_for_status()
        self.road = Road(self.redis, lambda: connect_async(self.url, timeout=5.0), self.account)
        self._lead = lead
        self.road.settings(**lead)
        self._turn += 1

    def order(self, do: str, **more: Any) -> Order:
        return Order(
            without=self.without,
            do=do,
            redis=self.url,
            pipedrive=self.account.url,
            ahead=self.road.skew,
            lead=self._lead,
            env=self.env(self.url),
            **more,
        )

    def mended(self, **lead: Any) -> None:
        """Other settings of the source from here."""
        self._lead = lead
        self.road.settings(**lead)

    def env(self, url: str) -> dict[str, str]:
        return {
            "REDIS_URL": url,
            "LEADLINE_CONFIG": str(self.source_file),
            "LEADLINE_DATA_DIR": str(self.data),
        }

    @property
    def data(self) -> Path:
        return self.folder / f"data-{self._turn}"

    def counts(self) -> dict[State, int]:
        return self.road.ledger.counts()

    def records(self) -> list[Record]:
        """All, pointers to others left out."""
        found = [record for state in State for record in self.road.ledger.each_in(state)]
        return [record for record in found if record.duplicate_of is None]

    def home(self) -> None:
        """What workers would do from here: sweep, take what is in RQ's queue, and again later;
        until nothing is at work.
        """
        delivery = self.road.delivery()
        for _ in range(ROUNDS):
            if not any(self.counts()[state] for state in WORKING):
                return
            self.road.ahead(ROUND_SECONDS)
            self.step(delivery)

    def step(self, delivery: Delivery | None = None) -> None:
        """What workers do now: one sweep, then everything in RQ's queue."""
        self.road.sweeper.sweep()
        queue = open_queue(self.redis)
        jobs = queue.get_job_ids()
        queue.empty()  # type: ignore[no-untyped-call]
        for job in jobs:
            (delivery or self.road.delivery())(job.rsplit("-", 1)[0])


@contextmanager
def ground(client: redis_py.Redis, url: str, sandbox_url: str, folder: Path) -> Iterator[Ground]:
    courier = Courier(folder / "courier.log")
    try:
        yield Ground(client, url, Account(sandbox_url), courier, folder)
    finally:
        courier.close()
