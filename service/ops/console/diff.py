"""What a lead is now against what came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from service.ops.console.leadform import inputs


class Change(Struct, frozen=True):
    """One field; an empty text where it was not there."""

    label: str
    before: str
    after: str


def changes(came_in: Mapping[str, Any] | None, lead: Mapping[str, Any] | None) -> list[Change]:
    """The fields that differ, in the form's order; none where the lead is as it came."""
    if came_in is None or lead is None:
        return []
    old, new = ({each.name: each for each in inputs(either)} for either in (came_in, lead))
    labels = {name: each.label for name, each in (old | new).items()}
    pairs = {name: tuple(side[name].value if name in side else "" for side in (old, new)) for name in labels}
    return [Change(labels[name], before, after) for name, (before, after) in pairs.items() if before != after]
