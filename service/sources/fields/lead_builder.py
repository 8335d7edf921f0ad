"""A payload into the canonical lead: mapped, then told by the product, then recognised, then
attributed; the rest are answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from service.sources.fields import attribution, synonyms, values
from service.sources.fields.matching import (
    FieldMatch,
    match_label,
    match_path,
    to_any_script_phrase,
    to_phrase,
)
from service.sources.fields.text import clean_label
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, text_of
from service.sources.schema import Source
from worker.contract import Lead, Money, Utm

SECRET_NAMES = frozenset(name.strip() for name in synonyms.NOT_ANSWERS.split(","))
MAX_MATCHED_FIELDS = 1_000
"""Leaves of one event that are looked at; beyond a thousand nothing is a form any more, and all is
kept as answers.
"""
MAX_TRIES_PER_FIELD = 20
"""Values of one request that are tried for one field: a body full of bad addresses must not keep
the service busy.
"""
_GIVEN = frozenset(synonyms.GIVEN_BESIDE_FAMILY.replace(",", "").split())
_FAMILY = frozenset(synonyms.FAMILY_BESIDE_GIVEN.replace(",", "").split())


class LeadBuilder:
    """A lead in the making: each field is given once, the first reading of it stays."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.answers: dict[str, str | list[str]] = {}
        self.rejected: dict[str, str] = {}
        self.tries: Counter[str] = Counter()

    def put(self, target: str, value: Tree, label: str = "") -> bool:
        """Take a value for a canonical field. False if another one is there already, or if this is
        no value for it.
        """
        self.tries[target] += 1
        if self.tries[target] > MAX_TRIES_PER_FIELD:
            return False
        if target in self.fields:
            return bool(self.fields[target] == values.parse_value(target, value))
        if target == "name" and isinstance(value, dict) and self._put_parts(value):
            return True
        read = values.parse_value(target, value)
        if read is None:
            if text_of(value):
                self.rejected.setdefault(target, label)
            return False
        self.fields[target] = read
        self.labels[target] = label
        return True

    def _put_parts(self, value: dict[str, Tree]) -> bool:
        """A name that comes as an object: `{first, last}`; what else is in it (a title, a middle
        name) is in the whole name.
        """
        parts = [
            (guess.field, part)
            for key, part in value.items()
            if (guess := match_label(key) or match_label(f"name {key}"))
        ]
        parts = [
            (field, part)
            for field, part in parts
            if field in ("first_name", "last_name") and field not in self.fields
        ]
        taken = [self.put(field, part) for field, part in parts]
        if not taken or not all(taken):
            return False
        if sum(1 for part in value.values() if text_of(part)) > len(parts):
            self.put("name", text_of(value))
        return True

    def add_answer(self, label: str, value: Tree) -> None:
        """Keep what has no field of its own, under its label; several values of one label become a
        list.
        """
        said = values.parse_answer(value)
        if said is None:
            return
        name = clean_label(label)
        if name in self.answers:
            before = self.answers[name]
            said = [
                *(before if isinstance(before, list) else [before]),
                *(said if isinstance(said, list) else [said]),
            ]
        self.answers[name] = said


def build_lead(payload: ParsedEvent, source: Source) -> tuple[Lead, dict[str, str]]:
    """The lead, and the fields for which something was sent that is no value of theirs, with the
    label it came under.
    """
    draft = LeadBuilder()
    hidden = {*source.honeypot, source.verification.field or ""}
    leaves = [leaf for leaf in payload.fields if not _is_hidden(leaf, hidden)]
    used = _apply_map(draft, payload, source, leaves)
    if source.read.event_id and (found := payload.find(source.read.event_id)):
        used.add(found[0])
    for target, value in payload.lead_fields.items():
        draft.put(target, value)
    used |= _match_labels(draft, [leaf for leaf in leaves if leaf.path not in used], source)
    rest = [leaf for leaf in leaves if leaf.path not in used]
    _assign_names(draft)
    _add_attribution(draft, payload, rest)
    for leaf in rest:
        draft.add_answer(leaf.label, leaf.value)
    return _finish_lead(draft, payload), draft.rejected


def _is_hidden(leaf: PayloadField, hidden: set[str]) -> bool:
    """Secrets, traps and fields for machines are no answers."""
    label = leaf.label
    last = leaf.path[-1] if leaf.path else label
    return (
        last in hidden
        or label in hidden
        or last.lower() in SECRET_NAMES
        or label.lower() in SECRET_NAMES
    )


def _apply_map(
    draft: LeadBuilder, payload: ParsedEvent, source: Source, leaves: list[PayloadField]
) -> set[Path]:
    """Give the fields that `map` names; the paths of all leaves it speaks for, except those left
    for the answers.
    """
    used: set[Path] = set()
    for written, target in source.map.items():
        found = _find(payload, written)
        if found is None:
            continue
        path, value = found
        under = [leaf.path for leaf in leaves if leaf.path[: len(path)] == path]
        if target.startswith("answers."):
            draft.add_answer(target.removeprefix("answers."), value)
            used.update(under)
        elif draft.put(canonical_name(target), value, written) and not _has_several(value):
            used.update(under)
    return used


