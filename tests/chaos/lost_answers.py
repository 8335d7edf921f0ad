"""Pipedrive commits one create in five and loses the answer, over thousands of submissions: nothing
may be doubled or lost.

    python -m tests.chaos.lost_answers --submissions 5000

Persons, organisations, leads and notes alike, until the last one is delivered. A create whose
outcome is unknown settles for 3 s instead of 90, so that a run takes minutes; how often each kind
lost its answer is told at the end. Ends with 1 on any violation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.progress import log_errors_only
from tests.chaos.loop import Fault, Plan, RunResult, report, run, table
from tests.chaos.senders import Kind

CREATES = ("persons.add", "organizations.add", "leads.add", "notes.add")
SHARE = 0.2
LOST: list[Fault] = [
    ({"operation": name, "probability": SHARE}, {"kind": "commit-then-drop"}) for name in CREATES
]
WEIGHTS = {Kind.SITE: 40, Kind.FRESH: 30, Kind.FIRM: 30}
"""Labels and notes; a lead each time; an organisation as well."""

POSTS_A_SECOND = 100.0


def plan(submissions: int, seed: int, quiet: float) -> Plan:
    """No part is killed: only answers are lost. `quiet` (seconds) bounds the time from the last
    post to the last delivery.
    """
    return Plan(
        seed,
        submissions,
        kills=0,
        seconds=submissions / POSTS_A_SECOND,
        weights=WEIGHTS,
        faults=LOST,
        faults_stay=True,
        quiet=quiet,
        settings={"LEADLINE_SLOTS": "32"},
    )


def lost(outcome: RunResult) -> dict[str, tuple[int, int]]:
    """For each kind of create: how many were sent, and how many of them were committed without an
    answer.
    """
    return {
        rule["rule"]["match"]["operation"]: (rule["picked"], rule["hits"])
        for rule in outcome.faults
    }


def creates(outcome: RunResult) -> str:
    """The same as Markdown."""
    lines = ["| create | sent | committed, answer lost |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {name} | {sent} | {hits} |" for name, (sent, hits) in lost(outcome).items())]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(
        prog="python -m tests.chaos.lost_answers", description=__doc__.partition("\n")[0]
    )
    words.add_argument("--submissions", type=int, default=5000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument(
        "--quiet", type=float, default=900.0, help="seconds the wait for the last delivery may take"
    )
    words.add_argument("--json", type=Path, help="write the figures to this file")
    words.add_argument("--keep", type=Path, help="work in this directory and keep it")
    options = words.parse_args(arguments)
    log_errors_only()
    with tempfile.TemporaryDirectory(prefix="leadline-answers-") as temporary:
        folder = options.keep or Path(temporary)
        outcome = run(plan(options.submissions, options.seed, options.quiet), folder)
        print("\n".join(["", creates(outcome), "", table([outcome])]))
        if outcome.violations:
            print(report(outcome, folder))
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
