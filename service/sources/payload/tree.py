"""A decoded payload: dicts with text keys, lists, and at the leaves text, `Number`, booleans, None
or an `Upload`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

Tree = Any
Path = tuple[str, ...]
_BRACKETED = re.compile(r"[^\[\]]+(?:\[[^\[\]]*\])+")
_BRACKETS = re.compile(r"\]?\[|\]$")


class JsonNumber(str):
    """A JSON number exactly as it was written: a 19-digit id must not pass through a float, nor
    6,000 digits through int().
    """

    __slots__ = ()


class Upload(Struct, frozen=True):
    """A file that came with a form; its content is only in the raw bytes. `size` in bytes."""

    name: str
    media_type: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} ({self.media_type}, {self.size} bytes)"


class UnreadableBody(Exception):
    """The body cannot be decoded. `status` is 400, 413 or 415; `message` tells the sender what to
    do about it.
    """

    def __init__(self, message: str, *, status: int = 400, field: str = "body") -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.message = message


def text_of(value: Tree) -> str | None:
    """One value as text: true and false in words, lists joined by commas, objects by their texts;
    None if there is nothing.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return (", " if isinstance(value, list) else " ").join(
            text for item in inner if (text := text_of(item))
        ) or None
    return str(value).strip() or None


def resolve(tree: Tree, path: str) -> tuple[Path, Tree] | None:
    """Where a path of the source file leads in a payload: the steps taken and what stands there.
    None: nowhere.

    A key that exists literally wins over a path, at every step, the longest first; digits index
    lists. `a[b]` and `a.b` lead to the same place where only one of them is there.
    """
    if found := _walk(tree, path.split(".")):
        return found
    if "[" in path and _BRACKETED.fullmatch(path):
        return _walk(tree, _BRACKETS.sub(".", path).rstrip(".").split("."))
    first, *rest = path.split(".")
    name = first + "".join(f"[{step}]" for step in rest)
    return ((name,), tree[name]) if rest and isinstance(tree, dict) and name in tree else None


def _walk(tree: Tree, parts: list[str]) -> tuple[Path, Tree] | None:
    if not parts:
        return (), tree
    if isinstance(tree, list):
        inner = _walk(tree[int(parts[0])], parts[1:]) if _is_index(parts[0], tree) else None
        return ((parts[0], *inner[0]), inner[1]) if inner else None
    if not isinstance(tree, dict):
        return None
    for taken in range(len(parts), 0, -1):
        key = ".".join(parts[:taken])
        if key in tree and (inner := _walk(tree[key], parts[taken:])):
            return (key, *inner[0]), inner[1]
    return None


def _is_index(part: str, items: list[Tree]) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= 6 and int(part) < len(items)


def walk_leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    """Every leaf with its path, in order. A list of plain values is one leaf. Depth is bounded by
    the decoder.
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