def _find(payload: ParsedEvent, written: str) -> tuple[Path, Tree] | None:
    for scope in payload.scopes:
        if (found := scope.find(written)) and found[1] not in (None, "", [], {}):
            return found
    return None


def canonical_name(target: str) -> str:
    """The one name of a target of `map`: `utm.source` is `utm_source`, `gclid` `click_ids.gclid`,
    `value` `value.amount`.
    """
    if target.startswith("utm."):
        return f"utm_{target[4:]}"
    if target == "value":
        return "value.amount"
    return (
        target
        if target in values.VALUE_PARSERS or target.startswith(("utm_", "click_ids."))
        else f"click_ids.{target}"
    )


def _has_several(value: Tree) -> bool:
    return isinstance(value, list) and len({text_of(item) for item in value}) > 1


def _match_labels(draft: LeadBuilder, leaves: list[PayloadField], source: Source) -> set[Path]:
    """Give the fields that labels ask for, the surest guess first; the paths of the leaves that
    went into them.
    """
    own = {
        to_any_script_phrase(name): field
        for field, names in source.read.labels.items()
        for name in names
    }
    guesses: list[tuple[int, int, str, PayloadField]] = []
    for order, leaf in enumerate(leaves[:MAX_MATCHED_FIELDS]):
        if leaf.value is None or leaf.value == "":
            continue
        guess = FieldMatch(leaf.lead_field, -2) if leaf.lead_field else _match_field(leaf, own)
        if guess:
            guesses.append((guess.rank, order, guess.field, leaf))
    used: set[Path] = set()
    for _, _, field, leaf in sorted(guesses, key=lambda item: item[:2]):
        if draft.put(field, leaf.value, leaf.label) and not _has_several(leaf.value):
            used.add(leaf.path)
    return used


def _match_field(leaf: PayloadField, own: dict[str, str]) -> FieldMatch | None:
    """By its steps, else by the first of its other names that says anything."""
    names = (leaf.name_path, *((name,) for name in leaf.aliases))
    return next((guess for name in names if (guess := match_path(name, own))), None)


def _assign_names(draft: LeadBuilder) -> None:
    """`nom` beside `prénom` is the family name, `nombre` beside `apellidos` the given one; a full
    name stays a full name.
    """
    name, first, last = (draft.fields.get(field) for field in ("name", "first_name", "last_name"))
    if not name or bool(first) == bool(last):
        return
    asked = to_phrase(draft.labels.get("name", ""))
    beside = to_phrase(draft.labels.get("first_name" if first else "last_name", ""))
    known = first or last
    if str(known).casefold() in name.casefold().split() or name.casefold().startswith(
        f"{known} ".casefold()
    ):
        return
    words = len(name.split())
    if first and (asked in _FAMILY or beside == "vorname" or words == 1):
        draft.fields["last_name"] = draft.fields.pop("name")
    elif last and (asked in _GIVEN or words == 1):
        draft.fields["first_name"] = draft.fields.pop("name")


def _add_attribution(
    draft: LeadBuilder, payload: ParsedEvent, rest: Iterable[PayloadField]
) -> None:
    """What fields do not say, the page's address may; then a landing page among the answers; then
    the referrer.
    """
    if (
        "page_url" not in draft.fields
        and payload.referer
        and (page := attribution.parse_page_url(payload.referer))
    ):
        draft.fields["page_url"] = page
    landing = [
        text
        for leaf in rest
        if isinstance(leaf.value, str)
        and "=" in leaf.value
        and (text := attribution.parse_page_url(leaf.value))
        if (guess := match_path(leaf.name_path)) and guess.field in ("page_url", "referrer")
    ]
    for address in (
        draft.fields.get("page_url"),
        *landing[:MAX_TRIES_PER_FIELD],
        draft.fields.get("referrer"),
    ):
        for target, value in attribution.tracking_from_url(address or ""):
            draft.fields.setdefault(target, value)


def _finish_lead(draft: LeadBuilder, payload: ParsedEvent) -> Lead:
    given = draft.fields
    if number := given.get("phone"):
        given["phone"] = values.to_e164(
            number, values.country_code(given["country"]) if given.get("country") else None
        )
    money = Money(amount=given.get("value.amount"), currency=given.get("value.currency"))
    plain = {name: given[name] for name in Lead.__struct_fields__ if name in given}
    plain["is_test"] = bool(given.get("is_test")) or payload.is_test
    return Lead(
        **plain,
        value=money if money != Money() else None,
        utm=Utm(**{name[4:]: text for name, text in given.items() if name.startswith("utm_")}),
        click_ids={
            name[10:]: text for name, text in given.items() if name.startswith("click_ids.")
        },
        answers=draft.answers,
    )
