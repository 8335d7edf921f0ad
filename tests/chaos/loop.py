"""The chaos loop: load and faults, with processes killed or stopped by a seed; then a check.

    python -m tests.chaos.loop --submissions 10000 --kills 200 --seeds 1,2,3,4,5

The numbers are those of all seeds together; parts are stopped, or asked to stop, beside the kills.
The sandbox tells the truth and is never touched. Exit code 1 on any violation, with what one needs
to look into it: the seed, the submission's timeline and attempts, the directory with data and logs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import redis

from service.local import processes
from tests.bench.progress import log_errors_only, show_progress
from tests.chaos import cluster, senders
from tests.chaos.checker import DELIBERATE_CAUSE, Violation, check
from tests.chaos.facts import Facts, count_unfinished, gather, leftovers, metrics_of
from tests.chaos.power import Persistence, PowerCut, persistence
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually
from worker.contract import State
from worker.encryption import Cipher
from worker.errors import LeadlineError
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store.connection import connect

Fault = tuple[dict[str, Any], dict[str, Any]]
"""Which calls it picks, and what happens to them."""

FAULTS: list[Fault] = [
    ({"operation": "*.add", "probability": 0.2}, {"kind": "commit-then-drop"}),
    ({"operation": "*.add", "probability": 0.02}, {"kind": "reset", "bytes": 5}),
    ({"probability": 0.03}, {"kind": "answer", "status": 503}),
    ({"probability": 0.01}, {"kind": "answer", "status": 429, "headers": {"Retry-After": "1"}}),
    ({"probability": 0.05}, {"kind": "delay", "seconds": 0.4}),
    ({"probability": 0.01}, {"kind": "truncated"}),
]
"""What Pipedrive does meanwhile: one create in five is committed and its answer lost."""

GAP = (0.2, 1.6)
"""Seconds between two faults of processes."""

RESTART_SECONDS = 1.0
"""However often a process dies, it restarts after this long: else the run would mostly wait."""


@dataclass(frozen=True)
class Plan:
    """One run. `longest_stop` (seconds) is longer than a lease in the long form; `quiet` bounds the
    wait for quiet.

    `weights` are those of the kinds of posts, sent over `seconds` at least; `faults` are
    Pipedrive's, until the load ends or, if `faults_stay`, until everything is delivered.
    """

    seed: int
    submissions: int
    kills: int
    seconds: float = 2.0
    weights: Mapping[senders.Kind, int] = field(default_factory=lambda: senders.WEIGHTS)
    faults: Sequence[Fault] = field(default_factory=lambda: FAULTS)
    faults_stay: bool = False
    gap: tuple[float, float] = GAP
    longest_stop: float = 35.0
    quiet: float = 300.0
    persistence: Persistence = Persistence.EACH_WRITE
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class RunResult:
    """A row of the table, and what must be empty: `violations`."""

    seed: int
    submissions: int
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    fault_counts: dict[str, int] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    """Pipedrive's, each with how many calls it picked and hit."""
    states: dict[str, int] = field(default_factory=dict)
    created: int = 0
    labelled: int = 0
    dead: int = 0
    replayed: int = 0
    pointers: int = 0
    failed_jobs: int = 0
    lost: int = 0
    doubled: int = 0
    cut_bytes: int = 0
    """What the power cuts took from Redis's file."""
    load_seconds: float = 0.0
    quiet_seconds: float = 0.0
    seconds: float = 0.0
    violations: list[dict[str, Any]] = field(default_factory=list)

    def count_faults(self, act: str) -> int:
        """How many processes were hit by `kill`, `stop` or `term`."""
        return sum(count for name, count in self.fault_counts.items() if name.startswith(act))

    kills = property(lambda self: self.count_faults("kill"))
    stops = property(lambda self: self.count_faults("stop"))
    terms = property(lambda self: self.count_faults("term"))


def run(plan: Plan, folder: Path) -> RunResult:
    """Run one seed, from an empty directory to the check.

    Where Redis does not sync each write, its kills are power cuts.
    """
    began = time.monotonic()
    posts = senders.plan_posts(plan.seed, plan.submissions, plan.weights)
    process_faults = cluster.plan_faults(plan.seed, plan.kills, plan.gap, plan.longest_stop)
    outcome = RunResult(plan.seed, plan.submissions)
    settings = {"CHAOS_SECRET": "not-sent"} | plan.settings
    with (
        mock.patch.object(processes, "MAX_DELAY_SECONDS", RESTART_SECONDS),
        persistence(plan.persistence),
        run_stack(folder, senders.CHAOS_SOURCES, cluster.Cluster, **settings) as running,
        show_progress(_progress_line(plan, running, posts, outcome)),
    ):
        for match, effect in plan.faults:
            running.fault(match | {"seed": plan.seed}, effect)
        faults = _run_load(plan, running, posts, process_faults, outcome)
        calm = time.monotonic()
        if not plan.faults_stay:
            outcome.faults = running.sandbox()["faults"]
            running.heal()
        faults += _wait_until_idle(running, plan.quiet, outcome)
        outcome.faults = outcome.faults or running.sandbox()["faults"]
        outcome.quiet_seconds = round(time.monotonic() - calm, 1)
        facts = _facts(running, folder)
        violations = [Violation("run", fault) for fault in faults] + check(
            facts, posts, forgets=plan.persistence is Persistence.NO_FILE
        )
        outcome.violations = [_describe(running, violation) for violation in violations]
        _count(outcome, facts, posts, violations)
    outcome.seconds = round(time.monotonic() - began, 1)
    (folder / "run.json").write_text(
        json.dumps({"plan": asdict(plan), "outcome": asdict(outcome)}, indent=1), encoding="utf-8"
    )
    return outcome


