"""Runs every benchmark and prints the tables of `docs/benchmarks.md`.

    python -m tests.bench [--peers PYTHON] [--write FILE]

The figures are those of this machine at this moment. What carries over to another machine are the
ratios to the peers, which are measured in the same run.
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

from tests.bench import console, delivery, intake, preview, reader

HEAD = """# Benchmarks

Made by `make bench`, on loopback, on one machine: {machine}. {date}, at `{commit}`.
"""


def sections(peers: Path | None, quick: bool) -> dict[str, Callable[[], str]]:
    """Title -> the benchmark. `quick` only checks that they run, and measures little."""
    rounds, seconds = (1, 2.0) if quick else (3, 8.0)
    return {
        "Accepting forms": lambda: _with_explanation(
            intake, intake.format_table(intake.run(peers, rounds, seconds))
        ),
        "Delivering leads": lambda: _with_explanation(
            delivery, delivery.format_table(delivery.run(peers, 100 if quick else 1500))
        ),
        "The console over 100,000 submissions": lambda: _measure_console(
            2_000 if quick else 100_000, 5 if quick else 30
        ),
        "Reading submissions": lambda: _with_explanation(
            reader, reader.format_table(reader.run(1 if quick else reader.ROUNDS))
        ),
        "Previews": lambda: _measure_previews(3 if quick else 20),
    }


def _with_explanation(module: object, table: str) -> str:
    """The table, below the last paragraph of its module docstring."""
    explanation = (module.__doc__ or "").strip().split("\n\n")[-1]
    return f"{explanation.replace(chr(10), ' ')}\n\n{table}"


def _measure_console(submissions: int, rounds: int) -> str:
    timings = console.run(submissions, rounds)
    lines = ["| query | p50 | p95 | CPU |", "|---|---|---|---|"]
    lines += [
        f"| {each.name} | {each.p50:.0f} ms | {each.p95:.0f} ms | {each.cpu:.0f} ms |"
        for each in timings
    ]
    return (
        f"{submissions:,} submissions are stored, and the store changes before every query.\n\n"
        + "\n".join(lines)
    )


def _measure_previews(rounds: int) -> str:
    times_by_case = preview.measure(rounds)
    times = sorted(time for each in times_by_case.values() for time in each[1:])
    median, p95 = statistics.median(times), times[int(0.95 * len(times))]
    return (
        f"{len(times_by_case)} captured requests in one process, each previewed completely: median"
        f" {median:.1f} ms, p95 {p95:.1f} ms."
    )


def describe_machine() -> str:
    """The processor and the operating system."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _read_lines("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = next(
        (
            line.partition("=")[2].strip('"')
            for line in _read_lines("/etc/os-release")
            if line.startswith("PRETTY_NAME")
        ),
        platform.system(),
    )
    return f"{os.cpu_count()} cores ({model}), {system}, Python {platform.python_version()}"


def _read_lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text("utf-8").splitlines() if file.exists() else []


def _find_commit() -> str:
    process = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return process.stdout.strip() or "no commit"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every benchmark in one run.")
    parser.add_argument(
        "--peers",
        type=Path,
        help="a Python interpreter with tests/bench/peers/requirements.lock installed",
    )
    parser.add_argument("--write", type=Path, help="also write the tables to this file")
    parser.add_argument(
        "--quick", action="store_true", help="only check that everything runs, and measure little"
    )
    arguments = parser.parse_args()
    parts = [
        HEAD.format(
            machine=describe_machine(), date=datetime.now(UTC).date(), commit=_find_commit()
        )
    ]
    for title, measure in sections(arguments.peers, arguments.quick).items():
        print(f"{title} ...", file=sys.stderr)
        parts.append(f"## {title}\n\n{measure()}\n")
    text = "\n".join(parts)
    print(text)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
