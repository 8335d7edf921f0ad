"""What a reading leaves among the answers, and which field of the lead it may be after all: by its
value, or by its parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from service.sources.adapters.base import Adapter
from service.sources.fields.matching import match_label, match_path, split_words
from service.sources.fields.text import clean_label
from service.sources.fields.values import parse_bool, parse_email, parse_phone
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, UnreadableBody, resolve, text_of
from service.sources.request import InboundRequest
from service.sources.schema import Source
from worker.contract import Lead

ASKED = 60
"""Questions of one payload that are named."""
LONG, WORDS = 40, 5
"""Characters and blanks from which on a text is a message."""
AMOUNTS = ("amount", "value", "total", "price", "sum")
CURRENCIES = ("currency", "currencycode")
IN_CAMPAIGNS = {"src": "utm_source", "source": "utm_source", "name": "utm_campaign", "medium": "utm_medium", "term": "utm_term",
                "keyword": "utm_term", "content": "utm_content", "id": "utm_id"}  # fmt: skip
MOMENTS = ("when", "ts", "time", "at", "date", "created", "submitted", "sent")
PIECES = "in pieces, read together"
_NUMBERED = re.compile(
    r"(?:field|input|q|question|answer|text|f|a)?[ _-]*[0-9]+(?:[._][0-9]+)*", re.IGNORECASE
)
_PHONE = re.compile(r"(?:\+|00|0|\()[0-9 ()/.-]{7,22}[0-9]", re.ASCII)
_PERSON = re.compile(r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){1,3}")
_AGREED = re.compile(
    r"aceito|acepto|accetto|j.accepte|i"
    r" (?:agree|accept|consent)|agreed?|accepted|akzeptiert|akkoord",
    re.IGNORECASE,
)
_UNIX = re.compile(r"1[0-9]{9}(?:[0-9]{3})?", re.ASCII)


class UnmappedQuestion(Struct, frozen=True):
    """What was asked and has no field: the `path` that `map` takes, its `label`, and its `value` as
    text.
    """

    path: str
    label: str
    value: str


class MapSuggestion(Struct, frozen=True):
    """A line of `map`."""

    path: str
    field: str
    why: str


def payloads(adapter: Adapter, request: InboundRequest, source: Source) -> list[ParsedEvent]:
    """The events as the adapter reads them; none if it cannot."""
    try:
        return adapter.read(request, source)
    except UnreadableBody:
        return []


def unmapped(payload: ParsedEvent, lead: Lead) -> list[UnmappedQuestion]:
    """The questions that end among the answers, in order."""
    found: dict[str, UnmappedQuestion] = {}
    for leaf in payload.fields:
        label = clean_label(leaf.label)
        if label in lead.answers and leaf.path and (path := _path(payload, leaf.path)):
            found.setdefault(path, UnmappedQuestion(path, label, (text_of(leaf.value) or "")[:200]))
    return list(found.values())[:ASKED]


def guesses(payload: ParsedEvent, lead: Lead) -> list[MapSuggestion]:
    """Fields that the lead lacks, for what ends among its answers."""
    kept = {clean_label(leaf.label) for leaf in payload.fields} & lead.answers.keys()
    rest = [leaf for leaf in payload.fields if clean_label(leaf.label) in kept and leaf.path]
    found: dict[str, MapSuggestion] = {}
    paths: set[str] = set()
    for guess in (*_parts(payload, rest, lead), *_by_value(payload, rest, lead)):
        if (
            guess.field not in found
            and guess.path not in paths
            and (not _has(lead, guess.field) or guess.why == PIECES)
        ):
            found[guess.field] = guess
            paths.add(guess.path)
    return list(found.values())


def _has(lead: Lead, field: str) -> bool:
    if field == "name":
        return bool(lead.name)
    if field.startswith("utm_"):
        return getattr(lead.utm, field[4:]) is not None
    if field.startswith("value"):
        return lead.value is not None
    return getattr(lead, field, None) is not None


def _parts(payload: ParsedEvent, rest: list[PayloadField], lead: Lead) -> Iterator[MapSuggestion]:
    """A name, a phone or a sum in pieces, and what stands in an object of a campaign."""
    for parent in dict.fromkeys(leaf.path[:-1] for leaf in rest if len(leaf.path) > 1):
        parts = {leaf.path[-1]: leaf.value for leaf in payload.fields if leaf.path[:-1] == parent}
        path = _path(payload, parent)
        if not path or not all(isinstance(value, str) for value in parts.values()):
            continue
        plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in parts}
        asked = match_label(parent[-1])
        if (
            asked
            and asked.field in ("name", "phone")
            and len(parts) > 1
            and not _is_person(parts, asked.field)
        ):
            known = getattr(lead, asked.field)
            if known is None or known in parts.values():
                yield MapSuggestion(path, asked.field, PIECES)
        amount, currency = (
            next((plain[name] for name in names if name in plain), None)
            for names in (AMOUNTS, CURRENCIES)
        )
        if amount and currency:
            yield MapSuggestion(f"{path}.{amount}", "value", "an amount with its currency")
            yield MapSuggestion(
                f"{path}.{currency}", "value.currency", "the currency of the amount"
            )
        if re.search("campaign|utm|tracking|attribution", parent[-1].lower()):
            for name, field in IN_CAMPAIGNS.items():
                if name in plain:
                    yield MapSuggestion(f"{path}.{plain[name]}", field, "told of the campaign")


def _is_person(parts: dict[str, Tree], field: str) -> bool:
    """Whether an object is somebody's whole record rather than a name or a number in pieces."""
    return any(
        (guess := match_label(name))
        and guess.field not in (field, "first_name", "last_name", "name")
        for name in parts
    )


