"""Every benchmark in one run, as the table of `docs/benchmarks.md`.

    python -m tests.bench [--peers PYTHON] [--write FILE]

Figures are of this machine and this moment; the ratios to the peers, measured in the same run, are
what carries over.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import console, delivery, intake, preview

HEAD = """# Benchmarks

Made by `make bench`; everything ran on loopback, on one machine: {machine}. {date}, at `{commit}`.
"""


def sections(peers: Path | None, quick: bool) -> dict[str, Callable[[], str]]:
    """Title -> what measures it. `quick` tries that they run, and measures little."""
    rounds, seconds = (1, 2.0) if quick else (3, 8.0)
    return {
        "Accepting forms": lambda: _told(intake, intake.table(intake.run(peers, rounds, seconds))),
        "Delivering leads": lambda: _told(
            delivery, delivery.table(delivery.run(peers, 100 if quick else 1500))
        ),
        "The console over 100,000 submissions": lambda: _console(
            2_000 if quick else 100_000, 5 if quick else 30
        ),
        "Previews": lambda: _previews(3 if quick else 20),
    }


def _told(module: object, table: str) -> str:
    """The table, under what its module says of how it was measured."""
    said = (module.__doc__ or "").strip().split("\n\n")[-1]
    return f"{said.replace(chr(10), ' ')}\n\n{table}"


def _console(submissions: int, rounds: int) -> str:
    timings = console.run(submissions, rounds)
    lines = ["| question | p50 | p95 | CPU |", "|---|---|---|---|"]
    lines += [
        f"| {each.name} | {each.p50:.0f} ms | {each.p95:.0f} ms | {each.cpu:.0f} ms |"
        for each in timings
    ]
    return (
        f"{submissions:,} submissions are stored, and the store changes before every question.\n\n"
        + "\n".join(lines)
    )


def _previews(rounds: int) -> str:
    taken = preview.measure(rounds)
    times = sorted(time for each in taken.values() for time in each[1:])
    middle, high = statistics.median(times), times[int(0.95 * len(times))]
    return (
        f"{len(taken)} captured requests in one process, each judged whole: median {middle:.1f} ms,"
        f" p95 {high:.1f} ms."
    )


def machine() -> str:
    """The processor and the system, as they name themselves."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _lines("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = next(
        (
            line.partition("=")[2].strip('"')
            for line in _lines("/etc/os-release")
            if line.startswith("PRETTY_NAME")
        ),
        platform.system(),
    )
    return f"{os.cpu_count()} cores ({model}), {system}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text("utf-8").splitlines() if file.exists() else []


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "no commit"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every benchmark in one run.")
    parser.add_argument(
        "--peers", type=Path, help="the interpreter that has tests/bench/peers/requirements.lock"
    )
    parser.add_argument("--write", type=Path, help="also write the tables to this file")
    parser.add_argument(
        "--quick", action="store_true", help="try that everything runs, and measure little"
    )
    told = parser.parse_args()
    parts = [HEAD.format(machine=machine(), date=datetime.now(UTC).date(), commit=_commit())]
    for title, measure in sections(told.peers, told.quick).items():
        print(f"{title} ...", file=sys.stderr)
        parts.append(f"## {title}\n\n{measure()}\n")
    text = "\n".join(parts)
    print(text)
    if told.write:
        told.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
