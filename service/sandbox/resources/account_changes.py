"""What people do to the account behind a caller's back, each to the records of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from service.sandbox.account.company import Company, format_milliseconds
from service.sandbox.account.field_values import CUSTOM_FIELD_KEY
from service.sandbox.account.store import RecordTable
from service.sandbox.resources.deal_handlers import turn_into_deal
from service.sandbox.resources.lead_handlers import remove_label
from service.sandbox.resources.organization_handlers import index_organization
from service.sandbox.resources.person_handlers import index_person

Record = dict[str, Any]
Change = Literal[
    "archive-lead", "convert-lead", "delete-lead", "delete-person", "merge-person",
    "delete-organization", "merge-organization", "remake-label", "orphan-label", "remake-channel",
    "remake-option", "remake-field", "deactivate-owner",
]  # fmt: skip


def change_account(company: Company, change: Change, ids: Record) -> None:
    """Make a change to the records that a call names; `ids` are its fields. Twice is harmless."""
    CHANGES[change](company, ids)


def _archive_lead(company: Company, ids: Record) -> None:
    """The lead is archived."""
    if (lead := _lead(company, ids)) is not None:
        company.store.leads.put(lead | {"is_archived": True})


def _convert_lead(company: Company, ids: Record) -> None:
    """The lead becomes a deal, and its notes go with it."""
    if (lead := _lead(company, ids)) is not None:
        turn_into_deal(lead, {}, company)


def _delete_lead(company: Company, ids: Record) -> None:
    """The lead is deleted."""
    if (lead := _lead(company, ids)) is not None:
        company.store.leads.remove(lead["id"])
        company.index.remove("lead", lead["id"])


def _delete_person(company: Company, ids: Record) -> None:
    """The person is deleted; the search lists it for a while longer."""
    _remove(company, "person", ids.get("person_id"))


def _merge_person(company: Company, ids: Record) -> None:
    """The person is merged into another one with the same e-mails and phones."""
    person = company.store.persons.get(ids.get("person_id"))
    if person is not None:
        survivor = person | {"id": company.store.next_number("person")}
        company.store.persons.put(survivor)
        index_person(survivor, company, immediately=True)
        _relink(company.store.leads, "person_id", person["id"], survivor["id"])
        _relink(company.store.deals, "person_id", person["id"], survivor["id"])
        _remove(company, "person", person["id"])


def _delete_organization(company: Company, ids: Record) -> None:
    """The organization is deleted; the search lists it for a while longer."""
    _remove(company, "organization", _organization_id(ids))


def _merge_organization(company: Company, ids: Record) -> None:
    """The organization is merged into another one with the same name."""
    organization = company.store.organizations.get(_organization_id(ids))
    if organization is not None:
        survivor = organization | {"id": company.store.next_number("organization")}
        company.store.organizations.put(survivor)
        index_organization(survivor, company, immediately=True)
        for table, field in (
            (company.store.leads, "organization_id"),
            (company.store.persons, "org_id"),
            (company.store.deals, "org_id"),
        ):
            _relink(table, field, organization["id"], survivor["id"])
        _remove(company, "organization", organization["id"])


def _remake_label(company: Company, ids: Record) -> None:
    """Each label is deleted, and made again under its name with another id."""
    now = format_milliseconds(company.now())
    for label in list(_labels(company, ids)):
        remove_label(label, company)
        company.store.labels.put(
            label | {"id": company.new_uuid("label"), "add_time": now, "update_time": now}
        )


def _orphan_label(company: Company, ids: Record) -> None:
    """The lead's first label is deleted, but its id stays on the lead."""
    lead = _lead(company, ids)
    if lead is not None and lead["label_ids"]:
        company.store.labels.remove(lead["label_ids"][0])


def _remake_channel(company: Company, ids: Record) -> None:
    """The channel is deleted, and made again under its name with another id."""
    label = company.channels.get(ids.get("channel") or 0)
    if label is not None:
        company.remake_option("channel", ids["channel"], label)


def _remake_option(company: Company, ids: Record) -> None:
    """Each option of a custom field is deleted, and made again under its name."""
    fields = company.deal_fields | company.person_fields
    for code, value in (ids | ids.get("custom_fields", {})).items():
        options = fields[code].options if code in fields and fields[code].custom else None
        for option in value if isinstance(value, list) else [value]:
            if options and option in options:
                company.remake_option(f"option:{fields[code].name}", option, options[option])


def _remake_field(company: Company, ids: Record) -> None:
    """Each custom field is deleted, and made again under its name; the old one is ignored."""
    fields = company.deal_fields | company.person_fields
    for code in ids | ids.get("custom_fields", {}):
        if CUSTOM_FIELD_KEY.fullmatch(code) and code in fields:
            company.remake_field(fields[code])


def _deactivate_owner(company: Company, ids: Record) -> None:
    """The owner is deactivated."""
    if ids.get("owner_id") is not None:
        company.deactivate_user(ids["owner_id"])


def _lead(company: Company, ids: Record) -> Record | None:
    return company.store.leads.get(str(ids.get("lead_id") or "").lower())


def _labels(company: Company, ids: Record) -> Iterator[Record]:
    for key in ids.get("label_ids", []):
        label = company.store.labels.get(str(key).lower())
        if label is not None:
            yield label


def _organization_id(ids: Record) -> Any:
    return ids.get("organization_id", ids.get("org_id"))


def _remove(company: Company, kind: str, key: Any) -> None:
    company.store.tables[kind].remove(key)
    company.index.remove(kind, key)


def _relink(table: RecordTable, field: str, old: int, new: int) -> None:
    for record in table.find_by(field, old):
        table.put(record | {field: new})


CHANGES: dict[str, Callable[[Company, Record], None]] = {
    "archive-lead": _archive_lead,
    "convert-lead": _convert_lead,
    "delete-lead": _delete_lead,
    "delete-person": _delete_person,
    "merge-person": _merge_person,
    "delete-organization": _delete_organization,
    "merge-organization": _merge_organization,
    "remake-label": _remake_label,
    "orphan-label": _orphan_label,
    "remake-channel": _remake_channel,
    "remake-option": _remake_option,
    "remake-field": _remake_field,
    "deactivate-owner": _deactivate_owner,
}
