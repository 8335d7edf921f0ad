"""Identifiers by which a person can be found: e-mail addresses and phone numbers of a submission.

Only whole values count, because an address within a sentence ("ask bob@example.com") does not make
a submission Bob's. `Bob <bob@example.com>` and each address of a list are whole values. We look in
the lead's fields and answers, in the fields of the raw body and the query, and in JSON inside of
fields. An address that stands anywhere else is only mentioned (`mentioned_addresses`), unless the
submission names no other way to reach anybody.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from worker.contract import Lead, Raw, Submission
from worker.lead.phone_numbers import is_same_number, phone_key
from worker.lead.settings import MATCH_KINDS, MatchKind
from worker.ledger.email_search import EmailPattern, addresses_in, spellings
from worker.ledger.record import Record
from worker.store import keys

Kind = Literal["email", "phone", "id"]
# A kind and the normalised text; `id` is the id of a submission.
Identifier = tuple[Kind, str]
# How a delivery identifies a person: a kind and the normalised text.
PersonIdentity = tuple[MatchKind, str]

MAX_DEPTH = 40
MIN_PHONE_DIGITS = 5
# `Ada <ada@example.com>` in a list that commas or semicolons separate.
_MAILBOX = re.compile(r"(?:[^<>@]{0,100}<)?\s*([^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}?)\s*>?")
MAX_VALUE_CHARS = 2_000
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


def event_identifiers(event: Submission | Record) -> set[Identifier]:
    """The identifiers of the event itself.

    The raw body of a request with several events names the people of all of them, so it counts only
    where nothing was read from it.
    """
    return identifiers(event.id, event.lead, event_raw(event))


def event_raw(event: Submission | Record) -> Raw | None:
    """The raw body, unless it is that of several events and this one was read from it."""
    is_read = event.lead is not None or event.fetch is not None
    return None if event.raw_of and is_read else event.raw


def erasure_marks(event: Submission | Record) -> tuple[list[str], list[str]]:
    """The keys of the marks that erasures (`worker.erasure`) may have set for an event.

    First those of the event itself, then those of its whole request.
    """
    whole = identifiers(event.id, event.lead, event.raw)
    itself = event_identifiers(event) if event.raw_of else whole
    return sorted(keys.erased(*who) for who in itself), sorted(keys.erased(*who) for who in whole)


def mark_keys(who: Identifier) -> list[str]:
    """The keys of the marks that erase this person, one for each spelling of an address."""
    kind, text = who
    texts = spellings(text) if kind == "email" else [normalize(kind, text)]
    return [keys.erased(kind, each) for each in texts]


def mentioned_addresses(content: object) -> dict[str, str]:
    """Every address in a tree of texts and bytes, by the key of its erasure mark."""
    return {keys.erased("email", address): address for address in addresses_in(content)}


def has_other_contact(lead: Lead | None, pattern: EmailPattern | None = None) -> bool:
    """Whether the lead can be reached otherwise than by this address, so that it is not lost."""
    if lead is None:
        return False
    email = lead.email if pattern is None or not pattern.occurs_in(lead.email or "") else None
    return bool(email or lead.phone)


def is_persons(who: Identifier, pattern: EmailPattern | None, event: Submission | Record) -> bool:
    """Whether an event is the person's; `pattern` is that of an e-mail address."""
    identities = event_identifiers(event)
    if pattern is None:
        return who in identities
    if any(("email", spelling) in identities for spelling in pattern.spellings):
        return True
    return not has_other_contact(event.lead, pattern) and pattern.occurs_in(
        [msgspec.to_builtins(event.lead, builtin_types=(bytes,)), raw_texts(event_raw(event))]
    )


def raw_texts(raw: Raw | None) -> list[object]:
    """Everything in a request in which an address may stand."""
    return [] if raw is None else [raw.query, raw.content_type, raw.headers, raw.body]


def lead_identifiers(lead: Lead) -> set[Identifier]:
    """The lead's own address and number."""
    values: list[tuple[Kind, str | None]] = [("email", lead.email), ("phone", lead.phone)]
    return {(kind, normalize(kind, text)) for kind, text in values if text}


def person_identities(
    lead: Lead, match: Sequence[MatchKind] | None = None
) -> tuple[PersonIdentity, ...]:
    """How the lead's person is identified, in the order in which they are looked for.

    `match` is the source's setting; without it an e-mail counts, and a phone only where there is no
    e-mail.
    """
    texts = {
        "email": normalize("email", lead.email or ""),
        "phone": phone_key(lead.phone or ""),
    }
    given: list[PersonIdentity] = [
        (kind, texts[kind]) for kind in match or MATCH_KINDS if texts[kind]
    ]
    return tuple(given if match else given[:1])


def is_one_of(identity: PersonIdentity, texts: Iterable[str]) -> bool:
    """Whether one of the e-mails (else phones) of a person is this one, however it is written."""
    kind, value = identity
    if kind == "phone":
        return any(is_same_number(value, text) for text in texts)
    return any(normalize(kind, text) == value for text in texts)


def cached_person_keys(lead: Lead) -> list[str]:
    """The cache keys under which a delivery of this lead may store the person."""
    return [keys.DEFAULT_ACCOUNT.person(*who) for who in person_identities(lead, MATCH_KINDS)]


def _read(text: str) -> set[Identifier]:
    text = text.strip()[:MAX_VALUE_CHARS]
    bare = text.removeprefix("mailto:").removeprefix("tel:")
    if "@" in bare:
        mailboxes = [
            _MAILBOX.fullmatch(each.strip().removeprefix("mailto:"))
            for each in re.split("[,;]", bare)
        ]
        return (
            {("email", normalize("email", each[1])) for each in mailboxes if each}
            if all(mailboxes)
            else set()
        )
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
