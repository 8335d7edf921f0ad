"""The values of canonical fields, from what senders write.

Each parser returns None for anything but a value of its field, so that the text stays an answer.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat

from service.sources.fields import synonyms
from service.sources.fields.attribution import (
    is_template_token,
    parse_page_url,
    parse_tracking_value,
)
from service.sources.fields.matching import to_phrase, to_phrases
from service.sources.fields.text import MAX_LINE_CHARS, clean_line, clean_text
from service.sources.payload.tree import JsonNumber, Tree, Upload, text_of
from worker.lead.canonical import CANONICAL_FIELDS, FieldKind

# E-mail addresses: lower-cased, and checked by their syntax alone, never by a lookup.

MAX_EMAIL_CHARS = 254


def parse_email(text: str) -> str | None:
    """The address in lower case, without `mailto:`; None if nobody could be written to at it."""
    address = clean_line(text).removeprefix("mailto:").lower()
    if (
        not 3 <= len(address) <= MAX_EMAIL_CHARS
        or address.count("@") != 1
        or "." not in address.rpartition("@")[2]
    ):
        return None
    try:
        result = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError, ValueError):
        return None
    return result.normalized.lower()


# Phone numbers: E.164 where the number or the lead's country determines it, else as typed.

MAX_PHONE_CHARS = 64
MAX_PHONE_LETTERS = 12
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 5, 30
_DIGIT = re.compile(r"\d")
_WRITTEN_IN_FULL = re.compile(r"\+[1-9][0-9]{6,14}")
_FOREIGN_PREFIX = re.compile(r"^\s*(?:\+|00(?=[1-9]))")


def parse_phone(text: str) -> str | None:
    """The number as typed, without `tel:`; None if it has too few digits or is a sentence."""
    typed = clean_line(text.removeprefix("tel:"))
    letters = sum(character.isalpha() for character in typed)
    digits = len(_DIGIT.findall(typed))
    is_number = (
        len(typed) <= MAX_PHONE_CHARS
        and MIN_PHONE_DIGITS <= digits <= MAX_PHONE_DIGITS
        and letters <= MAX_PHONE_LETTERS
    )
    return typed if is_number else None


def to_e164(typed: str, region: str | None) -> str:
    """E.164 for `+…` and `00…`, and for any number of a known `region` (two letters).

    Anything else stays as typed. An extension is kept.
    """
    is_foreign = bool(_FOREIGN_PREFIX.match(typed))
    if not is_foreign and region is None:
        return typed
    try:
        number = phonenumbers.parse(
            _FOREIGN_PREFIX.sub("+", typed) if is_foreign else typed, region
        )
    except NumberParseException:
        return typed
    if not phonenumbers.is_possible_number(number):
        return typed
    if _WRITTEN_IN_FULL.fullmatch(typed) and not phonenumbers.is_valid_number(number):
        # The tables do not know it, and to drop a zero from a number in full would be a guess.
        return typed
    extension = f" ext. {number.extension}" if number.extension else ""
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) + extension


# Text, numbers, times and tick boxes.

# Values of one list that are looked at.
MAX_LIST_ITEMS = 500
MAX_BOOL_CHARS = 200
_YES = frozenset(to_phrases(synonyms.YES))
_NO = frozenset(to_phrases(synonyms.NO))
_CONSENT_OPENINGS = tuple(to_phrases(synonyms.ASKS_CONSENT))
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_WEBSITE = re.compile(r"[^\s@]+\.[^\s@]{2,}")
_TIME_TEXT = re.compile(r"(?=[^\d]*\d)[\w\s:.,+/()-]{4,64}")


def parse_bool(value: Tree) -> bool | None:
    """Whether a box is ticked; None if the text says neither.

    Of several values the last counts: forms put a hidden field of the same name before the box.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return parse_bool(value[-1]) if value else None
    phrase = to_phrase(str(value)[:MAX_BOOL_CHARS]) if isinstance(value, str) else ""
    if phrase in _NO:
        return False
    return True if phrase and (phrase in _YES or phrase.startswith(_CONSENT_OPENINGS)) else None


def parse_short_text(value: Tree) -> str | None:
    """One line of at most 255 characters, not a truth value or an unfilled template token."""
    text = "" if isinstance(value, bool) else clean_line(text_of(value) or "")
    return text if 0 < len(text) <= MAX_LINE_CHARS and not is_template_token(text) else None


def parse_person_name(value: Tree) -> str | None:
    """A person's name: text with letters, neither a number nor an address."""
    text = None if isinstance(value, JsonNumber) else parse_short_text(value)
    is_name = text and "://" not in text and any(character.isalpha() for character in text)
    return text if is_name else None


def parse_long_text(value: Tree) -> str | None:
    text = clean_text(text_of(value) or "")
    return text if text and not is_template_token(text) else None


def parse_website(value: Tree) -> str | None:
    text = parse_short_text(value)
    return text if text and _WEBSITE.fullmatch(text) else None


