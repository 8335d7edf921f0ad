"""Custom-field values: does the field exist, and does the value suit its type?"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from service.sandbox.account import Field
from service.sandbox.refusals import invalid

KEY = re.compile(r"[0-9a-f]{40}")
LONGEST = {"varchar": 255, "phone": 255, "text": 65_535}


def check_custom(values: dict[str, Any], fields: dict[str, Field]) -> None:
    """Raises `Refusal` (400) for a key the account does not have or a value of another type. None empties a field."""
    for key, value in values.items():
        field = fields.get(key)
        if field is None or not field.custom:
            raise invalid(f'"{key[:100]}" is not allowed')
        if value is not None and (fault := _fault(field, value)):
            raise invalid(f'"{key}" {fault}')


def split_custom(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A lead's body as (named properties, custom fields)."""
    custom = {key: value for key, value in body.items() if KEY.fullmatch(key)}
    return {key: value for key, value in body.items() if key not in custom}, custom


def searchable(values: dict[str, Any], fields: dict[str, Field]) -> tuple[str, ...]:
    """The texts that a search over custom fields looks at."""
    kinds = ("varchar", "text", "double", "phone")
    return tuple(str(value) for key, value in values.items() if value is not None and fields[key].kind in kinds)


def _fault(field: Field, value: Any) -> str | None:
    match field.kind:
        case "double":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return None if number else "must be a number"
        case "date":
            return None if isinstance(value, str) and _is_day(value) else "must be in YYYY-MM-DD format"
        case "enum":
            return None if _is_option(field, value) else "must be one of the field's options"
        case "set":
            chosen = _chosen(value)
            whole = chosen and all(_is_option(field, each) for each in chosen)
            return None if whole else "must be an array of the field's options"
        case kind:
            return _text_fault(value, LONGEST[kind])


def _chosen(value: Any) -> list[Any]:
    """Of a field with several options: an array, or as v1 also answers them, ids in a text with commas."""
    if isinstance(value, str):
        return [int(each) if each.strip().isdecimal() else each for each in value.split(",")]
    return value if isinstance(value, list) else []


def _text_fault(value: Any, longest: int) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    return f"length must be less than or equal to {longest} characters long" if len(value) > longest else None


def _is_option(field: Field, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in (field.options or {})


def _is_day(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False
