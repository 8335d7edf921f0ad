"""A clock that stands still until a test moves it."""

from __future__ import annotations


class SettableClock:
    """Returns `now`, in Unix seconds, which a test may set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
