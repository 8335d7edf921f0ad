"""What a viewer sees of a person: enough to tell leads apart, too little to tell who they are.

| what                   | masked                                             |
|------------------------|----------------------------------------------------|
| name                   | the first letter of each word: `A… L…`             |
| e-mail                 | the first letter and the domain: `a…@example.com`  |
| phone                  | the last two digits: `…67`                         |
| message, answers       | `…`; the questions stay                            |
| URLs of pages          | without their query, which may hold anything       |
| headers                | their names; the values of the harmless ones alone |
| company, ids, UTM, ... | as they are                                        |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from worker.contract import Lead
from worker.lead.canonical import CANONICAL_FIELDS, FieldKind

HIDDEN = "…"
MAX_NAME_WORDS = 6
# Characters of a name or a company in a list.
MAX_PART_CHARS = 100

# Headers that say nothing about a person.
HARMLESS_HEADERS = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
    "date", "host",
    "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "transfer-encoding",
})  # fmt: skip

_EMAIL = re.compile(r"[^\s@<>\"'(),;:]{1,64}@[^\s@<>\"'(),;:]{1,255}")
_PHONE = re.compile(r"\+?\d[\d ()/.-]{5,20}\d", re.ASCII)


def mask_name(text: str) -> str:
    """`A… L…` of `Ada Lovelace`."""
    return " ".join(word[0] + HIDDEN for word in text.split()[:MAX_NAME_WORDS])


def mask_email(text: str) -> str:
    """`a…@example.com` of `ada@example.com`; what is not an address keeps its first letter."""
    local, at, domain = text.rpartition("@")
    return local[:1] + HIDDEN + at + domain if at else text[:1] + HIDDEN


def mask_phone(text: str) -> str:
    """The last two digits; none of a number that has fewer than six."""
    digits = re.sub(r"\D", "", text)
    return HIDDEN + (digits[-2:] if len(digits) >= 6 else "")


def mask_url(url: str) -> str:
    """A URL without its query, its fragment and a login."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    without_login = re.sub(r"^([a-z]+:)?//[^/@]*@", r"\1//", bare, flags=re.IGNORECASE)
    return without_login + ("?" + HIDDEN if len(bare) < len(url) else "")


def mask_text(text: str) -> str:
    """A sentence, of a log or of Pipedrive, without e-mail addresses and phone numbers."""
    return _PHONE.sub("[phone]", _EMAIL.sub("[e-mail]", text))


def mask_headers(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every header by name, with the values of the harmless ones only."""
    return [(key, value if key.lower() in HARMLESS_HEADERS else HIDDEN) for key, value in pairs]


def mask_content_type(text: str) -> str:
    """A media type without its parameters, which may hold anything."""
    return text.partition(";")[0].strip()


def _hide(_: str) -> str:
    return HIDDEN


KIND_MASKS: dict[FieldKind, Callable[[str], str]] = {
    FieldKind.NAME: mask_name,
    FieldKind.EMAIL: mask_email,
    FieldKind.PHONE: mask_phone,
    FieldKind.LONG_TEXT: _hide,
    FieldKind.WEBSITE: mask_url,
    FieldKind.PAGE_URL: mask_url,
}
MASKED_FIELDS = {
    field.name: _hide if field.is_personal else KIND_MASKS[field.kind]
    for field in CANONICAL_FIELDS
    if field.is_personal or field.kind in KIND_MASKS
}


def mask_lead(lead: Lead, *, reveal: bool) -> dict[str, Any]:
    """The lead as plain data, fields without a value left out; masked unless `reveal`."""
    plain: dict[str, Any] = msgspec.to_builtins(lead)
    if reveal:
        return plain
    masked = {
        key: MASKED_FIELDS[key](value) if key in MASKED_FIELDS else value
        for key, value in plain.items()
    }
    if "answers" in masked:
        masked["answers"] = dict.fromkeys(map(mask_text, masked["answers"]), HIDDEN)
    return masked


def describe_person(lead: Lead | None, *, reveal: bool = False) -> str:
    """The name (or e-mail, phone) and the company on one line; empty where nothing is known."""
    if lead is None:
        return ""
    contact = next(((mask, text) for mask, text in _contact_fields(lead) if text), None)
    person = "" if contact is None else contact[1] if reveal else contact[0](contact[1])
    return " · ".join(part for part in (_shorten(person), _shorten(lead.company or "")) if part)


def _shorten(text: str) -> str:
    line = " ".join(text[: 2 * MAX_PART_CHARS].split())
    return line if len(line) <= MAX_PART_CHARS else line[: MAX_PART_CHARS - 1] + HIDDEN


def _contact_fields(lead: Lead) -> Iterable[tuple[Any, str | None]]:
    yield mask_name, lead.full_name
    yield mask_email, lead.email
    yield mask_phone, lead.phone
