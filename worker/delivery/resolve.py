"""Names of the plan to the ids of the account, from the cached catalogue. Done before anything is created."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from worker.errors import Unmappable
from worker.pipedrive.catalogue import Catalogue
from worker.plan import Plan


class Resolved(Struct, frozen=True, kw_only=True):
    label_ids: list[str] = field(default_factory=list)
    channel: int | None = None
    owner_id: int | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    person_custom: dict[str, Any] = field(default_factory=dict)


def resolve(plan: Plan, source: str, catalogue: Catalogue) -> Resolved:
    """Raises `UnknownName` for a name the account does not have, `Unmappable` for a value its field cannot take."""
    table = f"sources.{source}.lead"
    label = catalogue.ensure_label if plan.create_labels else None
    custom: dict[str, Any] = {}
    person_custom: dict[str, Any] = {}
    for name, of_person, text in plan.custom:
        setting = f"{table}.custom.{'person.' if of_person else ''}{name}"
        info = (catalogue.person_field if of_person else catalogue.field)(name, setting=setting)
        try:
            (person_custom if of_person else custom).update(info.encode(text))
        except ValueError as error:
            raise Unmappable(f"{name}: {error}", setting=setting, field=name) from None
    return Resolved(
        label_ids=[
            label(name, plan.label_color) if label else catalogue.label_id(name, setting=f"{table}.labels") for name in plan.labels
        ],
        channel=catalogue.channel_id(plan.channel, setting=f"{table}.channel") if plan.channel else None,
        owner_id=catalogue.owner_id(plan.owner, setting=f"{table}.owner_id") if plan.owner is not None else None,
        custom=custom,
        person_custom=person_custom,
    )
