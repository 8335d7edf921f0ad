"""Text as people type it, on any keyboard, made plain, to read dates, sums and phones from it."""

from __future__ import annotations

import unicodedata
from typing import Literal

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc`\u00b4", "'"),
        "\u301c": "~",
        "\N{ARABIC THOUSANDS SEPARATOR}": "'",
        "\N{ARABIC COMMA}": ",",
    }
)
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})

# Two signs that stand for a phrase of 18 and one of 8 letters; no other becomes more than 7.
_PHRASES = ("\ufdfa", "\ufdfb")


def normalize_signs(form: Literal["NFKC", "NFKD"], text: str) -> str:
    """Return the text with the letters that its signs stand for; those of phrases are left out.

    They are in no name and no number, and a text of them would become 18 times as long.
    """
    for phrase in _PHRASES:
        text = text.replace(phrase, " ")
    return unicodedata.normalize(form, text)


def normalize_typed(text: str) -> str:
    """Return the text with ASCII digits, plain dashes and apostrophes, and single spaces.

    A text with superscripts, circled numbers or fractions becomes empty: they would turn into
    digits of the number that they stand beside.
    """
    if any(unicodedata.category(one) == "No" for one in text):
        return ""
    text = to_ascii_digits(text.translate(_PLAIN)).translate(_PLAIN)
    return " ".join("".join(one for one in text if unicodedata.category(one) != "Cf").split())


def to_ascii_digits(text: str) -> str:
    """Return the text with full-width forms, dashes and the digits of any script as in ASCII."""
    if text.isascii():
        return text
    text = normalize_signs("NFKC", text.translate(_DASHES)).translate(_DASHES)
    return "".join(str(unicodedata.decimal(one, one)) for one in text)


def fold_letters(text: str) -> str:
    """Return the text without case and accents: `Março` becomes `marco`."""
    letters = normalize_signs("NFKD", text.casefold().translate(_LETTERS))
    bare = "".join(one for one in letters if not unicodedata.combining(one))
    return unicodedata.normalize("NFC", bare)