def _by_value(
    payload: ParsedEvent, rest: list[PayloadField], lead: Lead
) -> Iterator[MapSuggestion]:
    """What looks like nothing else, where the label does not say that it is somebody else's."""
    nameless = [leaf for leaf in rest if _says_nothing(leaf)]
    addresses = [leaf for leaf in rest if isinstance(leaf.value, str) and parse_email(leaf.value)]
    if len(addresses) == 1:
        yield from _guess(payload, addresses[0], "email", "the only e-mail address")
    for leaf in rest:
        if isinstance(leaf.value, dict):
            yield from _object(payload, leaf)
        elif (
            isinstance(leaf.value, str)
            and _AGREED.fullmatch(leaf.value.strip())
            and parse_bool(leaf.value)
        ):
            yield from _guess(
                payload,
                leaf,
                "consent",
                "the answer agrees to something: look whether it is to being contacted",
            )
        elif (
            leaf.path[-1].lower() in MOMENTS
            and isinstance(leaf.value, str)
            and _UNIX.fullmatch(leaf.value)
        ):
            yield from _guess(payload, leaf, "occurred_at", "a Unix time")
    yield from _sub_fields(payload, rest)
    numbers = [
        leaf
        for leaf in nameless
        if isinstance(leaf.value, str) and _PHONE.fullmatch(leaf.value) and parse_phone(leaf.value)
    ]
    if len(numbers) == 1:
        yield from _guess(payload, numbers[0], "phone", "guessed: it looks like a phone number")
    persons = [
        leaf for leaf in nameless if isinstance(leaf.value, str) and _PERSON.fullmatch(leaf.value)
    ]
    if persons and not lead.full_name and persons[0] is nameless[0]:
        yield from _guess(payload, persons[0], "name", "guessed: it looks like a person's name")
    named = [
        leaf
        for leaf in rest
        if isinstance(leaf.value, str) and _PERSON.fullmatch(leaf.value) and _begins_as_name(leaf)
    ]
    if len(named) == 1 and not lead.full_name:
        yield from _guess(payload, named[0], "name", "guessed from the beginning of its label")
    long = [leaf for leaf in rest if _is_message(leaf)]
    if len(long) == 1:
        yield from _guess(payload, long[0], "message", "guessed: the only longer text")


def _is_message(leaf: PayloadField) -> bool:
    """A longer text under a short name: behind a question of a whole sentence stands its answer,
    not a message.
    """
    is_long = (
        isinstance(leaf.value, str) and len(leaf.value) >= LONG and leaf.value.count(" ") >= WORDS
    )
    return is_long and leaf.title is None and len(split_words(leaf.label)) <= 4


def _begins_as_name(leaf: PayloadField) -> bool:
    first = split_words(leaf.label)[:1]
    guess = match_label(first[0]) if first else None
    return guess is not None and guess.field == "name"


def _sub_fields(payload: ParsedEvent, rest: list[PayloadField]) -> Iterator[MapSuggestion]:
    """`1.3` and `1.6` are the first and the last name of Gravity Forms, unless `1.1` says that it
    is an address.
    """
    by_key = {leaf.path[-1]: leaf for leaf in payload.fields}
    for leaf in rest:
        number, _, part = leaf.path[-1].rpartition(".")
        if part == "3" and f"{number}.6" in by_key and f"{number}.1" not in by_key:
            yield from _guess(payload, leaf, "first_name", "the first name in a field for names")
            yield from _guess(
                payload, by_key[f"{number}.6"], "last_name", "the last name in a field for names"
            )


def _object(payload: ParsedEvent, leaf: PayloadField) -> Iterator[MapSuggestion]:
    """A name or a phone that the product keeps in one object."""
    if leaf.value.keys() & {"first", "last"}:
        yield from _guess(payload, leaf, "name", "a name in pieces")
    elif leaf.value.keys() & {"area", "phone", "full"}:
        yield from _guess(payload, leaf, "phone", "a phone number in pieces")


def _says_nothing(leaf: PayloadField) -> bool:
    """A number for a name, or a name in a script that no vocabulary here is in."""
    is_foreign = not split_words(leaf.label) and any(map(str.isalpha, leaf.label))
    is_numbered = (
        leaf.title is None
        and bool(_NUMBERED.fullmatch(leaf.path[-1]))
        and match_path(leaf.name_path) is None
    )
    return is_foreign or is_numbered


def _guess(
    payload: ParsedEvent, leaf: PayloadField, field: str, why: str
) -> Iterator[MapSuggestion]:
    if path := _path(payload, leaf.path):
        yield MapSuggestion(path, field, why)


def _path(payload: ParsedEvent, path: Path) -> str | None:
    """As `map` takes it: from the root, or from the top; None where dots in names would lead
    elsewhere.
    """
    for scope in payload.scopes:
        if path[: len(scope.path)] == scope.path and (own := path[len(scope.path) :]):
            text = ".".join(own)
            if (found := resolve(scope.tree, text)) and found[0] == own and all(text.split(".")):
                return text
    return None
