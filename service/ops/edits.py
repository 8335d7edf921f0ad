"""An edit of a lead as people type it, made as safe and as regular as what comes through the door."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from service.sources.emails import email
from service.sources.text import clean, line
from worker.contract import Lead
from worker.mend import EditError, mend

MOST_FIELDS = 200
DEEPEST = 4
"""Levels of an edit's value: `answers` is a table of lists at the deepest."""

SEVERAL_LINES = ("message", "answers")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def typed(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The edit with its text cleaned, its e-mail and currency in their regular form. An empty value removes the field.

    Raises `EditError` with every fault at once: what is no field of a lead, or has the wrong type, or is no address.
    """
    if len(edit) > MOST_FIELDS:
        raise EditError({"edit": f"expected at most {MOST_FIELDS} fields, got {len(edit)}"})
    faults: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for name, value in edit.items():
        try:
            cleaned[line(name)] = _regular(name, value)
        except ValueError as fault:
            faults[line(name)] = str(fault)
    try:
        mend(Lead(), cleaned)
    except EditError as error:
        faults |= error.faults
    if faults:
        raise EditError(faults)
    return cleaned


def _regular(name: str, value: Any) -> Any:
    value = _cleaned(name.partition(".")[0], value, 0)
    if name == "email" and isinstance(value, str) and value:
        address = email(value)
        if address is None:
            raise ValueError("expected an e-mail address, got something else")
        return address
    if name == "value.currency" and isinstance(value, str) and value:
        if not _CURRENCY.fullmatch(value.upper()):
            raise ValueError("expected a currency of three letters, such as EUR")
        return value.upper()
    return value


def _cleaned(group: str, value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("expected text, a number or a table, got something nested too deeply")
    if isinstance(value, str):
        return clean(value) if group in SEVERAL_LINES else line(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a number, got one that is none")
    if isinstance(value, dict):
        return {line(str(key)): _cleaned(group, each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(group, each, depth + 1) for each in value]
    return value
