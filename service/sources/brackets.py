"""Names of form fields with brackets, as frameworks write them: `lead[contact][email]`."""

from __future__ import annotations

import re

from service.sources.tree import Tree

STEPS = 8
"""Brackets of one name that are followed."""
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def nested(fields: dict[str, Tree]) -> dict[str, Tree]:
    """Such names as objects: `data[merges][EMAIL]` is EMAIL in merges in data, `lead[topics][]` topics in lead.

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
    is_path = first and inner and len(inner) < STEPS and all(inner) and not _BRACKETS.sub("", f"[{rest}")
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
