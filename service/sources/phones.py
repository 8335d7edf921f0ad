"""Phone numbers: E.164 where the number or the lead's country says which, else as typed."""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from service.sources.text import line

LONGEST = 64
_DIGIT = re.compile(r"\d")
_WRITTEN_OUT = re.compile(r"\+[1-9][0-9]{6,14}")
_FOREIGN = re.compile(r"^\s*(?:\+|00(?=[1-9]))")


def phone(text: str) -> str | None:
    """The number as typed, without blanks at its ends; None if it cannot be one (fewer than 5 digits, or a sentence)."""
    typed = line(text.removeprefix("tel:"))
    letters = sum(character.isalpha() for character in typed)
    return typed if len(typed) <= LONGEST and 5 <= len(_DIGIT.findall(typed)) <= 30 and letters <= 12 else None


def international(typed: str, region: str | None) -> str:
    """E.164 for `+…` and `00…`, and for any number of a known `region` (two letters); else as typed. An extension is kept."""
    foreign = _FOREIGN.match(typed)
    if not foreign and region is None:
        return typed
    try:
        number = phonenumbers.parse(_FOREIGN.sub("+", typed) if foreign else typed, region)
    except NumberParseException:
        return typed
    if not phonenumbers.is_possible_number(number):
        return typed
    if _WRITTEN_OUT.fullmatch(typed) and not phonenumbers.is_valid_number(number):
        return typed  # in full already, and not known to the tables: to take a zero out of it would be a guess
    extension = f" ext. {number.extension}" if number.extension else ""
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) + extension
