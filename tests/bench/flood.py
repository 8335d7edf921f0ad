"""Strangers post spam of 256 KiB: does Redis stay below its bound, and do partners get in?

    python -m tests.bench.flood --posts 10000

One service and a Redis of its own; after every fiftieth spam post a partner posts with its secret.
Ends with 1 if the bound is passed, a partner is not accepted, a partner's lead is lost, or nobody
was told before the bound was reached.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.alerts.conditions import shared_conditions
from service.alerts.monitor import gather
from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedis
from service.local.stack import leadline_argv
from tests.bench.progress import log_errors_only, show_progress
from tests.polling import eventually
from tests.redis.test_connection import free_port
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.ledger.storage import find_storage_use
from worker.store.connection import connect

MIB = 1_048_576
SENDERS = 8
SPAM_FOR_ONE_PARTNER = 50
WATCH_SECONDS = 0.25
SOURCES = """
[sources.site]
rate_limit = "off"
honeypot = ["website"]

[sources.partner]
adapter = "json"
[sources.partner.verify]
scheme = "token"
header = "X-Key"
secret_env = ["PARTNER_KEY"]
"""
PARTNER_KEY = "a-partner-s-secret-of-the-flood"


@dataclass
class FloodResult:
    """Sizes in bytes, times in seconds since the first post; None: it never came to that."""

    bound: int
    statuses: Counter[str] = field(default_factory=Counter)
    partners: list[str] = field(default_factory=list)
    partners_lost: int = 0
    unverified_peak: int = 0
    memory_start: int = 0
    memory_peak: int = 0
    evicted: int = 0
    ready_always: bool = True
    told_by_readyz: float | None = None
    told_by_alert: float | None = None
    first_evicted: float | None = None
    seconds: float = 0.0

    @property
    def broken_promises(self) -> list[str]:
        """The promises that were not kept, as sentences."""
        refused = {
            name: count
            for name, count in self.statuses.items()
            if name.startswith("partner") and name != "partner 202"
        }
        checks = {
            f"strangers stored {self.unverified_peak} bytes": self.unverified_peak > self.bound,
            f"partners were refused: {refused}": bool(refused),
            f"{self.partners_lost} leads of partners are lost": self.partners_lost > 0,
            "the service was not ready throughout": not self.ready_always,
        }
        for who, at in (("/readyz", self.told_by_readyz), ("the alert", self.told_by_alert)):
            late = self.first_evicted is not None and (at is None or at > self.first_evicted)
            checks[f"{who} came after the first eviction"] = late
        return [sentence for sentence, is_broken in checks.items() if is_broken]


class Flood:
    """One run against the service at `url`, with its Redis."""

    def __init__(self, url: str, ledger: Ledger, posts: int, size: int, bound: int) -> None:
        self._url, self._ledger = url, ledger
        self._posts, self._size = posts, size
        self._began, self._done = 0.0, threading.Event()
        self.result = FloodResult(bound)

    def run(self) -> FloodResult:
        self._began = time.monotonic()
        self.result.memory_start = find_storage_use(self._ledger.redis).memory_bytes
        watcher = threading.Thread(target=self._watch, name="watch")
        watcher.start()
        try:
            asyncio.run(self._send_all())
        finally:
            self._done.set()
            watcher.join()
        self.result.seconds = time.monotonic() - self._began
        records = self._ledger.find_many(self.result.partners)
        self.result.partners_lost = sum(record is None or not record.lead for record in records)
        return self.result

    def describe_progress(self) -> str:
        result = self.result
        sent = sum(count for name, count in result.statuses.items() if name.startswith("spam"))
        return (
            f"{sent} of {self._posts} spam posts, strangers at most"
            f" {result.unverified_peak / MIB:.0f} MiB, {result.evicted} evicted,"
            f" {len(result.partners)} of partners accepted"
        )

    async def _send_all(self) -> None:
        numbers = iter(range(self._posts))
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            await asyncio.gather(*(self._send(http, numbers) for _ in range(SENDERS)))

    async def _send(self, http: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            text = f"{number} buy now ".ljust(self._size - 100, "x")
            spam = {"email": f"s{number}@spam.example", "website": "spam", "message": text}
            answer = await http.post(f"{self._url}/in/site", data=spam)
            self.result.statuses[f"spam {answer.status_code}"] += 1
            if number % SPAM_FOR_ONE_PARTNER == 0:
                await self._send_partner(http, number)

    async def _send_partner(self, http: httpx.AsyncClient, number: int) -> None:
        answer = await http.post(
            f"{self._url}/in/partner",
            json={"email": f"p{number}@partner.example", "id": str(number)},
            headers={"X-Key": PARTNER_KEY},
        )
        self.result.statuses[f"partner {answer.status_code}"] += 1
        if answer.is_success:
            self.result.partners.append(answer.json()["id"])

    def _watch(self) -> None:
        result = self.result
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self._done.wait(WATCH_SECONDS):
                use, at = find_storage_use(self._ledger.redis), time.monotonic() - self._began
                result.unverified_peak = max(result.unverified_peak, use.unverified_bytes)
                result.memory_peak = max(result.memory_peak, use.memory_bytes)
                result.evicted = use.evicted
                if use.evicted and result.first_evicted is None:
                    result.first_evicted = at
                ready = http.get(f"{self._url}/readyz")
                result.ready_always &= ready.status_code == 200
                if result.told_by_readyz is None and "storage" in ready.json()["degraded"]:
                    result.told_by_readyz = at
                if result.told_by_alert is None and self._is_alert_due():
                    result.told_by_alert = at

    def _is_alert_due(self) -> bool:
        facts = gather(self._ledger, silent={}, oldest_limit=1e9)
        return any(condition.key == "storage" for condition in shared_conditions(facts))


def format_report(result: FloodResult) -> str:
    """The figures as Markdown."""

    def seconds(at: float | None) -> str:
        return "never" if at is None else f"{at:.1f} s"

    rows = {
        "answers": ", ".join(
            f"{count} × {name}" for name, count in sorted(result.statuses.items())
        ),
        "strangers stored at most": (
            f"{result.unverified_peak / MIB:.1f} of {result.bound / MIB:.0f} MiB"
        ),
        "Redis's memory": (
            f"{result.memory_start / MIB:.0f} MiB before, at most {result.memory_peak / MIB:.0f} MiB"
        ),
        "evicted": f"{result.evicted}, the first after {seconds(result.first_evicted)}",
        "`/readyz` named the storage after": seconds(result.told_by_readyz),
        "the alert was due after": seconds(result.told_by_alert),
        "leads of partners": f"{len(result.partners)} accepted, {result.partners_lost} lost",
        "duration": f"{result.seconds:.0f} s",
    }
    return "\n".join(
        ["| what | figure |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows.items())]
    )


def run(posts: int, size: int, bound: int, folder: Path) -> FloodResult:
    """Start service and Redis in `folder`, flood them, stop them."""
    (folder / "leadline.toml").write_text(SOURCES, encoding="utf-8")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with EmbeddedRedis(folder) as store, connect(store.url, timeout=30) as client:
        env = os.environ | {
            "REDIS_URL": store.url,
            "PARTNER_KEY": PARTNER_KEY,
            "LEADLINE_CONFIG": str(folder / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(folder),
            "LEADLINE_PORT": str(port),
            "LEADLINE_LOG_FORMAT": "json",
            "LEADLINE_UNVERIFIED_MAX": str(bound),
        }
        child = Child("serve", leadline_argv("serve"), env=env, log=folder / "serve.log")
        with Supervisor([child]):
            assert eventually(lambda: _is_ready(url), 60), (folder / "serve.log").read_text("utf-8")
            flood = Flood(url, Ledger(client, Cipher(())), posts, size, bound)
            with show_progress(flood.describe_progress):
                return flood.run()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.flood", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--posts", type=int, default=10_000, help="spam posts")
    parser.add_argument("--kib", type=int, default=256, help="size of each, in KiB")
    parser.add_argument("--bound-mib", type=int, default=256, help="LEADLINE_UNVERIFIED_MAX")
    options = parser.parse_args(arguments)
    log_errors_only()
    with tempfile.TemporaryDirectory(prefix="leadline-flood-") as folder:
        result = run(
            options.posts, options.kib * 1024, options.bound_mib * MIB, Path(folder).resolve()
        )
    print(format_report(result))
    for promise in result.broken_promises:
        print(f"not kept: {promise}")
    return 1 if result.broken_promises else 0


if __name__ == "__main__":
    sys.exit(main())
