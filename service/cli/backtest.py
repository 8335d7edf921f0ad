"""`leadline backtest`: what the current source file would make of the stored submissions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from service.cli import output, setup
from service.cli.output import count_progress, print_table, printable
from service.cli.queries import since_option
from service.reports.backtest import BacktestResult, BacktestTotals, BacktestVerdict
from service.reports.backtest import backtest as judge
from service.reports.changes import BacktestChange
from service.settings import source_file
from service.sources.schema import SourceFile
from worker.settings.table import Settings

# Submissions that are printed one by one; all are counted, and --json has all.
MAX_ROWS_PRINTED = 50
MAX_CHANGES_PRINTED = 6
UNLISTED_VERDICTS = frozenset({BacktestVerdict.SAME, BacktestVerdict.NO_CONTENT})


@click.command()
@click.option("--source", help="Only this source.")
@since_option
@click.option(
    "--limit", type=click.IntRange(min=1), help="Only the newest N, by their last change."
)
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier source file: changed rules and settings show as well.",
)
@click.option("--reveal", is_flag=True, help="Show personal data, which is masked otherwise.")
@output.json_option
def backtest(
    source: str | None,
    since: float,
    limit: int | None,
    against: Path | None,
    reveal: bool,
    as_json: bool,
) -> None:
    """Show what the current source file would change.

    Reads the stored submissions again, without checking signatures. Stores and sends nothing. Exit
    code 1 if something would fail that did not before.
    """
    settings = setup.load_settings(Settings.for_service)
    now = setup.read_source_file(source_file(settings))
    before = setup.read_source_file(against) if against else None
    _check_source(source, now, before)
    totals = BacktestTotals()
    with setup.open_ledger(settings) as ledger:
        matching = ledger.scan_heads(since=since, source=source)
        heads = islice(matching, limit) if limit else matching
        records = count_progress(
            ledger.each_record((head.id for head in heads), raw=True), "submissions read"
        )
        results = (
            judge(
                record,
                now.sources.get(record.source),
                before.sources.get(record.source) if before else None,
                reveal=reveal,
            )
            for record in records
            if record.duplicate_of is None
        )
        if as_json:
            _print_json(results, totals)
        else:
            _print(results, totals, has_before=before is not None)
    sys.exit(totals.new_failures > 0)


def _check_source(source: str | None, now: SourceFile, before: SourceFile | None) -> None:
    names = {*now.sources, *(before.sources if before else ())}
    if source is not None and source not in names:
        click.echo(
            f"warning: no source {source!r} in {now.path}; it has: {', '.join(sorted(names))}",
            err=True,
        )


def _print_json(results: Iterator[BacktestResult], totals: BacktestTotals) -> None:
    """Prints one object piece by piece, so that all items are never in memory together."""
    click.echo('{"items": [', nl=False)
    comma = ""
    for result in results:
        totals.add(result)
        if result.verdict not in UNLISTED_VERDICTS:
            click.echo(f"{comma}\n  {msgspec.json.encode(result).decode()}", nl=False)
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


def _print(results: Iterator[BacktestResult], totals: BacktestTotals, *, has_before: bool) -> None:
    rows: list[list[str]] = []
    left = 0
    for result in results:
        totals.add(result)
        if result.verdict in UNLISTED_VERDICTS:
            continue
        if len(rows) < MAX_ROWS_PRINTED or (
            result.new_failure and len(rows) < 2 * MAX_ROWS_PRINTED
        ):
            rows.append(_row(result))
        else:
            left += 1
    if rows:
        print_table(["id", "source", "would be", "what"], rows)
        click.echo(f"and {left:,} more; --json lists all\n" if left else "")
    _print_counts(totals, has_before=has_before)


def _row(result: BacktestResult) -> list[str]:
    verdict = f"{result.verdict}{' (new)' if result.new_failure else ''}"
    changes = [*result.fields, *result.writing]
    described = [_describe_change(change) for change in changes[:MAX_CHANGES_PRINTED]]
    if len(changes) > MAX_CHANGES_PRINTED:
        described.append(f"{len(changes) - MAX_CHANGES_PRINTED} more")
    why = [result.why] if result.why and result.verdict is not BacktestVerdict.CHANGED else []
    by = [f"edited by {result.edited_by}"] if result.edited_by else []
    return [result.id, result.source, verdict, "; ".join((*by, *why, *described))]


def _describe_change(change: BacktestChange) -> str:
    return f"{change.field}: {_shorten(change.before)} -> {_shorten(change.after)}"


def _shorten(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _print_counts(totals: BacktestTotals, *, has_before: bool) -> None:
    # Verdicts are declared in the order of the columns.
    used = [
        verdict
        for verdict in BacktestVerdict
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
    print_table(columns, rows, title="By source", empty="no stored submissions match")
    if totals.fields:
        counted_fields = [
            (source, name, count) for (source, name), count in totals.fields.most_common(20)
        ]
        print_table(["source", "field", "leads"], counted_fields, title="What changes most")
    if not has_before and totals.looked_at:
        click.echo(
            "Rules and settings of the current file are applied before and after; with --against"
            " an earlier file, their changes show as well."
        )
