"""Text as people type it, on any keyboard, made plain: what dates, times and sums are read from."""

from __future__ import annotations

import unicodedata

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201b\u02bc`\u00b4", "'"),
        "\u301c": "~",
        "\N{ARABIC THOUSANDS SEPARATOR}": "'",
        "\N{ARABIC COMMA}": ",",
    }
)
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})


def normalize_typed(text: str) -> str:
    """Return the text with ASCII digits, plain dashes and apostrophes, and single spaces.

    A text with superscripts, circled numbers or fractions becomes empty: they would turn into
    digits of the number that they stand beside.
    """
    if any(unicodedata.category(one) == "No" for one in text):
        return ""
    text = unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN)
    plain = [_plain_character(one) for one in text]
    return " ".join("".join(plain).split())


def fold_letters(text: str) -> str:
    """Return the text without case and accents: `Março` becomes `marco`."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    bare = "".join(one for one in letters if not unicodedata.combining(one))
    return unicodedata.normalize("NFC", bare)


def _plain_character(character: str) -> str:
    """Return an ASCII digit for a digit of any script, and nothing for what cannot be seen."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "" if unicodedata.category(character) == "Cf" else character
