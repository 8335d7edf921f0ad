"""TOML as people write it: a table's keys one a line, each with its reason behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LINE_END = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
WIDTH = 50
"""Where the comments begin, for lines shorter than that."""


def table(path: Sequence[str], keys: Mapping[str, Any], why: Mapping[str, str] | None = None) -> list[str]:
    """`[a.b]` with its keys; `why` holds a comment for each key that needs one, and for the table under the empty key."""
    said = why or {}
    head = f"[{'.'.join(map(key, path))}]"
    lines = [commented(head, said.get("", ""))]
    lines += [commented(f"{key(name)} = {value(what)}", said.get(name, "")) for name, what in keys.items()]
    return lines


def commented(line: str, why: str) -> str:
    return f"{line:<{WIDTH}}{'' if len(line) < WIDTH else ' '}# {comment(why)}" if why else line


def comment(text: str) -> str:
    """Text as it may stand in a comment: on one line."""
    return _LINE_END.sub(" ", text.encode("utf-8", "replace").decode())


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def value(what: Any) -> str:
    """A text, number, truth value, list or inline table."""
    if isinstance(what, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {value(inner)}" for name, inner in what.items()) + " }"
    if isinstance(what, bool):
        return "true" if what else "false"
    if isinstance(what, str):
        return _text(what)
    if isinstance(what, Iterable):
        return _list(list(what))
    return str(what)


def _list(items: list[Any]) -> str:
    if any(isinstance(item, Mapping) for item in items):
        return "[\n" + "".join(f"  {value(item)},\n" for item in items) + "]"
    return "[" + ", ".join(map(value, items)) + "]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
