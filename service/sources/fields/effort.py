"""How much work one request may cause, however many events and values it holds."""

from __future__ import annotations

# Calls of the libraries for addresses, numbers and countries. Each takes up to 0.3 ms; later values
# stay as they were sent.
MAX_LIBRARY_CALLS = 60
# Names that are read for the first time; the events of a batch are mostly alike. Of an event beyond
# that only the values are read.
MAX_NEW_NAMES = 300
# Addresses and numbers in unusual notation, and further values for a field of the lead that already
# has one.
MAX_UNUSUAL_VALUES = 300
MAX_FURTHER_VALUES = 300


class Effort:
    """What a request has left of each limit above; all events of its body share it."""

    def __init__(self, library_calls: int = MAX_LIBRARY_CALLS) -> None:
        self.library_calls = library_calls
        self.new_names = MAX_NEW_NAMES
        self.unusual_values = MAX_UNUSUAL_VALUES
        self.further_values = MAX_FURTHER_VALUES

    def take_unusual(self, text: str) -> bool:
        """Whether one more text may be searched for an address or a number in unusual notation."""
        self.unusual_values -= 1 + len(text) // 80
        return self.unusual_values >= 0

    def take_further(self) -> bool:
        """Whether one more value may be compared with the one that a field already has."""
        self.further_values -= 1
        return self.further_values >= 0

    def take_names(self, count: int) -> bool:
        """Whether that many names of a new shape may be read; the last shape may go over."""
        self.new_names -= count
        return self.new_names > -count

    def take(self, calls: int = 1) -> bool:
        """Whether one more library call is allowed; a slow one counts as several."""
        self.library_calls -= calls
        return self.library_calls >= 0
