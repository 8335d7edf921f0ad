"""How two leads differ, field by field, and how that is shown without personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from service.ops import masking
from worker.contract import Lead


class BacktestChange(Struct, frozen=True):
    """`before` and `after` as JSON values; None for what is absent."""

    field: str
    before: Any
    after: Any


def compare_leads(before: Lead, after: Lead) -> Iterator[BacktestChange]:
    """Changes by field, named as in `utm_source` and `answers.Team`, in the lead's order."""
    old, new = dict(flatten_lead(before)), dict(flatten_lead(after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield BacktestChange(name, old.get(name), new.get(name))


def flatten_lead(lead: Lead | None) -> Iterator[tuple[str, Any]]:
    plain: dict[str, Any] = msgspec.to_builtins(lead) if lead else {}
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from (
                (f"utm_{key}" if name == "utm" else f"{name}.{key}", inner)
                for key, inner in value.items()
            )
        elif value is not None:
            yield name, value


def mask_change(change: BacktestChange, leads: list[Lead]) -> BacktestChange:
    """The change without the personal data of the leads."""
    before, after = (
        _mask_value(_mask_field(change.field, value), leads)
        for value in (change.before, change.after)
    )
    return BacktestChange(change.field, before, after)


def mask_sentence(text: str, leads: list[Lead]) -> str:
    """Text without the personal data of the leads, and without what looks like such data."""
    replacements: dict[str, str] = {}
    for lead in leads:
        for name, value in flatten_lead(lead):
            for part in value if isinstance(value, list) else [value]:
                masked = _mask_field(name, part)
                if isinstance(part, str) and len(part) > 1 and masked != part:
                    replacements[part] = masked
        if lead.full_name:
            replacements[lead.full_name] = masking.mask_name(lead.full_name)
    for part in sorted(replacements, key=len, reverse=True):
        text = text.replace(part, replacements[part])
    return masking.mask_text(text)


def _mask_field(name: str, value: Any) -> Any:
    """The value of a field for people who may not see personal data."""
    if value is None:
        return None
    if name.startswith("answers."):
        return masking.HIDDEN
    if name in masking.MASKED_FIELDS and isinstance(value, str):
        return masking.MASKED_FIELDS[name](value)
    return value


def _mask_value(value: Any, leads: list[Lead]) -> Any:
    if isinstance(value, str):
        return mask_sentence(value, leads)
    if isinstance(value, list | tuple):
        return [_mask_value(item, leads) for item in value]
    return value
