"""Values of canonical fields, from what senders write; None where it is no such value, so that it stays an answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from service.sources import attribution, vocabulary
from service.sources.emails import email
from service.sources.phones import phone
from service.sources.recognition import phrase, phrases
from service.sources.text import LONGEST_LINE, clean, line
from service.sources.tree import Number, Tree, Upload, text_of

_YES = frozenset(phrases(vocabulary.YES))
_NO = frozenset(phrases(vocabulary.NO))
_AGREES = tuple(phrases(vocabulary.ASKS_CONSENT))
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_SITE = re.compile(r"[^\s@]+\.[^\s@]{2,}")
_WHEN = re.compile(r"(?=[^\d]*\d)[\w\s:.,+/()-]{4,64}")


def truth(value: Tree) -> bool | None:
    """Whether a box is ticked: of a hidden field and a box of one name, the last counts. None if it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return truth(value[-1]) if value else None
    said = phrase(str(value)[:200]) if isinstance(value, str) else ""
    if said in _NO:
        return False
    return True if said in _YES or (said and said.startswith(_AGREES)) else None


def short(value: Tree) -> str | None:
    """One line of at most 255 characters; longer text is no name, nor is a truth value."""
    text = line(_text(value)) if not isinstance(value, bool) else ""
    return text if 0 < len(text) <= LONGEST_LINE and not attribution.unresolved(text) else None


def person(value: Tree) -> str | None:
    """A person's name: neither a number nor an address."""
    text = short(value) if not isinstance(value, Number) else None
    return text if text and "://" not in text and any(character.isalpha() for character in text) else None


def long(value: Tree) -> str | None:
    text = clean(_text(value))
    return text if text and not attribution.unresolved(text) else None


def website(value: Tree) -> str | None:
    text = short(value)
    return text if text and _SITE.fullmatch(text) else None


def when(value: Tree) -> str | None:
    """A time as text; it is not read, only told from other things."""
    text = line(_text(value))
    return text if _WHEN.fullmatch(text) else None


def amount(value: Tree) -> int | float | str | None:
    """A number where the sender wrote one, else the text."""
    text = short(value)
    if text is None or not _AMOUNT.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def currency(value: Tree) -> str | None:
    text = (short(value) or "").upper()
    return text if len(text) == 3 and text.isalpha() and text.isascii() else None


def answer(value: Tree) -> str | list[str] | None:
    """Text, or a list of texts for several values; None for what was left empty."""
    if isinstance(value, list):
        items = [text for item in value[:500] if (text := clean(text_of(item) or ""))]
        return items or None
    return clean(_text(value)) or None


def _text(value: Tree) -> str:
    """As `text_of`, of a list with one value that value."""
    return text_of(value) or ""


def _of_text(reader: Callable[[str], str | None]) -> Callable[[Tree], str | None]:
    return lambda value: reader(_text(value)) if value is not None else None


READERS: dict[str, Callable[[Tree], object]] = {
    "name": person,
    "first_name": person,
    "last_name": person,
    "email": _of_text(email),
    "phone": _of_text(phone),
    "company": short,
    "job_title": short,
    "website": website,
    "message": long,
    "consent": truth,
    "country": short,
    "page_url": _of_text(attribution.url),
    "referrer": _of_text(attribution.url),
    "form_id": short,
    "form_name": short,
    "event_id": short,
    "is_test": truth,
    "occurred_at": when,
    "value": amount,
    "value.amount": amount,
    "value.currency": currency,
}
"""Canonical field -> how its value is read. utm_* and click ids are read by `attribution.worth`."""


_WORTH = _of_text(attribution.worth)


def read_value(target: str, value: Tree) -> object:
    """The value of a canonical field, or None if it is none. Of several, the first that can be read.

    Files are never more than an answer.
    """
    if isinstance(value, Upload):
        return None
    reader = READERS.get(target) or _WORTH
    if isinstance(value, list) and target not in ("consent", "message"):
        return next((found for item in value[:500] if (found := read_value(target, item)) is not None), None)
    return reader(value)
