"""Numbers, times and states in the words of the pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.contract import State

MINUTE, HOUR, DAY = 60, 3600, 86_400

STATES: dict[State, str] = {
    State.QUEUED: "Queued",
    State.DELIVERING: "Being delivered",
    State.DELIVERED: "Delivered",
    State.WAITING: "Waiting",
    State.DEAD: "Needs you",
    State.QUARANTINED: "In quarantine",
    State.IGNORED: "Ignored",
    State.DISCARDED: "Discarded",
    State.ERASED: "Erased",
}
"""A state as a person reads it; the word of contract and API stands beside it in a title."""


def number(value: float) -> str:
    """1,204."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 lead`, `1,204 leads`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def about(count: int) -> str:
    """Two figures of a number that is an estimate: 431 is `430`."""
    if count < 100:
        return str(count)
    places = len(str(count)) - 2
    return number(count // 10**places * 10**places)


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 10 min`, `4 d 2 h`: two units at most."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        hours, minutes = divmod(whole // MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(whole // HOUR, 24)
    return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"


def read(moment: str) -> datetime:
    """An ISO 8601 time of ours. Raises ValueError."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC)


def relative(moment: str, now: datetime) -> str:
    """`12 min ago`, `in 40 s`, `now`."""
    seconds = (now - read(moment)).total_seconds()
    if -1 < seconds < 5:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def absolute(moment: str) -> str:
    """`Sun 22 Nov 2026, 09:21:46 UTC`."""
    return read(moment).strftime("%a %d %b %Y, %H:%M:%S UTC")


def clock(moment: str, now: datetime) -> str:
    """The time of day in UTC, with the day where it is another one."""
    then = read(moment)
    return then.strftime("%H:%M:%S") if then.date() == now.date() else then.strftime("%d %b %H:%M:%S")


def hours_back(now: datetime, hours: int) -> str:
    """The hour that lies so many whole hours back, as the axis of a chart names it: `14:00`."""
    return (now - timedelta(hours=hours)).strftime("%H:00")
