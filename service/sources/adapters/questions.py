"""What the products' files share: ways into a body, and questions as the fields of an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field, structs

from service.sources.fields.effort import MAX_VALUE_UNITS, Effort
from service.sources.fields.emails import parse_email
from service.sources.fields.values import parse_short_text
from service.sources.payload.decode import decode_body
from service.sources.payload.event import LookupScope, ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, text_of, walk_leaves
from service.sources.payload.unwrap import parse_events, replace_at, unwrap
from service.sources.request import InboundRequest, Outcome
from service.sources.schema import Source
from worker.units import parse_unix_time

Table = dict[str, Tree]


class FormQuestion(Struct, frozen=True, kw_only=True):
    """A question of a form with its answer.

    `key` is the product's own name for it, `title` what people read, `lead_field` the canonical
    field that the product says it is for. `aliases` are further names, such as a question's
    reference beside its id. `whole`: the parts of its value, such as those of a person's name, are
    read together.
    """

    key: str
    value: Tree
    title: str | None = None
    aliases: tuple[str, ...] = ()
    lead_field: str | None = None
    whole: bool = False

    def to_fields(self, at: Path) -> Iterator[PayloadField]:
        """The question as one field; an object or a list of objects as one for each value."""
        label = self.title or self.key
        if self.whole or self.lead_field or not isinstance(self.value, dict | list):
            parts: Iterable[tuple[Path, Tree]] = [((), self.value)]
        else:
            parts = walk_leaves(self.value)
        for path, value in parts:
            yield PayloadField(
                path=(*at, self.key, *path),
                name_path=(label, *path),
                value=value,
                lead_field=self.lead_field,
                title=None if path else self.title,
                aliases=() if path else (*self.aliases, *([self.key] if self.title else [])),
            )


def body_reader(
    event: Callable[[Table], ParsedEvent | None],
) -> Callable[[InboundRequest, Source], list[ParsedEvent]]:
    """An adapter's `read`, made of a function from the body to an event.

    A body that is not of the product's shape (None), and any body where the source names a `root`,
    is read like any other JSON or form: neither a manual post nor a changed product loses anything.
    """

    def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
        tree = decode_body(request)
        top = unwrap(tree, source.read)
        is_readable = isinstance(top, dict) and source.read.root is None
        product_event = event(top) if is_readable else None
        return [product_event] if product_event else parse_events(tree, source)

    return read


def event_from_questions(
    top: Table, questions: Iterable[FormQuestion], *, at: Path, **more: Any
) -> ParsedEvent:
    """The event of a submitted form; `at` is the path of its answers.

    `more` are further attributes of ParsedEvent. Paths of the source file may name a question by
    its key, its title or any alias.
    """
    questions = list(questions)
    key_by_name: dict[str, str] = {}
    for question in questions:
        for name in (question.title, *question.aliases):
            key_by_name.setdefault(name or question.key, question.key)
    tree = {question.key: question.value for question in questions}
    return ParsedEvent(
        scopes=[LookupScope(at, tree, key_by_name), LookupScope((), top)],
        fields=[one for question in questions for one in question.to_fields(at)],
        **more,
    )


def no_lead(top: Tree, reason: str, **more: Any) -> ParsedEvent:
    """A genuine event of the product that makes no lead."""
    return ParsedEvent(
        scopes=[LookupScope((), top)], fields=[], outcome=Outcome.NO_LEAD, reason=reason, **more
    )


def value_at(tree: Tree, *path: str) -> Tree:
    """The value at some keys; None where they lead nowhere."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def object_at(tree: Tree, *path: str) -> Table:
    """The object at some keys; an empty one if there is none."""
    value = value_at(tree, *path)
    return value if isinstance(value, dict) else {}


def objects_at(tree: Tree, *path: str) -> list[Table]:
    """The objects of the list at some keys."""
    value = value_at(tree, *path)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_at(tree: Tree, *path: str) -> str | None:
    """The one line of text at some keys; None for objects and lists, and for nothing."""
    value = value_at(tree, *path)
    return parse_short_text(value) if isinstance(value, str) else None


