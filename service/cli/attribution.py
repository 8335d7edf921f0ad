"""`leadline attribution`: how many leads carry channel, channel id, campaign and click id, and what
no rule matched.
"""

from __future__ import annotations

import os

import click

from service.cli import output, setup
from service.cli.output import counted, inert, print_columns
from service.cli.queries import since_option
from service.reports import stored
from service.reports.attribution import LEADS, Carried, Report, SourceShare, Tally
from service.settings import source_file
from service.sources.schema import ConfigError
from service.sources.source_file.loader import build_lead_mappings, load_sources
from worker.lead.settings import SourceWriting
from worker.settings import Settings

SHOWN = 15
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
    settings = setup.settings(Settings.for_service)
    tally = Tally(_writings(settings))
    with setup.opened(settings) as store:
        heads = stored.heads(store.ledger, since=since, states=LEADS, source=source)
        for record in counted(stored.records(store.ledger, heads, raw=False), "leads counted"):
            if record.fetch is None:
                tally.add(record)
    report = tally.report()
    if as_json:
        output.print_json(report)
        return
    _print(report)


def _writings(settings: Settings) -> dict[str, SourceWriting]:
    try:
        return build_lead_mappings(load_sources(source_file(settings), os.environ, secrets=()))
    except ConfigError as error:
        setup.stop(
            "leadline: the source file cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def _print(report: Report) -> None:
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


def _print_source(share: SourceShare) -> None:
    campaigns = list(share.campaigns.items())
    if campaigns and (len(campaigns) > 1 or share.total.utm):
        rows = [[name, *_row(carried)] for name, carried in campaigns[:SHOWN]]
        if rest := campaigns[SHOWN:]:
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
            [str(rule.number), _when(rule.when), _of(rule.leads, share.total.leads)]
            for rule in share.rules
        ]
        rows.append(["–", "no rule matched", _unmatched(share)])
        _table(f"{share.source}: by rule", ["rule", "when", "leads"], rows)
    if share.unmatched_from:
        rows = [
            [one.utm_source, one.utm_medium, _of(one.leads, share.unmatched)]
            for one in share.unmatched_from[:SHOWN]
        ]
        _table(
            f"{share.source}: where those without a rule come from",
            ["utm_source", "utm_medium", "leads"],
            rows,
        )
    for fault, leads in share.faults.items():
        click.echo(f"{inert(share.source)}: {leads:,} leads: {inert(fault)}")


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        click.echo(click.style(inert(title), bold=True, underline=True))
        print_columns(columns, rows)
        click.echo()


def _row(carried: Carried) -> list[str]:
    counts = (carried.channel, carried.channel_id, carried.utm, carried.click_id, carried.complete)
    return [f"{carried.leads:,}", *(_of(count, carried.leads) for count in counts)]


def _unmatched(share: SourceShare) -> str:
    return _of(share.unmatched, share.total.leads) if share.rules else ""


def _of(part: int, whole: int) -> str:
    """`120 (40 %)`; a part that is not all never reads 100 %, and one that is not none never 0
    %.
    """
    if not whole:
        return "0"
    percent = round(100 * part / whole)
    shown = min(percent, 99) if part < whole else percent
    return f"{part:,} ({max(shown, 1) if part else 0} %)"


def _when(when: dict[str, object]) -> str:
    return ", ".join(
        f"{name} = {' or '.join(value) if isinstance(value, list) else value}"
        for name, value in when.items()
    )
