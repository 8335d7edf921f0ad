"""How times are written for people and programs: ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def format_iso(seconds: float | None, *, timespec: str = "seconds") -> str | None:
    """Write Unix seconds as ISO 8601 in UTC. `timespec` is that of `datetime.isoformat`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
