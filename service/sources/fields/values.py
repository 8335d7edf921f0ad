"""The values of canonical fields, from what senders write.

Each parser returns None for a text that is no value of its field, so that it stays an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from service.sources.fields.attribution import (
    is_template_token,
    parse_page_url,
    parse_tracking_value,
)
from service.sources.fields.declined_consent import has_negation, is_refusal
from service.sources.fields.effort import FURTHER_VALUE_UNITS, Effort
from service.sources.fields.emails import parse_email
from service.sources.fields.phones import parse_phone
from service.sources.fields.text import MAX_LINE_CHARS, clean_line, clean_text
from service.sources.languages.vocabulary import vocabulary
from service.sources.languages.words import split_words
from service.sources.payload.tree import JsonNumber, Tree, Upload, text_of
from worker.contract import Money
from worker.lead.canonical import CANONICAL_FIELDS, FieldKind
from worker.lead.money import currency_code, is_shared_sign, parse_money
from worker.units import int_if_whole

# Text, numbers, times and tick boxes.

# Values of one list that are read.
MAX_LIST_ITEMS = 500
MAX_BOOL_CHARS = 200
MAX_NAME_CHARS, MAX_COUNTRY_CHARS = 120, 60
# The longest word for a currency has 18 characters.
MAX_SIGN_CHARS = 24
_NO_NAMES = frozenset(
    {
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "null",
        "none",
        "n/a",
        "undefined",
        "nan",
        "ref!",
        "name?",
        "value!",
        "not provided",
        "not applicable",
        "not available",
        "not specified",
    }
)
_TITLES = frozenset(
    (
        "dr", "prof", "professor", "ing", "dipl", "mag", "med", "phd", "bsc", "msc", "ma", "mba",
        "herr", "frau", "mr", "mrs", "ms", "miss", "mx", "sir", "madam", "monsieur", "madame", "m",
        "mme", "sr", "sra", "señor", "señora", "divers",
        # Roles in a conversation or at a wedding, which are no jobs.
        "lead", "user", "visitor", "contact", "customer", "client", "guest", "member", "bride",
        "groom", "admin", "other",
    )
)  # fmt: skip
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
# Only the currency may tell whether the dot is a decimal point or groups thousands.
_DOUBTFUL_AMOUNT = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}", re.ASCII)
# The first entry of a list to choose from: `Please select`, `-- Select country --`.
_PLACEHOLDER = re.compile(
    r"[\W_]*+(?:(?:please|bitte|prosím|proszę|por favor|por favor,|maak een) )?"
    r"(?:select|choose|(?:aus)?wählen|wähle|choisir|choisissez|sélectionne[rz]|selecciona[r]?"
    r"|seleccione|elegir|elija|elige|selecionar?|selecione|escolh[ae]r?|seleziona(?:re)?|scegli"
    r"|selecteer|kies(?= )|välj|vælg|velg|valitse|wybierz|vyberte|zvolte|válasszon|alegeți"
    r"|seçin(?:iz)?|выберите|оберіть|選択してください|请选择|請選擇|선택하세요)"
    r"(?: (?:an?|one|your|eine?|eine?n|un|une|una?|uma?|su|votre|een)\b)?"
    r"(?: (?:country|option|value|item|land|pays|país|paese|opción|opção|opzione|optie|valeur"
    r"|title|role|position|company|below|sie))*[\W_]*",
    re.IGNORECASE,
)
_NO_BLANK_OR_AT = re.compile(r"[^\s@]+")
_TIME_TEXT = re.compile(r"(?=[^\d]*\d)[\w\s:.,+/()-]{4,64}")


def parse_bool(value: Tree) -> bool | None:
    """Whether a box is ticked; None if the value says neither.

    Of several values the last one counts: forms put a hidden field of the same name before the box.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return parse_bool(value[-1]) if value else None
    words = split_words(value[:MAX_BOOL_CHARS]) if isinstance(value, str) else ()
    phrase, terms = "".join(words), vocabulary()
    if phrase in terms.no:
        return False
    if not phrase:
        return None
    if phrase in terms.yes:
        return True
    if is_refusal(words):
        return None
    if phrase.startswith(terms.consent_openings):
        return True
    is_consent = not terms.asks_consent.isdisjoint(words) and not has_negation(words)
    return True if is_consent else None


def parse_short_text(value: Tree) -> str | None:
    """One line of at most 255 characters, not a truth value, or what nobody filled in or chose."""
    if type(value) is str:
        text = clean_line(value)
    else:
        text = "" if isinstance(value, bool) else clean_line(text_of(value) or "")
    if not 0 < len(text) <= MAX_LINE_CHARS or is_template_token(text):
        return None
    return None if _PLACEHOLDER.fullmatch(text) else text


def parse_person_name(value: Tree) -> str | None:
    """A person's name: text with letters, and no number, address, yes or no."""
    text = None if isinstance(value, JsonNumber) else parse_short_text(value)
    is_name = (
        text
        and len(text) <= MAX_NAME_CHARS
        and "://" not in text
        and "@" not in text
        and any(character.isalpha() for character in text)
        and not _is_nothing(text)
    )
    return text if is_name else None


def _is_nothing(text: str) -> bool:
    """Whether a text says that there is none, as programs do: `#N/A`, `[not provided]`."""
    return text.lower().strip("#[]()<>") in _NO_NAMES


def parse_company(value: Tree) -> str | None:
    """A company's name: text that is no number, address, yes or no."""
    text = None if isinstance(value, JsonNumber) else parse_short_text(value)
    is_name = text and "@" not in text and not _is_nothing(text)
    return text if is_name and any(map(str.isalnum, text or "")) else None


