"""What each source sent and what was delivered, hour by hour, and which sources fell silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from service.ops.search_table import SearchTable
from worker.contract import State
from worker.units import format_iso

WEEK_SECONDS = 7 * 24 * 3600.0
# A source has habits once it has sent this many within a week.
MIN_SUBMISSIONS_FOR_HABIT = 10
MIN_SILENCE_SECONDS = 3600.0
# A silence counts when it is this many times as long as the longest of the last week.
SILENCE_FACTOR = 1.5
MAX_HOURS = 7 * 24
# How long habits are kept before they are computed again.
HABITS_TTL_SECONDS = 300.0


class SourceHours(Struct, frozen=True):
    """One source: `received` and `delivered` for each hour.

    `silent`: it has sent nothing for longer than usual.
    """

    source: str
    received: list[int]
    delivered: list[int]
    last_at: str | None
    silent: bool


class Activity(Struct, frozen=True):
    """`hours` holds the start of each hour, the current one last; days are days in UTC."""

    hours: list[str]
    sources: list[SourceHours]
    received_today: int
    delivered_today: int
    last_delivered_at: str | None


def build_activity(
    table: SearchTable,
    configured: Iterable[str],
    habits: Mapping[str, float],
    now: float,
    hours: int = 24,
) -> Activity:
    """Count by hour over the last `hours` (1 to 168), for each source configured or stored.

    `habits` are the longest usual silences, in seconds by source.
    """
    count = min(max(hours, 1), MAX_HOURS)
    start, midnight = now // 3600 * 3600 - (count - 1) * 3600, now // 86400 * 86400
    delivered = _count_delivered(table, start)
    names = {name for (name,) in table.query("select distinct source from submission")}
    lines = [
        _build_source_hours(table, name, start, delivered, habits.get(name), now)
        for name in sorted({*configured, *names})
    ]
    today = "select count(*) from submission where source = ? and received >= ?"
    done = "select count(*) from submission where state = ? and at >= ? and received >= ?"
    return Activity(
        [format_iso(start + 3600 * hour) or "" for hour in range(count)],
        lines,
        sum(table.query(today, (name, midnight))[0][0] for name in names),
        table.query(done, (State.DELIVERED.value, midnight, midnight))[0][0],
        format_iso(
            table.query("select max(at) from submission where state = ?", (State.DELIVERED.value,))[
                0
            ][0]
        ),
    )


def find_habits(table: SearchTable, now: float) -> dict[str, float]:
    """The longest silence of the last week, in seconds by source, nights and weekends included.

    Sources that sent too little have no habits.
    """
    rows = table.query(
        "select source, max(gap) from (select source, received - lag(received) over (partition by"
        " source order by received) as gap from submission where received >= ?) group by source"
        " having count(*) >= ?",
        (now - WEEK_SECONDS, MIN_SUBMISSIONS_FOR_HABIT),
    )
    return {source: gap for source, gap in rows if gap is not None}


def _build_source_hours(
    table: SearchTable,
    name: str,
    start: float,
    delivered: Mapping[tuple[str, int], int],
    usual: float | None,
    now: float,
) -> SourceHours:
    hours = int(now - start) // 3600 + 1
    received = dict(
        table.query(
            "select cast((received - ?) / 3600 as integer) as hour, count(*) from submission"
            " where source = ? and received >= ? group by hour",
            (start, name, start),
        )
    )
    last = table.query("select max(received) from submission where source = ?", (name,))[0][0]
    silence = now - last if last is not None else 0.0
    return SourceHours(
        name,
        [received.get(hour, 0) for hour in range(hours)],
        [delivered.get((name, hour), 0) for hour in range(hours)],
        format_iso(last),
        usual is not None and silence > max(MIN_SILENCE_SECONDS, SILENCE_FACTOR * usual),
    )


def _count_delivered(table: SearchTable, start: float) -> dict[tuple[str, int], int]:
    rows = table.query(
        "select source, cast((at - ?) / 3600 as integer) as hour, count(*) from submission"
        " where state = ? and at >= ? group by source, hour",
        (start, State.DELIVERED.value, start),
    )
    return {(source, hour): number for source, hour, number in rows}
