"""Phone numbers as people, spreadsheets and forms write them: E.164 where the country is known."""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from service.sources.fields.effort import PHONE_UNITS, Effort
from service.sources.fields.text import clean_line
from worker.lead.phone_numbers import split_extension
from worker.lead.typed_text import to_ascii_digits

MAX_PHONE_CHARS = 64
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 5, 30
# The longest number in E.164; longer ones are two numbers, or none.
MAX_E164_DIGITS = 15
MAX_WORDS_BESIDE = 4
# National numbers with more digits are so rare that a country code is likelier.
MAX_NATIONAL_DIGITS = 11

_DIGIT = re.compile(r"\d")
_SCHEME = re.compile(
    r"^\s*(?:(?:tel|phone|p|ph|t|m|mob|mobile|cell|call|whatsapp|wa|sms|callto|tel(?:e)?fon|fon|handy)"
    r"\s*[.:]\s*(?://)?|https?://wa\.me/)+",
    re.IGNORECASE,
)
_NUMBER_NOTATION = re.compile(r"\d+(?:[.,]\d+)?[eE]\+?\d{1,2}|\d{5,15}\.0+")
_PLAIN = re.compile(r"\+?[0-9](?:[ -]?[0-9]){4,14}")
_IN_FULL = re.compile(r"\+[1-9][0-9]{6,14}")
_FOREIGN_PREFIX = re.compile(r"^\s*(?:\+|00(?=[1-9]))")
_PUNCTUATION = re.compile(r"[\s().\-/]+")
# A zero that only belongs to national numbers: in brackets, or first after the country code.
_TRUNK_ZERO = re.compile(r"\(\s*0|^\+[0-9]{1,3}[\s().\-/]*0")
_SEVERAL = re.compile(
    r"\s*(?:[;,|]|\s/\s|(?<=\d{6})/(?=\+?\d)|\b(?:or|oder|ou|und|and|y|o|e|of|en|eller|lub|nebo|alebo|vagy|tai|sau|veya|или|або)\b)\s*",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d\d([./-])[01]?\d\1[0-3]?\d|[0-3]?\d([./-])[0-3]?\d\2(?:19|20)\d\d(?!\d)"
)
_TIMES = re.compile(r"\d{1,2}[.:]\d\d ?[-/] ?\d{1,2}[.:]\d\d")
_WORD = re.compile(r"[^\W\d_]+\.?")
_BRACKETED_CODE = re.compile(r"^\s*\(\+(\d{1,4})\)\s*")
# A number among words.
_EMBEDDED = re.compile(r"\+?\d[\d ().\-/]{5,}\d(?![\w])")
# Words in brackets, other than an extension.
_REMARK = re.compile(r"\((?!\s*(?:ext|x|dw)\b)[^()]*[^\W\d_][^()]*\)", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]")
_LOOKS_LIKE_PHONE = re.compile(r"(?:\+|00)[1-9][0-9 ()./-]{6,22}[0-9]|0[1-9][0-9 ()./-]{6,20}[0-9]")


def is_plain_number(text: str) -> bool:
    """Whether a text is nothing but a phone number, in plain notation."""
    return _PLAIN.fullmatch(text) is not None and _DATE.fullmatch(text) is None


def parse_phone(text: str, effort: Effort) -> str | None:
    """The number as typed, without surrounding text; None if it has too few digits.

    Letters are never read as digits, and a few words beside a number are dropped, as in
    `0170 1234567 (Handy)`. An extension stays, as ` ext. 12`.
    """
    if len(text) > 4 * MAX_PHONE_CHARS:
        return None
    if is_plain_number(text):
        return str(text)  # it may be a `JsonNumber`
    if not effort.take_unusual(text):
        return None
    typed = _SCHEME.sub("", clean_line(text)).strip(" ='\"`’,;:")
    if typed.isascii() and typed.isdigit():
        return typed if MIN_PHONE_DIGITS <= len(typed) <= MAX_E164_DIGITS + 5 else None
    typed = to_ascii_digits(typed)
    if _NUMBER_NOTATION.fullmatch(typed):
        return _from_number_notation(typed)
    remark = _REMARK.sub(" ", typed)
    if len(_DIGIT.findall(remark)) > MIN_PHONE_DIGITS:
        typed = remark.strip()
    typed, extension = split_extension(typed)
    typed = _first_number(typed)
    typed = _BRACKETED_CODE.sub(r"+\1 ", typed)
    if any(character.isalpha() for character in typed):
        numbers = [one for one in _EMBEDDED.findall(typed) if len(_DIGIT.findall(one)) >= 7]
        if numbers:
            typed = numbers[0]
    if any(character.isalpha() for character in typed):
        if len(_WORD.findall(typed)) > MAX_WORDS_BESIDE or re.search(
            r"[^\W\d_]\d|\d[^\W\d_]", typed
        ):
            return None
        typed = _EMPTY_BRACKETS.sub(" ", _WORD.sub(" ", typed))
        typed = clean_line(typed).strip(" -:;,./")
    if _DATE.fullmatch(typed):
        return None
    digits = len(_DIGIT.findall(typed))
    is_number = len(typed) <= MAX_PHONE_CHARS and MIN_PHONE_DIGITS <= digits <= MAX_PHONE_DIGITS
    if not is_number:
        return None
    return f"{typed.strip()} ext. {extension}" if extension else typed.strip()