def parse_job_title(value: Tree) -> str | None:
    """A position in a company; never an academic title, which some languages call the same."""
    text = parse_company(value)
    words = (text or "").lower().replace(".", " ").split()
    is_title = words and not _TITLES.issuperset(words) and any(map(str.isalpha, text or ""))
    return text if is_title else None


def parse_country(value: Tree) -> str | None:
    """A country's name or code as typed: letters, and not a sentence or a number of something."""
    text = parse_short_text(value)
    if text is None or len(text) > MAX_COUNTRY_CHARS or not any(map(str.isalpha, text)):
        return None
    if text[0].isdigit() or (len(text) > 2 and _is_nothing(text)):
        return None
    return text if "@" not in text and "://" not in text else None


def parse_long_text(value: Tree) -> str | None:
    text = clean_text(text_of(value) or "")
    return text if text and not is_template_token(text) else None


def parse_website(value: Tree) -> str | None:
    text = parse_short_text(value)
    is_website = text and _NO_BLANK_OR_AT.fullmatch(text) and text.find(".", 1, -2) > 0
    return text if is_website else None


def parse_time_text(value: Tree) -> str | None:
    """Text that looks like a time, in whatever format; it is not converted."""
    text = clean_line(text_of(value) or "")
    return text if _TIME_TEXT.fullmatch(text) else None


def parse_amount(value: Tree) -> int | float | str | None:
    """A JSON number as one, else the text, which `read_money` reads with its currency."""
    text = parse_short_text(value)
    if text is None or not isinstance(value, JsonNumber) or not _AMOUNT.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def read_money(amount: str, currency: str | None, country: str | None) -> Money:
    """An amount in a text, with the currency of its own field or of the text.

    `country` (two letters) says whose `$` or `kr` it is. An amount that is no number, or whose dot
    the source file's currency may yet explain, stays text.
    """
    money = parse_money(amount, currency, country)
    named = currency or (money.currency if money else None)
    if money is None or not money.agrees or (not named and _DOUBTFUL_AMOUNT.fullmatch(amount)):
        return Money(amount=amount, currency=currency)
    return Money(amount=int_if_whole(money.amount), currency=named)


def parse_currency(value: Tree) -> str | None:
    """Three letters in upper case, or the code of a sign or word that only one currency has."""
    text = (parse_short_text(value) or "").upper()
    if len(text) > MAX_SIGN_CHARS:
        return None
    if not is_shared_sign(text) and (code := currency_code(text)):
        return code
    return text if len(text) == 3 and text.isalpha() and text.isascii() else None


def parse_answer(value: Tree) -> str | list[str] | None:
    """Text, or a list of texts for several values; None for an empty value."""
    if type(value) is str:
        return clean_text(value.strip()) or None
    if isinstance(value, list):
        items = value[:MAX_LIST_ITEMS]
        return [text for item in items if (text := clean_text(text_of(item) or ""))] or None
    return clean_text(text_of(value) or "") or None


# The parser of each canonical field.

# What a value may still cost is counted by parsers that look for something in it.
Parser = Callable[[Tree, Effort], object]


def _uncounted(parse: Callable[[Tree], object]) -> Parser:
    return lambda value, _: parse(value)


def _from_text(parse: Callable[[str], str | None]) -> Parser:
    def parse_text(value: Tree, _: Effort) -> str | None:
        text = value if type(value) is str else text_of(value) or ""
        return None if value is None else parse(text)

    return parse_text


def _searching(parse: Callable[[str, Effort], str | None]) -> Parser:
    return lambda value, effort: None if value is None else parse(text_of(value) or "", effort)


# For utm_* and click ids.
_TRACKING_PARSER = _from_text(parse_tracking_value)
KIND_PARSERS: dict[FieldKind, Parser] = {
    FieldKind.NAME: _uncounted(parse_person_name),
    FieldKind.EMAIL: _searching(parse_email),
    FieldKind.PHONE: _searching(parse_phone),
    FieldKind.TEXT: _uncounted(parse_short_text),
    FieldKind.LONG_TEXT: _uncounted(parse_long_text),
    FieldKind.WEBSITE: _uncounted(parse_website),
    FieldKind.PAGE_URL: _from_text(parse_page_url),
    FieldKind.BOOLEAN: _uncounted(parse_bool),
    FieldKind.AMOUNT: _uncounted(parse_amount),
    FieldKind.CURRENCY: _uncounted(parse_currency),
    FieldKind.TIME: _uncounted(parse_time_text),
    FieldKind.TRACKING: _TRACKING_PARSER,
}
VALUE_PARSERS: dict[str, Parser] = {
    field.name: KIND_PARSERS[field.kind]
    for field in CANONICAL_FIELDS
    if field.kind is not FieldKind.TRACKING
} | {
    "value": _uncounted(parse_amount),
    "company": _uncounted(parse_company),
    "job_title": _uncounted(parse_job_title),
    "country": _uncounted(parse_country),
}


def parse_value(field: str, value: Tree, effort: Effort) -> object:
    """The value of a canonical field, or None if it is not one; of a list, the first that is.

    A file is only ever an answer.
    """
    if isinstance(value, str):
        return VALUE_PARSERS.get(field, _TRACKING_PARSER)(value, effort)
    if isinstance(value, Upload):
        return None
    if isinstance(value, list) and field not in ("consent", "message"):
        for number, item in enumerate(value[:MAX_LIST_ITEMS]):
            if number and not effort.take(FURTHER_VALUE_UNITS):
                return None
            if (parsed := parse_value(field, item, effort)) is not None:
                return parsed
        return None
    return VALUE_PARSERS.get(field, _TRACKING_PARSER)(value, effort)
