"""`leadline backtest`: what the source file on disk would make of the submissions that are
stored.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from service.cli import output, setup
from service.cli.output import count_progress, print_columns, printable
from service.cli.queries import since_option
from service.reports import stored
from service.reports.backtest import BacktestResult, BacktestTotals, BacktestVerdict, FieldChange
from service.reports.backtest import backtest as judged
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import load_sources
from worker.settings import Settings

MAX_ROWS_PRINTED = 50
"""Submissions that people are shown one by one; all are counted, and `--json` lists all."""
MAX_CHANGES_PRINTED = 6
UNLISTED_VERDICTS = frozenset({BacktestVerdict.SAME, BacktestVerdict.NO_CONTENT})
COLUMN_ORDER = (BacktestVerdict.SAME, BacktestVerdict.CHANGED, BacktestVerdict.WRITTEN, BacktestVerdict.LEAD_NOW, BacktestVerdict.NO_LEAD_NOW, BacktestVerdict.FAILS, BacktestVerdict.EDITED,
           BacktestVerdict.NO_CONTENT)  # fmt: skip


@click.command()
@click.option("--source", help="Only submissions of this source.")
@since_option
@click.option(
    "--limit", type=click.IntRange(min=1), help="Only the newest N, by their last change."
)
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=(
        "The source file as it was: then changed rules and settings show as well. Left out: what is"
        " stored stands for it."
    ),
)
@click.option("--reveal", is_flag=True, help="Show personal data, which are masked otherwise.")
@output.json_option
def backtest(
    source: str | None,
    since: float,
    limit: int | None,
    against: Path | None,
    reveal: bool,
    as_json: bool,
) -> None:
    """The source file on disk over the submissions still stored: which leads would change, and
    which would fail.

    Nothing is stored or sent. The reading is judged, not the door: signatures are not checked
    again. Ends with 1 if something would fail that did not before.
    """
    settings = setup.load_settings(Settings.for_service)
    now, before = _file(source_file(settings)), _file(against) if against else None
    _check_source(source, now, before)
    totals = BacktestTotals()
    with setup.open_store(settings) as store:
        wanted = stored.heads(store.ledger, since=since, source=source)
        heads = islice(wanted, limit) if limit else wanted
        records = count_progress(
            stored.records(store.ledger, heads, raw=True), "submissions looked at"
        )
        findings = (
            judged(
                record, now.sources.get(record.source),
                before.sources.get(record.source) if before else None, reveal=reveal
            )
            for record in records
            if record.duplicate_of is None
        )  # fmt: skip
        (
            _print_json(findings, totals)
            if as_json
            else _print(findings, totals, has_before=before is not None)
        )
    sys.exit(totals.new_failures > 0)


def _file(path: Path) -> SourceFile:
    try:
        return load_sources(path, os.environ, secrets=())
    except ConfigError as error:
        setup.exit_with_error(
            f"leadline: the source file {path} cannot be used:",
            *(f"  {fault}" for fault in error.faults),
        )


def _check_source(source: str | None, now: SourceFile, before: SourceFile | None) -> None:
    names = {*now.sources, *(before.sources if before else ())}
    if source is not None and source not in names:
        click.echo(
            f"warning: no source {source!r} in {now.path}; it has: {', '.join(sorted(names))}",
            err=True,
        )


def _print_json(findings: Iterator[BacktestResult], totals: BacktestTotals) -> None:
    """One object, written piece by piece: all items never stand in memory together."""
    click.echo('{"items": [', nl=False)
    comma = ""
    for finding in findings:
        totals.add(finding)
        if finding.verdict not in UNLISTED_VERDICTS:
            click.echo(f"{comma}\n  {msgspec.json.encode(finding).decode()}", nl=False)
            comma = ","
    fields = [
        {"source": source, "field": name, "count": count}
        for (source, name), count in totals.fields.most_common()
    ]
    rest = {
        "looked_at": totals.looked_at,
        "new_failures": totals.new_failures,
        "sources": {name: dict(counts) for name, counts in totals.sources.items()},
        "fields": fields,
    }
    click.echo(f"\n], {json.dumps(rest, ensure_ascii=False)[1:]}")


def _print(findings: Iterator[BacktestResult], totals: BacktestTotals, *, has_before: bool) -> None:
    rows: list[list[str]] = []
    left = 0
    for finding in findings:
        totals.add(finding)
        if finding.verdict in UNLISTED_VERDICTS:
            continue
        if len(rows) < MAX_ROWS_PRINTED or (
            finding.new_failure and len(rows) < 2 * MAX_ROWS_PRINTED
        ):
            rows.append(_row(finding))
        else:
            left += 1
    if rows:
        print_columns(["id", "source", "would be", "what"], rows)
        click.echo(f"and {left:,} more; --json lists all\n" if left else "")
    _print_counts(totals, has_before=has_before)


def _row(finding: BacktestResult) -> list[str]:
    verdict = f"{finding.verdict}{' (new)' if finding.new_failure else ''}"
    changes = [*finding.fields, *finding.writing]
    described = [_describe_change(change) for change in changes[:MAX_CHANGES_PRINTED]]
    if len(changes) > MAX_CHANGES_PRINTED:
        described.append(f"{len(changes) - MAX_CHANGES_PRINTED} more")
    why = [finding.why] if finding.why and finding.verdict is not BacktestVerdict.CHANGED else []
    by = [f"edited by {finding.edited_by}"] if finding.edited_by else []
    return [finding.id, finding.source, verdict, "; ".join((*by, *why, *described))]


def _describe_change(change: FieldChange) -> str:
    return f"{change.field}: {_shorten(change.before)} -> {_shorten(change.after)}"


def _shorten(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _print_counts(totals: BacktestTotals, *, has_before: bool) -> None:
    used = [
        verdict
        for verdict in COLUMN_ORDER
        if any(counts[verdict] for counts in totals.sources.values())
    ]
    columns = ["source", "looked at", *used, "new failures"]
    rows = [
        [
            name,
            sum(counts[verdict] for verdict in BacktestVerdict),
            *(counts[verdict] for verdict in used),
            counts["new failures"],
        ]
        for name, counts in sorted(totals.sources.items())
    ]
    output.table("By source", columns, rows, empty="nothing is stored that matches")
    if totals.fields:
        counted_fields = [
            (source, name, count) for (source, name), count in totals.fields.most_common(20)
        ]
        output.table("What changes most", ["source", "field", "leads"], counted_fields)
    if not has_before and totals.looked_at:
        click.echo(
            "Both leads are written by the file on disk; --against the file as it was shows what"
            " changed rules do."
        )
