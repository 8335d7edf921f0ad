"""`[sources.X.read]`: a decoded body into the tree that is mapped, and into its events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from service.sources.payload.decode import MAX_DEPTH, MAX_FIELDS, MAX_VALUES
from service.sources.payload.event import LookupScope, ParsedEvent, PayloadField
from service.sources.payload.json import parse_json
from service.sources.payload.tree import Path, Tree, UnreadableBody, resolve, text_of, walk_leaves
from service.sources.schema import PairList, ReadSettings, SourceSettings

# Names of form fields with brackets, as frameworks write them: `lead[contact][email]`.

MAX_BRACKETS = 8
"""Brackets of one name that are followed."""
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def nest_brackets(fields: dict[str, Tree]) -> dict[str, Tree]:
    """Such names as objects: `data[merges][EMAIL]` is EMAIL in merges in data, `lead[topics][]`
    topics in lead.

    What does not fit stays as it is.
    """
    found: dict[str, Tree] = {}
    for name, value in fields.items():
        steps = _steps(name)
        if not steps or not _put(found, steps, value):
            found[name] = value
    return found


def _steps(name: str) -> list[str]:
    """The steps of a name; none if it is no path."""
    first, _, rest = name.partition("[")
    inner = _BRACKETS.findall(f"[{rest}")
    if inner[-1:] == [""]:
        inner.pop()
    is_path = (
        first
        and inner
        and len(inner) < MAX_BRACKETS
        and all(inner)
        and not _BRACKETS.sub("", f"[{rest}")
    )
    return [first, *inner] if is_path else []


def _put(tree: dict[str, Tree], steps: list[str], value: Tree) -> bool:
    """Place a value; False if something else stands on its way."""
    *way, last = steps
    for name in way:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            return False
    if last in tree:
        return False
    tree[last] = value
    return True


MAX_EVENTS = 100
"""Events in one request."""
MAX_EVENT_FIELDS = 4_000
"""Values in several events of one request, with what is around them counted for each."""
TOO_MANY = f"more than {MAX_EVENTS} events or {MAX_EVENT_FIELDS} values in one request: send them in several"


def parse_events(tree: Tree, source: SourceSettings) -> list[ParsedEvent]:
    """One payload for each event: a list of objects, at the top or at `root`, is as many events.
    Raises Unreadable.
    """
    found: list[ParsedEvent] = []
    for top in _tops(tree, source):
        found.extend(_rooted(unwrap(top, source.read), source))
        if len(found) > MAX_EVENTS or (
            len(found) > 1 and sum(len(event.fields) for event in found) > MAX_EVENT_FIELDS
        ):
            raise UnreadableBody(TOO_MANY)
    return found


def unwrap(tree: Tree, read: ReadSettings) -> Tree:
    """Parse JSON inside fields, turn lists of name/value objects into objects, `["x"]` into `"x"`.
    Raises Unreadable.
    """
    for path in read.json_param:
        tree = _replaced(tree, path, partial(parse_embedded_json, path=path))
    tree = _opened(tree, read)
    for pairs in read.pair_lists:
        tree = _replaced(tree, pairs.at, partial(pairs_to_object, pairs=pairs))
    return unwrap_single_items(tree) if read.unwrap_lists else tree


def _opened(tree: Tree, read: ReadSettings) -> Tree:
    """A form's `fields[0][name]` as objects, where a path of `read` leads to nothing else."""
    if not isinstance(tree, dict) or not any("[" in key for key in tree):
        return tree
    paths = [read.root, *(pairs.at for pairs in read.pair_lists)]
    return (
        nest_brackets(tree) if any(path and resolve(tree, path) is None for path in paths) else tree
    )


def pairs_to_object(items: Tree, pairs: PairList) -> Tree:
    """`[{name: a, value: 1}, …]` as `{a: 1, …}`; a name that comes again makes a list, what has no
    name keeps its number.

    Objects by their ids (`{"7": {name: a, value: 1}}`) are read like a list of them.
    """
    if isinstance(items, dict) and items and all(isinstance(item, dict) for item in items.values()):
        items = list(items.values())
    if not isinstance(items, list):
        return items
    fields: dict[str, Tree] = {}
    for at, item in enumerate(items):
        key, value = resolve(item, pairs.key), resolve(item, pairs.value)
        name = text_of(key[1]) if key else None
        content = value[1] if value else None
        if name is None:
            fields[str(at)] = item
        elif name in fields:
            before = fields[name]
            fields[name] = [*(before if isinstance(before, list) else [before]), content]
        else:
            fields[name] = content
    return fields


