"""How times are written and read: ISO 8601 in UTC, and the Unix times that senders write."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# A larger Unix time counts milliseconds: in seconds it would be the year 5138.
MAX_UNIX_SECONDS = 1e11
_UNIX_TIME = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)


def format_iso(seconds: float | None, *, timespec: str = "seconds") -> str | None:
    """Write Unix seconds as ISO 8601 in UTC. `timespec` is that of `datetime.isoformat`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_unix_time(text: str) -> float | None:
    """Seconds from Unix seconds or milliseconds; None for anything else."""
    if not _UNIX_TIME.fullmatch(text.strip()):
        return None
    number = float(text)
    return number / 1000 if number > MAX_UNIX_SECONDS else number
