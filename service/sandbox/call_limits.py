"""Burst windows and daily tokens, as Pipedrive counts them, and the busiest moment so far."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime
from typing import ClassVar

from service.sandbox.account.company import Company
from service.sandbox.api_errors import too_many_requests
from service.sandbox.api_operations import Operation
from service.sandbox.settings import Plan

WINDOW_SECONDS = 2.0
SEARCHES_PER_WINDOW = 10
# Calls in 2 s by plan: with an API token, with OAuth.
BURSTS: dict[Plan, tuple[int, int]] = {
    "lite": (20, 80),
    "growth": (40, 160),
    "premium": (100, 400),
    "ultimate": (120, 480),
}

Headers = list[tuple[str, str]]


class SlidingWindow:
    """Events of the last 2 s, and the most (`peak`) that there ever were in 2 s."""

    def __init__(self) -> None:
        self._events: deque[float] = deque()
        self.peak = 0

    def add(self, now: float) -> None:
        self._drop_expired(now)
        self._events.append(now)
        self.peak = max(self.peak, len(self._events))

    def count(self, now: float) -> int:
        self._drop_expired(now)
        return len(self._events)

    def seconds_until_room(self, now: float) -> int:
        """Whole seconds until the oldest event leaves the window, at least 1."""
        oldest = self._events[0] if self._events else now
        return max(1, math.ceil(oldest + WINDOW_SECONDS - now))

    def _drop_expired(self, now: float) -> None:
        while self._events and self._events[0] <= now - WINDOW_SECONDS:
            self._events.popleft()


class CallLimits:
    """Admits calls or refuses them with 429; a refused call costs nothing and fills no window."""

    SPENT: ClassVar[str] = "tokens-spent"

    def __init__(self, company: Company) -> None:
        self._settings = company.settings
        self._clocks = company.clocks
        self._company = company
        self.reset()

    def reset(self) -> None:
        """Empty every window."""
        self._bursts: dict[str, SlidingWindow] = {}
        self._searches: dict[str, SlidingWindow] = {}
        self.calls = SlidingWindow()
        self.searches = SlidingWindow()

    def admit(self, operation: Operation, token: str, *, oauth: bool) -> None:
        """Count a call; raises `GatewayError` (429) if a window is full or too few tokens are left.

        `token` identifies whose windows the call counts in.
        """
        now = self._clocks.ticks()
        self.calls.add(now)
        if operation.is_search:
            self.searches.add(now)
        daily = self._settings.daily_tokens
        if daily is not None and self.spent_today() + operation.tokens > daily:
            raise too_many_requests(
                "Daily API token limit exceeded", self.headers(token, oauth=oauth)
            )
        burst, limit = self._window(self._bursts, token), self._burst_limit(oauth)
        search = self._window(self._searches, token)
        if limit is None:
            return
        if burst.count(now) >= limit:
            raise too_many_requests("Request over limit", self.headers(token, oauth=oauth))
        if operation.is_search and search.count(now) >= SEARCHES_PER_WINDOW:
            raise too_many_requests("Request over limit", self._search_headers(search, now))
        burst.add(now)
        if operation.is_search:
            search.add(now)

    def charge(self, operation: Operation) -> None:
        """Subtract the price of the operation from the daily tokens."""
        if operation.tokens:
            self._company.store.set_value(
                self.SPENT, {"day": self._today(), "tokens": self.spent_today() + operation.tokens}
            )

    def spent_today(self) -> int:
        """Tokens spent since midnight UTC."""
        spent = self._company.store.get_value(self.SPENT)
        return int(spent["tokens"]) if spent and spent["day"] == self._today() else 0

    def headers(self, token: str, *, oauth: bool) -> Headers:
        """The rate-limit headers of a response; none for a limit that is not set."""
        headers: Headers = []
        limit = self._burst_limit(oauth)
        if limit is not None:
            now = self._clocks.ticks()
            burst = self._window(self._bursts, token)
            headers += _window_headers(
                limit, limit - burst.count(now), burst.seconds_until_room(now)
            )
        if (daily := self._settings.daily_tokens) is not None:
            headers.append(("x-daily-ratelimit-token-limit", str(daily)))
            headers.append(
                ("x-daily-ratelimit-token-remaining", str(max(0, daily - self.spent_today())))
            )
        return headers

    def _search_headers(self, search: SlidingWindow, now: float) -> Headers:
        return _window_headers(SEARCHES_PER_WINDOW, 0, search.seconds_until_room(now))

    def _burst_limit(self, oauth: bool) -> int | None:
        if self._settings.plan is None:
            return None
        with_token, with_oauth = BURSTS[self._settings.plan]
        return with_oauth if oauth or self._settings.oauth_burst else with_token

    def _window(self, windows: dict[str, SlidingWindow], token: str) -> SlidingWindow:
        return windows.setdefault(token, SlidingWindow())

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clocks.wall(), UTC).date().isoformat()


def _window_headers(limit: int, remaining: int, reset: int) -> Headers:
    return [
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(max(0, remaining))),
        ("x-ratelimit-reset", str(reset)),
    ]
