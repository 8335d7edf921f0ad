"""Phone numbers compared as numbers, however people, forms and Pipedrive write them.

`+491711234567`, `0049 171 1234567`, `+49 (0)171-1234567` and `0171 1234567` are one number: one
without a country code is read as one of the country that the other names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from worker.lead.typed_text import to_ascii_digits

MAX_EXTENSION_CHARS = 40
# The longest text that is read as a number.
MAX_PHONE_TEXT_CHARS = 250

_EXTENSION = re.compile(
    r"[\s,;(-]*(?:ext(?:ension|n)?|x|dw|durchwahl|app|poste|int(?:erno)?|anexo|ramal|toestel|wew|доб)"
    r"[\s.:]*#?\s*(\d{1,7})\)?\s*$|\s*[#]\s*(\d{1,7})\s*$|;ext=(\d{1,7})$",
    re.IGNORECASE,
)
_FOREIGN_PREFIX = re.compile(r"^\s*\(?\s*(?:\+|00(?=\s*[1-9]))")


class _Number(NamedTuple):
    """A number's digits without trunk zero; `code` is the country's calling code, if it names one.

    For a number without one, `digits` are all that was typed, except leading zeros.
    """

    code: int | None
    digits: str
    extension: str


def split_extension(text: str) -> tuple[str, str]:
    """Return a number and its extension: `030 1234 ext. 5` is (`030 1234`, `5`)."""
    match = _EXTENSION.search(text, max(0, len(text) - MAX_EXTENSION_CHARS))
    return (text[: match.start()], match[1] or match[2] or match[3]) if match else (text, "")


def phone_key(phone: str) -> str:
    """Return the text by which a phone identifies a person: `+49…`, with its extension.

    A number without a country code keeps its zeros, because it may be of any country.
    """
    written, extension = split_extension(_plain(phone))
    number = _read(written, extension)
    digits = f"+{number.code}{number.digits}" if number.code else _digits(written)
    return f"{digits};ext={extension}" if extension and digits else digits


def is_same_number(one: str, other: str) -> bool:
    """Whether two texts are the same phone number.

    An extension counts only if both have one, and a number without a country code is compared as
    one of the other's country.
    """
    (one, one_extension), (other, other_extension) = (
        split_extension(_plain(text)) for text in (one, other)
    )
    first, second = _read(one, one_extension), _read(other, other_extension)
    if first.extension and second.extension and first.extension != second.extension:
        return False
    if first.code and not second.code:
        return _is_dialled(other, second, first)
    if second.code and not first.code:
        return _is_dialled(one, first, second)
    return bool(first.digits) and (first.code, first.digits) == (second.code, second.digits)


def search_words(phone: str) -> str:
    """Return the groups of digits that every way of writing the number contains: `171 1234567`.

    They are grouped as the number's country writes them, without country code and trunk zero.
    """
    written, extension = split_extension(_plain(phone))
    number = _read(written, extension)
    if number.code is None:
        return " ".join(re.findall(r"\d+", written, re.ASCII)).lstrip("0 ")
    parsed = phonenumbers.parse(f"+{number.code}{number.digits}", None)
    text = phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL)
    return " ".join(re.findall(r"\d+", text.removeprefix(f"+{number.code}"), re.ASCII))


def _read(written: str, extension: str, region: str | None = None) -> _Number:
    """Read a number; `region` (two letters) is where one without a country code is dialled."""
    try:
        parsed = phonenumbers.parse(_FOREIGN_PREFIX.sub("+", written), region)
    except NumberParseException:
        return _Number(None, _digits(written).lstrip("+0"), extension)
    digits = phonenumbers.national_significant_number(parsed)
    return _Number(parsed.country_code, digits, extension or parsed.extension or "")


def _is_dialled(written: str, number: _Number, full: _Number) -> bool:
    """Whether a number that names no country is `full`, as dialled there or without its `+`."""
    region = phonenumbers.region_code_for_country_code(full.code or 0)
    in_country = _read(written, number.extension, region)
    return full.digits == in_country.digits or number.digits == f"{full.code}{full.digits}"


def _plain(text: str) -> str:
    """Return the text with the digits, blanks and dashes of ASCII, and without `tel:`."""
    text = to_ascii_digits(text[:MAX_PHONE_TEXT_CHARS]).strip()
    return re.sub(r"^tel:", "", text, flags=re.IGNORECASE)


def _digits(written: str) -> str:
    """Return the digits, and a `+` at the beginning."""
    digits = "".join(re.findall(r"\d", written, re.ASCII))
    return f"+{digits}" if written.startswith("+") and digits else digits
