"""Text cut to the lengths Pipedrive takes, counted as its server counts: in UTF-16 units, where an
emoji is two.
"""

from __future__ import annotations

import unicodedata

MAX_FIELD_UNITS = 255
"""Of a title, a name and any `varchar` field."""


def count_units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def truncate_end(text: str, max_units: int) -> str:
    """The longest beginning of at most `most` units that does not end inside a character as people
    see it.
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
    """The longest ending of at most `most` units that does not begin inside a character as people
    see it.
    """
    result = text[-max_units:] if max_units > 0 else ""
    while count_units(result) > max_units:
        result = result[max(1, (count_units(result) - max_units) // 2) :]
    while result and len(result) < len(text) and _joins_previous(result[0]):
        result = result[1:]
    return result


def shorten(text: str, max_units: int = MAX_FIELD_UNITS) -> str:
    """The text, or as many of its words as fit, and an ellipsis; a single long word is cut."""
    if count_units(text) <= max_units:
        return text
    result = truncate_end(text, max_units - 1)
    space = result.rfind(" ")
    if not text[len(result)].isspace() and space >= len(result) // 2:
        result = result[:space]
    return result.rstrip(" ,;:-") + "…"


def shorten_around(text: str, core: str, max_units: int = MAX_FIELD_UNITS) -> str:
    """The text with `core` whole: what stands before it is cut first at its beginning, what follows
    at its end.
    """
    if count_units(text) <= max_units:
        return text
    before, _, after = text.partition(core)
    room = max_units - count_units(core)
    start = truncate_start(before, max(room - count_units(after), room // 2))
    return start + core + truncate_end(after, room - count_units(start))


_JOINER = "\u200d"


def _joins_previous(character: str) -> bool:
    """Whether a character belongs to the one before it: accents, variation selectors, skin tones,
    joiners.
    """
    joined = character in "\ufe0e\ufe0f\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"
    return joined or unicodedata.combining(character) > 0
