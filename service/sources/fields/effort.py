"""How much work one request may cause, however many events and values it holds."""

from __future__ import annotations

# Values of one request that may go through the libraries for addresses and numbers, and country
# names that may be looked up. Each takes up to 0.3 ms; what comes later stays as it was sent.
MAX_LIBRARY_CALLS = 60
# Names of one request that are read for the first time; the events of a batch are mostly alike. In
# an event beyond that, only what its values say is known.
MAX_NEW_NAMES = 300
# Addresses and numbers that are written in an unusual way, and further values for a field of the
# lead that has one already.
MAX_UNUSUAL_VALUES = 300
MAX_FURTHER_VALUES = 300


class Effort:
    """Counts down what is left of a request's share; the events of one body use it together."""

    def __init__(self, library_calls: int = MAX_LIBRARY_CALLS) -> None:
        self.library_calls = library_calls
        self.new_names = MAX_NEW_NAMES
        self.unusual_values = MAX_UNUSUAL_VALUES
        self.further_values = MAX_FURTHER_VALUES

    def take_unusual(self, text: str) -> bool:
        """Whether in one more text an address or number may be looked for among other signs."""
        self.unusual_values -= 1 + len(text) // 80
        return self.unusual_values >= 0

    def take_further(self) -> bool:
        """Whether one more value may be compared with the one that a field has."""
        self.further_values -= 1
        return self.further_values >= 0

    def take_names(self, count: int) -> bool:
        """Whether so many names of a shape that is not known may be read."""
        self.new_names -= count
        return self.new_names > -count

    def take(self, calls: int = 1) -> bool:
        """Whether one more library call is allowed, which counts as several where it is slow."""
        self.library_calls -= calls
        return self.library_calls >= 0
