"""What the watch remembers between two beats: what stands, and when each source spoke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field, structs

from service.alerts.conditions import Condition

# When a condition is told: once when it holds, again when it grows, once when it has recovered;
# never to and fro. Pure.

BETWEEN_SECONDS = 300.0
"""Between two messages of one condition that grows."""


class Standing(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A condition over time, in Unix seconds. `told` is the level last told, 0 before it was told
    at all.
    """

    since: float
    recovered: str
    path: str
    calm: float
    told: int = 0
    told_at: float = 0.0
    gone_since: float | None = None


class Message(Struct, frozen=True):
    """`recovered` is true where something is over. `path` is the page of the console that shows
    it.
    """

    text: str
    path: str
    recovered: bool = False


def tell(
    standing: Mapping[str, Standing], raised: Iterable[Condition], now: float
) -> tuple[dict[str, Standing], list[Message]]:
    """What stands from now on, and what is to be told."""
    conditions = {condition.key: condition for condition in raised}
    kept: dict[str, Standing] = {}
    messages: list[Message] = []
    for key, condition in conditions.items():
        kept[key], message = _raised(standing.get(key), condition, now)
        messages += [message] if message else []
    for key, before in standing.items():
        if key in conditions or not before.told:
            continue
        gone_since = now if before.gone_since is None else before.gone_since
        if now - gone_since >= before.calm:
            messages.append(Message(f"Recovered: {before.recovered}", before.path, recovered=True))
        else:
            kept[key] = structs.replace(before, gone_since=gone_since)
    return kept, messages


def _raised(
    before: Standing | None, condition: Condition, now: float
) -> tuple[Standing, Message | None]:
    since = before.since if before else now
    current = Standing(
        since=since,
        recovered=condition.recovered,
        path=condition.path,
        calm=condition.calm,
        told=before.told if before else 0,
        told_at=before.told_at if before else 0.0,
    )
    first = not current.told and now - since >= condition.after
    grown = 0 < current.told < condition.level and now - current.told_at >= BETWEEN_SECONDS
    if not first and not grown:
        return current, None
    told = structs.replace(current, told=condition.level, told_at=now)
    return told, Message(condition.text[:1].upper() + condition.text[1:], condition.path)


# Whether a source that usually speaks has fallen silent: what came is compared with the same hours
# of earlier days. Pure.

HOUR = 3600
DAY_HOURS = 24
DAYS = 14
"""Days of history that are kept."""

LEAST_DAYS = 3
LEAST_SECONDS = 1800.0
EXPECTED = 6.0
"""Submissions that would have come in the meantime: by chance none of six stays away once in 400
times.
"""


def silent_seconds(hours: Mapping[int, int], last: float, now: float) -> float | None:
    """For how long the source has been silent, if that is unusual, else None.

    `hours` counts its submissions by hour since 1970, `last` is when it last spoke (Unix seconds).
    What it owes is counted over the first day of its silence, so that a source that stays silent
    for weeks does not look usual again.
    """
    silence = now - last
    if silence < LEAST_SECONDS:
        return None
    return silence if expected(hours, last, min(now, last + DAY_HOURS * HOUR)) >= EXPECTED else None


def expected(hours: Mapping[int, int], since: float, until: float) -> float:
    """How many submissions would have come in that time, by the same hours of earlier days of the
    same kind (working or not).

    0 where there are too few days to tell.
    """
    first = min(hours, default=int(until // HOUR))
    days = [back for back in range(1, DAYS + 1) if int(since // HOUR) - back * DAY_HOURS >= first]
    if len(days) < LEAST_DAYS:
        return 0.0
    alike = [
        back for back in days if _is_weekend(until - back * DAY_HOURS * HOUR) == _is_weekend(until)
    ] or days
    return sum(
        _came(hours, since - back * DAY_HOURS * HOUR, until - back * DAY_HOURS * HOUR)
        for back in alike
    ) / len(alike)


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


class Heard(Struct, omit_defaults=True):
    """One source: the counter of its submissions as last read, when it last rose, and by how much
    in each hour since 1970.
    """

    total: float
    last: float
    hours: dict[int, int] = field(default_factory=dict)


class Watched(Struct):
    """Stored as JSON. What cannot be read (of another version) starts afresh."""

    standing: dict[str, Standing] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)

    def listen(self, totals: Mapping[str, float], now: float) -> None:
        """Takes note of what each source's counter shows. A counter that went back belongs to a
        store that lost its data.
        """
        hour = int(now // HOUR)
        for source, total in totals.items():
            heard = self.heard.get(source)
            if heard is None:
                self.heard[source] = Heard(total=total, last=now)
                continue
            came = int(total - heard.total)
            heard.total = total
            if came > 0:
                heard.last = now
                heard.hours[hour] = heard.hours.get(hour, 0) + came
                heard.hours = {
                    each: count
                    for each, count in heard.hours.items()
                    if each >= hour - DAYS * DAY_HOURS
                }

    def silent(self, now: float) -> dict[str, float]:
        """Sources that usually speak at this hour and do not, with the seconds of their silence."""
        found = {
            name: silent_seconds(heard.hours, heard.last, now) for name, heard in self.heard.items()
        }
        return {name: seconds for name, seconds in found.items() if seconds is not None}


def decode(stored: bytes | None) -> Watched:
    try:
        return msgspec.json.decode(stored, type=Watched, strict=False) if stored else Watched()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Watched()
