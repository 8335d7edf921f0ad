"""A captured request as the wizard looks at it: decoded, with names in brackets nested."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from service.sources.payload.decode import decode_body, is_form
from service.sources.payload.json import MAX_RECORD_VALUES, parse_json
from service.sources.payload.tree import JsonNumber, Path, Tree, UnreadableBody
from service.sources.payload.unwrap import nest_brackets
from service.sources.request import InboundRequest


class Captured(Struct, frozen=True):
    """`tree` is the body, None if there is none or it cannot be read; `fault` then says why."""

    request: InboundRequest
    tree: Tree = None
    fault: str | None = None

    @property
    def top(self) -> dict[str, Tree]:
        """The body as an object, or the first item of a list; {} if that is not an object."""
        tree = self.tree[0] if isinstance(self.tree, list) and self.tree else self.tree
        return tree if isinstance(tree, dict) else {}

    @property
    def is_form(self) -> bool:
        return is_form(self.request)


def capture(request: InboundRequest) -> Captured:
    """The request with its body decoded. Never raises."""
    if not request.body.strip():
        return Captured(request)
    try:
        tree = decode_body(request)
    except UnreadableBody as fault:
        return Captured(request, _parse_record(request.body), fault.message)
    if is_form(request) and isinstance(tree, dict):
        tree = nest_brackets(tree)
    return Captured(request, tree)


def _parse_record(body: bytes) -> Tree:
    """A record of an API, which may be larger than a request."""
    try:
        return parse_json(body.decode("utf-8"), max_values=MAX_RECORD_VALUES)
    except (UnreadableBody, UnicodeDecodeError):
        return None


def containers(tree: Tree, path: Path = (), depth: int = 4) -> Iterator[tuple[Path, Tree]]:
    """Every object and list that is reached by keys alone, the outermost first; not the top."""
    if not isinstance(tree, dict) or depth == 0:
        return
    inner = [
        ((*path, key), value)
        for key, value in tree.items()
        if isinstance(value, dict | list) and value
    ]
    yield from inner
    for inner_path, value in inner:
        yield from containers(value, inner_path, depth - 1)


def scalars(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, str | bool]]:
    """Every text, number and truth value that is reached by keys alone, the outermost first."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if isinstance(value, str | bool) and value != "":
            yield (*path, key), value
    for key, value in tree.items():
        yield from scalars(value, (*path, key))


def is_text(value: Tree) -> bool:
    return isinstance(value, str) and not isinstance(value, JsonNumber)
