"""Cuts text to the lengths that Pipedrive accepts, in UTF-16 units as its server counts them.

Most emoji are two units.
"""

from __future__ import annotations

import unicodedata

# For a title, a name and any `varchar` field.
MAX_FIELD_UNITS = 255


def count_units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def truncate_end(text: str, max_units: int) -> str:
    """Return the longest beginning of at most `max_units` that does not cut a character in two.

    A character is what people see as one, with its accents and joined signs.
    """
    result = text[:max_units]
    while count_units(result) > max_units:
        result = result[: -max(1, (count_units(result) - max_units) // 2)]
    while 0 < len(result) < len(text) and (
        _joins_previous(text[len(result)]) or result[-1] == _JOINER
    ):
        result = result[:-1]
    return result


def truncate_start(text: str, max_units: int) -> str:
    """Return the longest ending of at most `max_units` that does not cut a character in two."""
    result = text[-max_units:] if max_units > 0 else ""
    while count_units(result) > max_units:
        result = result[max(1, (count_units(result) - max_units) // 2) :]
    while result and len(result) < len(text) and _joins_previous(result[0]):
        result = result[1:]
    return result


def shorten(text: str, max_units: int = MAX_FIELD_UNITS) -> str:
    """Return the text, or as many of its words as fit with an ellipsis; a long word is cut."""
    if count_units(text) <= max_units:
        return text
    result = truncate_end(text, max_units - 1)
    space = result.rfind(" ")
    if not text[len(result)].isspace() and space >= len(result) // 2:
        result = result[:space]
    return result.rstrip(" ,;:-") + "…"


def shorten_around(text: str, core: str, max_units: int = MAX_FIELD_UNITS) -> str:
    """Shorten a text around `core`, which stays whole: first at the beginning, then at the end."""
    if count_units(text) <= max_units:
        return text
    before, _, after = text.partition(core)
    room = max_units - count_units(core)
    start = truncate_start(before, max(room - count_units(after), room // 2))
    return start + core + truncate_end(after, room - count_units(start))


_JOINER = "\u200d"


def _joins_previous(character: str) -> bool:
    """Return whether a character belongs to the one before it.

    Accents, variation selectors, skin tones and joiners belong to it.
    """
    joined = character in "\ufe0e\ufe0f\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"
    return joined or unicodedata.combining(character) > 0
