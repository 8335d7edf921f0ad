"""Applies `[sources.X.read]`: turns a decoded body into events, each with its fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from service.sources.languages.vocabulary import asks_for
from service.sources.payload.event import LookupScope, ParsedEvent, PayloadField
from service.sources.payload.json import parse_json
from service.sources.payload.shapes import flatten_shapes, plain_value
from service.sources.payload.tree import (
    Path,
    Tree,
    UnreadableBody,
    add_value,
    resolve,
    text_of,
    walk_leaves,
)
from service.sources.schema import PairList, ReadSettings, SourceSettings

MAX_EVENTS = 100
# Fields of all events in one request; those around the events count once for each event.
MAX_EVENT_FIELDS = 4_000
TOO_MANY_VALUES = (
    f"more than {MAX_EVENT_FIELDS} values in the events of one request: send several requests"
)


def check_event_count(count: int, limit: int) -> None:
    """Raises UnreadableBody if a request holds more events than it may.

    The status is 422, not 413: what is refused so is kept for a while, and nothing is lost.
    """
    if count > limit:
        events = "1 event" if limit == 1 else f"{limit} events"
        message = f"it holds {count} events, and one request may hold {events}: send several"
        raise UnreadableBody(message, status=422)


def parse_events(tree: Tree, source: SourceSettings, limit: int = MAX_EVENTS) -> list[ParsedEvent]:
    """The events of a body; each item of a list of objects, at the top or at `root`, is one.

    Raises UnreadableBody, also for more than `limit` events, before any of them is read.
    """
    events: list[ParsedEvent] = []
    tree = flatten_shapes(tree, partial(_is_below_a_path, tree, source), asks_for)
    tops = _find_tops(tree, source)
    check_event_count(len(tops), limit)
    for top in tops:
        events.extend(_events_of_top(unwrap(top, source.read), source, limit))
        check_event_count(len(events), limit)
        if len(events) > 1 and sum(len(event.fields) for event in events) > MAX_EVENT_FIELDS:
            raise UnreadableBody(TOO_MANY_VALUES, status=422)
    return events


def _find_tops(tree: Tree, source: SourceSettings) -> list[Tree]:
    """The objects of a list, unless the source's paths address the list itself."""
    if isinstance(tree, dict) and tree:
        return [tree]
    if not isinstance(tree, list) or not tree:
        raise UnreadableBody("the body holds no fields")
    if _is_addressed(tree, source):
        return [tree]
    if not all(isinstance(item, dict) and item for item in tree):
        raise UnreadableBody("the body is a list: send an object, or a list of objects")
    return tree


def _is_below_a_path(tree: Tree, source: SourceSettings, at: Path) -> bool:
    """Whether a path of the source file leads to this place or below it."""
    matches = (resolve(tree, path) for path in _list_paths(source))
    return any(match and match[0][: len(at)] == at for match in matches)


def _is_addressed(items: list[Tree], source: SourceSettings) -> bool:
    """Whether any path of the source leads into a list, as `0.email` does."""
    return any(resolve(items, path) for path in _list_paths(source))


def _list_paths(source: SourceSettings) -> Iterator[str]:
    """The paths by which the source file says how a payload is read."""
    read = source.read
    tables = (table.at for table in (*read.pair_lists, read.test, read.only) if table)
    paths = (read.root, read.event_id, *read.json_param, *tables, *source.map)
    return (path for path in paths if path)


def _events_of_top(top: Tree, source: SourceSettings, limit: int) -> Iterator[ParsedEvent]:
    read = source.read
    match = resolve(top, read.root) if read.root else None
    if match is None or not isinstance(match[1], dict | list):
        yield _build_event(top, top, (), read)
        return
    path, root = match[0], unwrap(match[1], read)
    is_list_of_events = (
        isinstance(root, list)
        and root
        and all(isinstance(item, dict) for item in root)
        and not _is_addressed(root, source)
    )
    if is_list_of_events:
        check_event_count(len(root), limit)
        yield from _events_of_items(replace_at(top, path, None), root, path, read)
    else:
        yield _build_event(top, root, path, read)


def _build_event(top: Tree, root: Tree, path: Path, read: ReadSettings) -> ParsedEvent:
    """An event whose fields are named from its root, then those around it, named from the top."""
    inside = list(_find_fields(root, path, _find_questions(read, (top, ()), (root, path))))
    if not path:
        return ParsedEvent(scopes=[LookupScope((), top)], fields=inside)
    around = [
        field
        for field in _find_fields(top, (), _find_questions(read, (top, ())))
        if field.path[: len(path)] != path
    ]
    return ParsedEvent(
        scopes=[LookupScope(path, root), LookupScope((), top)], fields=[*inside, *around]
    )


def _events_of_items(
    top: Tree, items: list[Tree], path: Path, read: ReadSettings
) -> Iterator[ParsedEvent]:
    """An event for each item at the root: its own fields and those around the list."""
    around = list(_find_fields(top, (), _find_questions(read, (top, ()))))
    is_list = len(items) > 1
    if is_list and len(items) * len(around) > MAX_EVENT_FIELDS:
        raise UnreadableBody(TOO_MANY_VALUES, status=422)
    for index, item in enumerate(items):
        here, root = (*path, str(index)), unwrap(item, read)
        inside = list(_find_fields(root, here, _find_questions(read, (root, here))))
        yield ParsedEvent(
            scopes=[LookupScope(here, root), LookupScope((), top)],
            fields=[*inside, *around],
            index=index if is_list else None,
        )


