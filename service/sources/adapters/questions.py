"""What the products' files share: a body as one object, ways into it, and questions with a key and
a title as leaves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field, structs

from service.sources.fields.values import parse_short_text
from service.sources.payload.decode import decode_body
from service.sources.payload.event import LookupScope, ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, UnreadableBody, text_of, walk_leaves
from service.sources.payload.unwrap import parse_events, replace_at, unwrap
from service.sources.request import InboundRequest, Outcome
from service.sources.schema import Source
from worker.times import parse_unix_time

Table = dict[str, Tree]


class FormQuestion(Struct, frozen=True, kw_only=True):
    """What was asked. `key` is the product's own name of it, `title` what people read, `field` what
    the product says it is for.

    `names` are further names: a question's reference beside its id. `whole`: the parts of its value
    are read together, such as those of a person's name.
    """

    key: str
    value: Tree
    title: str | None = None
    aliases: tuple[str, ...] = ()
    lead_field: str | None = None
    whole: bool = False

    def leaves(self, at: Path) -> Iterator[PayloadField]:
        """The question as one leaf; an object or a list of objects as one for each value in it."""
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
    """An adapter's `read` from a function over the body.

    What is not of the product's shape (None), or has a `root` that the source names, is read like
    any other JSON or form: a post by hand or a changed product loses nothing.
    """

    def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
        tree = decode_body(request)
        top = unwrap(tree, source.read)
        own = event(top) if isinstance(top, dict) and source.read.root is None else None
        return [own] if own else parse_events(tree, source)

    return read


def event_from_questions(
    top: Table, questions: Iterable[FormQuestion], *, at: Path, **more: Any
) -> ParsedEvent:
    """The event of a submitted form. `at` is where its answers stand; `more` are further fields of
    Payload.

    Paths of the source file may name a question by its key, its title or any other name.
    """
    known = list(questions)
    names: dict[str, str] = {}
    for one in known:
        for name in (one.title, *one.aliases):
            names.setdefault(name or one.key, one.key)
    tree = {one.key: one.value for one in known}
    return ParsedEvent(
        scopes=[LookupScope(at, tree, names), LookupScope((), top)],
        fields=[leaf for one in known for leaf in one.leaves(at)],
        **more,
    )


def no_lead(top: Tree, reason: str, **more: Any) -> ParsedEvent:
    """A genuine event of the product that makes no lead."""
    return ParsedEvent(
        scopes=[LookupScope((), top)], fields=[], outcome=Outcome.NO_LEAD, reason=reason, **more
    )


def value_at(tree: Tree, *path: str) -> Tree:
    """What stands at some keys; None where they lead nowhere."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def object_at(tree: Tree, *path: str) -> Table:
    """The object at some keys; an empty one if there is none."""
    found = value_at(tree, *path)
    return found if isinstance(found, dict) else {}


def objects_at(tree: Tree, *path: str) -> list[Table]:
    """The objects of the list at some keys."""
    found = value_at(tree, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text_at(tree: Tree, *path: str) -> str | None:
    """The one line of text at some keys; None for objects and lists, and for nothing."""
    found = value_at(tree, *path)
    return parse_short_text(found) if isinstance(found, str) else None


def join_parts(*parts: str | None) -> str | None:
    """Date and time, or the parts of an id, with a blank between them."""
    return " ".join(part for part in parts if part) or None


def drop_empty(**fields: Tree) -> dict[str, Tree]:
    """The fields that are there."""
    return {name: value for name, value in fields.items() if text_of(value)}


# What a product tells beside its questions, by a table of paths; and events that tell the id of a
# record alone.

MAX_BATCH_EVENTS = 500
"""Events of one request: products send some hundred at most, and none of them may be lost."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class FieldMap(Struct, frozen=True, kw_only=True):
    """A product's own words, by dotted paths.

    `fields`: canonical fields by where they stand. `guessed`: people choose the names below these,
    so they are recognised by their labels. `left_out`: bookkeeping, repetitions and other people's
    data, which stay in the raw bytes alone. All else is an answer and never taken for a field: an
    organiser's e-mail is not the visitor's.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    matched_by_label: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def extract_fields(tree: Tree, words: FieldMap, at: Path = ()) -> Iterator[PayloadField]:
    """The leaves of a tree that stands `at` a path of the payload; the words' paths start at the
    tree.
    """
    for steps, value in walk_leaves(tree):
        name = ".".join(steps)
        if not _below(name, words.ignored):
            yield _leaf((*at, *steps), name, value, words)


def event_from_question_list(
    top: Tree, questions: Iterable[FormQuestion], *, at: Path, **more: Any
) -> ParsedEvent:
    """As `product.asked`, for questions in a list: the source file may write `at` and the key, as
    if it were an object.
    """
    known = list(questions)
    named = replace_at(top, at, {one.key: one.value for one in known})
    payload = event_from_questions(top, known, at=at, **more)
    return structs.replace(
        payload, scopes=[payload.scopes[0], LookupScope((), named), *payload.scopes[1:]]
    )


def with_fields(payload: ParsedEvent, rest: Iterable[PayloadField]) -> ParsedEvent:
    """The event with what the product tells beside its questions."""
    return structs.replace(payload, fields=[*payload.fields, *rest])


def event_needing_fetch(
    top: Tree,
    tree: Tree,
    at: Path,
    words: FieldMap,
    *,
    record: str,
    event_id: str | None,
    reason: str,
) -> ParsedEvent:
    """An event that tells only which record to get. `fetch` takes along its id, and what was told
    of the event itself.
    """
    found = list(extract_fields(tree, words, at))
    own = {
        leaf.lead_field: text for leaf in found if leaf.lead_field and (text := text_of(leaf.value))
    }
    return ParsedEvent(
        scopes=[LookupScope(at, tree), LookupScope((), top)],
        fields=found,
        event_id=event_id,
        outcome=Outcome.NEEDS_FETCH,
        reason=reason,
        fetch=own | {"id": record} | ({"event_id": event_id} if event_id else {}),
    )


def check_batch_size(events: list[ParsedEvent]) -> list[ParsedEvent]:
    """The events of one request. Raises Unreadable when there are too many."""
    if len(events) > MAX_BATCH_EVENTS:
        raise UnreadableBody(f"more than {MAX_BATCH_EVENTS} events in one request")
    return events


def parse_record_id(value: Tree) -> str | None:
    """An id that may stand in the path of a URL."""
    return str(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def to_iso_time(value: Tree) -> Tree:
    """Unix seconds or milliseconds as ISO 8601 in UTC; anything else as it stands."""
    seconds = parse_unix_time(value) if isinstance(value, str) else None
    try:
        return (
            value
            if seconds is None
            else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    except (ValueError, OverflowError, OSError):
        return value


def _leaf(path: Path, name: str, value: Tree, words: FieldMap) -> PayloadField:
    target = words.fields.get(name)
    value = to_iso_time(value) if target == "occurred_at" else value
    guessed = next(
        (prefix for prefix in words.matched_by_label if name.startswith(f"{prefix}.")), None
    )
    label = name.removeprefix(f"{guessed}.") if guessed else name
    return PayloadField(
        path=path,
        name_path=(label,) if guessed else (),
        value=value,
        lead_field=target,
        title=label,
    )


def _below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
