"""`GET /ops`: what went wrong, and how much is received and delivered."""

from __future__ import annotations

from markupsafe import Markup
from msgspec import Struct

from service.ops.activity import Activity, SourceHours
from service.ops.console import rendering
from service.ops.console.console_request import ConsoleRequest, View
from service.ops.console.page import CHART_HOURS, Console
from service.ops.console.urls import ListLocation
from service.ops.filters import Filter

SILENT = "no submissions for longer than at any time in the past week"


class SourceRow(Struct, frozen=True, kw_only=True):
    """One source's row of the chart; `silent` says why it is marked."""

    source: str
    url: str
    chart: Markup
    received: int
    delivered: int
    last_at: str | None
    silent: str | None


class OverviewPage:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, _: ConsoleRequest) -> View:
        """While Redis is down, as last read. Raises `StoreUnavailable` if nothing was ever read."""
        cards = self._console.queries.last_causes()
        activity = self._console.activity()[0]
        values = {
            "causes": [card for card in cards if not card.ignored],
            "ignored": [card for card in cards if card.ignored],
            "rows": _source_rows(activity) if activity else [],
            "chart_start": _chart_start(activity),
            "hours": CHART_HOURS,
            "sample_commands": self._console.sample_commands(),
            "has_sources": bool(self._console.context.sources.sources),
        }
        return View(template="overview.html", values=values)


def _source_rows(activity: Activity) -> list[SourceRow]:
    """All on one scale, so that columns can be compared between sources."""
    scale = max((max(source.received, default=0) for source in activity.sources), default=0)
    return [_source_row(source, activity.hours, scale) for source in activity.sources]


def _source_row(source: SourceHours, hours: list[str], scale: int) -> SourceRow:
    received, delivered = sum(source.received), sum(source.delivered)
    titles = [
        f"{rendering.parse_time(hour):%H:00} UTC: {came} received, {went} delivered"
        for hour, came, went in zip(hours, source.received, source.delivered, strict=True)
    ]
    counts = f"{received} received and {delivered} delivered in the last {len(hours)} hours"
    return SourceRow(
        source=source.source,
        url=ListLocation(filter=Filter(source=source.source)).list_url,
        chart=rendering.column_chart(
            source.received, source.delivered, titles, f"{source.source}: {counts}", scale
        ),
        received=received,
        delivered=delivered,
        last_at=source.last_at,
        silent=SILENT if source.silent else None,
    )


def _chart_start(activity: Activity | None) -> str:
    if activity is None or not activity.hours:
        return ""
    return f"{rendering.parse_time(activity.hours[0]):%H:00}"
