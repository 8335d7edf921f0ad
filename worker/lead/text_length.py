"""Text cut to the lengths Pipedrive takes, counted as its server counts: in UTF-16 units, where an
emoji is two.
"""

from __future__ import annotations

import unicodedata

LONGEST = 255
"""Of a title, a name and any `varchar` field."""


def units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def head(text: str, most: int) -> str:
    """The longest beginning of at most `most` units that does not end inside a character as people
    see it.
    """
    kept = text[:most]
    while units(kept) > most:
        kept = kept[: -max(1, (units(kept) - most) // 2)]
    while 0 < len(kept) < len(text) and (_joins(text[len(kept)]) or kept[-1] == _JOINER):
        kept = kept[:-1]
    return kept


def tail(text: str, most: int) -> str:
    """The longest ending of at most `most` units that does not begin inside a character as people
    see it.
    """
    kept = text[-most:] if most > 0 else ""
    while units(kept) > most:
        kept = kept[max(1, (units(kept) - most) // 2) :]
    while kept and len(kept) < len(text) and _joins(kept[0]):
        kept = kept[1:]
    return kept


def fit(text: str, most: int = LONGEST) -> str:
    """The text, or as many of its words as fit, and an ellipsis; a single long word is cut."""
    if units(text) <= most:
        return text
    kept = head(text, most - 1)
    space = kept.rfind(" ")
    if not text[len(kept)].isspace() and space >= len(kept) // 2:
        kept = kept[:space]
    return kept.rstrip(" ,;:-") + "…"


def fit_around(text: str, core: str, most: int = LONGEST) -> str:
    """The text with `core` whole: what stands before it is cut first at its beginning, what follows
    at its end.
    """
    if units(text) <= most:
        return text
    before, _, after = text.partition(core)
    room = most - units(core)
    kept = tail(before, max(room - units(after), room // 2))
    return kept + core + head(after, room - units(kept))


_JOINER = "\u200d"


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before it: accents, variation selectors, skin tones,
    joiners.
    """
    joined = character in "\ufe0e\ufe0f\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"
    return joined or unicodedata.combining(character) > 0
