"""Values of canonical fields, from what senders write; None where it is no such value, so that it
stays an answer.
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

from service.sources.fields import attribution, synonyms
from service.sources.fields.matching import to_phrase, to_phrases
from service.sources.fields.text import MAX_LINE_CHARS, clean_line, clean_text
from service.sources.payload.tree import JsonNumber, Tree, Upload, text_of

# E-mail addresses: lower-cased and checked by their syntax alone, never by a look-up.

MAX_EMAIL_CHARS = 254


def parse_email(text: str) -> str | None:
    """The address in lower case, or None if nobody could be written to at it. `mailto:` is taken
    off.
    """
    address = clean_line(text).removeprefix("mailto:").lower()
    if (
        not 3 <= len(address) <= MAX_EMAIL_CHARS
        or address.count("@") != 1
        or "." not in address.rpartition("@")[2]
    ):
        return None
    try:
        found = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError, ValueError):
        return None
    return found.normalized.lower()


# Phone numbers: E.164 where the number or the lead's country says which, else as typed.

MAX_PHONE_CHARS = 64
_DIGIT = re.compile(r"\d")
_WRITTEN_OUT = re.compile(r"\+[1-9][0-9]{6,14}")
_FOREIGN = re.compile(r"^\s*(?:\+|00(?=[1-9]))")


def parse_phone(text: str) -> str | None:
    """The number as typed, without blanks at its ends; None if it cannot be one (fewer than 5
    digits, or a sentence).
    """
    typed = clean_line(text.removeprefix("tel:"))
    letters = sum(character.isalpha() for character in typed)
    return (
        typed
        if len(typed) <= MAX_PHONE_CHARS and 5 <= len(_DIGIT.findall(typed)) <= 30 and letters <= 12
        else None
    )


def to_e164(typed: str, region: str | None) -> str:
    """E.164 for `+…` and `00…`, and for any number of a known `region` (two letters); else as
    typed. An extension is kept.
    """
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


_YES = frozenset(to_phrases(synonyms.YES))
_NO = frozenset(to_phrases(synonyms.NO))
_AGREES = tuple(to_phrases(synonyms.ASKS_CONSENT))
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_SITE = re.compile(r"[^\s@]+\.[^\s@]{2,}")
_WHEN = re.compile(r"(?=[^\d]*\d)[\w\s:.,+/()-]{4,64}")


def parse_bool(value: Tree) -> bool | None:
    """Whether a box is ticked: of a hidden field and a box of one name, the last counts. None if it
    says neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return parse_bool(value[-1]) if value else None
    said = to_phrase(str(value)[:200]) if isinstance(value, str) else ""
    if said in _NO:
        return False
    return True if said in _YES or (said and said.startswith(_AGREES)) else None


def parse_short_text(value: Tree) -> str | None:
    """One line of at most 255 characters; longer text is no name, nor is a truth value."""
    text = clean_line(_text(value)) if not isinstance(value, bool) else ""
    return (
        text if 0 < len(text) <= MAX_LINE_CHARS and not attribution.is_placeholder(text) else None
    )


def parse_person_name(value: Tree) -> str | None:
    """A person's name: neither a number nor an address."""
    text = parse_short_text(value) if not isinstance(value, JsonNumber) else None
    return (
        text
        if text and "://" not in text and any(character.isalpha() for character in text)
        else None
    )


def parse_long_text(value: Tree) -> str | None:
    text = clean_text(_text(value))
    return text if text and not attribution.is_placeholder(text) else None


def parse_website(value: Tree) -> str | None:
    text = parse_short_text(value)
    return text if text and _SITE.fullmatch(text) else None


def parse_time_text(value: Tree) -> str | None:
    """A time as text; it is not read, only told from other things."""
    text = clean_line(_text(value))
    return text if _WHEN.fullmatch(text) else None


def parse_amount(value: Tree) -> int | float | str | None:
    """A number where the sender wrote one, else the text."""
    text = parse_short_text(value)
    if text is None or not _AMOUNT.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def parse_currency(value: Tree) -> str | None:
    text = (parse_short_text(value) or "").upper()
    return text if len(text) == 3 and text.isalpha() and text.isascii() else None


