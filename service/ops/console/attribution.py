"""`GET /ops/attribution`: where leads come from, and what became of them in Pipedrive."""

from __future__ import annotations

from markupsafe import Markup
from msgspec import Struct

from service.attribution import NONE, CampaignItem, format_won_value
from service.ops.console import rendering
from service.ops.console.console_request import ConsoleRequest, View
from service.ops.console.page import Console

# Rows shown; a line counts the rest. The API and `leadline attribution --outcomes` have all.
MAX_ROWS = 200


class CampaignRow(Struct, frozen=True, kw_only=True):
    """A row of the table: a campaign's numbers, and its bar."""

    item: CampaignItem
    campaign: str
    channel: str
    chart: Markup
    won_value: str


class AttributionPage:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, _: ConsoleRequest) -> View:
        """Raises `StoreUnavailable`."""
        report = self._console.queries.attribution()
        listed, rest = report.items[:MAX_ROWS], report.items[MAX_ROWS:]
        scale = max((item.delivered for item in listed), default=0)
        values = {
            "rows": [_build_row(item, scale) for item in listed],
            "rest": len(rest),
            "rest_received": sum(item.received for item in rest),
            "received": sum(item.received for item in report.items),
            "won_value": format_won_value(report.items),
            "outcomes_at": report.outcomes_at,
            "outcomes_tokens": report.outcomes_tokens,
        }
        return View(template="attribution.html", values=values)


def _build_row(item: CampaignItem, scale: int) -> CampaignRow:
    outcomes = item.outcomes
    deals = outcomes.converted - outcomes.won - outcomes.lost
    parts = (
        ("won", outcomes.won, f"{outcomes.won} won"),
        ("deal", deals, rendering.plural(deals, "open deal")),
        ("open", outcomes.open, rendering.plural(outcomes.open, "open lead")),
        ("archived", outcomes.archived, f"{outcomes.archived} archived"),
        ("lost", outcomes.lost, f"{outcomes.lost} lost"),
    )
    campaign, channel = item.campaign or NONE, item.channel or NONE
    described = ", ".join(text for _, count, text in parts if count) or "no outcome"
    label = f"{item.source}, {campaign}, {channel}: {item.delivered} delivered: {described}"
    return CampaignRow(
        item=item,
        campaign=campaign,
        channel=channel,
        chart=rendering.outcome_bar(parts, scale, label),
        won_value=format_won_value([item]),
    )
