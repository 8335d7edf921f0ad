"""`--since` of commands over what is stored: a date, or how long ago."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import click

from worker.units import parse_duration


class Since(click.ParamType[float]):
    """Unix seconds of `2026-05-31`, `2026-05-31T12:00Z`, or of `7d` before now."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return time.time() - parse_duration(value)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail('expected how long ago, such as "7d" or "12h", or a date such as "2026-05-31"', param, ctx)


since_option = click.option(
    "--since", type=Since(), default=0.0, metavar="WHEN", help='Received since then: "7d", "12h" ago, or a date. Left out: all.'
)