def parse_time_text(value: Tree) -> str | None:
    """Text that looks like a time, in whatever format; it is not converted."""
    text = clean_line(text_of(value) or "")
    return text if _TIME_TEXT.fullmatch(text) else None


def parse_amount(value: Tree) -> int | float | str | None:
    """A number where the sender wrote one, else the text."""
    text = parse_short_text(value)
    if text is None or not _AMOUNT.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def parse_currency(value: Tree) -> str | None:
    """Three letters in upper case."""
    text = (parse_short_text(value) or "").upper()
    return text if len(text) == 3 and text.isalpha() and text.isascii() else None


def parse_answer(value: Tree) -> str | list[str] | None:
    """Text, or a list of texts for several values; None for what was left empty."""
    if isinstance(value, list):
        items = value[:MAX_LIST_ITEMS]
        return [text for item in items if (text := clean_text(text_of(item) or ""))] or None
    return clean_text(text_of(value) or "") or None


# The parser of each canonical field.


def _from_text(parse: Callable[[str], str | None]) -> Callable[[Tree], str | None]:
    return lambda value: None if value is None else parse(text_of(value) or "")


# For utm_* and click ids.
_TRACKING_PARSER = _from_text(parse_tracking_value)
KIND_PARSERS: dict[FieldKind, Callable[[Tree], object]] = {
    FieldKind.NAME: parse_person_name,
    FieldKind.EMAIL: _from_text(parse_email),
    FieldKind.PHONE: _from_text(parse_phone),
    FieldKind.TEXT: parse_short_text,
    FieldKind.LONG_TEXT: parse_long_text,
    FieldKind.WEBSITE: parse_website,
    FieldKind.PAGE_URL: _from_text(parse_page_url),
    FieldKind.BOOLEAN: parse_bool,
    FieldKind.AMOUNT: parse_amount,
    FieldKind.CURRENCY: parse_currency,
    FieldKind.TIME: parse_time_text,
    FieldKind.TRACKING: _TRACKING_PARSER,
}
VALUE_PARSERS: dict[str, Callable[[Tree], object]] = {
    field.name: KIND_PARSERS[field.kind]
    for field in CANONICAL_FIELDS
    if field.kind is not FieldKind.TRACKING
} | {"value": parse_amount}


def parse_value(field: str, value: Tree) -> object:
    """The value of a canonical field, or None if it is not one; of several, the first that is.

    A file is never more than an answer.
    """
    if isinstance(value, Upload):
        return None
    if isinstance(value, list) and field not in ("consent", "message"):
        parsed = (parse_value(field, item) for item in value[:MAX_LIST_ITEMS])
        return next((one for one in parsed if one is not None), None)
    return VALUE_PARSERS.get(field, _TRACKING_PARSER)(value)


# Countries by ISO code or by name, in the languages that forms are written in.

COUNTRY_LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl")
# Names that the tables lack, and the three-letter codes that forms send most.
EXTRA_COUNTRY_NAMES = {
    "uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB",
    "usa": "US", "america": "US", "united states of america": "US",
    "holland": "NL", "the netherlands": "NL", "czech republic": "CZ",
    "deu": "DE", "gbr": "GB", "fra": "FR", "esp": "ES", "ita": "IT", "prt": "PT", "nld": "NL",
    "swe": "SE", "pol": "PL", "aut": "AT", "che": "CH", "aus": "AU", "bel": "BE", "can": "CA",
    "irl": "IE", "dnk": "DK", "nor": "NO", "fin": "FI", "bra": "BR", "mex": "MX", "ind": "IN",
}  # fmt: skip


def country_code(country: str) -> str | None:
    """The two-letter code of a country's code or name; None if it is neither."""
    code = country.strip().upper()
    if code in phonenumbers.SUPPORTED_REGIONS:
        return code
    return country_names().get(to_phrase(country[:100]))


@cache
def country_names() -> dict[str, str]:
    """Normalised name -> code. The first call takes about 100 ms, to read the tables."""
    codes = {to_phrase(name): code for name, code in EXTRA_COUNTRY_NAMES.items()}
    for code, spellings in _country_spellings().items():
        if code not in phonenumbers.SUPPORTED_REGIONS:
            continue
        for language in COUNTRY_LANGUAGES:
            name = spellings.get(language, "")
            if name.startswith("*"):  # spelt as in another language
                name = spellings.get(name[1:], "")
            if phrase := to_phrase(name):
                codes.setdefault(phrase, code)
    return codes


def _country_spellings() -> dict[str, dict[str, str]]:
    """Code -> language -> name.

    The module is loaded from its file: its package would load the towns of all area codes, 100 MB.
    """
    file = Path(phonenumbers.__file__).with_name("geodata") / "locale.py"
    spec = importlib.util.spec_from_file_location("phonenumbers.geodata.locale", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    spellings: dict[str, dict[str, str]] = module.LOCALE_DATA
    return spellings
