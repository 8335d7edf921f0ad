"""JSON from strangers: measured before it is built, numbers kept as written, one way to fail."""

from __future__ import annotations

import json
import re

from service.sources.payload.tree import JsonNumber, Tree, UnreadableBody

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or the rest of the text if it is never closed: a scan that starts anew at each quote
would be quadratic.
"""
_NOT_STRUCTURE = re.compile(r"[^\[\]{},]+")


def parse_json(text: str, *, fields: int, depth: int, values: int) -> Tree:
    """The document. Objects and lists of more than `fields` entries, nesting beyond `depth` and
    more than `values` values are refused. The last of several equal keys counts. Raises Unreadable.
    """
    if text.startswith("\ufeff"):
        raise UnreadableBody("leave out the byte order mark")
    _measure(
        _NOT_STRUCTURE.sub("", _STRING.sub("", text)), fields=fields, depth=depth, values=values
    )
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise UnreadableBody(
            f"not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError):
        raise UnreadableBody("not JSON that can be read") from None


_DECODER = json.JSONDecoder(parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=JsonNumber)


def _measure(structure: str, *, fields: int, depth: int, values: int) -> None:
    """Walk over brackets and commas alone, with one counter of entries for each open bracket."""
    if structure.count(",") + structure.count("[") + structure.count("{") > values:
        raise UnreadableBody(f"more than {values} values")
    open_counts: list[int] = []
    for sign in structure:
        if sign in "[{":
            open_counts.append(1)
            if len(open_counts) > depth:
                raise UnreadableBody(f"nested more than {depth} levels deep")
        elif sign == ",":
            if open_counts:
                open_counts[-1] += 1
                if open_counts[-1] > fields:
                    raise UnreadableBody(f"more than {fields} fields")
        elif open_counts:
            open_counts.pop()
