"""How long an innocent visitor waits while somebody attacks.

    python -m tests.bench.innocent [--slow-senders] [--slow-readers] [--one-address]
                                   [--worst-bodies] [--seconds 60] [--rate 20]

Without a choice, all four attacks. It starts `leadline serve` with a Redis of its own. The innocent
client sends forms at a steady rate, each over a new connection, whether or not earlier ones were
answered; what is not accepted within ten seconds counts as ten seconds. It does so undisturbed
before and after each attack, for half as long each, and during it. The command fails if the 99th
percentile more than doubles.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from service.local.stack import leadline_argv
from tests.bench.attackers import OPEN_SOURCE
from tests.bench.client import build_request, read_response
from tests.bench.intake import SOURCE, start_server
from tests.bench.load import percentile
from tests.bench.progress import show_progress

ATTACKS = ("slow-senders", "slow-readers", "one-address", "worst-bodies")
MAX_RATIO = 2.0
ANSWER_TIMEOUT_SECONDS = 10.0
# How long an attack runs before it is measured: slow senders need a moment to connect.
LEAD_SECONDS = 3.0
# The attackers' source has no limits of its own either, which would end an attack too early.
SOURCES = SOURCE + SOURCE.replace("[sources.bench]", f"[sources.{OPEN_SOURCE}]").replace(
    'adapter = "form"', 'adapter = "json"\nverify = { scheme = "none" }'
)


class Waiting(Struct):
    """Seconds that each post waited for its answer, and how many were not accepted."""

    latencies: list[float]
    failures: int = 0

    def __add__(self, other: Waiting) -> Waiting:
        return Waiting([*self.latencies, *other.latencies], self.failures + other.failures)

    def percentile_ms(self, share: float) -> float:
        return percentile(self.latencies, share) * 1000


class Comparison(Struct, frozen=True):
    """The innocent client's waiting without and with an attack; `outcomes` are the attacker's."""

    attack: str
    calm: Waiting
    attacked: Waiting
    outcomes: dict[str, int]

    @property
    def ratio(self) -> float:
        return self.attacked.percentile_ms(0.99) / self.calm.percentile_ms(0.99)


async def _post(port: int, number: int, waiting: Waiting) -> None:
    began, status = time.monotonic(), 0
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(build_request(0, number))
                status = await read_response(reader)
    waiting.failures += status != 202
    waiting.latencies.append(time.monotonic() - began if status == 202 else ANSWER_TIMEOUT_SECONDS)


async def _post_steadily(port: int, seconds: float, rate: float) -> Waiting:
    waiting, began = Waiting([]), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(_post(port, time.monotonic_ns(), waiting))
    return waiting


def wait_for_answers(port: int, seconds: float, rate: float) -> Waiting:
    """What the innocent client sees within that time."""
    return asyncio.run(_post_steadily(port, seconds, rate))


@contextlib.contextmanager
def attack(kind: str, port: int, seconds: float, outcomes: dict[str, int]) -> Iterator[None]:
    """Attack for that long; fills `outcomes` once it is over."""
    command = [sys.executable, "-m", "tests.bench.attackers", kind, str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdout is not None
        try:
            assert attacker.stdout.readline() == "ready\n", f"the attacker {kind} did not start"
            time.sleep(LEAD_SECONDS)
            yield
            written, _ = attacker.communicate(timeout=seconds + 60)
        finally:
            attacker.kill()
    assert not attacker.returncode, f"the attacker {kind} failed"
    outcomes |= json.loads(written)


def compare(kind: str, port: int, seconds: float, rate: float) -> Comparison:
    outcomes: dict[str, int] = {}
    before = wait_for_answers(port, seconds / 2, rate)
    with attack(kind, port, seconds + LEAD_SECONDS, outcomes):
        attacked = wait_for_answers(port, seconds, rate)
    after = wait_for_answers(port, seconds / 2, rate)
    return Comparison(kind, before + after, attacked, outcomes)


def run(kinds: list[str], seconds: float, rate: float) -> list[Comparison]:
    """Compare under each attack, each with a server of its own."""
    comparisons: list[Comparison] = []
    status = ""
    with tempfile.TemporaryDirectory(prefix="innocent-") as folder, show_progress(lambda: status):
        for kind in kinds:
            status = kind
            with start_server(
                lambda _: leadline_argv("serve"), Path(folder) / kind, SOURCES
            ) as port:
                wait_for_answers(port, 2.0, rate)
                comparisons.append(compare(kind, port, seconds, rate))
    return comparisons


def format_table(comparisons: list[Comparison]) -> str:
    """The comparisons as Markdown."""
    lines = [
        "| attack | p50 without | with | p99 without | with | ratio | not accepted | the attacker's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in comparisons:
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(one.outcomes.items()))
        figures = [
            f"{waiting.percentile_ms(share):.1f} ms"
            for share in (0.5, 0.99)
            for waiting in (one.calm, one.attacked)
        ]
        lines.append(
            f"| {one.attack} | {' | '.join(figures)} | {one.ratio:.2f} |"
            f" {one.calm.failures} and {one.attacked.failures} of {len(one.attacked.latencies)} |"
            f" {outcomes} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="An innocent visitor while somebody attacks.")
    for kind in ATTACKS:
        parser.add_argument(f"--{kind}", action="append_const", const=kind, dest="kinds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0, help="posts a second")
    arguments = parser.parse_args()
    comparisons = run(arguments.kinds or list(ATTACKS), arguments.seconds, arguments.rate)
    print(format_table(comparisons))
    if any(one.ratio > MAX_RATIO or one.attacked.failures for one in comparisons):
        raise SystemExit(f"an attack more than doubled what the innocent wait ({MAX_RATIO:g})")


if __name__ == "__main__":
    main()
