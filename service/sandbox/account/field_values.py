"""Values of custom fields: does the field exist, and does the value suit its type?"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from service.sandbox.account.stock import StockField
from service.sandbox.api_errors import invalid_value

CUSTOM_FIELD_KEY = re.compile(r"[0-9a-f]{40}")
MAX_CHARS = {"varchar": 255, "phone": 255, "text": 65_535}


def check_custom_fields(values: dict[str, Any], fields: dict[str, StockField]) -> None:
    """Raise `ApiError` (400) for an unknown key or an unsuitable value. None empties a field."""
    for key, value in values.items():
        field = fields.get(key)
        if field is None or not field.custom:
            raise invalid_value(f'"{key[:100]}" is not allowed')
        if value is not None and (fault := _find_fault(field, value)):
            raise invalid_value(f'"{key}" {fault}')


def split_custom_fields(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A lead's body as (named properties, custom fields)."""
    custom = {key: value for key, value in body.items() if CUSTOM_FIELD_KEY.fullmatch(key)}
    return {key: value for key, value in body.items() if key not in custom}, custom


def find_searchable_texts(values: dict[str, Any], fields: dict[str, StockField]) -> tuple[str, ...]:
    """The texts that a search in custom fields looks at."""
    kinds = ("varchar", "text", "double", "phone")
    return tuple(
        str(value)
        for key, value in values.items()
        if value is not None and key in fields and fields[key].kind in kinds
    )


def _find_fault(field: StockField, value: Any) -> str | None:
    match field.kind:
        case "double":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return None if is_number else "must be a number"
        case "date":
            is_date = isinstance(value, str) and _is_date(value)
            return None if is_date else "must be in YYYY-MM-DD format"
        case "enum":
            return None if _is_option(field, value) else "must be one of the field's options"
        case "set":
            options = _parse_options(value)
            are_valid = options and all(_is_option(field, option) for option in options)
            return None if are_valid else "must be an array of the field's options"
        case kind:
            return _find_text_fault(value, MAX_CHARS[kind])


def _parse_options(value: Any) -> list[Any]:
    """The options of a `set` field: an array, or a text of ids with commas, as v1 also has it."""
    if isinstance(value, str):
        return [int(each) if each.strip().isdecimal() else each for each in value.split(",")]
    return value if isinstance(value, list) else []


def _find_text_fault(value: Any, max_chars: int) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > max_chars:
        return f"length must be less than or equal to {max_chars} characters long"
    return None


def _is_option(field: StockField, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in (field.options or {})


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False
