"""What the watch remembers between two beats: what stands, and when each source spoke."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from service.alerts.silence import DAY_HOURS, DAYS, HOUR, silent_seconds
from service.alerts.telling import Standing


class Heard(Struct, omit_defaults=True):
    """One source: the counter of its submissions as last read, when it last rose, and by how much in each hour since 1970."""

    total: float
    last: float
    hours: dict[int, int] = field(default_factory=dict)


class Watched(Struct):
    """Stored as JSON. What cannot be read (of another version) starts afresh."""

    standing: dict[str, Standing] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)

    def listen(self, totals: Mapping[str, float], now: float) -> None:
        """Takes note of what each source's counter shows. A counter that went back belongs to a store that lost its data."""
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
                heard.hours = {each: count for each, count in heard.hours.items() if each >= hour - DAYS * DAY_HOURS}

    def silent(self, now: float) -> dict[str, float]:
        """Sources that usually speak at this hour and do not, with the seconds of their silence."""
        found = {name: silent_seconds(heard.hours, heard.last, now) for name, heard in self.heard.items()}
        return {name: seconds for name, seconds in found.items() if seconds is not None}


def decode(stored: bytes | None) -> Watched:
    try:
        return msgspec.json.decode(stored, type=Watched, strict=False) if stored else Watched()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Watched()
