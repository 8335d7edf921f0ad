"""Builds the canonical lead from the fields of an event.

The order is: the source's `map`, what the product itself names, labels that match, attribution
from URLs. Everything else is kept as answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from service.sources.fields import synonyms
from service.sources.fields.attribution import parse_page_url, tracking_from_url
from service.sources.fields.matching import (
    FieldMatch,
    match_label,
    match_path,
    to_any_script_phrase,
    to_phrase,
)
from service.sources.fields.text import clean_label
from service.sources.fields.values import (
    VALUE_PARSERS,
    country_code,
    parse_answer,
    parse_value,
    to_e164,
)
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, text_of
from service.sources.schema import Source
from worker.contract import Lead, Money, Utm

# Fields of one event whose labels are matched; no real form has more, and the rest are answers.
MAX_MATCHED_FIELDS = 1_000
# Values of one request that are tried for one field: a body full of bad addresses must not keep the
# service busy.
MAX_TRIES_PER_FIELD = 20
SECRET_NAMES = frozenset(name.strip() for name in synonyms.NOT_ANSWERS.split(","))
_GIVEN_NAME_LABELS = frozenset(synonyms.GIVEN_BESIDE_FAMILY.replace(",", "").split())
_FAMILY_NAME_LABELS = frozenset(synonyms.FAMILY_BESIDE_GIVEN.replace(",", "").split())


def build_lead(event: ParsedEvent, source: Source) -> tuple[Lead, dict[str, str]]:
    """The lead, and the canonical fields for which only unusable values came, with their labels."""
    builder = LeadBuilder()
    hidden = {*source.honeypot, source.verification.field or ""}
    fields = [field for field in event.fields if not _is_hidden(field, hidden)]
    used = _apply_map(builder, event, source, fields)
    if source.read.event_id and (match := event.find(source.read.event_id)):
        used.add(match[0])
    for target, value in event.lead_fields.items():
        builder.put(target, value)
    used |= _match_labels(builder, [field for field in fields if field.path not in used], source)
    rest = [field for field in fields if field.path not in used]
    _assign_names(builder)
    _add_attribution(builder, event, rest)
    for field in rest:
        builder.add_answer(field.label, field.value)
    return _finish_lead(builder, event), builder.rejected


class LeadBuilder:
    """A lead under construction; the first value of each field wins.

    `labels` are the labels of the fields, `rejected` those of values that were unusable.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.answers: dict[str, str | list[str]] = {}
        self.rejected: dict[str, str] = {}
        self._tries: Counter[str] = Counter()

    def put(self, target: str, value: Tree, label: str = "") -> bool:
        """Offers a value for a canonical field; returns whether the field now has this value."""
        self._tries[target] += 1
        if self._tries[target] > MAX_TRIES_PER_FIELD:
            return False
        if target in self.fields:
            return bool(self.fields[target] == parse_value(target, value))
        if target == "name" and isinstance(value, dict) and self._put_name_parts(value):
            return True
        parsed = parse_value(target, value)
        if parsed is None:
            if text_of(value):
                self.rejected.setdefault(target, label)
            return False
        self.fields[target] = parsed
        self.labels[target] = label
        return True

    def _put_name_parts(self, value: dict[str, Tree]) -> bool:
        """A name as an object, `{first, last}`; a title or middle name adds a full name."""
        matches = (
            (match_label(key) or match_label(f"name {key}"), part) for key, part in value.items()
        )
        parts = [
            (match.field, part)
            for match, part in matches
            if match
            and match.field in ("first_name", "last_name")
            and match.field not in self.fields
        ]
        results = [self.put(field, part) for field, part in parts]
        if not results or not all(results):
            return False
        if sum(1 for part in value.values() if text_of(part)) > len(parts):
            self.put("name", text_of(value))
        return True

    def add_answer(self, label: str, value: Tree) -> None:
        """Keeps a value under its label; several values of one label become a list."""
        answer = parse_answer(value)
        if answer is None:
            return
        name = clean_label(label)
        if name in self.answers:
            before = self.answers[name]
            answer = [
                *(before if isinstance(before, list) else [before]),
                *(answer if isinstance(answer, list) else [answer]),
            ]
        self.answers[name] = answer


def _is_hidden(field: PayloadField, hidden: set[str]) -> bool:
    """Whether a field is a secret, a honeypot or for machines, and therefore not an answer."""
    names = (field.path[-1] if field.path else field.label, field.label)
    return any(name in hidden or name.lower() in SECRET_NAMES for name in names)


