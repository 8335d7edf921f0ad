"""Dead letters grouped by cause, counted in the search table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from service.ops import masking
from service.ops.schemas import CauseCard
from service.ops.search_table import SearchTable
from worker.causes import UNRECORDED, cause_id, title
from worker.contract import Cause
from worker.units import format_iso

TREND_HOURS = 24


class CauseTally(NamedTuple):
    """The dead letters of one cause; times are Unix seconds."""

    dead_letters: int
    sources: list[str]
    first: float
    last: float
    trend: list[int]


def build_cause_cards(
    table: SearchTable, ignored: Mapping[str, float], now: float
) -> list[CauseCard]:
    """The causes of all dead letters, the most frequent first, ignored ones at the end."""
    cards = [
        build_cause_card(table.cause(name) or UNRECORDED, each, ignored)
        for name, each in _tally_causes(table, now).items()
    ]
    return sorted(cards, key=lambda each: (each.ignored, -each.count, each.last_seen, each.id))


def build_cause_card(
    cause: Cause, tally: CauseTally, ignored: Mapping[str, float], *, reveal: bool = False
) -> CauseCard:
    """Make a card; a cause stays ignored until another lead fails for it."""
    name = cause_id(cause)
    return CauseCard(
        id=name,
        title=title(cause),
        hint=cause.hint,
        step=cause.step,
        code=cause.code,
        field=cause.field,
        count=tally.dead_letters,
        sources=tally.sources,
        first_seen=format_iso(tally.first) or "",
        last_seen=format_iso(tally.last) or "",
        ignored=ignored.get(name, 0.0) >= tally.last,
        setting=cause.setting,
        trend=tally.trend,
        detail=cause.detail if reveal else masking.mask_text(cause.detail),
    )


def _tally_causes(table: SearchTable, now: float) -> dict[str, CauseTally]:
    groups = table.query(
        "select cause, source, count(*), min(at), max(at) from submission where cause is not null"
        " group by cause, source"
    )
    hours = table.query(
        "select cause, cast((? - at) / 3600 as integer) as ago, count(*) from submission"
        " where cause is not null and at > ? group by cause, ago",
        (now, now - TREND_HOURS * 3600),
    )
    trends: dict[str, list[int]] = defaultdict(lambda: [0] * TREND_HOURS)
    for name, ago, count in hours:
        trends[name][TREND_HOURS - 1 - min(max(ago, 0), TREND_HOURS - 1)] += count
    tallies: dict[str, CauseTally] = {}
    for name, source, count, first, last in groups:
        tally = tallies.get(name, CauseTally(0, [], first, last, trends[name]))
        tallies[name] = CauseTally(
            tally.dead_letters + count,
            sorted([*tally.sources, source]),
            min(first, tally.first),
            max(last, tally.last),
            trends[name],
        )
    return tallies