def _progress_line(
    plan: Plan, running: RunningStack, posts: Sequence[senders.Post], outcome: RunResult
) -> Callable[[], str]:
    """How far a run has got; raises while Redis is down."""

    def line() -> str:
        with connect(running.stack.endpoints.redis_url, timeout=1) as client:
            sent, left = (
                senders.count_posts(posts, lambda post: bool(post.statuses)),
                count_unfinished(client),
            )
        kills = f", {outcome.kills} of {plan.kills} kills" if plan.kills else ""
        return (
            f"seed {plan.seed}: {sent} of {len(posts)} posts sent{kills}, {left} not delivered yet"
        )

    return line


def _run_load(
    plan: Plan,
    running: RunningStack,
    posts: list[senders.Post],
    process_faults: list[cluster.ProcessFault],
    outcome: RunResult,
) -> list[str]:
    """Send load and inject faults until both are over. Returns what went wrong with the run."""
    began = time.monotonic()
    whole = running.stack
    assert isinstance(whole, cluster.Cluster)
    seconds = max(sum(fault.wait for fault in process_faults), plan.seconds)
    sending = senders.Senders(whole.service_urls, posts, seconds, plan.seed)
    faults = []
    with PowerCut(Path(whole.endpoints.env["LEADLINE_DATA_DIR"])) as power:
        kill = power.kill if plan.persistence is Persistence.EVERY_SECOND else _kill
        killer = cluster.ProcessKiller(
            lambda: whole.pids, process_faults, outcome.fault_counts, kill
        )
        sending.start()
        killer.start()
        if not killer.join(3 * seconds + 60) or killer.missed:
            faults.append(f"not all process_faults could be dealt: {killer.missed}")
        if not sending.join(2 * seconds + senders.MAX_RETRY_SECONDS):
            faults.append("not all posts could be sent")
    outcome.cut_bytes = power.cut_bytes
    outcome.load_seconds = round(time.monotonic() - began, 1)
    return faults + sending.faults


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _wait_until_idle(running: RunningStack, seconds: float, outcome: RunResult) -> list[str]:
    """Wait until idle; replay once what died of the faults, as an operator would, and wait
    for as well.
    """
    with connect(running.stack.endpoints.redis_url, timeout=10) as client:
        data = Path(running.stack.endpoints.env["LEADLINE_DATA_DIR"])

        def still() -> bool:
            with suppress(redis.RedisError, LeadlineError):
                return not any(leftovers(client, data).values()) and count_unfinished(client) == 0
            return False

        if not eventually(still, seconds):
            return [f"not quiet after {seconds:g} s"]
        outcome.replayed = _replay(client)
        if outcome.replayed and not eventually(still, seconds):
            return [f"not quiet {seconds:g} s after the replay"]
    return []


def _replay(client: redis.Redis) -> int:
    ledger = Ledger(client, Cipher(()))
    sweeper = Sweeper(ledger, open_queue(client))
    dead = [
        record
        for record in ledger.each_in(State.DEAD)
        if record.cause is None or record.cause.code != DELIBERATE_CAUSE
    ]
    for record in dead:
        sweeper.replay(record.id, "chaos", "", None)
    return len(dead)


def _facts(running: RunningStack, folder: Path) -> Facts:
    whole = running.stack
    assert isinstance(whole, cluster.Cluster)
    with connect(whole.endpoints.redis_url, timeout=10) as client:
        return gather(
            client,
            running.sandbox(),
            metrics_of(whole.service_urls[0], eventually),
            folder / "data",
        )


def _describe(running: RunningStack, violation: Violation) -> dict[str, Any]:
    """A violation, with the timeline and attempts of the submission it is about."""
    details: dict[str, Any] = asdict(violation)
    if violation.submission:
        with connect(running.stack.endpoints.redis_url, timeout=10) as client:
            ledger = Ledger(client, Cipher(()))
            details["timeline"] = [f"{moment.at:.3f} {moment.state} {moment.by} {moment.why or ''}" for moment in
                                ledger.timeline(violation.submission)]  # fmt: skip
            details["attempts"] = [f"{attempt.at:.3f} {attempt.step} {attempt.outcome} {attempt.detail or ''}" for attempt in
                                ledger.attempts(violation.submission)]  # fmt: skip
    return details


