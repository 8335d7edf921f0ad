"""What the products' files share: a body as one object, ways into it, and questions with a key and a title as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from service.sources.body import decode
from service.sources.config import Source
from service.sources.payload import Leaf, Payload, Scope
from service.sources.reading import Outcome, Request
from service.sources.tree import Path, Tree, leaves, text_of
from service.sources.unwrap import events, unwrap
from service.sources.values import short

Table = dict[str, Tree]


class Question(Struct, frozen=True, kw_only=True):
    """What was asked. `key` is the product's own name of it, `title` what people read, `field` what the product says it is for.

    `names` are further names: a question's reference beside its id. `whole`: the parts of its value are read together, such as
    those of a person's name.
    """

    key: str
    value: Tree
    title: str | None = None
    names: tuple[str, ...] = ()
    field: str | None = None
    whole: bool = False

    def leaves(self, at: Path) -> Iterator[Leaf]:
        """The question as one leaf; an object or a list of objects as one for each value in it."""
        label = self.title or self.key
        if self.whole or self.field or not isinstance(self.value, dict | list):
            parts: Iterable[tuple[Path, Tree]] = [((), self.value)]
        else:
            parts = leaves(self.value)
        for path, value in parts:
            yield Leaf(
                path=(*at, self.key, *path),
                steps=(label, *path),
                value=value,
                field=self.field,
                title=None if path else self.title,
                also=() if path else (*self.names, *([self.key] if self.title else [])),
            )


def reader(event: Callable[[Table], Payload | None]) -> Callable[[Request, Source], list[Payload]]:
    """An adapter's `read` from a function over the body.

    What is not of the product's shape (None), or has a `root` that the source names, is read like any other JSON or form: a
    post by hand or a changed product loses nothing.
    """

    def read(request: Request, source: Source) -> list[Payload]:
        tree = decode(request)
        top = unwrap(tree, source.read)
        own = event(top) if isinstance(top, dict) and source.read.root is None else None
        return [own] if own else events(tree, source)

    return read


def asked(top: Table, questions: Iterable[Question], *, at: Path, **more: Any) -> Payload:
    """The event of a submitted form. `at` is where its answers stand; `more` are further fields of Payload.

    Paths of the source file may name a question by its key, its title or any other name.
    """
    known = list(questions)
    names: dict[str, str] = {}
    for one in known:
        for name in (one.title, *one.names):
            names.setdefault(name or one.key, one.key)
    tree = {one.key: one.value for one in known}
    return Payload(
        scopes=[Scope(at, tree, names), Scope((), top)], leaves=[leaf for one in known for leaf in one.leaves(at)], **more
    )


def no_lead(top: Tree, why: str, **more: Any) -> Payload:
    """A genuine event of the product that makes no lead."""
    return Payload(scopes=[Scope((), top)], leaves=[], outcome=Outcome.NO_LEAD, why=why, **more)


def step(tree: Tree, *path: str) -> Tree:
    """What stands at some keys; None where they lead nowhere."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def table(tree: Tree, *path: str) -> Table:
    """The object at some keys; an empty one if there is none."""
    found = step(tree, *path)
    return found if isinstance(found, dict) else {}


def tables(tree: Tree, *path: str) -> list[Table]:
    """The objects of the list at some keys."""
    found = step(tree, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text(tree: Tree, *path: str) -> str | None:
    """The one line of text at some keys; None for objects and lists, and for nothing."""
    found = step(tree, *path)
    return short(found) if isinstance(found, str) else None


def joined(*parts: str | None) -> str | None:
    """Date and time, or the parts of an id, with a blank between them."""
    return " ".join(part for part in parts if part) or None


def only_known(**fields: Tree) -> dict[str, Tree]:
    """The fields that are there."""
    return {name: value for name, value in fields.items() if text_of(value)}
