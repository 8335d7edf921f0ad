"""Durations, sizes and rates as they stand in the source file. Each function raises ValueError with what is expected."""

from __future__ import annotations

import re

from msgspec import Struct

from worker.units import SECONDS, parse_duration, parse_size

LONGEST = 10 * 366 * 86_400.0
"""Ten years: anything longer is a slip of the pen."""

DURATION = 'a duration such as 90, "10m", "1h30m" or "30d"'
SIZE = 'a size such as 65536, "256KiB" or "1MiB"'
RATE = 'a rate such as "60/m", or "off"'

_RATE = re.compile(r"([0-9]{1,7})\s*/\s*([smhd])", re.ASCII)


class Rate(Struct, frozen=True):
    """`count` requests in any `seconds`."""

    count: int
    seconds: float


def duration(value: object) -> float:
    """Seconds. A bare number is seconds; a text needs its unit."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else _number(value)
    except ValueError:
        raise ValueError(DURATION) from None
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"{DURATION}, at most ten years")
    return seconds


def size(value: object) -> int:
    """Bytes. A bare number is bytes."""
    try:
        return parse_size(value) if isinstance(value, str) else int(_number(value))
    except ValueError:
        raise ValueError(SIZE) from None


def rate(value: object) -> Rate | None:
    """How many in what time; None for `off`."""
    if value == "off":
        return None
    if isinstance(value, str) and (found := _RATE.fullmatch(value.strip())) and int(found[1]) > 0:
        return Rate(count=int(found[1]), seconds=SECONDS[found[2]])
    raise ValueError(RATE)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError("not a number")
    return float(value)
