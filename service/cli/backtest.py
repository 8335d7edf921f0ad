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
from service.cli.output import counted, inert, print_columns
from service.cli.queries import since_option
from service.reports import stored
from service.reports.backtest import Change, Finding, Totals, Verdict
from service.reports.backtest import backtest as judged
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import load_sources
from worker.settings import Settings

SHOWN = 50
"""Submissions that people are shown one by one; all are counted, and `--json` lists all."""
CHANGES_SHOWN = 6
QUIET = frozenset({Verdict.SAME, Verdict.NO_CONTENT})
CHANGES = (Verdict.SAME, Verdict.CHANGED, Verdict.WRITTEN, Verdict.LEAD_NOW, Verdict.NO_LEAD_NOW, Verdict.FAILS, Verdict.EDITED,
           Verdict.NO_CONTENT)  # fmt: skip


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
    settings = setup.settings(Settings.for_service)
    now, before = _file(source_file(settings)), _file(against) if against else None
    _check_source(source, now, before)
    totals = Totals()
    with setup.opened(settings) as store:
        wanted = stored.heads(store.ledger, since=since, source=source)
        heads = islice(wanted, limit) if limit else wanted
        records = counted(stored.records(store.ledger, heads, raw=True), "submissions looked at")
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
        setup.stop(
            f"leadline: the source file {path} cannot be used:",
            *(f"  {fault}" for fault in error.faults),
        )


def _check_source(source: str | None, now: SourceFile, before: SourceFile | None) -> None:
    known = {*now.sources, *(before.sources if before else ())}
    if source is not None and source not in known:
        click.echo(
            f"warning: no source {source!r} in {now.path}; it has: {', '.join(sorted(known))}",
            err=True,
        )


def _print_json(findings: Iterator[Finding], totals: Totals) -> None:
    """One object, written piece by piece: all items never stand in memory together."""
    click.echo('{"items": [', nl=False)
    comma = ""
    for finding in findings:
        totals.add(finding)
        if finding.verdict not in QUIET:
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


def _print(findings: Iterator[Finding], totals: Totals, *, has_before: bool) -> None:
    rows: list[list[str]] = []
    left = 0
    for finding in findings:
        totals.add(finding)
        if finding.verdict in QUIET:
            continue
        if len(rows) < SHOWN or (finding.new_failure and len(rows) < 2 * SHOWN):
            rows.append(_row(finding))
        else:
            left += 1
    if rows:
        print_columns(["id", "source", "would be", "what"], rows)
        click.echo(f"and {left:,} more; --json lists all\n" if left else "")
    _print_counts(totals, has_before=has_before)


def _row(finding: Finding) -> list[str]:
    verdict = f"{finding.verdict}{' (new)' if finding.new_failure else ''}"
    changes = [*finding.fields, *finding.writing]
    said = [_change(change) for change in changes[:CHANGES_SHOWN]]
    if len(changes) > CHANGES_SHOWN:
        said.append(f"{len(changes) - CHANGES_SHOWN} more")
    why = [finding.why] if finding.why and finding.verdict is not Verdict.CHANGED else []
    by = [f"edited by {finding.edited_by}"] if finding.edited_by else []
    return [finding.id, finding.source, verdict, "; ".join((*by, *why, *said))]


def _change(change: Change) -> str:
    return f"{change.field}: {_short(change.before)} -> {_short(change.after)}"


def _short(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = inert(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _print_counts(totals: Totals, *, has_before: bool) -> None:
    used = [
        verdict for verdict in CHANGES if any(counts[verdict] for counts in totals.sources.values())
    ]
    columns = ["source", "looked at", *used, "new failures"]
    rows = [
        [
            name,
            sum(counts[verdict] for verdict in Verdict),
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
