"""Accepting forms: Leadline and what others would write, on one machine and in one run.

    python -m tests.bench.intake --peers .venv-peers/bin/python

Every server has one process and a Redis of its own, which writes each command to disk before it
answers (`appendfsync always`). Leadline normalizes the form, detects duplicates and writes a
record; the peers queue the form as it is. The servers take turns, round by round, so that anything
else the machine does affects all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedis
from service.local.stack import leadline_argv
from tests.bench.progress import show_progress
from tests.polling import eventually
from tests.redis.test_connection import free_port

CONNECTIONS = 64
WARM_UP_SECONDS = 1.0
SOURCE = """
[sources.bench]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
"""

Command = Callable[[int], list[str]]


class IntakeResult(Struct, frozen=True):
    """Medians over the rounds. `ratio`: responses a second of Leadline for one of this server."""

    server: str
    per_second: float
    p50_ms: float
    p99_ms: float
    ratio: float


def servers(peers: Path | None) -> dict[str, Command]:
    """The command that starts each server on a port.

    `peers` is the Python interpreter of the peers' environment; None leaves the peers out.
    """
    commands: dict[str, Command] = {"Leadline": lambda _: leadline_argv("serve")}
    if peers is None:
        return commands

    def uvicorn(module: str) -> Command:
        arguments = [
            "-m",
            "uvicorn",
            f"tests.bench.peers.{module}:app",
            "--log-level",
            "warning",
            "--no-access-log",
        ]
        return lambda port: [str(peers), *arguments, "--port", str(port)]

    def gunicorn(port: int) -> list[str]:
        arguments = [
            "-m",
            "gunicorn",
            "tests.bench.peers.flask_rq:app",
            "--worker-class",
            "gthread",
            "--threads",
            "16",
        ]
        return [str(peers), *arguments, "--bind", f"127.0.0.1:{port}", "--log-level", "warning"]

    return commands | {
        "FastAPI with RQ": uvicorn("fastapi_rq"),
        "FastAPI with Celery": uvicorn("fastapi_celery"),
        "Flask with RQ": gunicorn,
    }


@contextmanager
def start_server(command: Command, folder: Path, sources: str = SOURCE) -> Iterator[int]:
    """Start a server with a Redis of its own; yields its port.

    `sources` is the text of Leadline's source file, which has at least the one named `bench`.
    """
    folder.mkdir(parents=True)
    (folder / "leadline.toml").write_text(sources, encoding="utf-8")
    with EmbeddedRedis(folder) as store:
        port = free_port()
        env = os.environ | {
            "REDIS_URL": store.url,
            "PEER_BROKER": store.url.replace("unix://", "redis+socket://"),
            "LEADLINE_CONFIG": str(folder / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(folder),
            "LEADLINE_PORT": str(port),
            "LEADLINE_CONNECTIONS_PER_ADDRESS": "4096",
            "LEADLINE_LOG_FORMAT": "json",
        }
        with Supervisor([Child("server", command(port), env=env, log=folder / "server.log")]):
            assert eventually(lambda: _accepts(port), 30), (folder / "server.log").read_text(
                "utf-8"
            )[-2000:]
            yield port


def _accepts(port: int) -> bool:
    try:
        return (
            httpx.post(
                f"http://127.0.0.1:{port}/in/bench",
                data={"email": "w@example.com"},
                trust_env=False,
            ).status_code
            == 202
        )
    except httpx.HTTPError:
        return False


def measure(port: int, seconds: float) -> dict[str, Any]:
    """The figures of a client in a process of its own, after a warm-up."""
    for length in (WARM_UP_SECONDS, seconds):
        command = [
            sys.executable,
            "-m",
            "tests.bench.client",
            str(port),
            str(CONNECTIONS),
            str(length),
        ]
        completed = subprocess.run(
            command, check=True, capture_output=True, timeout=60 + 2 * length
        )
    figures: dict[str, Any] = json.loads(completed.stdout)
    assert not figures["refused"], f"{figures['refused']} posts were not accepted"
    return figures


def run(peers: Path | None, rounds: int, seconds: float) -> list[IntakeResult]:
    """Measure all servers in turns."""
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in servers(peers)}
    status = ""
    with tempfile.TemporaryDirectory(prefix="intake-") as folder, show_progress(lambda: status):
        for number in range(rounds):
            for name, command in servers(peers).items():
                status = f"round {number + 1} of {rounds}: {name}"
                with start_server(
                    command, Path(folder) / f"{number}-{name.replace(' ', '-')}"
                ) as port:
                    figures[name].append(measure(port, seconds))
    rates = {
        name: statistics.median(each["answers"] / each["seconds"] for each in rounds_figures)
        for name, rounds_figures in figures.items()
    }
    return [
        IntakeResult(
            server=name,
            per_second=rates[name],
            p50_ms=statistics.median(each["p50_ms"] for each in rounds_figures),
            p99_ms=statistics.median(each["p99_ms"] for each in rounds_figures),
            ratio=rates["Leadline"] / rates[name],
        )
        for name, rounds_figures in figures.items()
    ]


def format_table(results: list[IntakeResult]) -> str:
    """The results as Markdown."""
    lines = ["| server | accepted a second | p50 | p99 | Leadline to it |", "|---|---|---|---|---|"]
    for each in results:
        ratio = "1" if each.server == "Leadline" else f"{each.ratio:.1f} : 1"
        lines.append(
            f"| {each.server} | {each.per_second:,.0f} | {each.p50_ms:.0f} ms | {each.p99_ms:.0f}"
            f" ms | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accepting forms, compared with peers.")
    parser.add_argument(
        "--peers",
        type=Path,
        help="a Python interpreter with tests/bench/peers/requirements.lock installed",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    print(format_table(run(arguments.peers, arguments.rounds, arguments.seconds)))


if __name__ == "__main__":
    main()