def find_only_address(answers: Table) -> str | None:
    """The key of the form's only e-mail address, which must be the sender's.

    For products that send answers without saying what they were asked.
    """
    effort = Effort(MAX_VALUE_UNITS // 5)
    keys = [
        key
        for key, value in answers.items()
        if isinstance(value, str) and parse_email(value, effort)
    ]
    return keys[0] if len(keys) == 1 else None


def join_parts(*parts: str | None) -> str | None:
    """The parts of a time or an id, joined by spaces."""
    return " ".join(part for part in parts if part) or None


def drop_empty(**fields: Tree) -> dict[str, Tree]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if text_of(value)}


# What a product sends beside its questions, by a table of paths; and events with ids only.

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class FieldMap(Struct, frozen=True, kw_only=True):
    """What a product's own names mean, by dotted paths.

    `fields` are canonical fields by their paths. People choose the names below `matched_by_label`,
    so they are matched by their labels. `ignored` holds bookkeeping, repetitions and other people's
    data, which stay in the raw body only. Everything else is an answer and never matched: an
    organiser's e-mail is not the visitor's.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    matched_by_label: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def extract_fields(tree: Tree, field_map: FieldMap, at: Path = ()) -> Iterator[PayloadField]:
    """The fields of a tree that is found `at` a path; the map's paths start at the tree."""
    ignored = frozenset(field_map.ignored)
    below_ignored = tuple(f"{one}." for one in ignored)
    for steps, value in walk_leaves(tree):
        name = ".".join(steps)
        if name not in ignored and not name.startswith(below_ignored):
            yield _build_field((*at, *steps), name, value, field_map)


def event_from_question_list(
    top: Tree, questions: Iterable[FormQuestion], *, at: Path, **more: Any
) -> ParsedEvent:
    """As `event_from_questions`, for questions in a list.

    The source file may write `at` and a question's key, as if the list were an object.
    """
    questions = list(questions)
    as_object = replace_at(top, at, {question.key: question.value for question in questions})
    event = event_from_questions(top, questions, at=at, **more)
    by_key, whole = event.scopes
    return structs.replace(event, scopes=[by_key, LookupScope((), as_object), whole])


def with_fields(event: ParsedEvent, fields: Iterable[PayloadField]) -> ParsedEvent:
    """The event with what the product sends beside its questions."""
    return structs.replace(event, fields=[*event.fields, *fields])


def event_needing_fetch(
    top: Tree,
    tree: Tree,
    at: Path,
    field_map: FieldMap,
    *,
    record: str,
    event_id: str | None,
    reason: str,
) -> ParsedEvent:
    """An event with ids only: its `fetch` holds the record's id and the event's own fields."""
    fields = list(extract_fields(tree, field_map, at))
    event_fields = {
        one.lead_field: text for one in fields if one.lead_field and (text := text_of(one.value))
    }
    return ParsedEvent(
        scopes=[LookupScope(at, tree), LookupScope((), top)],
        fields=fields,
        event_id=event_id,
        outcome=Outcome.NEEDS_FETCH,
        reason=reason,
        fetch=event_fields | {"id": record} | ({"event_id": event_id} if event_id else {}),
    )


def parse_record_id(value: Tree) -> str | None:
    """An id that may stand in the path of a URL."""
    return str(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def to_iso_time(value: Tree) -> Tree:
    """Unix seconds or milliseconds as ISO 8601 in UTC; anything else unchanged."""
    seconds = parse_unix_time(value) if isinstance(value, str) else None
    if seconds is None:
        return value
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return value


def _build_field(path: Path, name: str, value: Tree, field_map: FieldMap) -> PayloadField:
    lead_field = field_map.fields.get(name)
    prefixes = (one for one in field_map.matched_by_label if name.startswith(f"{one}."))
    prefix = next(prefixes, None)
    label = name.removeprefix(f"{prefix}.") if prefix else name
    return PayloadField(
        path=path,
        name_path=(label,) if prefix else (),
        value=to_iso_time(value) if lead_field == "occurred_at" else value,
        lead_field=lead_field,
        title=label,
    )
