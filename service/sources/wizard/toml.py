"""TOML as people write it: one key a line, each followed by its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LINE_END = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# The column at which comments begin after shorter lines.
COMMENT_COLUMN = 50


def table(
    path: Sequence[str], keys: Mapping[str, Any], reasons: Mapping[str, str] | None = None
) -> list[str]:
    """The lines of `[a.b]` with its keys.

    `reasons` holds the comment for each key that needs one; that of the empty key is the table's.
    """
    comments = reasons or {}
    return [
        commented(f"[{'.'.join(map(key, path))}]", comments.get("", "")),
        *(
            commented(f"{key(name)} = {value(content)}", comments.get(name, ""))
            for name, content in keys.items()
        ),
    ]


def commented(line: str, reason: str) -> str:
    """The line with its reason as a comment, if there is one."""
    gap = "" if len(line) < COMMENT_COLUMN else " "
    return f"{line:<{COMMENT_COLUMN}}{gap}# {comment(reason)}" if reason else line


def comment(text: str) -> str:
    """Text made safe for a comment: on one line."""
    return _LINE_END.sub(" ", text.encode("utf-8", "replace").decode())


def key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def value(content: Any) -> str:
    """A text, number, truth value, list or inline table."""
    if isinstance(content, Mapping):
        pairs = (f"{key(name)} = {value(inner)}" for name, inner in content.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, str):
        return _string(content)
    if isinstance(content, Iterable):
        return _list(list(content))
    return str(content)


def _list(items: list[Any]) -> str:
    if any(isinstance(item, Mapping) for item in items):
        return "[\n" + "".join(f"  {value(item)},\n" for item in items) + "]"
    return "[" + ", ".join(map(value, items)) + "]"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
