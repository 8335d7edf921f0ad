"""Redis is gone for minutes while forms keep coming: do senders notice, and when is all delivered?

    python -m tests.bench.outage --seconds 600

One service, two worker processes of 32 slots, the sandbox without the limits of a plan. Ends with 1
if a response was not 2xx, if the 99th percentile of the response time is above 100 ms, if anything
is lost or duplicated, or if not everything is delivered within five minutes of Redis's return.
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
from tests.bench.load import Load, PostResult, percentile
from tests.bench.progress import log_errors_only, show_progress
from tests.chaos.checker import check
from tests.chaos.facts import gather, leftovers, metrics_of
from tests.chaos.running_stack import SOURCES, RunningStack, run_stack
from tests.chaos.senders import Kind, Post
from tests.polling import eventually
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import State
from worker.store import keys
from worker.store.connection import connect

# Of the response time, at the 99th percentile.
MAX_P99_SECONDS = 0.1

SETTINGS = {"LEADLINE_WORKER_PROCESSES": "2", "LEADLINE_SLOTS": "32"}
# Time to write the last records and empty RQ's lists, once everything is delivered.
SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class OutagePlan:
    """Redis is away for `seconds`, after `before` seconds of posts; they go on for `after` seconds.

    It stays away for longer, though no longer than `within`, until `min_spooled` submissions are in
    the spool. With `hang` it is stopped and neither answers nor refuses, instead of being killed. Everything
    is to be delivered within `within` seconds of its return.
    """

    seconds: float = 600.0
    rate: float = 50.0
    before: float = 5.0
    after: float = 10.0
    within: float = 300.0
    min_spooled: int = 0
    hang: bool = False
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))


@dataclass(frozen=True)
class SpoolSample:
    """The spool at a moment: submissions, and bytes of its files."""

    at: float
    submissions: int
    bytes: int


@dataclass
class OutageResult:
    """Times in seconds; those of the responses by phase: before, away, back."""

    posts: int = 0
    acknowledged: int = 0
    not_2xx: int = 0
    answers: dict[str, dict[str, float]] = field(default_factory=dict)
    spool: list[SpoolSample] = field(default_factory=list)
    drained_after: float | None = None
    delivered_after: float | None = None
    delivered: int = 0
    violations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def broken_promises(self) -> list[str]:
        """The promises that were not kept, as sentences."""
        broken = [f"{self.not_2xx} responses were not 2xx"] if self.not_2xx else []
        if self.answers["all"]["p99"] > MAX_P99_SECONDS:
            broken.append(
                "the 99th percentile of the response time is"
                f" {self.answers['all']['p99'] * 1000:.0f} ms"
            )
        if self.delivered_after is None:
            broken.append("not everything was delivered in time")
        return broken + [
            f"{violation['rule']}: {violation['detail']}" for violation in self.violations[:20]
        ]


class Outage:
    """One run, from an empty directory to the result."""

    def __init__(self, plan: OutagePlan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self.result = OutageResult()
        self._phase = "starting"
        self._load: Load | None = None
        self._returned_at = math.inf

    def run(self) -> OutageResult:
        with ExitStack() as stack:
            stack.enter_context(show_progress(self._describe_progress))
            server = stack.enter_context(EmbeddedRedis(self._folder / "store"))
            running = stack.enter_context(
                run_stack(
                    self._folder, SOURCES, LocalStack, REDIS_URL=server.url, **self._plan.settings
                )
            )
            self._load = load = Load(
                running.stack.endpoints.service_url, self._plan.rate, _build_post
            )
            load.start()
            self._watch_spool("before", load, load.now + self._plan.before)
            come_back = self._stop_redis(server)
            self._watch_spool("Redis away", load, load.now + self._plan.seconds)
            self._wait_for_spool(load, load.now + self._plan.within)
            come_back()
            self._returned_at = load.now
            self._watch_spool("Redis back", load, load.now + self._plan.after)
            load.stop()
            self._phase = "delivering"
            with connect(server.url, timeout=10) as client:
                self._wait_for_deliveries(client, load)
                self._phase = "comparing"
                self._check_invariants(running, client, load)
        self._summarize(load)
        return self.result

    def _stop_redis(self, server: EmbeddedRedis) -> Callable[[], object]:
        """Stop Redis; returns what brings it back."""
        pid = server.pid
        assert pid is not None
        if self._plan.hang:
            os.kill(pid, signal.SIGSTOP)
            return lambda: os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        server.stop()
        return server.start

    def _watch_spool(self, phase: str, load: Load, until: float) -> None:
        """Sample the spool once a second."""
        self._phase = phase
        while load.now < until:
            self._sample(load.now)
            time.sleep(max(0.0, min(1.0, until - load.now)))

    def _wait_for_spool(self, load: Load, until: float) -> None:
        while load.now < until and self._sample(load.now).submissions < self._plan.min_spooled:
            time.sleep(0.2)

    def _sample(self, at: float) -> SpoolSample:
        folder = self._folder / "data" / SPOOL_FOLDER
        size = (
            sum(path.stat().st_size for path in folder.glob("*.sqlite*")) if folder.is_dir() else 0
        )
        sample = SpoolSample(round(at, 1), count_spooled(folder), size)
        self.result.spool.append(sample)
        if at > self._returned_at and not sample.submissions and self.result.drained_after is None:
            self.result.drained_after = round(at - self._returned_at, 1)
        return sample

    def _wait_for_deliveries(self, client: redis.Redis, load: Load) -> None:
        acknowledged = sum(bool(post.ids) for post in load.posts)
        while load.now < self._returned_at + self._plan.within:
            waiting = self._sample(load.now).submissions
            self.result.delivered = int(client.zcard(keys.state(State.DELIVERED)))
            if not waiting and self.result.delivered >= acknowledged:
                self.result.delivered_after = round(load.now - self._returned_at, 1)
                return
            time.sleep(0.5)

    def _check_invariants(self, running: RunningStack, client: redis.Redis, load: Load) -> None:
        data = self._folder / "data"
        eventually(lambda: not any(leftovers(client, data).values()), SETTLE_SECONDS)
        facts = gather(
            client,
            running.sandbox(),
            metrics_of(running.stack.endpoints.service_url, eventually),
            data,
        )
        self.result.violations = [asdict(violation) for violation in check(facts, load.posts)]

    def _summarize(self, load: Load) -> None:
        result, gone, returned = self.result, self._plan.before, self._returned_at
        result.posts = len(load.posts)
        result.acknowledged = sum(bool(post.ids) for post in load.posts)
        result.not_2xx = (
            sum(post.status != 202 for post in load.results) + result.posts - len(load.results)
        )
        phases: dict[str, Callable[[float], bool]] = {
            "before": lambda at: at < gone,
            "away": lambda at: gone <= at < returned,
            "back": lambda at: at >= returned,
            "all": lambda _: True,
        }
        for name, within in phases.items():
            result.answers[name] = _summarize_latencies(
                [post for post in load.results if within(post.due)]
            )

    def _describe_progress(self) -> str:
        sent = len(self._load.posts) if self._load else 0
        sample = self.result.spool[-1] if self.result.spool else SpoolSample(0, 0, 0)
        return (
            f"{self._phase}: {sent} posts, {sample.submissions} in the spool,"
            f" {self.result.delivered} delivered"
        )


def _build_post(number: int) -> Post:
    token = f"o{number:06d}x"
    return Post(token, Kind.SITE, f"{token}@example.com", f"key-{token}", careful=False, repeats=0)


def _summarize_latencies(results: Sequence[PostResult]) -> dict[str, float]:
    latencies = [each.latency for each in results]
    return {
        "posts": len(latencies),
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "max": max(latencies, default=0.0),
    }


def format_report(plan: OutagePlan, result: OutageResult) -> str:
    """The figures as Markdown."""
    lines = ["| responses | posts | p50 ms | p99 ms | max ms |", "|---|---|---|---|---|"]
    for phase, times in result.answers.items():
        cells = [f"{times[name] * 1000:.1f}" for name in ("p50", "p99", "max")]
        lines.append(f"| {phase} | {times['posts']:.0f} | {' | '.join(cells)} |")
    lines += ["", "| second | submissions in the spool | MiB on disk |", "|---|---|---|"]
    every = max(1, len(result.spool) // 20)
    lines += [
        f"| {sample.at:.0f} | {sample.submissions} | {sample.bytes / 2**20:.1f} |"
        for sample in result.spool[::every]
    ]
    how = "hung" if plan.hang else "was gone"
    whole = (
        f"all delivered after {result.delivered_after} s"
        if result.delivered_after
        else f"{result.delivered} delivered"
    )
    lines += [
        "",
        (
            f"Redis {how} for {plan.seconds:g} s at {plan.rate:g} posts/s: {result.posts} posts, "
            f"{result.acknowledged} acknowledged, {result.not_2xx} without a 2xx. "
            f"After its return the spool was empty after {result.drained_after} s, {whole}; "
            f"{len(result.violations)} lost, duplicated or otherwise wrong."
        ),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.outage", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="how long Redis is away")
    parser.add_argument("--rate", type=float, default=50.0, help="posts a second")
    parser.add_argument(
        "--within",
        type=float,
        default=300.0,
        help="seconds after Redis's return in which all is to be delivered",
    )
    parser.add_argument(
        "--hang",
        action="store_true",
        help="Redis neither answers nor refuses, instead of being killed",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", type=Path, help="work in this directory and keep it")
    options = parser.parse_args(arguments)
    log_errors_only()
    plan = OutagePlan(options.seconds, options.rate, within=options.within, hang=options.hang)
    with tempfile.TemporaryDirectory(prefix="leadline-outage-") as folder:
        result = Outage(plan, options.keep or Path(folder)).run()
    print(format_report(plan, result))
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    for promise in result.broken_promises:
        print(f"not kept: {promise}")
    return 1 if result.broken_promises else 0


if __name__ == "__main__":
    sys.exit(main())
