"""The bodies of the calls that a delivery makes, in Pipedrive's shapes.

Ids are passed in resolved; the preview passes in names. What is absent is left out, never sent as
null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from worker.contract import Json
from worker.lead.plan import LeadPlan, PersonPlan

# A number or UUID of Pipedrive's; in a preview, the name or placeholder that stands for it.
Id = int | str


class SearchQuery(TypedDict):
    """The parameters of a search."""

    term: str
    fields: str
    exact_match: bool


def organization_search(name: str) -> SearchQuery:
    return {"term": name, "fields": "name", "exact_match": True}


def person_search(person: PersonPlan) -> SearchQuery | None:
    """Search by e-mail, else by phone; None for somebody who gave neither."""
    if person.email:
        return {"term": person.email, "fields": "email", "exact_match": True}
    return {"term": person.phone, "fields": "phone", "exact_match": True} if person.phone else None


def organization_body(name: str, *, owner_id: Id | None) -> Json:
    """`POST /api/v2/organizations`."""
    return _without_none(name=name, owner_id=owner_id)


def person_body(
    person: PersonPlan,
    *,
    organization_id: Id | None,
    owner_id: Id | None,
    custom: Mapping[str, Any],
) -> Json:
    """`POST /api/v2/persons`. `custom` maps the account's field keys to encoded values."""
    return _without_none(
        name=person.name,
        owner_id=owner_id,
        org_id=organization_id,
        emails=_contact_list(person.email),
        phones=_contact_list(person.phone),
        custom_fields=dict(custom) or None,
    )


def lead_body(
    plan: LeadPlan,
    *,
    person_id: Id | None,
    organization_id: Id | None,
    label_ids: Sequence[str],
    channel: Id | None,
    owner_id: Id | None,
    custom: Mapping[str, Any],
) -> Json:
    """`POST /v1/leads`. Custom fields stand beside the others by key and never replace one."""
    body = _without_none(
        title=plan.title,
        person_id=person_id,
        organization_id=organization_id,
        owner_id=owner_id,
        label_ids=list(dict.fromkeys(label_ids)) or None,
        value=(
            {"amount": plan.value.amount, "currency": plan.value.currency} if plan.value else None
        ),
        expected_close_date=plan.expected_close,
        visible_to=plan.visible_to,
        origin_id=plan.origin_id,
        channel=channel,
        channel_id=plan.channel_id,
    )
    return body | {key: value for key, value in custom.items() if key not in body}


def lead_patch(
    plan: LeadPlan, *, lead: Mapping[str, Any], label_ids: Sequence[str], channel: Id | None
) -> Json:
    """`PATCH /v1/leads/{id}` for an open lead; empty if there is nothing to change.

    `label_ids` replaces the list on the server, so the lead's own labels come first and stay.
    Channel fields are filled only if they are empty; `origin_id` cannot be changed.
    """
    present = list(lead.get("label_ids") or ())
    merged = list(dict.fromkeys([*present, *label_ids]))
    return _without_none(
        label_ids=merged if merged != present else None,
        channel=channel if lead.get("channel") is None else None,
        channel_id=None if lead.get("channel_id") else plan.channel_id,
    )


def note_body(content: str, *, lead_id: str) -> Json:
    """`POST /v1/notes`."""
    return {"content": content, "lead_id": lead_id}


def _contact_list(value: str | None) -> list[Json] | None:
    return [{"value": value, "primary": True, "label": "work"}] if value else None


def _without_none(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
