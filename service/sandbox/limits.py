"""Burst windows and the day's tokens, as Pipedrive counts them, and what the busiest moment looked
like.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime
from typing import ClassVar

from service.sandbox.account.company import Company
from service.sandbox.errors import too_many
from service.sandbox.operations import Operation
from service.sandbox.settings import Plan

WINDOW_SECONDS = 2.0
SEARCHES_PER_WINDOW = 10
BURSTS: dict[Plan, tuple[int, int]] = {
    "lite": (20, 80),
    "growth": (40, 160),
    "premium": (100, 400),
    "ultimate": (120, 480),
}
"""Requests per 2 s and token: with an API token, with OAuth."""

Headers = list[tuple[str, str]]


class Window:
    """Events of the last 2 s, and the most there ever were."""

    def __init__(self) -> None:
        self._events: deque[float] = deque()
        self.most = 0

    def add(self, now: float) -> None:
        self._drop(now)
        self._events.append(now)
        self.most = max(self.most, len(self._events))

    def count(self, now: float) -> int:
        self._drop(now)
        return len(self._events)

    def seconds_until_room(self, now: float) -> int:
        """Whole seconds until the oldest event leaves the window, at least 1."""
        oldest = self._events[0] if self._events else now
        return max(1, math.ceil(oldest + WINDOW_SECONDS - now))

    def _drop(self, now: float) -> None:
        while self._events and self._events[0] <= now - WINDOW_SECONDS:
            self._events.popleft()


class Limits:
    """Lets calls in or refuses them with 429. A refused call costs nothing and takes no place in a
    window.
    """

    SPENT: ClassVar[str] = "tokens-spent"

    def __init__(self, company: Company) -> None:
        self._settings = company.settings
        self._clocks = company.clocks
        self._company = company
        self.reset()

    def reset(self) -> None:
        """Empties every window."""
        self._bursts: dict[str, Window] = {}
        self._searches: dict[str, Window] = {}
        self.calls = Window()
        self.searches = Window()

    def admit(self, operation: Operation, token: str, *, oauth: bool) -> None:
        """Counts a call of `token`; raises `Refusal` (429) if a window is full or the day's tokens
        do not suffice.
        """
        now = self._clocks.ticks()
        self.calls.add(now)
        if operation.is_search:
            self.searches.add(now)
        daily = self._settings.daily_tokens
        if daily is not None and self.spent_today() + operation.tokens > daily:
            raise too_many("Daily API token limit exceeded", self.headers(token, oauth=oauth))
        burst, limit = self._window(self._bursts, token), self._burst_limit(oauth)
        search = self._window(self._searches, token)
        if limit is None:
            return
        if burst.count(now) >= limit:
            raise too_many("Request over limit", self.headers(token, oauth=oauth))
        if operation.is_search and search.count(now) >= SEARCHES_PER_WINDOW:
            raise too_many("Request over limit", self._search_headers(search, now))
        burst.add(now)
        if operation.is_search:
            search.add(now)

    def charge(self, operation: Operation) -> None:
        """Takes the operation's price off the day's tokens."""
        if operation.tokens:
            self._company.store.set_mark(
                self.SPENT, {"day": self._today(), "tokens": self.spent_today() + operation.tokens}
            )

    def spent_today(self) -> int:
        """Tokens spent since midnight UTC."""
        mark = self._company.store.mark(self.SPENT)
        return int(mark["tokens"]) if mark and mark["day"] == self._today() else 0

    def headers(self, token: str, *, oauth: bool) -> Headers:
        """The rate-limit headers of an answer; none of a limit that is not set."""
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

    def _search_headers(self, search: Window, now: float) -> Headers:
        return _window_headers(SEARCHES_PER_WINDOW, 0, search.seconds_until_room(now))

    def _burst_limit(self, oauth: bool) -> int | None:
        if self._settings.plan is None:
            return None
        with_token, with_oauth = BURSTS[self._settings.plan]
        return with_oauth if oauth or self._settings.oauth_burst else with_token

    def _window(self, windows: dict[str, Window], token: str) -> Window:
        return windows.setdefault(token, Window())

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clocks.wall(), UTC).date().isoformat()


def _window_headers(limit: int, remaining: int, reset: int) -> Headers:
    return [
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(max(0, remaining))),
        ("x-ratelimit-reset", str(reset)),
    ]
