"""What the monitor remembers between two ticks: raised alerts, and when each source was active.

An alert is sent once when its condition holds, again when it grows, and once when it has recovered;
it never flaps. Whether a source that is usually active has fallen silent is judged by what arrived
in the same hours of earlier days. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field, structs

from service.alerts.conditions import Condition

# The least time between two messages about one condition that grows.
RENOTIFY_SECONDS = 300.0

HOUR_SECONDS = 3600
DAY_HOURS = 24
# Days of history that are kept.
HISTORY_DAYS = 14
# With fewer days of history than this, silence cannot be judged.
MIN_DAYS = 3
MIN_SILENT_SECONDS = 1800.0
# Silence is unusual once this many submissions should have arrived: by chance, a source that
# expects six receives none once in 400 times.
MIN_EXPECTED = 6.0


class AlertState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A condition over time, in Unix seconds.

    `notified_level` is the level that was last sent, 0 before anything was sent.
    """

    since: float
    recovered: str
    path: str
    calm: float
    notified_level: int = 0
    notified_at: float = 0.0
    gone_since: float | None = None


class AlertMessage(Struct, frozen=True):
    """`path` is the console page that shows it. `recovered` is true if it is over."""

    text: str
    path: str
    recovered: bool = False


def update_alerts(
    alerts: Mapping[str, AlertState], conditions: Iterable[Condition], now: float
) -> tuple[dict[str, AlertState], list[AlertMessage]]:
    """Returns the alerts as they are from now on, by key, and the messages to send."""
    raised = {condition.key: condition for condition in conditions}
    updated: dict[str, AlertState] = {}
    messages: list[AlertMessage] = []
    for key, condition in raised.items():
        updated[key], message = _raise(alerts.get(key), condition, now)
        messages += [message] if message else []
    for key, alert in alerts.items():
        if key in raised or not alert.notified_level:
            continue
        gone_since = now if alert.gone_since is None else alert.gone_since
        if now - gone_since >= alert.calm:
            text = f"Recovered: {alert.recovered}"
            messages.append(AlertMessage(text, alert.path, recovered=True))
        else:
            updated[key] = structs.replace(alert, gone_since=gone_since)
    return updated, messages


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
    level = current.notified_level
    is_first = not level and now - since >= condition.after
    has_grown = 0 < level < condition.level and now - current.notified_at >= RENOTIFY_SECONDS
    if not is_first and not has_grown:
        return current, None
    notified = structs.replace(current, notified_level=condition.level, notified_at=now)
    text = condition.text[:1].upper() + condition.text[1:]
    return notified, AlertMessage(text, condition.path)


def unusual_silence(hours: Mapping[int, int], last: float, now: float) -> float | None:
    """How many seconds the source has been silent, if that is unusual, else None.

    `hours` counts its submissions by hour since 1970; `last` is when the latest arrived (Unix
    seconds). What should have arrived is counted over the first day of the silence, so that a
    source that stays silent for weeks does not begin to look usual.
    """
    silence = now - last
    if silence < MIN_SILENT_SECONDS:
        return None
    until = min(now, last + DAY_HOURS * HOUR_SECONDS)
    return silence if expected_count(hours, last, until) >= MIN_EXPECTED else None


def expected_count(hours: Mapping[int, int], since: float, until: float) -> float:
    """How many submissions to expect in that time, going by the same hours of earlier days.

    Working days are compared with working days, weekends with weekends. 0 where there are too few
    days to tell.
    """
    first_hour = min(hours, default=int(until // HOUR_SECONDS))
    days = [
        back
        for back in range(1, HISTORY_DAYS + 1)
        if int(since // HOUR_SECONDS) - back * DAY_HOURS >= first_hour
    ]
    if len(days) < MIN_DAYS:
        return 0.0
    day = DAY_HOURS * HOUR_SECONDS
    is_weekend = _is_weekend(until)
    alike = [back for back in days if _is_weekend(until - back * day) == is_weekend] or days
    counts = [_count_between(hours, since - back * day, until - back * day) for back in alike]
    return sum(counts) / len(alike)


def _count_between(hours: Mapping[int, int], since: float, until: float) -> float:
    """What arrived in that time; the hours at both ends count in part."""
    total, hour = 0.0, int(since // HOUR_SECONDS)
    while hour * HOUR_SECONDS < until:
        end, begin = min(until, (hour + 1) * HOUR_SECONDS), max(since, hour * HOUR_SECONDS)
        total += (end - begin) / HOUR_SECONDS * hours.get(hour, 0)
        hour += 1
    return total


def _is_weekend(at: float) -> bool:
    """1 January 1970 was a Thursday."""
    return int(at // (DAY_HOURS * HOUR_SECONDS) + 4) % 7 in (0, 6)


class SourceActivity(Struct, omit_defaults=True):
    """The counter of one source's submissions as last read, when it last rose, and its history.

    `hours` maps an hour since 1970 to how much the counter rose in it.
    """

    total: float
    last_rise_at: float
    hours: dict[int, int] = field(default_factory=dict)


class MonitorState(Struct):
    """Stored as JSON. A state that cannot be read (another version wrote it) starts afresh."""

    alerts: dict[str, AlertState] = field(default_factory=dict)
    sources: dict[str, SourceActivity] = field(default_factory=dict)

    def record_totals(self, totals: Mapping[str, float], now: float) -> None:
        """Records each source's counter. A counter falls only if the store lost its data."""
        hour = int(now // HOUR_SECONDS)
        for name, total in totals.items():
            activity = self.sources.get(name)
            if activity is None:
                self.sources[name] = SourceActivity(total=total, last_rise_at=now)
                continue
            rise = int(total - activity.total)
            activity.total = total
            if rise > 0:
                activity.last_rise_at = now
                activity.hours[hour] = activity.hours.get(hour, 0) + rise
                oldest = hour - HISTORY_DAYS * DAY_HOURS
                activity.hours = {at: n for at, n in activity.hours.items() if at >= oldest}

    def silent_sources(self, now: float) -> dict[str, float]:
        """Sources usually active at this hour that are silent, with the seconds of silence."""
        silences = {
            name: unusual_silence(activity.hours, activity.last_rise_at, now)
            for name, activity in self.sources.items()
        }
        return {name: seconds for name, seconds in silences.items() if seconds is not None}


def decode(stored: bytes | None) -> MonitorState:
    try:
        return (
            msgspec.json.decode(stored, type=MonitorState, strict=False)
            if stored
            else MonitorState()
        )
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return MonitorState()
