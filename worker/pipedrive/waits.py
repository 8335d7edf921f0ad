"""How long a 429 lasts, and of which kind it is.

Pipedrive documents `x-ratelimit-reset` (seconds) only; `Retry-After` and the daily counters were seen by others. All of
them can be missing or rubbish. https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from worker.errors import BudgetSpent, RateLimited

SHORTEST, BURST_LONGEST, BURST_GUESS = 1.0, 3600.0, 2.0
BUDGET_LONGEST, BUDGET_GUESS = 25 * 3600.0, 3600.0
"""Seconds. A day's budget comes back within a day; the hour more is for clocks that disagree."""
BURST_BELIEVED = 60.0
"""A stated wait beyond this is no burst window."""

DAILY = re.compile(r"\bdaily\b|\bbudget\b|\btokens? (limit|quota|allowance)\b|\bper day\b|\bfor today\b", re.IGNORECASE)


def too_many(call: str, headers: Mapping[str, str], said: str, detail: str, now: float | None = None) -> RateLimited:
    """The error for a 429. `said` are its own words, `detail` the same without personal data, `now` Unix seconds."""
    now = time.time() if now is None else now
    wait = _retry_after(headers, now)
    long = wait is not None and BURST_BELIEVED < wait <= BUDGET_LONGEST
    if long or DAILY.search(said) or _none_left(headers):
        # The window's reset says nothing of the day's, so only `Retry-After` counts here.
        if wait is None or wait > BUDGET_LONGEST:
            return BudgetSpent(call, detail, retry_after=BUDGET_GUESS, stated=False)
        return BudgetSpent(call, detail, retry_after=max(SHORTEST, wait))
    if wait is None:
        wait = _window_reset(headers, now)
    if wait is None:
        return RateLimited(call, detail, retry_after=BURST_GUESS, stated=False)
    return RateLimited(call, detail, retry_after=min(max(SHORTEST, wait), BURST_LONGEST), stated=wait <= BURST_LONGEST)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, zero or more; None where the header is missing or makes no sense."""
    text = headers.get("retry-after", "").strip()
    seconds = number(text)
    if seconds is None and text:
        seconds = _until(text, now)
    return seconds if seconds is not None and seconds >= 0 else None


def _window_reset(headers: Mapping[str, str], now: float) -> float | None:
    seconds = number(headers.get("x-ratelimit-reset"))
    if seconds is not None and seconds > 1e9:  # a moment, not a span
        seconds -= now
    return seconds if seconds is not None and seconds >= 0 else None


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def _none_left(headers: Mapping[str, str]) -> bool:
    """Whether Pipedrive counts no token left for the day."""
    left = number(headers.get("x-daily-ratelimit-token-remaining"))
    return left is not None and left <= 0


def number(text: str | None) -> float | None:
    """A finite number of a header, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