def parse_answer(value: Tree) -> str | list[str] | None:
    """Text, or a list of texts for several values; None for what was left empty."""
    if isinstance(value, list):
        items = [text for item in value[:500] if (text := clean_text(text_of(item) or ""))]
        return items or None
    return clean_text(_text(value)) or None


def _text(value: Tree) -> str:
    """As `text_of`, of a list with one value that value."""
    return text_of(value) or ""


def _of_text(reader: Callable[[str], str | None]) -> Callable[[Tree], str | None]:
    return lambda value: reader(_text(value)) if value is not None else None


VALUE_PARSERS: dict[str, Callable[[Tree], object]] = {
    "name": parse_person_name,
    "first_name": parse_person_name,
    "last_name": parse_person_name,
    "email": _of_text(parse_email),
    "phone": _of_text(parse_phone),
    "company": parse_short_text,
    "job_title": parse_short_text,
    "website": parse_website,
    "message": parse_long_text,
    "consent": parse_bool,
    "country": parse_short_text,
    "page_url": _of_text(attribution.parse_page_url),
    "referrer": _of_text(attribution.parse_page_url),
    "form_id": parse_short_text,
    "form_name": parse_short_text,
    "event_id": parse_short_text,
    "is_test": parse_bool,
    "occurred_at": parse_time_text,
    "value": parse_amount,
    "value.amount": parse_amount,
    "value.currency": parse_currency,
}
"""Canonical field -> how its value is read. utm_* and click ids are read by `attribution.worth`."""


_WORTH = _of_text(attribution.parse_tracking_value)


def parse_value(target: str, value: Tree) -> object:
    """The value of a canonical field, or None if it is none. Of several, the first that can be
    read.

    Files are never more than an answer.
    """
    if isinstance(value, Upload):
        return None
    reader = VALUE_PARSERS.get(target) or _WORTH
    if isinstance(value, list) and target not in ("consent", "message"):
        return next(
            (found for item in value[:500] if (found := parse_value(target, item)) is not None),
            None,
        )
    return reader(value)


# Countries by ISO code or by name, in the languages that forms are written in.

COUNTRY_LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl")
EXTRA_COUNTRY_NAMES = {
    "uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB",
    "usa": "US", "america": "US",
    "united states of america": "US", "holland": "NL", "the netherlands": "NL",
    "czech republic": "CZ", "deu": "DE", "gbr": "GB",
    "fra": "FR", "esp": "ES", "ita": "IT", "prt": "PT", "nld": "NL", "swe": "SE", "pol": "PL",
    "aut": "AT", "che": "CH",
    "aus": "AU", "bel": "BE", "can": "CA", "irl": "IE", "dnk": "DK", "nor": "NO", "fin": "FI",
    "bra": "BR",
    "mex": "MX", "ind": "IN",
}  # fmt: skip
"""Names that the tables of languages do not have, and the three-letter codes that forms send most.
"""


def country_code(country: str) -> str | None:
    """The two-letter code of a country's code or name; None if it is neither."""
    code = country.strip().upper()
    if code in phonenumbers.SUPPORTED_REGIONS:
        return code
    return country_names().get(to_phrase(country[:100]))


@cache
def country_names() -> dict[str, str]:
    """Normalised name -> code. The first call reads the tables (some 100 ms): made once when the
    source file is loaded.
    """
    found = {to_phrase(name): code for name, code in EXTRA_COUNTRY_NAMES.items()}
    for code, spellings in _spellings().items():
        for language in COUNTRY_LANGUAGES:
            name = spellings.get(language, "")
            name = spellings.get(name[1:], "") if name.startswith("*") else name
            if code in phonenumbers.SUPPORTED_REGIONS and (known := to_phrase(name)):
                found.setdefault(known, code)
    return found


def _spellings() -> dict[str, dict[str, str]]:
    """Code -> language -> name. Read past the package it stands in, which would load the towns of
    all area codes (100 MB).
    """
    file = Path(phonenumbers.__file__).with_name("geodata") / "locale.py"
    spec = importlib.util.spec_from_file_location("phonenumbers.geodata.locale", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, dict[str, str]] = module.LOCALE_DATA
    return found
