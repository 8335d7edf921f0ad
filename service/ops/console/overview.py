"""`GET /ops`: what went wrong, and how much comes and goes."""

from __future__ import annotations

from markupsafe import Markup
from msgspec import Struct

from service.ops.activity import Chart, SourceHours
from service.ops.console import rendering
from service.ops.console.page import HOURS, Site
from service.ops.console.request import View, Visit
from service.ops.console.urls import Place
from service.ops.filters import Filter


class Row(Struct, frozen=True, kw_only=True):
    """One source's line of the chart. `silent` says so in words."""

    source: str
    href: str
    svg: Markup
    received: int
    delivered: int
    last: str | None
    silent: str | None


class OverviewPage:
    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, _: Visit) -> View:
        """While Redis is away, what was known last. Raises `StoreUnavailable` where nothing is."""
        cards = self._site.reader.known_causes()
        flow = self._site.flow()[0]
        values = {
            "causes": [card for card in cards if not card.ignored],
            "ignored": [card for card in cards if card.ignored],
            "charts": _rows(flow) if flow else [],
            "axis": _axis(flow),
            "hours": HOURS,
            "samples": self._site.samples(),
        }
        return View(template="overview.html", values=values)


def _rows(flow: Chart) -> list[Row]:
    """All on one scale, so that a tall column is more than a short one in whichever line."""
    top = max((max(line.received, default=0) for line in flow.sources), default=0)
    return [_row(line, flow.hours, top) for line in flow.sources]


def _row(line: SourceHours, hours: list[str], top: int) -> Row:
    received, delivered = sum(line.received), sum(line.delivered)
    titles = [
        f"{rendering.read(hour):%H:00} UTC: {came} received, {went} delivered"
        for hour, came, went in zip(hours, line.received, line.delivered, strict=True)
    ]
    label = (
        f"{line.source}: {received} received and {delivered} delivered in the last {len(hours)}"
        " hours"
    )
    return Row(
        source=line.source,
        href=Place(filter=Filter(source=line.source)).list,
        svg=rendering.columns(line.received, line.delivered, titles, label, top),
        received=received,
        delivered=delivered,
        last=line.last_at,
        silent="longer without a submission than in the whole week before" if line.silent else None,
    )


def _axis(flow: Chart | None) -> tuple[str, str]:
    if flow is None or not flow.hours:
        return "", ""
    return f"{rendering.read(flow.hours[0]):%H:00}", "now"
