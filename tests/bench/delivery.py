"""Bringing leads to Pipedrive: Leadline's workers beside RQ's own, against a sandbox that takes 150
ms for each answer.

    python -m tests.bench.delivery --peers .venv-peers/bin/python

Both make three calls for each lead (search, person, lead). Leadline records each step and holds a
lease, so that nothing is lost or doubled whatever is killed; RQ's workers just make the calls. The
backlog is there before the workers start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedis
from service.local.stack import leadline_argv
from tests.bench.allowance import SOURCES, queue
from tests.bench.progress import progress
from tests.polling import eventually
from tests.redis.test_connection import free_port

ANSWER_SECONDS = 0.15
LONGEST_SECONDS = 300.0
TOKEN = "sandbox-token"


class Result(Struct, frozen=True):
    """`per_second`: leads between the first tenth and the last; `megabytes`: resident memory of all
    worker processes.
    """

    workers: str
    per_second: float
    megabytes: float
    cpu_ms: float
    ratio: float = 1.0


class Crew(Struct, frozen=True):
    """Worker processes: how they are started and how their backlog is made."""

    name: str
    command: list[str]
    fill: Callable[[str, dict[str, str], int], None]


def crews(peers: Path | None) -> list[Crew]:
    """Leadline's with two processes of 32 slots; RQ's, where `peers` is the interpreter of their
    environment.
    """
    found = [
        Crew(
            "Leadline, 2 processes of 32 slots",
            leadline_argv("work"),
            lambda url, _env, count: queue(url, count),
        )
    ]
    if peers is None:
        return found

    def enqueue(_url: str, env: dict[str, str], count: int) -> None:
        subprocess.run(
            [str(peers), "-m", "tests.bench.peers.enqueue", str(count)],
            env=env,
            check=True,
            timeout=120,
        )

    rq = str(peers.parent / "rq")
    simple = [
        "worker-pool",
        "--num-workers",
        "32",
        "--worker-class",
        "rq.worker.SimpleWorker",
        "--quiet",
        "peer",
    ]
    forking = ["worker-pool", "--num-workers", "8", "--quiet", "peer"]
    return [
        *found,
        Crew("RQ, 32 simple workers", [rq, *simple], enqueue),
        Crew("RQ, 8 forking workers", [rq, *forking], enqueue),
    ]


def measure(crew: Crew, folder: Path, count: int) -> Result:
    """Lets one crew work off its backlog."""
    with _site(folder) as (env, sandbox):
        crew.fill(env["REDIS_URL"], env, count)
        with Supervisor(
            [Child("workers", crew.command, env=env, log=folder / "work.log")]
        ) as supervisor:
            pid = supervisor.pids["workers"]
            first, last = max(1, count // 10), count * 9 // 10
            began = _when(sandbox, first)
            cpu = _cpu(pid)
            ended = _when(sandbox, last)
            memory, spent = _memory(pid), _cpu(pid) - cpu
    return Result(
        crew.name, (last - first) / (ended - began), memory / 2**20, spent / (last - first) * 1000
    )


@contextmanager
def _site(folder: Path) -> Iterator[tuple[dict[str, str], httpx.Client]]:
    folder.mkdir(parents=True)
    (folder / "leadline.toml").write_text(SOURCES, encoding="utf-8")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    words = ["sandbox", "--port", str(port), "--search-delay", "0"]
    with (
        EmbeddedRedis(folder) as store,
        httpx.Client(base_url=base, timeout=30, trust_env=False) as sandbox,
        Supervisor([Child("sandbox", leadline_argv(*words), log=folder / "sandbox.log")]),
    ):
        assert eventually(lambda: _answers(sandbox), 30), "the sandbox did not start"
        delay = {"match": {}, "effect": {"kind": "delay", "seconds": ANSWER_SECONDS}}
        sandbox.post("/_sandbox/faults", json=delay).raise_for_status()
        yield (
            os.environ
            | {
                "REDIS_URL": store.url,
                "PIPEDRIVE_API_TOKEN": TOKEN,
                "PIPEDRIVE_BASE_URL": base,
                "PIPEDRIVE_PLAN": "unlimited",
                "LEADLINE_CONFIG": str(folder / "leadline.toml"),
                "LEADLINE_DATA_DIR": str(folder),
                "LEADLINE_WORKER_PROCESSES": "2",
                "LEADLINE_SLOTS": "32",
                "LEADLINE_LOG_FORMAT": "json",
            },
            sandbox,
        )


def _answers(sandbox: httpx.Client) -> bool:
    try:
        return sandbox.get("/_sandbox/totals").is_success
    except httpx.HTTPError:
        return False


def _when(sandbox: httpx.Client, leads: int) -> float:
    """The moment at which there were so many leads."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while sandbox.get("/_sandbox/totals").json()["calls_by_operation"].get("leads.add", 0) < leads:
        assert time.monotonic() < deadline, (
            f"fewer than {leads} leads after {LONGEST_SECONDS:.0f} s"
        )
        time.sleep(0.2)
    return time.monotonic()


def _family(pid: int) -> list[int]:
    """A process and everything below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _memory(pid: int) -> int:
    """Resident bytes."""
    pages = 0
    for one in _family(pid):
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu(pid: int) -> float:
    """Seconds of processor time, those of ended children included."""
    ticks = 0
    for one in _family(pid):
        try:
            ticks += sum(
                map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15])
            )
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def run(peers: Path | None, count: int) -> list[Result]:
    """Each crew in turn."""
    now, found = "", []
    with tempfile.TemporaryDirectory(prefix="delivery-") as folder, progress(lambda: now):
        for number, crew in enumerate(crews(peers)):
            now = f"{crew.name}: {count} leads"
            found.append(measure(crew, Path(folder) / str(number), count))
    ours = found[0].per_second
    return [
        Result(each.workers, each.per_second, each.megabytes, each.cpu_ms, ours / each.per_second)
        for each in found
    ]


def table(results: list[Result]) -> str:
    """Markdown."""
    lines = [
        "| workers | leads a second | memory | CPU a lead | Leadline to it |",
        "|---|---|---|---|---|",
    ]
    for number, each in enumerate(results):
        ratio = f"{each.ratio:.1f} : 1" if number else "1"
        lines.append(
            f"| {each.workers} | {each.per_second:.0f} | {each.megabytes:.0f} MB |"
            f" {each.cpu_ms:.1f} ms | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Delivering leads, beside RQ's own workers.")
    parser.add_argument(
        "--peers", type=Path, help="the interpreter that has tests/bench/peers/requirements.lock"
    )
    parser.add_argument("--leads", type=int, default=1500)
    told = parser.parse_args()
    print(table(run(told.peers, told.leads)))


if __name__ == "__main__":
    main()
