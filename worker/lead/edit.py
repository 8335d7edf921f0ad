"""A person's edit of a lead: canonical fields by name, with the same types as the lead's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from worker.contract import Lead, Money, Utm
from worker.errors import LeadlineError
from worker.lead.canonical import PLAIN_FIELDS, FieldKind

UTM_FIELDS = {f"utm_{name}": name for name in Utm.__struct_fields__}
# The names that may follow the dot; None means any name.
NESTED_KEYS: dict[str, Any] = {
    "answers": None,
    "click_ids": None,
    "utm": Utm.__struct_fields__,
    "value": Money.__struct_fields__,
}

PLAIN_NAMES = frozenset(field.name for field in PLAIN_FIELDS)
BOOLEAN_NAMES = frozenset(field.name for field in PLAIN_FIELDS if field.kind is FieldKind.BOOLEAN)


class EditError(LeadlineError):
    """The edit is wrong and nothing was changed. `faults` maps each field to what was expected."""

    code = "edit"

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults.items()))
        self.faults = faults


def apply_edit(lead: Lead, edit: Mapping[str, Any]) -> Lead:
    """Return the lead with the edit applied. Raises `EditError` with all faults at once.

    Fields are those of `worker.contract.Lead`, `utm_source` and its like (or `utm` with a table),
    `value.amount`, `value.currency`, `click_ids.NAME` and `answers.NAME`; an empty text or None
    removes a field.
    """
    faults: dict[str, str] = {}
    values: dict[str, Any] = msgspec.to_builtins(lead)
    for name, value in edit.items():
        fault = _set_field(values, name, value)
        if fault:
            faults[name] = fault
    if faults:
        raise EditError(faults)
    try:
        return msgspec.convert(values, Lead, strict=False)
    except msgspec.ValidationError as error:
        raise EditError({_field_of_message(str(error)): str(error).split(" - at ")[0]}) from None


def _set_field(lead: dict[str, Any], name: str, value: Any) -> str | None:
    """Set one field; return what is wrong with it, if anything."""
    group, _, key = ("utm", ".", UTM_FIELDS[name]) if name in UTM_FIELDS else name.partition(".")
    if key and group in NESTED_KEYS and (NESTED_KEYS[group] is None or key in NESTED_KEYS[group]):
        _set_or_remove(lead.setdefault(group, {}), key, value)
        return None
    if name in PLAIN_NAMES or (name in Lead.__struct_fields__ and isinstance(value, dict | None)):
        keys = NESTED_KEYS.get(name)
        if keys and (unknown := [key for key in value or () if key not in keys]):
            return f"expected {', '.join(keys)}, got {unknown[0][:40]!r}"
        _set_or_remove(lead, name, _parse_boolean(name, value))
        return None
    return (
        f"expected a field of the lead ({', '.join(sorted(PLAIN_NAMES))}, utm_…, value.…,"
        " click_ids.…, answers.…)"
    )


def _set_or_remove(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None or value == "":
        table.pop(key, None)
    else:
        table[key] = value


def _parse_boolean(name: str, value: Any) -> Any:
    words = {"yes": True, "true": True, "no": False, "false": False}
    return (
        words.get(value.lower(), value)
        if name in BOOLEAN_NAMES and isinstance(value, str)
        else value
    )


def _field_of_message(message: str) -> str:
    """Return `answers` of ``… - at `$.answers[...]```."""
    return message.rpartition("`$.")[2].rstrip("`").partition("[")[0] or "lead"


def diff(before: Lead, after: Lead) -> dict[str, tuple[Any, Any]]:
    """Return what an edit changed: field -> (before, after)."""
    old, new = structs.asdict(before), structs.asdict(after)
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}
