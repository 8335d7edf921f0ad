"""What the watch remembers between two beats: what stands, and when each source spoke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field, structs

from service.alerts.conditions import Condition

# When a condition is told: once when it holds, again when it grows, once when it has recovered;
# never to and fro. Pure.

RENOTIFY_SECONDS = 300.0
"""Between two messages of one condition that grows."""


class AlertState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A condition over time, in Unix seconds. `told` is the level last told, 0 before it was told
    at all.
    """

    since: float
    recovered: str
    path: str
    calm: float
    notified_level: int = 0
    notified_at: float = 0.0
    gone_since: float | None = None


class AlertMessage(Struct, frozen=True):
    """`recovered` is true where something is over. `path` is the page of the console that shows
    it.
    """

    text: str
    path: str
    recovered: bool = False


def update_alerts(
    standing: Mapping[str, AlertState], raised: Iterable[Condition], now: float
) -> tuple[dict[str, AlertState], list[AlertMessage]]:
    """What stands from now on, and what is to be told."""
    conditions = {condition.key: condition for condition in raised}
    kept: dict[str, AlertState] = {}
    messages: list[AlertMessage] = []
    for key, condition in conditions.items():
        kept[key], message = _raise(standing.get(key), condition, now)
        messages += [message] if message else []
    for key, before in standing.items():
        if key in conditions or not before.notified_level:
            continue
        gone_since = now if before.gone_since is None else before.gone_since
        if now - gone_since >= before.calm:
            messages.append(
                AlertMessage(f"Recovered: {before.recovered}", before.path, recovered=True)
            )
        else:
            kept[key] = structs.replace(before, gone_since=gone_since)
    return kept, messages


def _raise(
    before: AlertState | None, condition: Condition, now: float
) -> tuple[AlertState, AlertMessage | None]:
    since = before.since if before else now
    current = AlertState(
        since=since,
        recovered=condition.recovered,
        path=condition.path,
        calm=condition.calm,
        notified_level=before.notified_level if before else 0,
        notified_at=before.notified_at if before else 0.0,
    )
    first = not current.notified_level and now - since >= condition.after
    grown = (
        0 < current.notified_level < condition.level
        and now - current.notified_at >= RENOTIFY_SECONDS
    )
    if not first and not grown:
        return current, None
    told = structs.replace(current, told=condition.level, told_at=now)
    return told, AlertMessage(condition.text[:1].upper() + condition.text[1:], condition.path)


# Whether a source that usually speaks has fallen silent: what came is compared with the same hours
# of earlier days. Pure.

HOUR_SECONDS = 3600
DAY_HOURS = 24
HISTORY_DAYS = 14
"""Days of history that are kept."""

MIN_DAYS = 3
MIN_SILENT_SECONDS = 1800.0
MIN_EXPECTED = 6.0
"""Submissions that would have come in the meantime: by chance none of six stays away once in 400
times.
"""


def unusual_silence(hours: Mapping[int, int], last: float, now: float) -> float | None:
    """For how long the source has been silent, if that is unusual, else None.

    `hours` counts its submissions by hour since 1970, `last` is when it last spoke (Unix seconds).
    What it owes is counted over the first day of its silence, so that a source that stays silent
    for weeks does not look usual again.
    """
    silence = now - last
    if silence < MIN_SILENT_SECONDS:
        return None
    return (
        silence
        if expected_count(hours, last, min(now, last + DAY_HOURS * HOUR_SECONDS)) >= MIN_EXPECTED
        else None
    )


def expected_count(hours: Mapping[int, int], since: float, until: float) -> float:
    """How many submissions would have come in that time, by the same hours of earlier days of the
    same kind (working or not).

    0 where there are too few days to tell.
    """
    first = min(hours, default=int(until // HOUR_SECONDS))
    days = [
        back
        for back in range(1, HISTORY_DAYS + 1)
        if int(since // HOUR_SECONDS) - back * DAY_HOURS >= first
    ]
    if len(days) < MIN_DAYS:
        return 0.0
    alike = [
        back
        for back in days
        if _is_weekend(until - back * DAY_HOURS * HOUR_SECONDS) == _is_weekend(until)
    ] or days
    return sum(
        _count_between(
            hours, since - back * DAY_HOURS * HOUR_SECONDS, until - back * DAY_HOURS * HOUR_SECONDS
        )
        for back in alike
    ) / len(alike)


def _count_between(hours: Mapping[int, int], since: float, until: float) -> float:
    """What came in that time, with the hours at both ends counted in part."""
    total, hour = 0.0, int(since // HOUR_SECONDS)
    while hour * HOUR_SECONDS < until:
        share = (
            min(until, (hour + 1) * HOUR_SECONDS) - max(since, hour * HOUR_SECONDS)
        ) / HOUR_SECONDS
        total += share * hours.get(hour, 0)
        hour += 1
    return total


def _is_weekend(at: float) -> bool:
    """1 January 1970 was a Thursday."""
    return int(at // (DAY_HOURS * HOUR_SECONDS) + 4) % 7 in (0, 6)


class SourceActivity(Struct, omit_defaults=True):
    """One source: the counter of its submissions as last read, when it last rose, and by how much
    in each hour since 1970.
    """

    total: float
    last_rise_at: float
    hours: dict[int, int] = field(default_factory=dict)


class MonitorState(Struct):
    """Stored as JSON. What cannot be read (of another version) starts afresh."""

    alerts: dict[str, AlertState] = field(default_factory=dict)
    sources: dict[str, SourceActivity] = field(default_factory=dict)

    def record_totals(self, totals: Mapping[str, float], now: float) -> None:
        """Takes note of what each source's counter shows. A counter that went back belongs to a
        store that lost its data.
        """
        hour = int(now // HOUR_SECONDS)
        for source, total in totals.items():
            heard = self.sources.get(source)
            if heard is None:
                self.sources[source] = SourceActivity(total=total, last_rise_at=now)
                continue
            came = int(total - heard.total)
            heard.total = total
            if came > 0:
                heard.last_rise_at = now
                heard.hours[hour] = heard.hours.get(hour, 0) + came
                heard.hours = {
                    each: count
                    for each, count in heard.hours.items()
                    if each >= hour - HISTORY_DAYS * DAY_HOURS
                }

    def silent_sources(self, now: float) -> dict[str, float]:
        """Sources that usually speak at this hour and do not, with the seconds of their silence."""
        found = {
            name: unusual_silence(heard.hours, heard.last_rise_at, now)
            for name, heard in self.sources.items()
        }
        return {name: seconds for name, seconds in found.items() if seconds is not None}


def decode(stored: bytes | None) -> MonitorState:
    try:
        return (
            msgspec.json.decode(stored, type=MonitorState, strict=False)
            if stored
            else MonitorState()
        )
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return MonitorState()
