"""Redis is gone for minutes while forms go on posting: what do senders notice, and how long until
all is delivered?

    python -m tests.bench.outage --seconds 600

One service, two worker processes of 32 slots, the sandbox without a plan's limits. Ends with 1 when
an answer was no 2xx, when the 99th percentile of the answers' time is above 100 ms, when anything
is lost or doubled, or when it is not all delivered within five minutes of Redis's return.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from service.local.redis import EmbeddedRedis
from service.local.stack import LocalStack
from tests.bench.load import Answer, Load, percentile
from tests.bench.progress import errors_only, progress
from tests.chaos.checker import check
from tests.chaos.facts import gather, leftovers, metrics_of
from tests.chaos.running_stack import SOURCES, RunningStack, run_stack
from tests.chaos.senders import Kind, Post
from tests.polling import eventually
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import State
from worker.store import keys
from worker.store.connection import connect

LONGEST_ANSWER = 0.1
"""Seconds that the 99th percentile of the answers may take."""

SETTINGS = {"LEADLINE_WORKER_PROCESSES": "2", "LEADLINE_SLOTS": "32"}
SETTLE_SECONDS = 60.0
"""Time for the books to be written and RQ's lists to empty, once everything is delivered."""


@dataclass(frozen=True)
class Plan:
    """Redis is away for `seconds`, from `before` on; posts go on for `after` seconds of its return.
    `hang`: it is stopped, and neither answers nor refuses, instead of being killed. `within`
    seconds of its return all is to be delivered.
    """

    seconds: float = 600.0
    rate: float = 50.0
    before: float = 5.0
    after: float = 10.0
    within: float = 300.0
    hang: bool = False
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))


@dataclass(frozen=True)
class Sample:
    """The spool at a moment: submissions, and bytes of its files."""

    at: float
    submissions: int
    bytes: int


@dataclass
class Outcome:
    """Times in seconds; those of the answers by phase: before, away, back."""

    posts: int = 0
    acknowledged: int = 0
    not_2xx: int = 0
    answers: dict[str, dict[str, float]] = field(default_factory=dict)
    spool: list[Sample] = field(default_factory=list)
    drained_after: float | None = None
    delivered_after: float | None = None
    delivered: int = 0
    violations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What was promised and not kept."""
        found = [f"{self.not_2xx} answers were no 2xx"] if self.not_2xx else []
        if self.answers["all"]["p99"] > LONGEST_ANSWER:
            found.append(
                "the 99th percentile of the answers' time is"
                f" {self.answers['all']['p99'] * 1000:.0f} ms"
            )
        if self.delivered_after is None:
            found.append("not everything was delivered in time")
        return found + [
            f"{violation['rule']}: {violation['detail']}" for violation in self.violations[:20]
        ]


class Outage:
    """One run, from an empty directory to the judgement."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self.outcome = Outcome()
        self._phase = "starting"
        self._load: Load | None = None
        self._returned = math.inf

    def run(self) -> Outcome:
        with ExitStack() as stack:
            stack.enter_context(progress(self._line))
            server = stack.enter_context(EmbeddedRedis(self._folder / "store"))
            running = stack.enter_context(
                run_stack(
                    self._folder, SOURCES, LocalStack, REDIS_URL=server.url, **self._plan.settings
                )
            )
            self._load = load = Load(running.stack.endpoints.service_url, self._plan.rate, _post)
            load.start()
            self._watch("before", load, load.now + self._plan.before)
            come_back = self._take_away(server)
            self._watch("Redis away", load, load.now + self._plan.seconds)
            come_back()
            self._returned = load.now
            self._watch("Redis back", load, load.now + self._plan.after)
            load.stop()
            self._phase = "delivering"
            with connect(server.url, timeout=10) as client:
                self._deliveries(client, load)
                self._phase = "comparing"
                self._judge(running, client, load)
        self._count(load)
        return self.outcome

    def _take_away(self, server: EmbeddedRedis) -> Callable[[], object]:
        """Returns what brings it back."""
        pid = server.pid
        assert pid is not None
        if self._plan.hang:
            os.kill(pid, signal.SIGSTOP)
            return lambda: os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        server.stop()
        return server.start

    def _watch(self, phase: str, load: Load, until: float) -> None:
        """Looks at the spool once a second."""
        self._phase = phase
        while load.now < until:
            self._sample(load.now)
            time.sleep(max(0.0, min(1.0, until - load.now)))

    def _sample(self, at: float) -> Sample:
        folder = self._folder / "data" / SPOOL_FOLDER
        size = (
            sum(path.stat().st_size for path in folder.glob("*.sqlite*")) if folder.is_dir() else 0
        )
        sample = Sample(round(at, 1), count_spooled(folder), size)
        self.outcome.spool.append(sample)
        if at > self._returned and not sample.submissions and self.outcome.drained_after is None:
            self.outcome.drained_after = round(at - self._returned, 1)
        return sample

    def _deliveries(self, client: redis.Redis, load: Load) -> None:
        acknowledged = sum(bool(post.ids) for post in load.posts)
        while load.now < self._returned + self._plan.within:
            waiting = self._sample(load.now).submissions
            self.outcome.delivered = int(client.zcard(keys.state(State.DELIVERED)))
            if not waiting and self.outcome.delivered >= acknowledged:
                self.outcome.delivered_after = round(load.now - self._returned, 1)
                return
            time.sleep(0.5)

    def _judge(self, running: RunningStack, client: redis.Redis, load: Load) -> None:
        data = self._folder / "data"
        eventually(lambda: not any(leftovers(client, data).values()), SETTLE_SECONDS)
        facts = gather(
            client,
            running.sandbox(),
            metrics_of(running.stack.endpoints.service_url, eventually),
            data,
        )
        self.outcome.violations = [asdict(violation) for violation in check(facts, load.posts)]

    def _count(self, load: Load) -> None:
        outcome, gone, returned = self.outcome, self._plan.before, self._returned
        outcome.posts = len(load.posts)
        outcome.acknowledged = sum(bool(post.ids) for post in load.posts)
        outcome.not_2xx = (
            sum(answer.status != 202 for answer in load.answers) + outcome.posts - len(load.answers)
        )
        phases: dict[str, Callable[[float], bool]] = {
            "before": lambda at: at < gone,
            "away": lambda at: gone <= at < returned,
            "back": lambda at: at >= returned,
            "all": lambda _: True,
        }
        for name, within in phases.items():
            outcome.answers[name] = _times([answer for answer in load.answers if within(answer.at)])

    def _line(self) -> str:
        sent = len(self._load.posts) if self._load else 0
        sample = self.outcome.spool[-1] if self.outcome.spool else Sample(0, 0, 0)
        return (
            f"{self._phase}: {sent} posts, {sample.submissions} in the spool,"
            f" {self.outcome.delivered} delivered"
        )


