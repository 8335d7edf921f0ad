"""Accepting forms: Leadline beside what others would write, on one machine and in one run.

    python -m tests.bench.intake --peers .venv-peers/bin/python

Every server has one process and a Redis of its own that writes each command to disk before it
answers (`appendfsync always`). Leadline normalises the form, tells duplicates apart and writes a
record; the peers queue what came as it came. The servers take turns, round by round, so that what
else the machine does hits all of them.
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
from tests.bench.progress import progress
from tests.polling import eventually
from tests.redis.test_connection import free_port

CONNECTIONS = 64
WARM_SECONDS = 1.0
SOURCE = """
[sources.bench]
adapter = "form"
rate_limit = "off"
"""

Command = Callable[[int], list[str]]


class Result(Struct, frozen=True):
    """Medians over the rounds. `ratio`: answers a second of Leadline for one of this server."""

    server: str
    per_second: float
    p50_ms: float
    p99_ms: float
    ratio: float


def servers(peers: Path | None) -> dict[str, Command]:
    """The commands that start each server on a port; `peers` is the interpreter of the peers'
    environment.
    """
    found: dict[str, Command] = {"Leadline": lambda _: leadline_argv("serve")}
    if peers is None:
        return found

    def uvicorn(module: str) -> Command:
        words = [
            "-m",
            "uvicorn",
            f"tests.bench.peers.{module}:app",
            "--log-level",
            "warning",
            "--no-access-log",
        ]
        return lambda port: [str(peers), *words, "--port", str(port)]

    def gunicorn(port: int) -> list[str]:
        words = [
            "-m",
            "gunicorn",
            "tests.bench.peers.flask_rq:app",
            "--worker-class",
            "gthread",
            "--threads",
            "16",
        ]
        return [str(peers), *words, "--bind", f"127.0.0.1:{port}", "--log-level", "warning"]

    return found | {
        "FastAPI with RQ": uvicorn("fastapi_rq"),
        "FastAPI with Celery": uvicorn("fastapi_celery"),
        "Flask with RQ": gunicorn,
    }


@contextmanager
def serving(command: Command, folder: Path) -> Iterator[int]:
    """One server with a Redis of its own; yields its port."""
    folder.mkdir(parents=True)
    (folder / "leadline.toml").write_text(SOURCE, encoding="utf-8")
    with EmbeddedRedis(folder) as store:
        port = free_port()
        env = os.environ | {
            "REDIS_URL": store.url,
            "PEER_BROKER": store.url.replace("unix://", "redis+socket://"),
            "LEADLINE_CONFIG": str(folder / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(folder),
            "LEADLINE_PORT": str(port),
            "LEADLINE_LOG_FORMAT": "json",
        }
        with Supervisor([Child("server", command(port), env=env, log=folder / "server.log")]):
            assert eventually(lambda: _answers(port), 30), (folder / "server.log").read_text(
                "utf-8"
            )[-2000:]
            yield port


def _answers(port: int) -> bool:
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
    """What a client in a process of its own saw, after a moment to warm up."""
    for length in (WARM_SECONDS, seconds):
        words = [
            sys.executable,
            "-m",
            "tests.bench.client",
            str(port),
            str(CONNECTIONS),
            str(length),
        ]
        found = subprocess.run(words, check=True, capture_output=True, timeout=60 + 2 * length)
    seen: dict[str, Any] = json.loads(found.stdout)
    assert not seen["refused"], f"{seen['refused']} were not accepted"
    return seen


def run(peers: Path | None, rounds: int, seconds: float) -> list[Result]:
    """All servers in turns."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in servers(peers)}
    now = ""
    with tempfile.TemporaryDirectory(prefix="intake-") as folder, progress(lambda: now):
        for number in range(rounds):
            for name, command in servers(peers).items():
                now = f"round {number + 1} of {rounds}: {name}"
                with serving(command, Path(folder) / f"{number}-{name.replace(' ', '-')}") as port:
                    seen[name].append(measure(port, seconds))
    rates = {
        name: statistics.median(each["answers"] / each["seconds"] for each in found)
        for name, found in seen.items()
    }
    return [
        Result(
            server=name,
            per_second=rates[name],
            p50_ms=statistics.median(each["p50_ms"] for each in found),
            p99_ms=statistics.median(each["p99_ms"] for each in found),
            ratio=rates["Leadline"] / rates[name],
        )
        for name, found in seen.items()
    ]


def table(results: list[Result]) -> str:
    """Markdown."""
    lines = ["| server | accepted a second | p50 | p99 | Leadline to it |", "|---|---|---|---|---|"]
    for each in results:
        ratio = "1" if each.server == "Leadline" else f"{each.ratio:.1f} : 1"
        lines.append(
            f"| {each.server} | {each.per_second:,.0f} | {each.p50_ms:.0f} ms | {each.p99_ms:.0f}"
            f" ms | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accepting forms, beside peers.")
    parser.add_argument(
        "--peers", type=Path, help="the interpreter that has tests/bench/peers/requirements.lock"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    told = parser.parse_args()
    print(table(run(told.peers, told.rounds, told.seconds)))


if __name__ == "__main__":
    main()