def _count(
    outcome: RunResult, facts: Facts, posts: Sequence[senders.Post], violations: Sequence[Violation]
) -> None:
    answers = Counter(post.answer for post in posts)
    outcome.acknowledged, outcome.refused, outcome.unknown = (
        answers[kind] for kind in senders.Answer
    )
    records = facts.records.values()
    outcome.states = dict(Counter(record.state.value for record in records))
    outcome.created = sum(record.result == "created" for record in records)
    outcome.labelled = sum(record.result == "labelled" for record in records)
    outcome.dead = sum(record.state is State.DEAD for record in records)
    outcome.pointers = sum(record.duplicate_of is not None for record in records)
    outcome.failed_jobs = facts.failed_jobs
    outcome.lost = sum(violation.rule in ("lost", "stuck") for violation in violations)
    outcome.doubled = sum("doubled" in violation.rule for violation in violations)


COLUMNS = ("seed", "submissions", "acknowledged", "refused", "unknown", "kills", "stops", "terms", "created", "labelled", "dead",
           "replayed", "lost", "doubled", "seconds")  # fmt: skip


def table(outcomes: Sequence[RunResult]) -> str:
    """One row per seed, as Markdown; below it the faults by process."""
    rows = [[str(getattr(outcome, name)) for name in COLUMNS] for outcome in outcomes]
    if len(outcomes) > 1:
        sums = [sum(getattr(outcome, name) for outcome in outcomes) for name in COLUMNS[1:]]
        rows.append(["all", *(f"{number:.0f}" for number in sums)])
    widths = [max(len(text) for text in column) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [_row(COLUMNS, widths), _row(["-" * (width - 1) + ":" for width in widths], widths)]
    lines += [_row(row, widths) for row in rows]
    dealt: Counter[str] = sum((Counter(outcome.fault_counts) for outcome in outcomes), Counter())
    process_faults = (
        ["", ", ".join(f"{name} {count}" for name, count in sorted(dealt.items()))] if dealt else []
    )
    return "\n".join(lines + process_faults)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
    )


def report(outcome: RunResult, folder: Path) -> str:
    """What was violated, and where to look."""
    lines = [
        f"seed {outcome.seed}: {len(outcome.violations)} violations; data and logs are in {folder}"
    ]
    for violation in outcome.violations[:20]:
        lines.append(
            f"  {violation['rule']}: {violation['submission'] or ''} {violation['detail']}"
        )
        lines += [
            f"      {line}"
            for line in [*violation.get("timeline", []), *violation.get("attempts", [])]
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    log_errors_only()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    folder = Path(options.keep or tempfile.mkdtemp(prefix="leadline-chaos-"))
    outcomes = []
    for turn, seed in enumerate(seeds):
        plan = Plan(
            seed,
            _share(options.submissions, len(seeds), turn),
            _share(options.kills, len(seeds), turn),
            quiet=options.quiet,
            persistence=Persistence(options.redis),
        )
        print(f"seed {seed}: {plan.submissions} submissions, {plan.kills} kills ...", flush=True)
        outcome = run(plan, folder / str(seed))
        outcomes.append(outcome)
        print(table([outcome]), flush=True)
        if outcome.violations:
            print(report(outcome, folder / str(seed)), flush=True)
        elif not options.keep:
            shutil.rmtree(folder / str(seed), ignore_errors=True)
    print("\n" + table(outcomes))
    bad = [outcome for outcome in outcomes if outcome.violations]
    again = (
        f"python -m tests.chaos.loop --submissions {options.submissions} --kills {options.kills}"
        f" --seeds {options.seeds} --redis {options.redis}"
    )
    print(f"\n{sum(len(outcome.violations) for outcome in outcomes)} violations. Again: {again}")
    if options.markdown:
        Path(options.markdown).write_text(table(outcomes) + "\n", encoding="utf-8")
    if options.json:
        Path(options.json).write_text(
            json.dumps([asdict(outcome) for outcome in outcomes], indent=1), encoding="utf-8"
        )
    return 1 if bad else 0


def _share(number: int, parts: int, turn: int) -> int:
    return number // parts + (turn < number % parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.loop", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--submissions", type=int, default=10_000, help="of all seeds together")
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs, of all seeds together")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated")
    parser.add_argument(
        "--quiet", type=float, default=300.0, help="seconds the wait for quiet may take"
    )
    parser.add_argument(
        "--redis",
        choices=[kind.value for kind in Persistence],
        default=Persistence.EACH_WRITE.value,
        help="how Redis persists; everysec: its kills cut off what it has not synced",
    )
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--markdown", help="write the table to this file")
    parser.add_argument("--keep", help="work in this directory and keep it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