def _find_questions(read: ReadSettings, *trees: tuple[Tree, Path]) -> list[Path]:
    """The paths of the objects that hold the questions of `pairs`."""
    return [
        (*at, *match[0])
        for tree, at in trees
        for pairs in read.pair_lists
        if (match := resolve(tree, pairs.at))
    ]


def _find_fields(tree: Tree, at: Path, question_paths: list[Path]) -> Iterator[PayloadField]:
    """The fields of the tree `at` a path; a question is known by its own name alone."""
    if not at and not question_paths:
        for steps, value in walk_leaves(tree):
            yield PayloadField(path=steps, name_path=steps, value=value)
        return
    for steps, value in walk_leaves(tree):
        path = (*at, *steps)
        names = (path[len(one) :] for one in question_paths if path[: len(one)] == one)
        yield PayloadField(path=path, name_path=next(names, ()) or steps, value=value)


# What `read` does to a tree. The parts that a change does not touch are shared with the old tree.


def unwrap(tree: Tree, read: ReadSettings) -> Tree:
    """Parses JSON inside fields, turns pairs into objects, and lists of one item into that item.

    Raises UnreadableBody.
    """
    for path in read.json_param:
        tree = _change_at(tree, path, partial(parse_embedded_json, path=path))
    tree = _nest_if_addressed(tree, read)
    for pairs in read.pair_lists:
        tree = _change_at(tree, pairs.at, partial(pairs_to_object, pairs=pairs))
    return unwrap_single_items(tree) if read.unwrap_lists else tree


def parse_embedded_json(value: Tree, path: str) -> Tree:
    """The JSON in a field's text; an empty text, and anything but text, stays as it is.

    Raises UnreadableBody, which names the `path`.
    """
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return parse_json(value)
    except UnreadableBody as error:
        raise UnreadableBody(error.message, field=path) from None


def pairs_to_object(items: Tree, pairs: PairList) -> Tree:
    """`[{name: a, value: 1}, …]` as `{a: 1, …}`.

    A name that comes again gets a list; an item without a name keeps its number. An object of
    questions by id (`{"7": {name: a, value: 1}}`) is read like a list of them.
    """
    if isinstance(items, dict) and items and all(isinstance(item, dict) for item in items.values()):
        items = list(items.values())
    if not isinstance(items, list):
        return items
    fields: dict[str, Tree] = {}
    for index, item in enumerate(items):
        key = resolve(item, pairs.key)
        name = text_of(key[1]) if key else None
        if name is None:
            fields[str(index)] = item
        else:
            add_value(fields, name, _pair_value(item, pairs.value))
    return fields


def _pair_value(item: Tree, path: str) -> Tree:
    """The value of a question; if the path takes the first of several choices, all of them."""
    match = resolve(item, path)
    if match is None:
        return None
    before, first, after = path.partition(".0")
    several = resolve(item, before) if first and after[:1] in ("", ".") else None
    if several and isinstance(several[1], list) and len(several[1]) > 1:
        choices = (resolve(one, after[1:]) if after else ((), one) for one in several[1])
        return [plain_value(choice[1]) for choice in choices if choice]
    return plain_value(match[1])


def unwrap_single_items(tree: Tree) -> Tree:
    """Lists of one item as that item, all the way down."""
    if isinstance(tree, dict):
        return {key: unwrap_single_items(value) for key, value in tree.items()}
    if isinstance(tree, list):
        items = [unwrap_single_items(item) for item in tree]
        return items[0] if len(items) == 1 else items
    return tree


def replace_at(tree: Tree, path: Path, value: Tree) -> Tree:
    """The tree with one value replaced."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(tree, list):
        return [
            replace_at(item, rest, value) if str(at) == key else item
            for at, item in enumerate(tree)
        ]
    return {
        name: replace_at(item, rest, value) if name == key else item for name, item in tree.items()
    }


def _change_at(tree: Tree, path: str, change: Callable[[Tree], Tree]) -> Tree:
    match = resolve(tree, path)
    return replace_at(tree, match[0], change(match[1])) if match else tree


# Names of form fields with brackets, as frameworks write them: `lead[contact][email]`.

MAX_BRACKETS = 8
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def nest_brackets(fields: dict[str, Tree]) -> dict[str, Tree]:
    """Names with brackets as objects; a name that does not fit stays as it is.

    `data[merges][EMAIL]` is EMAIL in merges in data, `lead[topics][]` is topics in lead.
    """
    tree: dict[str, Tree] = {}
    for name, value in fields.items():
        steps = _split_brackets(name)
        if not steps or not _insert(tree, steps, value):
            tree[name] = value
    return tree


def _nest_if_addressed(tree: Tree, read: ReadSettings) -> Tree:
    """Nests a form's `fields[0][name]` if a path of `read` would otherwise lead nowhere."""
    if not isinstance(tree, dict) or not any("[" in key for key in tree):
        return tree
    paths = [read.root, *(pairs.at for pairs in read.pair_lists)]
    is_needed = any(path and resolve(tree, path) is None for path in paths)
    return nest_brackets(tree) if is_needed else tree


def _split_brackets(name: str) -> list[str]:
    """The steps of a name with brackets; none if it has no brackets or they do not nest."""
    first, _, rest = name.partition("[")
    inner = _BRACKETS.findall(f"[{rest}")
    if inner[-1:] == [""]:
        inner.pop()
    is_path = first and all(inner) and 0 < len(inner) < MAX_BRACKETS
    return [first, *inner] if is_path and not _BRACKETS.sub("", f"[{rest}") else []


def _insert(tree: dict[str, Tree], steps: list[str], value: Tree) -> bool:
    """Inserts a value; returns False if something else is in the way."""
    *way, last = steps
    for name in way:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            return False
    if last in tree:
        return False
    tree[last] = value
    return True
