"""What came in and what was delivered, hour by hour and source by source; and who has fallen silent."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from service.ops.table import Table
from service.times import iso
from worker.contract import State

WEEK = 7 * 24 * 3600.0
ENOUGH = 10
"""So many submissions within a week make a habit."""
SHORTEST_SILENCE = 3600.0
LONGER = 1.5
"""A silence counts when it is so many times as long as the longest of the week."""
MOST_HOURS = 7 * 24


class SourceHours(Struct, frozen=True):
    """One source: `received` and `delivered` for each hour of the chart. `silent`: it usually speaks, and does not now."""

    source: str
    received: list[int]
    delivered: list[int]
    last_at: str | None
    silent: bool


class Chart(Struct, frozen=True):
    """`hours` are the starts of the hours, the current one last. `today` counts from midnight UTC."""

    hours: list[str]
    sources: list[SourceHours]
    received_today: int
    delivered_today: int
    last_delivered_at: str | None


def chart(table: Table, configured: Iterable[str], now: float, hours: int = 24) -> Chart:
    """The last `hours` (1 to 168). Every configured source has its line, also one that never spoke."""
    count = min(max(hours, 1), MOST_HOURS)
    start = now // 3600 * 3600 - (count - 1) * 3600
    received = _by_hour(table, "received", "1", start)
    delivered = _by_hour(table, "at", f"state = '{State.DELIVERED}'", start)
    last = dict(table.ask("select source, max(received) from submission group by source"))
    silent = _silent(table, now)
    lines = [
        SourceHours(
            source,
            [received.get((source, hour), 0) for hour in range(count)],
            [delivered.get((source, hour), 0) for hour in range(count)],
            iso(last.get(source)),
            source in silent,
        )
        for source in sorted({*configured, *last})
    ]
    return Chart(
        [iso(start + 3600 * hour) or "" for hour in range(count)],
        lines,
        *_today(table, now // 86400 * 86400),
        iso(table.ask("select max(at) from submission where state = ?", (State.DELIVERED.value,))[0][0]),
    )


def _by_hour(table: Table, column: str, condition: str, start: float) -> dict[tuple[str, int], int]:
    found = table.ask(
        f"select source, cast(({column} - ?) / 3600 as integer) as hour, count(*) from submission"
        f" where {condition} and {column} >= ? group by source, hour",
        (start, start),
    )
    return {(source, hour): count for source, hour, count in found}


def _today(table: Table, midnight: float) -> tuple[int, int]:
    """What came in today, and what of it is delivered."""
    [(received, delivered)] = table.ask(
        "select count(*), coalesce(sum(state = ?), 0) from submission where received >= ?", (State.DELIVERED.value, midnight)
    )
    return received, delivered


def _silent(table: Table, now: float) -> set[str]:
    """Sources whose present silence is far longer than any of the week's, nights and weekends being part of it."""
    found = table.ask(
        "select source, count(*), max(gap), max(received) from (select source, received, received - lag(received)"
        " over (partition by source order by received) as gap from submission where received >= ?) group by source",
        (now - WEEK,),
    )
    return {
        source
        for source, count, gap, last in found
        if count >= ENOUGH and now - last > max(SHORTEST_SILENCE, LONGER * (gap or 0.0))
    }
