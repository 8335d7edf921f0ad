"""`leadline attribution`: how many leads carry channel, channel id, campaign and click id, and what
no rule matched.
"""

from __future__ import annotations

import os

import click

from service.cli import output, setup
from service.cli.output import count_progress, print_columns, printable
from service.cli.queries import since_option
from service.reports import stored
from service.reports.attribution import (
    LEAD_STATES,
    AttributionCounter,
    AttributionCounts,
    AttributionReport,
    SourceAttribution,
)
from service.settings import source_file
from service.sources.schema import ConfigError
from service.sources.source_file.loader import build_lead_mappings, load_sources
from worker.lead.settings import LeadMapping
from worker.settings import Settings

MAX_ROWS_PRINTED = 15
"""Campaigns of one source that people are shown."""
COLUMNS = ["leads", "channel", "channel_id", "UTM", "click id", "all three"]


@click.command()
@click.option("--source", help="Only leads of this source.")
@since_option
@output.json_option
def attribution(source: str | None, since: float, as_json: bool) -> None:
    """How many stored leads carry channel, channel_id, UTM and click id, by source and campaign,
    and what no rule matched.

    By the source file as it is. Shows no personal data.
    """
    settings = setup.load_settings(Settings.for_service)
    tally = AttributionCounter(_load_mappings(settings))
    with setup.open_store(settings) as store:
        heads = stored.heads(store.ledger, since=since, states=LEAD_STATES, source=source)
        for record in count_progress(
            stored.records(store.ledger, heads, raw=False), "leads counted"
        ):
            if record.fetch is None:
                tally.add(record)
    report = tally.report()
    if as_json:
        output.print_json(report)
        return
    _print(report)


def _load_mappings(settings: Settings) -> dict[str, LeadMapping]:
    try:
        return build_lead_mappings(load_sources(source_file(settings), os.environ, secrets=()))
    except ConfigError as error:
        setup.exit_with_error(
            "leadline: the source file cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def _print(report: AttributionReport) -> None:
    rows = [[share.source, *_row(share.total), _unmatched(share)] for share in report.sources]
    if len(rows) > 1:
        rows.append(["total", *_row(report.total), ""])
    if not rows:
        click.echo("no leads are stored that match")
    _table("By source", ["source", *COLUMNS, "no rule"], rows)
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
        _table(f"{share.source}: by campaign", ["campaign", *COLUMNS], rows)
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
        _table(f"{share.source}: by rule", ["rule", "when", "leads"], rows)
    if share.unmatched_from:
        rows = [
            [one.utm_source, one.utm_medium, _share(one.leads, share.unmatched)]
            for one in share.unmatched_from[:MAX_ROWS_PRINTED]
        ]
        _table(
            f"{share.source}: where those without a rule come from",
            ["utm_source", "utm_medium", "leads"],
            rows,
        )
    for fault, leads in share.faults.items():
        click.echo(f"{printable(share.source)}: {leads:,} leads: {printable(fault)}")


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        click.echo(click.style(printable(title), bold=True, underline=True))
        print_columns(columns, rows)
        click.echo()


def _row(carried: AttributionCounts) -> list[str]:
    counts = (carried.channel, carried.channel_id, carried.utm, carried.click_id, carried.complete)
    return [f"{carried.leads:,}", *(_share(count, carried.leads) for count in counts)]


def _unmatched(share: SourceAttribution) -> str:
    return _share(share.unmatched, share.total.leads) if share.rules else ""


def _share(part: int, whole: int) -> str:
    """`120 (40 %)`; a part that is not all never reads 100 %, and one that is not none never 0
    %.
    """
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
