"""How times are written for people and programs: ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def format_iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC."""
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
