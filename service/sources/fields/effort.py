"""How much work one request may cause, however many events and values it holds."""

from __future__ import annotations

# Values of one request that may go through the libraries for addresses and numbers, and country
# names that may be looked up. Each takes up to 0.3 ms; what comes later stays as it was sent.
MAX_LIBRARY_CALLS = 60


class Effort:
    """Counts down what is left of a request's share; the events of one body use it together."""

    def __init__(self, library_calls: int = MAX_LIBRARY_CALLS) -> None:
        self.library_calls = library_calls

    def take(self) -> bool:
        """Whether one more library call is allowed."""
        self.library_calls -= 1
        return self.library_calls >= 0
