"""Identifiers by which a person can be found: e-mail addresses and phone numbers of a submission.

Only whole values count, because an address within a sentence ("ask bob@example.com") does not make
a submission Bob's. We look in the lead's fields and answers, in the fields of the raw body and the
query, and in JSON inside of fields.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from worker.contract import Lead, Raw
from worker.store import keys

Kind = Literal["email", "phone", "id"]
# A kind and the normalised text; `id` is the id of a submission.
Identifier = tuple[Kind, str]

MAX_DEPTH = 40
MIN_PHONE_DIGITS = 5
_EMAIL = re.compile(r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}")
_PHONE = re.compile(r"\+?[\d\s()./-]{5,40}")
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)


def normalize(kind: Kind, text: str) -> str:
    """The text as it is compared: e-mails in lower case, phones as digits (`00` becomes `+`)."""
    text = unicodedata.normalize("NFC", text.strip())
    if kind == "email":
        return text.removeprefix("mailto:").casefold()
    if kind == "phone":
        digits = "".join(
            sign for sign in text.removeprefix("tel:") if sign.isdigit() or sign == "+"
        )
        return f"+{digits[2:]}" if digits.startswith("00") else digits
    return text


def identifiers(submission_id: str, lead: Lead | None, raw: Raw | None) -> set[Identifier]:
    """All identifiers of a submission."""
    result: set[Identifier] = {("id", submission_id)}
    texts = [*_texts(msgspec.to_builtins(lead))] if lead is not None else []
    texts += _raw_texts(raw) if raw is not None else []
    for text in texts:
        result |= _read(text)
    return result


def erasure_marks(submission_id: str, lead: Lead | None, raw: Raw | None) -> list[str]:
    """The keys of the marks that erasures (`worker.erasure`) may have set for a submission."""
    return sorted(keys.erased(*who) for who in identifiers(submission_id, lead, raw))


def lead_identifiers(lead: Lead) -> set[Identifier]:
    """The lead's own address and number."""
    values: list[tuple[Kind, str | None]] = [("email", lead.email), ("phone", lead.phone)]
    return {(kind, normalize(kind, text)) for kind, text in values if text}


def cached_person_keys(lead: Lead) -> list[str]:
    """The cache keys under which a delivery of this lead stores the person."""
    email = [keys.DEFAULT_ACCOUNT.person("email", lead.email.casefold())] if lead.email else []
    digits = "".join(sign for sign in lead.phone or "" if sign.isdigit() or sign == "+")
    return email + ([keys.DEFAULT_ACCOUNT.person("phone", digits)] if digits else [])


def _read(text: str) -> set[Identifier]:
    text = text.strip()[:400]
    bare = text.removeprefix("mailto:").removeprefix("tel:")
    if _EMAIL.fullmatch(bare):
        return {("email", normalize("email", bare))}
    if _PHONE.fullmatch(bare) and sum(sign.isdigit() for sign in bare) >= MIN_PHONE_DIGITS:
        return {("phone", normalize("phone", bare))}
    return set()


def _texts(tree: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a tree, including texts inside of JSON texts."""
    if depth > MAX_DEPTH:
        return
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _texts(value, depth + 1)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value, depth + 1)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield str(tree)
    elif isinstance(tree, str):
        inner = _json(tree) if tree.lstrip()[:1] in ("{", "[") else None
        if inner is None:
            yield tree
        else:
            yield from _texts(inner, depth + 1)


def _raw_texts(raw: Raw) -> Iterator[str]:
    for _, value in _pairs(raw.query):
        yield from _texts(value)
    boundary = _BOUNDARY.search(raw.content_type)
    text = raw.body.decode("utf-8", "replace")
    if boundary and raw.content_type.lower().lstrip().startswith("multipart/"):
        for part in text.split(f"--{boundary[1].strip()}"):
            yield from _texts(part.partition("\r\n\r\n")[2])
        return
    tree = _json(text)
    if tree is not None:
        yield from _texts(tree)
        return
    for _, value in _pairs(text):
        yield from _texts(value)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, max_num_fields=10_000)
    except ValueError:
        return []


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