def _apply_map(
    builder: LeadBuilder, event: ParsedEvent, source: Source, fields: list[PayloadField]
) -> set[Path]:
    """Fills the fields that `map` names; returns the paths of the values used."""
    used: set[Path] = set()
    for written_path, target in source.map.items():
        match = event.find_mapped(written_path)
        if match is None:
            continue
        path, value = match
        paths = [field.path for field in fields if field.path[: len(path)] == path]
        if target.startswith("answers."):
            builder.add_answer(target.removeprefix("answers."), value)
            used.update(paths)
        elif builder.put(canonical_name(target), value, written_path) and not _has_several(value):
            used.update(paths)
    return used


def canonical_name(target: str) -> str:
    """The one name of a target of `map`.

    `utm.source` is `utm_source`, `gclid` is `click_ids.gclid`, `value` is `value.amount`.
    """
    if target.startswith("utm."):
        return f"utm_{target[4:]}"
    if target == "value":
        return "value.amount"
    if target in VALUE_PARSERS or target.startswith(("utm_", "click_ids.")):
        return target
    return f"click_ids.{target}"


def _has_several(value: Tree) -> bool:
    """Whether a list has different values: a field takes one, and all stay among the answers."""
    return isinstance(value, list) and len({text_of(item) for item in value}) > 1


def _match_labels(builder: LeadBuilder, fields: list[PayloadField], source: Source) -> set[Path]:
    """Fills the fields that labels ask for, the surest first; returns the paths used."""
    source_phrases = {
        to_any_script_phrase(name): target
        for target, names in source.read.labels.items()
        for name in names
    }
    matches: list[tuple[int, int, str, PayloadField]] = []
    for order, field in enumerate(fields[:MAX_MATCHED_FIELDS]):
        if field.value is None or field.value == "":
            continue
        if match := _match_field(field, source_phrases):
            matches.append((match.rank, order, match.field, field))
    used: set[Path] = set()
    for _, _, target, field in sorted(matches, key=lambda item: item[:2]):
        if builder.put(target, field.value, field.label) and not _has_several(field.value):
            used.add(field.path)
    return used


def _match_field(field: PayloadField, source_phrases: dict[str, str]) -> FieldMatch | None:
    """Matches by what the product says, else by name, else by the first alias that matches."""
    if field.lead_field:
        return FieldMatch(field.lead_field, -2)
    paths = (field.name_path, *((name,) for name in field.aliases))
    return next((match for path in paths if (match := match_path(path, source_phrases))), None)


def _assign_names(builder: LeadBuilder) -> None:
    """`nom` beside `prénom` is the family name, `nombre` beside `apellidos` the given one.

    A full name stays a full name.
    """
    name, first, last = (builder.fields.get(field) for field in ("name", "first_name", "last_name"))
    if not name or bool(first) == bool(last):
        return
    label = to_phrase(builder.labels.get("name", ""))
    other_label = to_phrase(builder.labels.get("first_name" if first else "last_name", ""))
    other = str(first or last).casefold()
    if other in name.casefold().split() or name.casefold().startswith(f"{other} "):
        return
    is_one_word = len(name.split()) == 1
    if first and (label in _FAMILY_NAME_LABELS or other_label == "vorname" or is_one_word):
        builder.fields["last_name"] = builder.fields.pop("name")
    elif last and (label in _GIVEN_NAME_LABELS or is_one_word):
        builder.fields["first_name"] = builder.fields.pop("name")


def _add_attribution(
    builder: LeadBuilder, event: ParsedEvent, rest: Iterable[PayloadField]
) -> None:
    """Adds it from the page's URL, else a landing page among the answers, else the referrer."""
    if "page_url" not in builder.fields and (page_url := parse_page_url(event.referer or "")):
        builder.fields["page_url"] = page_url
    landing_pages = [
        text
        for field in rest
        if isinstance(field.value, str)
        and "=" in field.value
        and (text := parse_page_url(field.value))
        if (match := match_path(field.name_path)) and match.field in ("page_url", "referrer")
    ]
    for address in (
        builder.fields.get("page_url"),
        *landing_pages[:MAX_TRIES_PER_FIELD],
        builder.fields.get("referrer"),
    ):
        for target, value in tracking_from_url(address or ""):
            builder.fields.setdefault(target, value)


def _finish_lead(builder: LeadBuilder, event: ParsedEvent) -> Lead:
    fields = builder.fields
    if phone := fields.get("phone"):
        country = fields.get("country")
        fields["phone"] = to_e164(phone, country_code(country) if country else None)
    money = Money(amount=fields.get("value.amount"), currency=fields.get("value.currency"))
    plain = {name: fields[name] for name in Lead.__struct_fields__ if name in fields}
    plain["is_test"] = bool(fields.get("is_test")) or event.is_test
    return Lead(
        **plain,
        value=money if money != Money() else None,
        utm=Utm(**_strip_prefix(fields, "utm_")),
        click_ids=_strip_prefix(fields, "click_ids."),
        answers=builder.answers,
    )


def _strip_prefix(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in fields.items()
        if name.startswith(prefix)
    }
