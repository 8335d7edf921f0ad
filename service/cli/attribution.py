"""`leadline attribution`: how completely leads carry their attribution."""

from __future__ import annotations

import click

from service.cli import output, setup
from service.cli.output import count_progress, print_table, printable
from service.cli.queries import since_option
from service.reports.attribution import (
    LEAD_STATES,
    AttributionCounter,
    AttributionCounts,
    AttributionReport,
    SourceAttribution,
)
from service.settings import source_file
from service.sources.source_file.loader import build_lead_mappings
from worker.settings.table import Settings

# Campaigns of one source that are printed; --json has all.
MAX_ROWS_PRINTED = 15
COLUMNS = ["leads", "channel", "channel_id", "UTM", "click id", "all three"]


@click.command()
@click.option("--source", help="Only this source.")
@since_option
@output.json_option
def attribution(source: str | None, since: float, as_json: bool) -> None:
    """Count the leads that carry channel, campaign and click id.

    Counts stored leads by source and campaign, and shows what no rule matched, under the current
    source file. Shows no personal data.
    """
    settings = setup.load_settings(Settings.for_service)
    file = setup.read_source_file(source_file(settings))
    counter = AttributionCounter(build_lead_mappings(file))
    with setup.open_ledger(settings) as ledger:
        heads = ledger.scan_heads(LEAD_STATES, since=since, source=source)
        for record in count_progress(
            ledger.each_record((head.id for head in heads), raw=False), "leads counted"
        ):
            if record.fetch is None:
                counter.add(record)
    report = counter.report()
    if as_json:
        output.print_json(report)
        return
    _print(report)


def _print(report: AttributionReport) -> None:
    rows = [[share.source, *_row(share.total), _unmatched(share)] for share in report.sources]
    if len(rows) > 1:
        rows.append(["total", *_row(report.total), ""])
    if not rows:
        click.echo("no stored leads match")
    _print_table("By source", ["source", *COLUMNS, "no rule"], rows)
    for share in report.sources:
        _print_source(share)
    if report.without_content:
        click.echo(f"not counted: {report.without_content:,} whose content was erased")


def _print_source(share: SourceAttribution) -> None:
    campaigns = list(share.campaigns.items())
    if campaigns and (len(campaigns) > 1 or share.total.utm):
        rows = [[name, *_row(carried)] for name, carried in campaigns[:MAX_ROWS_PRINTED]]
        if rest := campaigns[MAX_ROWS_PRINTED:]:
            rows.append(
                [
                    f"{len(rest):,} more",
                    f"{sum(carried.leads for _, carried in rest):,}",
                    *[""] * (len(COLUMNS) - 1),
                ]
            )
        _print_table(f"{share.source}: by campaign", ["campaign", *COLUMNS], rows)
    if share.rules:
        rows = [
            [
                str(rule.number),
                _describe_conditions(rule.when),
                _share(rule.leads, share.total.leads),
            ]
            for rule in share.rules
        ]
        rows.append(["–", "no rule matched", _unmatched(share)])
        _print_table(f"{share.source}: by rule", ["rule", "when", "leads"], rows)
    if share.unmatched_from:
        rows = [
            [one.utm_source, one.utm_medium, _share(one.leads, share.unmatched)]
            for one in share.unmatched_from[:MAX_ROWS_PRINTED]
        ]
        _print_table(
            f"{share.source}: where leads without a rule come from",
            ["utm_source", "utm_medium", "leads"],
            rows,
        )
    for fault, leads in share.faults.items():
        click.echo(f"{printable(share.source)}: {output.plural(leads, 'lead')}: {printable(fault)}")


def _print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        print_table(columns, rows, title=title)


def _row(carried: AttributionCounts) -> list[str]:
    counts = (carried.channel, carried.channel_id, carried.utm, carried.click_id, carried.complete)
    return [f"{carried.leads:,}", *(_share(count, carried.leads) for count in counts)]


def _unmatched(share: SourceAttribution) -> str:
    return _share(share.unmatched, share.total.leads) if share.rules else ""


def _share(part: int, whole: int) -> str:
    """`120 (40 %)`: a part that is neither all nor none never reads 100 % or 0 %."""
    if not whole:
        return "0"
    percent = round(100 * part / whole)
    bounded = min(percent, 99) if part < whole else percent
    return f"{part:,} ({max(bounded, 1) if part else 0} %)"


def _describe_conditions(when: dict[str, object]) -> str:
    return ", ".join(
        f"{name} = {' or '.join(value) if isinstance(value, list) else value}"
        for name, value in when.items()
    )
