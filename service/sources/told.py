"""What a product tells beside its questions, by a table of paths; and events that tell the id of a record alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field, structs

from service.sources.payload import Leaf, Payload, Scope
from service.sources.product import Question, asked
from service.sources.reading import Outcome
from service.sources.traps import unix_seconds
from service.sources.tree import Path, Tree, Unreadable, leaves, text_of
from service.sources.unwrap import put

BATCH = 500
"""Events of one request: products send some hundred at most, and none of them may be lost."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Words(Struct, frozen=True, kw_only=True):
    """A product's own words, by dotted paths.

    `fields`: canonical fields by where they stand. `guessed`: people choose the names below these, so they are recognised by
    their labels. `left_out`: bookkeeping, repetitions and other people's data, which stay in the raw bytes alone.
    All else is an answer and never taken for a field: an organiser's e-mail is not the visitor's.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    guessed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def told(tree: Tree, words: Words, at: Path = ()) -> Iterator[Leaf]:
    """The leaves of a tree that stands `at` a path of the payload; the words' paths start at the tree."""
    for steps, value in leaves(tree):
        name = ".".join(steps)
        if not _below(name, words.left_out):
            yield _leaf((*at, *steps), name, value, words)


def listed(top: Tree, questions: Iterable[Question], *, at: Path, **more: Any) -> Payload:
    """As `product.asked`, for questions in a list: the source file may write `at` and the key, as if it were an object."""
    known = list(questions)
    named = put(top, at, {one.key: one.value for one in known})
    payload = asked(top, known, at=at, **more)
    return structs.replace(payload, scopes=[payload.scopes[0], Scope((), named), *payload.scopes[1:]])


def with_told(payload: Payload, rest: Iterable[Leaf]) -> Payload:
    """The event with what the product tells beside its questions."""
    return structs.replace(payload, leaves=[*payload.leaves, *rest])


def ids_only(top: Tree, tree: Tree, at: Path, words: Words, *, record: str, event_id: str | None, why: str) -> Payload:
    """An event that tells only which record to get. `fetch` takes along its id, and what was told of the event itself."""
    found = list(told(tree, words, at))
    own = {leaf.field: text for leaf in found if leaf.field and (text := text_of(leaf.value))}
    return Payload(
        scopes=[Scope(at, tree), Scope((), top)],
        leaves=found,
        event_id=event_id,
        outcome=Outcome.NEEDS_FETCH,
        why=why,
        fetch=own | {"id": record} | ({"event_id": event_id} if event_id else {}),
    )


def batch(events: list[Payload]) -> list[Payload]:
    """The events of one request. Raises Unreadable when there are too many."""
    if len(events) > BATCH:
        raise Unreadable(f"more than {BATCH} events in one request")
    return events


def record_id(value: Tree) -> str | None:
    """An id that may stand in the path of a URL."""
    return str(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def moment(value: Tree) -> Tree:
    """Unix seconds or milliseconds as ISO 8601 in UTC; anything else as it stands."""
    seconds = unix_seconds(value) if isinstance(value, str) else None
    try:
        return value if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return value


def _leaf(path: Path, name: str, value: Tree, words: Words) -> Leaf:
    target = words.fields.get(name)
    value = moment(value) if target == "occurred_at" else value
    guessed = next((prefix for prefix in words.guessed if name.startswith(f"{prefix}.")), None)
    label = name.removeprefix(f"{guessed}.") if guessed else name
    return Leaf(path=path, steps=(label,) if guessed else (), value=value, field=target, title=label)


def _below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
