"""Reads every labelled submission and prints the precision and recall: `make corpus`.

    python -m tests.corpus [--language xx] [--kind KIND] [--product ADAPTER] [--only GLOB] [--json]

By field, kind, product and language, then each thing read wrong. Exits with 1 below the floor in
`floor.py`, and with a choice of cases, for which there is no floor, if any of them is read wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from service.cli.output import print_table
from tests.corpus.floor import below_floor, group_of
from tests.corpus.reading import load_cases, score_all
from tests.corpus.score import Case, CaseScore, Tally, by_field, group

COLUMNS = (
    "cases",
    "right",
    "true +",
    "false +",
    "false -",
    "precision",
    "recall",
    "somebody else's",
)


def main(words: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(words)
    try:
        everything = load_cases()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    cases = [case for case in everything if _is_chosen(case, chosen)]
    if not cases:
        print("no such case", file=sys.stderr)
        return 2
    scores = score_all(cases)
    is_whole = len(cases) == len(everything)
    faults = below_floor(scores) if is_whole else []
    if chosen.json:
        print(json.dumps(report(scores, faults), ensure_ascii=False, indent=2))
    else:
        _print_report(scores, faults)
    is_wrong = bool(faults) if is_whole else any(each.mistakes for each in scores)
    return int(is_wrong)


def tables(scores: Sequence[CaseScore]) -> dict[str, dict[str, Tally]]:
    """The tallies by field, kind, product, language and group."""
    return {
        "field": by_field(scores),
        "kind": group(scores, lambda each: each.case.kind),
        "product": group(scores, lambda each: each.case.product),
        "language": group(scores, lambda each: each.case.language),
        "all": group(scores, group_of),
    }


def report(scores: Sequence[CaseScore], faults: list[str]) -> dict[str, Any]:
    """The whole report, for programs."""
    return {
        "tables": {
            title: {name: _as_dict(tally) for name, tally in rows.items()}
            for title, rows in tables(scores).items()
        },
        "wrong": [
            {"case": each.case.name, **mistake._asdict()}
            for each in scores
            for mistake in each.mistakes
        ],
        "below_floor": faults,
    }


def _print_report(scores: Sequence[CaseScore], faults: list[str]) -> None:
    wrong = [(each.case.name, mistake) for each in scores for mistake in each.mistakes]
    for title, rows in tables(scores).items():
        print_table((title, *COLUMNS), [(name, *_cells(tally)) for name, tally in rows.items()])
        print()
    print_table(
        ("case", "field", "expected", "got"),
        [
            (name, mistake.field, _format(mistake.expected), _format(mistake.got))
            for name, mistake in wrong
        ],
        title="Read wrong",
    )
    for fault in faults:
        print(f"below the floor: {fault}")


def _cells(tally: Tally) -> tuple[object, ...]:
    return (
        tally.cases,
        tally.right,
        tally.true_positives,
        tally.false_positives,
        tally.false_negatives,
        f"{tally.precision:.3f}",
        f"{tally.recall:.3f}",
        tally.others_data,
    )


def _as_dict(tally: Tally) -> dict[str, float]:
    return {**vars(tally), "precision": tally.precision, "recall": tally.recall}


def _format(value: Any) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def _is_chosen(case: Case, chosen: argparse.Namespace) -> bool:
    return (
        chosen.language in (None, case.language)
        and chosen.kind in (None, case.kind)
        and chosen.product in (None, case.product)
        and fnmatch(case.name, chosen.only)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.corpus", description="How well the labelled submissions are read."
    )
    parser.add_argument("--language", metavar="XX", help="only this language")
    parser.add_argument("--kind", help="only this kind, such as form or json")
    parser.add_argument("--product", metavar="ADAPTER", help="only sources with this adapter")
    parser.add_argument("--only", default="*", metavar="GLOB", help="only cases so named")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
