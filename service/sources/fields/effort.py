"""How much work one request may cause, however many events and values it holds.

Any body costs its decoding and some microseconds a field, which its size bounds. What may take
longer than the bytes let expect is counted here before it is done, in units: each is about a
microsecond of the machine for which the bound of 50 ms is meant. All events of a body share them.
What is left unread once they are used up stays as it was sent, as an answer; plain addresses and
numbers are read whatever else came.
"""

from __future__ import annotations

# What the names of new shapes may take. The events of a batch are mostly alike; of an event beyond
# that only the values are read.
MAX_NAME_UNITS = 12_000
# A name takes so much, and each of its characters.
NAME_UNITS, NAME_CHAR_UNITS = 25, 2
# What values may take that are not plain: about fifty international addresses.
MAX_VALUE_UNITS = 10_000
# One more value for a field that has one, or that refused one.
FURTHER_VALUE_UNITS, FURTHER_CHARS_PER_UNIT = 15, 50
# A text in which an address, a number or a sum in unusual notation is looked for.
UNUSUAL_VALUE_UNITS, UNUSUAL_CHARS_PER_UNIT = 15, 2
# An address in the library for them. What is not ASCII in its domain is looked up letter by letter.
EMAIL_UNITS, EMAIL_LETTER_UNITS = 180, 10
# A number in the library for them, and a country by its name.
PHONE_UNITS, COUNTRY_UNITS = 50, 15
# A parameter of a URL in which a campaign is looked for.
PARAMETER_UNITS = 2
# Steps of a pattern of the source file, and characters that a line of `map` searches.
STEPS_PER_UNIT, SEARCHED_CHARS_PER_UNIT = 30, 25


class Effort:
    """What a request has left; all events of its body share it."""

    def __init__(self, value_units: int | None = None) -> None:
        self.value_units = MAX_VALUE_UNITS if value_units is None else value_units
        self.name_units = MAX_NAME_UNITS

    def take(self, units: int) -> bool:
        """Whether a value may take that many; if not, cheaper ones still may."""
        if units > self.value_units:
            return False
        self.value_units -= units
        return True

    def take_unusual(self, text: str) -> bool:
        """Whether one more text may be searched for an address or a number in unusual notation."""
        return self.take(UNUSUAL_VALUE_UNITS + len(text) // UNUSUAL_CHARS_PER_UNIT)

    def take_names(self, count: int, chars: int) -> bool:
        """Whether the names of a new shape may be read; the last shape may go over."""
        may = self.name_units > 0
        self.name_units -= count * NAME_UNITS + chars * NAME_CHAR_UNITS
        return may