def _post(number: int) -> Post:
    token = f"o{number:06d}x"
    return Post(token, Kind.SITE, f"{token}@example.com", f"key-{token}", careful=False, repeats=0)


def _times(answers: Sequence[Answer]) -> dict[str, float]:
    took = [answer.took for answer in answers]
    return {
        "posts": len(took),
        "p50": percentile(took, 0.5),
        "p99": percentile(took, 0.99),
        "max": max(took, default=0.0),
    }


def report(plan: Plan, outcome: Outcome) -> str:
    """The figures as Markdown."""
    lines = ["| answers | posts | p50 ms | p99 ms | max ms |", "|---|---|---|---|---|"]
    for phase, times in outcome.answers.items():
        cells = [f"{times[name] * 1000:.1f}" for name in ("p50", "p99", "max")]
        lines.append(f"| {phase} | {times['posts']:.0f} | {' | '.join(cells)} |")
    lines += ["", "| second | submissions in the spool | MiB on disk |", "|---|---|---|"]
    every = max(1, len(outcome.spool) // 20)
    lines += [
        f"| {sample.at:.0f} | {sample.submissions} | {sample.bytes / 2**20:.1f} |"
        for sample in outcome.spool[::every]
    ]
    how = "hung" if plan.hang else "was gone"
    whole = (
        f"all delivered after {outcome.delivered_after} s"
        if outcome.delivered_after
        else f"{outcome.delivered} delivered"
    )
    lines += [
        "",
        (
            f"Redis {how} for {plan.seconds:g} s at {plan.rate:g} posts/s: {outcome.posts} posts, "
            f"{outcome.acknowledged} acknowledged, {outcome.not_2xx} without a 2xx. "
            f"After its return the spool was empty after {outcome.drained_after} s, {whole}; "
            f"{len(outcome.violations)} lost, doubled or otherwise wrong."
        ),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(
        prog="python -m tests.bench.outage", description=__doc__.partition("\n")[0]
    )
    words.add_argument("--seconds", type=float, default=600.0, help="how long Redis is away")
    words.add_argument("--rate", type=float, default=50.0, help="posts a second")
    words.add_argument(
        "--within",
        type=float,
        default=300.0,
        help="seconds after Redis's return in which all is to be delivered",
    )
    words.add_argument(
        "--hang",
        action="store_true",
        help="Redis neither answers nor refuses, instead of being killed",
    )
    words.add_argument("--json", type=Path, help="write the figures to this file")
    words.add_argument("--keep", type=Path, help="work in this directory and keep it")
    asked = words.parse_args(arguments)
    errors_only()
    plan = Plan(asked.seconds, asked.rate, within=asked.within, hang=asked.hang)
    with tempfile.TemporaryDirectory(prefix="leadline-outage-") as folder:
        outcome = Outage(plan, asked.keep or Path(folder)).run()
    print(report(plan, outcome))
    if asked.json:
        asked.json.write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")
    for fault in outcome.faults:
        print(f"not kept: {fault}")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
