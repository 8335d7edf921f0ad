"""A payload tree: objects and lists of text, `JsonNumber`, booleans, None and `Upload`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

Tree = Any
# The keys and list indexes that lead to a value.
Path = tuple[str, ...]
MAX_INDEX_DIGITS = 6
_BRACKETED = re.compile(r"[^\[\]]+(?:\[[^\[\]]*\])+")
_BRACKETS = re.compile(r"\]?\[|\]$")


class JsonNumber(str):
    """A JSON number exactly as written.

    A 19-digit id must not pass through a float, nor 6,000 digits through `int()`.
    """

    __slots__ = ()


class Upload(Struct, frozen=True):
    """A file of a form, without its content, which is in the raw body. `size` is in bytes."""

    name: str
    media_type: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} ({self.media_type}, {self.size} bytes)"


class UnreadableBody(Exception):
    """The body cannot be decoded.

    `status` is 400, 413, 415 or 422; `message` tells the sender what to do about `field`.
    """

    def __init__(self, message: str, *, status: int = 400, field: str = "body") -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.message = message


def text_of(value: Tree) -> str | None:
    """A value as text: lists joined by commas, objects by spaces; None if there is nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(text for item in value if (text := text_of(item))) or None
    if isinstance(value, dict):
        return " ".join(text for item in value.values() if (text := text_of(item))) or None
    return str(value).strip() or None


def add_value(fields: dict[str, Tree], name: str, value: Tree) -> None:
    """Adds a value under its name; a name that comes again gets a list of its values."""
    if name in fields:
        before = fields[name]
        value = [*(before if isinstance(before, list) else [before]), value]
    fields[name] = value


def resolve(tree: Tree, path: str) -> tuple[Path, Tree] | None:
    """Where a path of the source file leads: the keys taken and the value; None if nowhere.

    A key that exists literally wins over a path, at every step, the longest first. Digits index
    lists. `a[b]` and `a.b` lead to the same place where only one of them exists.
    """
    if match := _walk(tree, path.split(".")):
        return match
    if "[" in path and _BRACKETED.fullmatch(path):
        return _walk(tree, _BRACKETS.sub(".", path).rstrip(".").split(".")) or _walk(
            tree, [f"{path}[]"]
        )
    first, *rest = path.split(".")
    name = first + "".join(f"[{step}]" for step in rest)
    return ((name,), tree[name]) if rest and isinstance(tree, dict) and name in tree else None


def _walk(tree: Tree, steps: list[str]) -> tuple[Path, Tree] | None:
    if not steps:
        return (), tree
    if isinstance(tree, list):
        inner = _walk(tree[int(steps[0])], steps[1:]) if _is_index(steps[0], tree) else None
        return ((steps[0], *inner[0]), inner[1]) if inner else None
    if not isinstance(tree, dict):
        return None
    for length in range(len(steps), 0, -1):
        key = ".".join(steps[:length])
        if key in tree and (inner := _walk(tree[key], steps[length:])):
            return (key, *inner[0]), inner[1]
    return None


def _is_index(step: str, items: list[Tree]) -> bool:
    is_number = step.isascii() and step.isdigit() and len(step) <= MAX_INDEX_DIGITS
    return is_number and int(step) < len(items)


def walk_leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    """Every leaf with its path, in order; a list of plain values is one leaf.

    Recursion is bounded because the decoder bounds the depth.
    """
    if isinstance(tree, dict):
        items: Iterable[tuple[str, Tree]] = tree.items()
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        items = ((str(at), value) for at, value in enumerate(tree))
    else:
        yield path, tree
        return
    for key, value in items:
        if isinstance(value, dict | list):
            yield from walk_leaves(value, (*path, key))
        else:
            yield (*path, key), value