def build_event(top: Tree, root: Tree, path: Path, read: ReadSettings) -> ParsedEvent:
    """Recognition starts at the root with labels from there, then takes what is around it with
    labels from the top.
    """
    inside = list(_leaves(root, path, _questions(read, (top, ()), (root, path))))
    if not path:
        return ParsedEvent(scopes=[LookupScope((), top)], fields=inside)
    around = [
        leaf
        for leaf in _leaves(top, (), _questions(read, (top, ())))
        if leaf.path[: len(path)] != path
    ]
    return ParsedEvent(
        scopes=[LookupScope(path, root), LookupScope((), top)], fields=[*inside, *around]
    )


def _questions(read: ReadSettings, *trees: tuple[Tree, Path]) -> list[Path]:
    """Where the questions of `pairs` stand."""
    return [
        (*at, *found[0])
        for tree, at in trees
        for pairs in read.pair_lists
        if (found := resolve(tree, pairs.at))
    ]


def _leaves(tree: Tree, at: Path, questions: list[Path]) -> Iterator[PayloadField]:
    """The leaves of a tree that stands `at` a path. A question is named by itself, wherever it
    stands.
    """
    for steps, value in walk_leaves(tree):
        path = (*at, *steps)
        named = (
            next((path[len(start) :] for start in questions if path[: len(start)] == start), ())
            or steps
        )
        yield PayloadField(path=path, name_path=named, value=value)


def _tops(tree: Tree, source: SourceSettings) -> list[Tree]:
    """The objects of a list, unless the source's paths address the list itself."""
    if isinstance(tree, dict) and tree:
        return [tree]
    if not isinstance(tree, list) or not tree:
        raise UnreadableBody("the body holds no fields")
    if _addressed(tree, source):
        return [tree]
    if not all(isinstance(item, dict) and item for item in tree):
        raise UnreadableBody("the body is a list: send an object, or a list of objects")
    return tree


def _addressed(items: list[Tree], source: SourceSettings) -> bool:
    read = source.read
    tables = [part.at for part in (*read.pair_lists, read.test, read.only) if part]
    paths = [read.root, read.event_id, *read.json_param, *tables, *source.map]
    return any(path and resolve(items, path) for path in paths)


def _rooted(top: Tree, source: SourceSettings) -> Iterator[ParsedEvent]:
    read = source.read
    found = resolve(top, read.root) if read.root else None
    if found is None or not isinstance(found[1], dict | list):
        yield build_event(top, top, (), read)
        return
    path, root = found[0], unwrap(found[1], read)
    if (
        isinstance(root, list)
        and root
        and all(isinstance(item, dict) for item in root)
        and not _addressed(root, source)
    ):
        yield from _items(replace_at(top, path, None), root, path, read)
    else:
        yield build_event(top, root, path, read)


def _items(top: Tree, items: list[Tree], path: Path, read: ReadSettings) -> Iterator[ParsedEvent]:
    """Each item at the root sees what is around the list, and nothing of its neighbours."""
    around = list(_leaves(top, (), _questions(read, (top, ()))))
    if len(items) > MAX_EVENTS or (len(items) > 1 and len(items) * len(around) > MAX_EVENT_FIELDS):
        raise UnreadableBody(TOO_MANY)
    for at, item in enumerate(items):
        here, item = (*path, str(at)), unwrap(item, read)
        inside = list(_leaves(item, here, _questions(read, (item, here))))
        yield ParsedEvent(
            scopes=[LookupScope(here, item), LookupScope((), top)],
            fields=[*inside, *around],
            index=at if len(items) > 1 else None,
        )


def parse_embedded_json(value: Tree, path: str) -> Tree:
    """The JSON in a field's text; what is no text, or an empty one, as it is. Raises Unreadable,
    which names the `path`.
    """
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return parse_json(value, fields=MAX_FIELDS, depth=MAX_DEPTH, values=MAX_VALUES)
    except UnreadableBody as fault:
        raise UnreadableBody(fault.message, field=path) from None


def _replaced(tree: Tree, path: str, change: Callable[[Tree], Tree]) -> Tree:
    found = resolve(tree, path)
    return replace_at(tree, found[0], change(found[1])) if found else tree


def replace_at(tree: Tree, path: Path, value: Tree) -> Tree:
    """The tree with one value replaced; what is not on the way is shared."""
    if not path:
        return value
    if isinstance(tree, list):
        return [
            replace_at(item, path[1:], value) if str(at) == path[0] else item
            for at, item in enumerate(tree)
        ]
    return {
        key: replace_at(item, path[1:], value) if key == path[0] else item
        for key, item in tree.items()
    }


def unwrap_single_items(tree: Tree) -> Tree:
    """Lists with one item as that item, all the way down."""
    if isinstance(tree, dict):
        return {key: unwrap_single_items(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return (
            unwrap_single_items(tree[0])
            if len(tree) == 1
            else [unwrap_single_items(item) for item in tree]
        )
    return tree
