"""Whether a source that usually speaks has fallen silent: what came is compared with the same hours of earlier days. Pure."""

from __future__ import annotations

from collections.abc import Mapping

HOUR = 3600
DAY_HOURS = 24
DAYS = 14
"""Days of history that are kept."""

LEAST_DAYS = 3
LEAST_SECONDS = 1800.0
EXPECTED = 6.0
"""Submissions that would have come in the meantime: by chance none of six stays away once in 400 times."""


def silent_seconds(hours: Mapping[int, int], last: float, now: float) -> float | None:
    """For how long the source has been silent, if that is unusual, else None.

    `hours` counts its submissions by hour since 1970, `last` is when it last spoke (Unix seconds). What it owes is counted
    over the first day of its silence, so that a source that stays silent for weeks does not look usual again.
    """
    silence = now - last
    if silence < LEAST_SECONDS:
        return None
    return silence if expected(hours, last, min(now, last + DAY_HOURS * HOUR)) >= EXPECTED else None


def expected(hours: Mapping[int, int], since: float, until: float) -> float:
    """How many submissions would have come in that time, by the same hours of earlier days of the same kind (working or not).

    0 where there are too few days to tell.
    """
    first = min(hours, default=int(until // HOUR))
    days = [back for back in range(1, DAYS + 1) if int(since // HOUR) - back * DAY_HOURS >= first]
    if len(days) < LEAST_DAYS:
        return 0.0
    alike = [back for back in days if _is_weekend(until - back * DAY_HOURS * HOUR) == _is_weekend(until)] or days
    return sum(_came(hours, since - back * DAY_HOURS * HOUR, until - back * DAY_HOURS * HOUR) for back in alike) / len(alike)


def _came(hours: Mapping[int, int], since: float, until: float) -> float:
    """What came in that time, with the hours at both ends counted in part."""
    total, hour = 0.0, int(since // HOUR)
    while hour * HOUR < until:
        share = (min(until, (hour + 1) * HOUR) - max(since, hour * HOUR)) / HOUR
        total += share * hours.get(hour, 0)
        hour += 1
    return total


def _is_weekend(at: float) -> bool:
    """1 January 1970 was a Thursday."""
    return int(at // (DAY_HOURS * HOUR) + 4) % 7 in (0, 6)
