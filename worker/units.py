"""Durations and sizes as people write them (`90s`, `256KiB`), numbers, times and time zones."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECONDS_BY_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES_BY_UNIT = {
    "b": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2, "g": 1024**3, "gib": 1024**3,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3,
}  # fmt: skip

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", re.ASCII)
_PARTS = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,6})?\s*[A-Za-z]+\s*)+", re.ASCII)


def parse_duration(text: str) -> float:
    """Parses `10s`, `1.5h`, `1h30m` or `0` into seconds; raises ValueError in plain words.

    A number without a unit is refused, because people disagree on what it counts. There are no
    months and years, because they have no fixed length.
    """
    stripped = text.strip().lower()
    if stripped == "0":
        return 0.0
    if not _PARTS.fullmatch(stripped):
        raise ValueError(f"expected a duration such as 10s, 5m, 2h or 30d, got {text!r}")
    seconds = 0.0
    for number, unit in _NUMBER_AND_UNIT.findall(stripped):
        if unit not in SECONDS_BY_UNIT:
            raise ValueError(f"expected a duration in s, m, h, d or w, got {text!r}")
        seconds += float(number) * SECONDS_BY_UNIT[unit]
    return seconds


def parse_size(text: str) -> int:
    """Parses `256KiB`, `10MB` or `4096` into bytes; raises ValueError in plain words.

    `K`, `M` and `G` alone are powers of 1024.
    """
    matched = _NUMBER_AND_UNIT.fullmatch(text.strip().lower())
    if not matched or (matched[2] and matched[2] not in BYTES_BY_UNIT):
        raise ValueError(
            f"expected a size such as 256KiB, 10MiB or a number of bytes, got {text!r}"
        )
    return math.floor(float(matched[1]) * BYTES_BY_UNIT[matched[2] or "b"])


def format_duration(seconds: float) -> str:
    """The shortest exact way to write whole seconds: 5400 is `90m`, 90 is `90s`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % SECONDS_BY_UNIT[unit] == 0:
            return f"{int(seconds // SECONDS_BY_UNIT[unit])}{unit}"
    return f"{seconds:g}s"


def format_size(size: int) -> str:
    """The shortest exact way to write bytes: 1024 is `1KiB`, 1000 is `1000`."""
    for unit, name in (("gib", "GiB"), ("mib", "MiB"), ("kib", "KiB")):
        if size and size % BYTES_BY_UNIT[unit] == 0:
            return f"{size // BYTES_BY_UNIT[unit]}{name}"
    return str(size)


# Times: ISO 8601 in UTC, and the Unix times that senders write.

# A larger Unix time counts milliseconds: in seconds it would be the year 5138.
MAX_UNIX_SECONDS = 1e11
_UNIX_TIME = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)


def format_iso(seconds: float | None, *, timespec: str = "seconds") -> str | None:
    """Writes Unix seconds as ISO 8601 in UTC. `timespec` is that of `datetime.isoformat`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_unix_time(text: str) -> float | None:
    """Parses Unix seconds or milliseconds into seconds; None for anything else."""
    if not _UNIX_TIME.fullmatch(text.strip()):
        return None
    number = float(text)
    return number / 1000 if number > MAX_UNIX_SECONDS else number


def int_if_whole(number: float) -> int | float:
    """The number as Pipedrive and people write it: 500, not 500.0."""
    return int(number) if float(number).is_integer() else number


def parse_time_zone(name: str, offset: str) -> tzinfo | None:
    """The time zone of a name (`Europe/Berlin`), else of its present offset (`+01:00`), else None.

    The offset stands in where the machine has no tz database, as in some slim images. It is read
    anew every hour, so it is wrong for an hour at most after a change to or from summer time.
    """
    try:
        return ZoneInfo(name)
    # A name of no file, or of one that is no time zone: "", "Europe", "../x".
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        return datetime.strptime(offset, "%z").tzinfo
    except ValueError:
        return None
