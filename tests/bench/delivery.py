"""Delivering leads: Leadline's workers and RQ's own, with a sandbox that takes 150 ms a response.

    python -m tests.bench.delivery --peers .venv-peers/bin/python

Both make three calls for each lead (search, person, lead). Leadline records each step and holds a
lease, so that nothing is lost or duplicated whatever is killed; RQ's workers just make the calls.
The backlog exists before the workers start.
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
from tests.bench.allowance import SOURCES, accept_backlog
from tests.bench.progress import show_progress
from tests.polling import eventually
from tests.redis.test_connection import free_port

RESPONSE_SECONDS = 0.15
TIMEOUT_SECONDS = 300.0
TOKEN = "sandbox-token"


class DeliveryResult(Struct, frozen=True):
    """Figures of one pool.

    `per_second`: leads from the first tenth to the last; `megabytes`: resident, all processes.
    """

    workers: str
    per_second: float
    megabytes: float
    cpu_ms: float
    ratio: float = 1.0


class WorkerPool(Struct, frozen=True):
    """Worker processes: how they are started and how their backlog is created."""

    name: str
    command: list[str]
    create_backlog: Callable[[str, dict[str, str], int], None]


def worker_pools(peers: Path | None) -> list[WorkerPool]:
    """Leadline's workers, and RQ's if `peers` is given.

    `peers` is the Python interpreter of the peers' environment.
    """
    pools = [
        WorkerPool(
            "Leadline, 2 processes of 32 slots",
            leadline_argv("work"),
            lambda url, _env, count: accept_backlog(url, count),
        )
    ]
    if peers is None:
        return pools

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
        *pools,
        WorkerPool("RQ, 32 simple workers", [rq, *simple], enqueue),
        WorkerPool("RQ, 8 forking workers", [rq, *forking], enqueue),
    ]


def measure(pool: WorkerPool, folder: Path, count: int) -> DeliveryResult:
    """Let one pool work off its backlog."""
    with _start_site(folder) as (env, sandbox):
        pool.create_backlog(env["REDIS_URL"], env, count)
        with Supervisor(
            [Child("workers", pool.command, env=env, log=folder / "work.log")]
        ) as supervisor:
            pid = supervisor.pids["workers"]
            first, last = max(1, count // 10), count * 9 // 10
            began = _wait_for_leads(sandbox, first)
            cpu = _measure_cpu(pid)
            ended = _wait_for_leads(sandbox, last)
            memory, spent = _measure_memory(pid), _measure_cpu(pid) - cpu
    return DeliveryResult(
        pool.name, (last - first) / (ended - began), memory / 2**20, spent / (last - first) * 1000
    )


@contextmanager
def _start_site(folder: Path) -> Iterator[tuple[dict[str, str], httpx.Client]]:
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
        assert eventually(lambda: _is_up(sandbox), 30), "the sandbox did not start"
        delay = {"match": {}, "effect": {"kind": "delay", "seconds": RESPONSE_SECONDS}}
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


def _is_up(sandbox: httpx.Client) -> bool:
    try:
        return sandbox.get("/_sandbox/totals").is_success
    except httpx.HTTPError:
        return False


def _wait_for_leads(sandbox: httpx.Client, leads: int) -> float:
    """The moment (monotonic seconds) at which there are so many leads."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while sandbox.get("/_sandbox/totals").json()["calls_by_operation"].get("leads.add", 0) < leads:
        assert time.monotonic() < deadline, (
            f"fewer than {leads} leads after {TIMEOUT_SECONDS:.0f} s"
        )
        time.sleep(0.2)
    return time.monotonic()


def _list_process_tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    pids = [pid]
    for each in pids:
        pids += [child for child, parent in parents.items() if parent == each]
    return pids


def _measure_memory(pid: int) -> int:
    """Resident bytes of the process tree."""
    pages = 0
    for one in _list_process_tree(pid):
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def _measure_cpu(pid: int) -> float:
    """Seconds of processor time of the process tree, including ended children."""
    ticks = 0
    for one in _list_process_tree(pid):
        try:
            ticks += sum(
                map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15])
            )
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def run(peers: Path | None, count: int) -> list[DeliveryResult]:
    """Measure each pool in turn."""
    status, results = "", []
    with tempfile.TemporaryDirectory(prefix="delivery-") as folder, show_progress(lambda: status):
        for number, crew in enumerate(worker_pools(peers)):
            status = f"{crew.name}: {count} leads"
            results.append(measure(crew, Path(folder) / str(number), count))
    leadline = results[0].per_second
    return [
        DeliveryResult(
            each.workers, each.per_second, each.megabytes, each.cpu_ms, leadline / each.per_second
        )
        for each in results
    ]


def format_table(results: list[DeliveryResult]) -> str:
    """The results as Markdown."""
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
    parser = argparse.ArgumentParser(
        description="Delivering leads, compared with RQ's own workers."
    )
    parser.add_argument(
        "--peers",
        type=Path,
        help="a Python interpreter with tests/bench/peers/requirements.lock installed",
    )
    parser.add_argument("--leads", type=int, default=1500)
    arguments = parser.parse_args()
    print(format_table(run(arguments.peers, arguments.leads)))


if __name__ == "__main__":
    main()
