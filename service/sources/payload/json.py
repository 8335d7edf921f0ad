"""JSON from strangers: measured before it is parsed, numbers kept as written, one way to fail."""

from __future__ import annotations

import json
import re

from service.sources.payload.tree import JsonNumber, Tree, UnreadableBody

# Fields of a form, and entries of any one object or list.
MAX_FIELDS = 500
MAX_DEPTH = 32
MAX_VALUES = 6_000
# Values in a record fetched from a product's API.
MAX_RECORD_VALUES = 20_000

# A string, or the rest of the text if the string is never closed: a scan that started again at
# each quote would be quadratic.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_STRUCTURE = re.compile(r"[^\[\]{},]+")


def _refuse_constant(name: str) -> Tree:
    raise UnreadableBody(f"not JSON: {name} is not a JSON value")


_DECODER = json.JSONDecoder(
    parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=_refuse_constant
)


def parse_json(text: str, *, max_values: int = MAX_VALUES) -> Tree:
    """The tree of a document; of equal keys the last one wins.

    Raises UnreadableBody for anything but JSON, and beyond MAX_FIELDS, MAX_DEPTH or `max_values`.
    """
    text = text.removeprefix("\ufeff")
    openings = text.count("{") + text.count("[")
    if openings > MAX_DEPTH or openings + text.count(",") > min(MAX_FIELDS, max_values):
        # Only a text that could exceed a limit is measured.
        _check_size(_NOT_STRUCTURE.sub("", _STRING.sub("", text)), max_values)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        message = f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
        raise UnreadableBody(f"not JSON: {message}") from None
    except (ValueError, RecursionError):
        raise UnreadableBody("cannot be read as JSON") from None


def _check_size(structure: str, max_values: int) -> None:
    """Walks over brackets and commas alone, with one counter of entries for each open bracket."""
    if structure.count(",") + structure.count("[") + structure.count("{") > max_values:
        raise UnreadableBody(f"more than {max_values} values")
    open_counts: list[int] = []
    for character in structure:
        if character in "[{":
            open_counts.append(1)
            if len(open_counts) > MAX_DEPTH:
                raise UnreadableBody(f"nested more than {MAX_DEPTH} levels deep")
        elif character == ",":
            if open_counts:
                open_counts[-1] += 1
                if open_counts[-1] > MAX_FIELDS:
                    raise UnreadableBody(f"more than {MAX_FIELDS} fields")
        elif open_counts:
            open_counts.pop()
