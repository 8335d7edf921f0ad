"""How well many workers share one burst window.

    python -m tests.bench.allowance --seconds 600 --processes 8

Real processes with a backlog call the sandbox of a small plan, which counts. Ends with 1 if it ever
counted more calls than the plan allows, or if less than 95 % of the window was used.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis as redis_py
from msgspec import Struct, structs
from ulid import ULID

from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedis
from service.local.stack import leadline_argv
from tests.polling import eventually
from worker.accept.acceptor import Acceptor
from worker.contract import DuplicateKey, Lead, Raw, State, Submission
from worker.encryption import Cipher
from worker.queue.rq_queue import open_queue
from worker.store.connection import connect, connect_async

WINDOW_SECONDS, BURST, SEARCHES = 2.0, 20, 10
MIN_WINDOW_USE = 0.95
CALLS_PER_LEAD = 3
SOURCES = """
[sources.bench]
adapter = "form"
[sources.bench.lead]
existing = "new"
note = false
"""


class Measurement(Struct, frozen=True, kw_only=True):
    """What was measured while work was waiting; `use` is the used share of the burst window."""

    seconds: float
    calls: int
    use: float
    max_calls: int
    max_searches: int
    refused: int
    delivered: int
    bounced: int
    redis_per_call: float
    cpu_per_call_ms: float
    waiting: int

    @property
    def is_within_limits(self) -> bool:
        """Whether the receiver never counted more calls than the plan allows."""
        return self.max_calls <= BURST and self.max_searches <= SEARCHES and self.refused == 0


class Site(Struct, frozen=True):
    """A running Redis, sandbox and worker processes."""

    redis_url: str
    sandbox: httpx.Client

    def totals(self) -> dict[str, Any]:
        return dict(self.sandbox.get("/_sandbox/totals").raise_for_status().json())

    def arrivals(self) -> list[float]:
        """When the latest calls arrived, in Unix seconds of the receiver, oldest first."""
        return [
            call["at"]
            for call in self.sandbox.get("/_sandbox/state").raise_for_status().json()["calls"]
        ]

    def delay(self, seconds: float) -> None:
        rule = {"match": {}, "effect": {"kind": "delay", "seconds": seconds}}
        self.sandbox.post("/_sandbox/faults", json=rule).raise_for_status()


@contextmanager
def start_site(folder: Path, processes: int, backlog: int, delay: float = 0.0) -> Iterator[Site]:
    """Start everything, with `backlog` submissions queued.

    `delay` (seconds) holds back each response of the sandbox.
    """
    with EmbeddedRedis(folder) as server, httpx.Client(timeout=30, trust_env=False) as http:
        accept_backlog(server.url, backlog)
        port = _free_port()
        http.base_url = f"http://127.0.0.1:{port}"
        words = ["sandbox", "--port", str(port), "--plan", "lite", "--search-delay", "0"]
        with Supervisor(
            [
                Child(
                    "sandbox",
                    leadline_argv(*words),
                    env=_clean_environment(),
                    log=folder / "sandbox.log",
                )
            ]
        ):
            assert eventually(lambda: _is_up(http)), "the sandbox did not start"
            site = Site(server.url, http)
            if delay:
                site.delay(delay)
            work = Child(
                "work",
                leadline_argv("work"),
                env=_clean_environment() | _build_settings(folder, server.url, port, processes),
                log=folder / "work.log",
            )
            with Supervisor([work]):
                yield site


def measure(site: Site, seconds: float) -> Measurement:
    """Let the workers run at full load for a while and look at the calls that arrived."""
    assert eventually(lambda: site.totals()["calls"] >= 3 * BURST, 60), "the workers do not call"
    with connect(site.redis_url, timeout=5) as client:
        commands, bounced, before = _count_commands(client), _count_bounced(client), site.totals()
        began, cpu = time.time(), _measure_cpu()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
        ended, totals = time.time(), site.totals()
        calls = sum(began < arrived <= ended for arrived in site.arrivals())
        delivered = client.zcard("leadline:state:delivered")
        return Measurement(
            seconds=round(ended - began, 1),
            calls=calls,
            use=calls / ((ended - began) / WINDOW_SECONDS * BURST),
            max_calls=totals["max_calls_in_2s"],
            max_searches=totals["max_searches_in_2s"],
            refused=int(totals["answers_by_status"].get("429", 0)),
            delivered=int(delivered),
            bounced=_count_bounced(client) - bounced,
            redis_per_call=round(
                (_count_commands(client) - commands) / max(1, totals["calls"] - before["calls"]), 1
            ),
            cpu_per_call_ms=round((_measure_cpu() - cpu) * 1000 / max(1, calls), 1),
            waiting=sum(
                int(client.zcard(f"leadline:state:{state}"))
                for state in (State.QUEUED, State.WAITING)
            ),
        )


def accept_backlog(url: str, count: int) -> None:
    """Accept so many submissions of the source `bench`, a hundred at a time."""
    asyncio.run(_accept_backlog(url, count))


async def _accept_backlog(url: str, count: int) -> None:
    async with connect_async(url, timeout=10) as client:
        with connect(url, timeout=10) as store:
            acceptor = Acceptor(client, open_queue(store), Cipher(()))
            await acceptor.start()
            for _ in range(0, count, 100):
                await acceptor.accept([_build_submission(number) for number in range(100)])
            await acceptor.stop()


def _build_submission(number: int) -> Submission:
    key = str(ULID())
    return Submission(
        id=key,
        source="bench",
        state=State.QUEUED,
        received_at=time.time(),
        lead=Lead(name=f"Person {number}", email=f"{key.lower()}@example.com"),
        raw=Raw("POST", "", "application/json", [], b"{}"),
        duplicate_key=DuplicateKey("event", key, "", None),
    )


def _build_settings(folder: Path, redis_url: str, port: int, processes: int) -> dict[str, str]:
    sources = folder / "leadline.toml"
    sources.write_text(SOURCES, encoding="utf-8")
    return {
        "REDIS_URL": redis_url,
        "LEADLINE_CONFIG": str(sources),
        "LEADLINE_DATA_DIR": str(folder / "data"),
        "LEADLINE_WORKER_PROCESSES": str(processes),
        "PIPEDRIVE_BASE_URL": f"http://127.0.0.1:{port}",
        "PIPEDRIVE_API_TOKEN": "sandbox-token",
        "PIPEDRIVE_PLAN": "lite",
        "PIPEDRIVE_DAILY_TOKENS": "1000000",
    }


def _clean_environment() -> dict[str, str]:
    ours = ("LEADLINE_", "PIPEDRIVE_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_up(http: httpx.Client) -> bool:
    try:
        return http.get("/_sandbox/health").is_success
    except httpx.HTTPError:
        return False


def _count_commands(client: redis_py.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def _count_bounced(client: redis_py.Redis) -> int:
    return int(
        float(
            client.hget(
                "leadline:metrics", 'leadline_deliveries_total{result="wait",source="bench"}'
            )
            or 0
        )
    )


def _measure_cpu() -> float:
    """Seconds that all processors were busy since the machine started."""
    fields = [
        int(text) for text in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    ]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument(
        "--delay",
        type=float,
        default=0.0,
        help="seconds by which the sandbox delays each response",
    )
    arguments = parser.parse_args()
    backlog = round((arguments.seconds + 20) / WINDOW_SECONDS * BURST / CALLS_PER_LEAD) + 100
    with (
        tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder,
        start_site(Path(folder), arguments.processes, backlog, arguments.delay) as site,
    ):
        measurement = measure(site, arguments.seconds)
    for name, value in structs.asdict(measurement).items():
        print(f"{name:16} {value:.3f}" if isinstance(value, float) else f"{name:16} {value}")
    return 0 if measurement.is_within_limits and measurement.use >= MIN_WINDOW_USE else 1


if __name__ == "__main__":
    sys.exit(main())
