"""The crash scan: a process dies at its first message, its second, and so on until it survives.

After each death the workers take over, and everything must end well.

    python -m tests.chaos.crash_scan                     every scenario, every point
    python -m tests.chaos.crash_scan --scenarios created,post --every 3
    python -m tests.chaos.crash_scan --strace            killed from outside, at system calls (needs `strace`)

Random kills never hit the windows of microseconds that this scan visits one by one. An injected
clock moves, so leases and settle times cost nothing. Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec
import structlog
from msgspec import structs

from service.local.redis import EmbeddedRedis
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.chaos.environment import ROOT, CrashEnvironment, open_environment
from tests.chaos.points import Side
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.victim import Task, TaskReport
from worker.store.connection import connect

MAX_POINTS = 500
SEARCH_DELAY = 0.2
SYSTEM_CALLS = "sendto,write,pwrite64,fdatasync"


@dataclass
class Scan:
    """Points by side; a violation says at which point of which side, and what was wrong at the end."""

    scenario: str
    points: dict[str, int] = field(default_factory=dict)
    deaths: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


def scan(
    environment: CrashEnvironment,
    scenario: Scenario,
    every: int = 1,
    *,
    start: int = 1,
    first: bool = False,
) -> Scan:
    """Walk through a scenario on both sides, at every `every`-th point from `start` on; with `first` only until
    something is wrong.
    """
    began = time.monotonic()
    result = Scan(scenario.name)
    for side in Side:
        for at in range(start, MAX_POINTS * every, every):
            scenario.set_up(environment)
            report = environment.victim.perform(
                structs.replace(scenario.build_task(environment), side=side, point=at)
            )
            result.violations += [
                f"{side} {at}: {problem}"
                for problem in _recover_and_check(environment, scenario, report)
            ]
            if report.survived:
                result.points[side] = report.messages[side]
                break
            result.deaths += 1
            if first and result.violations:
                return result
        else:
            result.violations.append(f"{side}: no end after {MAX_POINTS} points")
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _recover_and_check(
    environment: CrashEnvironment, scenario: Scenario, report: TaskReport
) -> list[str]:
    problems = scenario.recover(environment, report)
    environment.finish()
    return problems + scenario.find_problems(environment)


# -- from outside
# --------------------------------------------------------------------------------------------------


def scan_by_strace(
    environment: CrashEnvironment,
    scenario: Scenario,
    every: int = 1,
    max_points: int = 4 * MAX_POINTS,
) -> Scan:
    """Scan by system calls: the kernel kills at the n-th call, wherever that is."""
    began = time.monotonic()
    result = Scan(scenario.name)
    for call in SYSTEM_CALLS.split(","):
        for at in range(1, max_points, every):
            scenario.set_up(environment)
            report = _traced(scenario.build_task(environment), call, at)
            result.violations += [
                f"{call} {at}: {problem}"
                for problem in _recover_and_check(environment, scenario, report)
            ]
            if report.survived:
                result.points[call] = at - 1
                break
            result.deaths += 1
        else:
            result.violations.append(f"{call}: no end after {max_points} points")
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _traced(task: Task, call: str, at: int) -> TaskReport:
    argv = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=SIGKILL:when={at}",
    ]
    argv += [
        sys.executable,
        "-m",
        "tests.chaos.victim",
        "--once",
        msgspec.json.encode(task).decode(),
    ]
    done = subprocess.run(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False
    )
    responses = [line for line in _lines(done.stdout) if isinstance(line, list)]
    return TaskReport(
        survived=done.returncode == 0, responses=[(line[0], line[1]) for line in responses]
    )


def _lines(output: bytes) -> Iterator[object]:
    for line in output.splitlines():
        try:
            yield msgspec.json.decode(line)
        except msgspec.DecodeError:
            return  # the last one, cut off by the death


# -- the command
# --------------------------------------------------------------------------------------------------


def table(scans: Sequence[Scan]) -> str:
    lines = [f"{'scenario':24}{'deaths':>8}{'violations':>12}{'seconds':>9}  points"]
    for done in scans:
        points = ", ".join(f"{side} {count}" for side, count in done.points.items())
        lines.append(
            f"{done.scenario:14}{done.deaths:>8}{len(done.violations):>12}{done.seconds:>9}  {points}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    scenarios = [SCENARIOS[name] for name in options.scenarios.split(",")]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    scans = []
    with (
        tempfile.TemporaryDirectory(prefix="leadline-scan-") as folder,
        EmbeddedRedis(folder) as server,
        connect(server.url, timeout=5.0) as client,
        serve_in_thread(SandboxSettings(port=0, search_delay_seconds=SEARCH_DELAY)) as sandbox,
        open_environment(client, server.url, sandbox, Path(folder)) as environment,
    ):
        for scenario in scenarios:
            print(f"{scenario.name}: {scenario.description} ...", flush=True)
            scans.append(
                (scan_by_strace if options.strace else scan)(environment, scenario, options.every)
            )
            for violation in scans[-1].violations[:20]:
                print(f"  {violation}", flush=True)
            print(table(scans[-1:]), flush=True)
    print("\n" + table(scans))
    if options.json:
        Path(options.json).write_text(
            json.dumps([asdict(done) for done in scans], indent=1), encoding="utf-8"
        )
    return 1 if any(done.violations for done in scans) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.crash_scan", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--scenarios", default=",".join(SCENARIOS), help=f"of {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--strace", action="store_true", help="kill from outside, at system calls")
    parser.add_argument("--json", help="write the rows to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