def looks_like_phone(text: str) -> bool:
    """Whether a text is a phone number whatever its field: it begins with `+`, `00` or `0`.

    Dates and opening hours do so as well (`05.12.2026`, `09.30-17.00`), and numbers of companies.
    """
    text = text.strip()
    is_number = _LOOKS_LIKE_PHONE.fullmatch(text) and len(_DIGIT.findall(text)) <= MAX_E164_DIGITS
    return bool(is_number) and not (_DATE.search(text) or _TIMES.fullmatch(text))


def to_e164(typed: str, region: str | None, dial_code: str | None, effort: Effort) -> str:
    """E.164 for `+…` and `00…`, and for any number of a known `region` (two letters).

    `dial_code` is a calling code from a field of its own, such as `+49`. Any other number stays as
    typed. An extension is kept.
    """
    if _IN_FULL.fullmatch(typed):
        return typed
    is_foreign = bool(_FOREIGN_PREFIX.match(typed))
    if not is_foreign and not region and dial_code:
        code = dial_code.lstrip("+0")
        region = phonenumbers.region_code_for_country_code(int(code)) if code.isdigit() else None
        region = None if region in ("ZZ", "001") else region
    if not is_foreign and not region:
        return typed
    if is_foreign:
        written = _FOREIGN_PREFIX.sub("+", typed)
        plain = _PUNCTUATION.sub("", written)
        if _IN_FULL.fullmatch(plain) and not _TRUNK_ZERO.search(written):
            return plain
    if not effort.take(PHONE_UNITS):
        return typed
    return _parse_e164(_FOREIGN_PREFIX.sub("+", typed) if is_foreign else typed, typed, region)


def parse_dial_code(text: str) -> str | None:
    """A calling code such as `+49`, `0049` or `49`; None for anything else."""
    match = re.search(r"(?:\+|\b00|^)\s?([1-9][0-9]{0,3})\b\)?\s*$", clean_line(text[:64]))
    return f"+{match[1]}" if match else None


def _parse_e164(written: str, typed: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(written, region)
    except NumberParseException:
        return typed
    if not written.startswith("+"):
        number = _with_its_code(written, number)
    # A number within its area (`555-0123`) is none that could be called from elsewhere.
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return typed
    extension = f" ext. {number.extension}" if number.extension else ""
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) + extension


def _with_its_code(written: str, number: phonenumbers.PhoneNumber) -> phonenumbers.PhoneNumber:
    """The number, read with the country code with which it may already begin, without a `+`."""
    digits = "".join(_DIGIT.findall(written))
    is_long = len(digits) > MAX_NATIONAL_DIGITS or not phonenumbers.is_valid_number(number)
    if not digits.startswith(str(number.country_code)) or not is_long:
        return number
    try:
        with_code = phonenumbers.parse(f"+{digits}", None)
    except NumberParseException:
        return number
    return with_code if phonenumbers.is_valid_number(with_code) else number


def _from_number_notation(text: str) -> str | None:
    """A number that a spreadsheet wrote (`4.91701234567E+11`), if it has lost no digits."""
    mantissa, _, exponent = text.lower().replace(",", ".").partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent or 0)
    digits = (whole + fraction[:shift]).ljust(len(whole) + shift, "0")
    is_exact = not fraction[shift:].strip("0") and (not exponent or len(fraction) >= shift - 1)
    return digits if is_exact and MIN_PHONE_DIGITS <= len(digits) <= MAX_E164_DIGITS else None


def _first_number(text: str) -> str:
    """The first of several numbers in one field."""
    if len(_DIGIT.findall(text)) <= MAX_E164_DIGITS and not re.search(r"[;|]", text):
        return text
    first = next(
        (one for one in _SEVERAL.split(text) if one and len(_DIGIT.findall(one)) >= 6), text
    )
    return first.strip()
