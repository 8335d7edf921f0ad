"""A schema violation in the words in which Pipedrive complains (`"title" is required`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jsonschema.exceptions import ValidationError

TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "of type object",
    "null": "null",
}
FORMATS = {"uuid": "a valid GUID", "date": "in YYYY-MM-DD format", "date-time": "a valid datetime"}
QUOTED = re.compile(r"'([^']*)'")


def complaint(errors: Iterable[ValidationError]) -> str:
    """The first violation by path, as one sentence."""
    return _sentence(min(errors, key=_place))


def _place(error: ValidationError) -> tuple[list[str], bool]:
    """By path; at the same place a wrong type goes before what follows from it."""
    return [str(part) for part in error.absolute_path], error.validator != "type"


def _sentence(error: ValidationError) -> str:
    subject = _subject(error)
    match error.validator:
        case "required":
            return f"{_quoted(_below(error, _first_quoted(error)))} is required"
        case "additionalProperties":
            return f"{_quoted(_below(error, _first_quoted(error)))} is not allowed"
        case "type":
            return f"{subject} must be {_types(error.validator_value)}"
        case "format":
            return f"{subject} must be {FORMATS.get(str(error.validator_value), str(error.validator_value))}"
        case "enum":
            return f"{subject} must be one of [{_listed(error.validator_value)}]"
        case "minLength":
            return f"{subject} is not allowed to be empty" if not error.instance else _length(error, "at least")
        case "maxLength":
            return _length(error, "less than or equal to")
        case "minimum" | "maximum":
            than = "larger" if error.validator == "minimum" else "less"
            return f"{subject} must be {than} than or equal to {error.validator_value}"
        case _:
            return f"{subject} is invalid"


def _listed(values: object) -> str:
    return ", ".join(str(value) for value in values) if isinstance(values, list) else ""


def _length(error: ValidationError, than: str) -> str:
    return f"{_subject(error)} length must be {than} {error.validator_value} characters long"


def _types(wanted: object) -> str:
    names = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(TYPES.get(str(name), str(name)) for name in names if name != "null")


def _subject(error: ValidationError) -> str:
    return _quoted(_below(error, None))


def _below(error: ValidationError, child: str | None) -> str:
    label = ""
    for part in [*error.absolute_path, *([child] if child is not None else [])]:
        label += f"[{part}]" if isinstance(part, int) else f".{part}" if label else str(part)
    return label or "value"


def _first_quoted(error: ValidationError) -> str:
    found = QUOTED.search(error.message)
    return found.group(1) if found else "value"


def _quoted(label: str) -> str:
    return f'"{label[:100]}"'
