"""Names of the plan to the ids of the account, from the cached catalogue. Done before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, field

from worker.errors import Unmappable
from worker.pipedrive.catalogue import Catalogue
from worker.pipedrive.fields import FieldInfo
from worker.plan import CustomText, Plan


class Resolved(Struct, frozen=True, kw_only=True):
    label_ids: list[str] = field(default_factory=list)
    channel: int | None = None
    owner_id: int | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    person_custom: dict[str, Any] = field(default_factory=dict)


def resolve(plan: Plan, catalogue: Catalogue) -> Resolved:
    """Raises `UnknownName` for a name the account does not have, `Unmappable` for a value its field cannot take."""
    table = f"sources.{plan.source}.lead"
    return Resolved(
        label_ids=[_label(plan, name, catalogue, f"{table}.labels") for name in plan.labels],
        channel=catalogue.channel_id(plan.channel, setting=f"{table}.channel") if plan.channel else None,
        owner_id=catalogue.owner_id(plan.owner, setting=f"{table}.owner_id") if plan.owner is not None else None,
        custom=_encode(plan.custom, catalogue.field, f"{table}.custom."),
        person_custom=_encode(plan.person.custom if plan.person else (), catalogue.person_field, f"{table}.custom.person."),
    )


def _label(plan: Plan, name: str, catalogue: Catalogue, setting: str) -> str:
    return catalogue.ensure_label(name, plan.label_color) if plan.create_labels else catalogue.label_id(name, setting=setting)


def _encode(texts: Iterable[CustomText], find: Callable[..., FieldInfo], table: str) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for name, _, text in texts:
        try:
            encoded |= find(name, setting=table + name).encode(text)
        except ValueError as error:
            raise Unmappable(f"{name}: {error}", setting=table + name, field=name) from None
    return encoded
