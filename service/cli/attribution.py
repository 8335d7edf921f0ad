"""`leadline attribution`: how completely leads carry their attribution, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

import click

from service.attribution import (
    LEAD_STATES,
    NONE,
    CampaignItem,
    format_won_value,
    read_campaigns,
)
from service.cli import output, setup
from service.cli.output import count_progress, print_table, printable
from service.cli.pipedrive_client import (
    NO_CREDENTIALS,
    build_client,
    daily_tokens,
    find_answering_redis,
)
from service.cli.queries import since_option
from service.reports.attribution import (
    AttributionCounter,
    AttributionCounts,
    AttributionReport,
    SourceAttribution,
)
from service.settings import source_file
from service.sources.source_file.loader import build_lead_mappings
from worker.errors import LeadlineError
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger
from worker.ledger.attribution_rows import AttributionRows
from worker.pipedrive.lead_outcomes import OutcomeRead, OutcomeReader, last_outcome_read
from worker.settings.table import Settings
from worker.units import format_iso

# Campaigns of one source that are printed; --json has all.
MAX_ROWS_PRINTED = 15
OUTCOME_KINDS = ("open", "archived", "converted", "won", "lost")
OUTCOME_COLUMNS = [
    "source", "campaign", "channel", "received", "delivered", *OUTCOME_KINDS, "won value"
]  # fmt: skip
COLUMNS = ["leads", "channel", "channel_id", "UTM", "click id", "all three"]


@click.command()
@click.option("--source", help="Only this source.")
@since_option
@click.option(
    "--outcomes", is_flag=True, help="Show what became of the leads in Pipedrive, as last read."
)
@click.option("--refresh", is_flag=True, help="Like --outcomes, but read Pipedrive now.")
@output.json_option
def attribution(
    source: str | None, since: float, outcomes: bool, refresh: bool, as_json: bool
) -> None:
    """Count the leads that carry channel, campaign and click id.

    Counts stored leads by source and campaign, and shows what no rule matched, under the current
    source file. With --outcomes, shows how many of them are open, archived, converted, won and lost
    in Pipedrive; workers read that every night. Shows no personal data.
    """
    outcomes = outcomes or refresh
    settings = setup.load_settings(Settings.for_all if outcomes else Settings.for_service)
    mappings = build_lead_mappings(setup.read_source_file(source_file(settings)))
    with setup.open_ledger(settings) as ledger:
        if refresh or (outcomes and _was_never_read(settings, ledger)):
            _read_outcomes(settings, ledger, mappings)
        if not (outcomes or as_json):
            _print(_count(ledger, mappings, source, since))
            return
        items = read_campaigns(
            ledger,
            mappings,
            source=source,
            since=since,
            progress=lambda rows: count_progress(rows, "leads counted"),
        )
        last = last_outcome_read(ledger.redis)
    if as_json:
        output.print_json({"items": items})
    else:
        print_table(OUTCOME_COLUMNS, _outcome_rows(items), empty="no leads match")
    # Not in the JSON, whose shape is fixed.
    if outcomes:
        click.echo(_describe_read(last), err=as_json)


def _count(
    ledger: Ledger, mappings: Mapping[str, LeadMapping], source: str | None, since: float
) -> AttributionReport:
    counter = AttributionCounter(mappings)
    heads = ledger.scan_heads(LEAD_STATES, since=since, source=source)
    for record in count_progress(
        ledger.each_record((head.id for head in heads), raw=False), "leads counted"
    ):
        if record.fetch is None:
            counter.add(record)
    return counter.report()


def _was_never_read(settings: Settings, ledger: Ledger) -> bool:
    """Whether nobody has read outcomes yet, and this command can."""
    return settings.has_credentials and last_outcome_read(ledger.redis) is None


def _read_outcomes(settings: Settings, ledger: Ledger, mappings: Mapping[str, LeadMapping]) -> None:
    """Read everything anew; a failure ends the command with 1 and advice."""
    if not settings.has_credentials:
        setup.exit_with_error(*NO_CREDENTIALS)
    with build_client(settings, find_answering_redis(settings)) as client:
        reader = OutcomeReader(
            ledger.redis,
            client,
            AttributionRows(ledger, mappings),
            daily_tokens=daily_tokens(settings),
            time_zone=lambda: UTC,
            clock=ledger.now,
        )
        try:
            with output.show_working("reading outcomes"):
                last = reader.read_now()
        except LeadlineError as error:
            setup.exit_with_error(f"leadline: {error}; {error.advice}")
    if last is None:
        setup.exit_with_error(
            "leadline: not read to the end: deliveries may need what is left of today's API tokens;"
            " the workers go on tomorrow"
        )


def _outcome_rows(items: Sequence[CampaignItem]) -> list[list[str]]:
    rows = [
        [item.source, item.campaign or NONE, item.channel or NONE, *_outcome_cells([item])]
        for item in items
    ]
    return [*rows, ["total", "", "", *_outcome_cells(items)]] if len(rows) > 1 else rows


def _outcome_cells(items: Sequence[CampaignItem]) -> list[str]:
    """Sums, as the columns name them."""
    outcomes = [item.outcomes for item in items]
    counts = [
        sum(item.received for item in items),
        sum(item.delivered for item in items),
        *(sum(getattr(each, kind) for each in outcomes) for kind in OUTCOME_KINDS),
    ]
    return [*(f"{count:,}" for count in counts), format_won_value(items)]


def _describe_read(last: OutcomeRead | None) -> str:
    if last is None:
        return "outcomes were never read: workers read them at night, and --refresh reads them now"
    return (
        f"outcomes as of {format_iso(last.at)}, read with {output.plural(last.calls, 'call')} for"
        f" {output.plural(last.tokens, 'token')}; --refresh reads them now"
    )


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
