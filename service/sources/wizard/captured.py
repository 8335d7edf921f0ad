"""A captured request as the guesses look at it: decoded where it can be, its names in brackets
taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from service.sources.payload.decode import decode_body, is_form
from service.sources.payload.json import MAX_RECORD_VALUES, parse_json
from service.sources.payload.tree import JsonNumber, Path, Tree, UnreadableBody
from service.sources.payload.unwrap import nest_brackets
from service.sources.request import InboundRequest


class Captured(Struct, frozen=True):
    """`tree` is the body, None where it has none or cannot be read; then `fault` says why."""

    request: InboundRequest
    tree: Tree = None
    fault: str | None = None

    @property
    def top(self) -> dict[str, Tree]:
        """The body as an object; of a list its first object; an empty one if there is none."""
        found = self.tree[0] if isinstance(self.tree, list) and self.tree else self.tree
        return found if isinstance(found, dict) else {}

    @property
    def is_form(self) -> bool:
        return is_form(self.request)

    def table(self, *path: str) -> dict[str, Tree]:
        """The object at some keys of the top; an empty one if there is none."""
        found: Tree = self.top
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def capture(request: InboundRequest) -> Captured:
    """The request with its body decoded. Never raises."""
    if not request.body.strip():
        return Captured(request)
    try:
        tree = decode_body(request)
    except UnreadableBody as fault:
        return Captured(request, _as_record(request.body), fault.message)
    return Captured(
        request, nest_brackets(tree) if is_form(request) and isinstance(tree, dict) else tree
    )


def _as_record(body: bytes) -> Tree:
    try:
        return parse_json(body.decode("utf-8"), max_values=MAX_RECORD_VALUES)
    except (UnreadableBody, UnicodeDecodeError):
        return None


def containers(tree: Tree, path: Path = (), depth: int = 4) -> Iterator[tuple[Path, Tree]]:
    """Every object and list below the top that keys alone lead to, the outermost first."""
    if not isinstance(tree, dict) or depth == 0:
        return
    inner = [
        ((*path, key), value)
        for key, value in tree.items()
        if isinstance(value, dict | list) and value
    ]
    yield from inner
    for here, value in inner:
        yield from containers(value, here, depth - 1)


def scalars(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, str | bool]]:
    """Every text, number and truth value that keys alone lead to, the outermost first."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if isinstance(value, str | bool) and value != "":
            yield (*path, key), value
    for key, value in tree.items():
        yield from scalars(value, (*path, key))


def is_text(value: Tree) -> bool:
    return isinstance(value, str) and not isinstance(value, JsonNumber)
