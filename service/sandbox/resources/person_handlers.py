"""Persons, as v2 has them. Nothing is deduplicated: every create makes a new person."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult
from service.sandbox.account.field_values import find_searchable_texts
from service.sandbox.account.stock import SYNCED_FIELDS
from service.sandbox.api_errors import forbidden, invalid_value
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.contact_resource import (
    ContactResource,
    check_labels,
    merge_custom_fields,
)
from service.sandbox.resources.paging import search_records

Record = dict[str, Any]
SEARCH_FIELDS = ("name", "email", "phone", "notes", "custom_fields")
DEFAULTS: Record = {
    "name": None,
    "first_name": None,
    "last_name": None,
    "org_id": None,
    "emails": [],
    "phones": [],
    "is_deleted": False,
    "visible_to": 3,
    "label_ids": [],
    "picture_id": None,
    "marketing_status": "no_consent",
    "custom_fields": {},
}


def list_persons(call: ValidCall, company: Company) -> OperationResult:
    """Persons, of one organization or of one deal if the query names it."""
    query, store = call.query, company.store
    persons = (
        store.persons.find_by("org_id", query["org_id"])
        if "org_id" in query
        else list(store.persons)
    )
    if "deal_id" in query:
        deal = store.deals.get(query["deal_id"])
        persons = [person for person in persons if deal and person["id"] == deal["person_id"]]
    return PERSONS.build_page(persons, query)


def add_person(call: ValidCall, company: Company) -> OperationResult:
    """Create a person, who needs a name; the status is 200, not 201."""
    if not call.body.get("name", "").strip():
        raise invalid_value("Name must be given.")
    return PERSONS.add(call, company)


def search_persons(call: ValidCall, company: Company) -> OperationResult:
    """Search names, e-mails, phones, notes and custom fields."""
    organization_id = call.query.get("organization_id")

    def works_there(item: Record) -> bool:
        organization = item["organization"]
        return organization is not None and bool(organization["id"] == organization_id)

    if organization_id is None:
        return search_records(call, company, "person", SEARCH_FIELDS)
    return search_records(call, company, "person", SEARCH_FIELDS, works_there)


def index_person(person: Record, company: Company, *, immediately: bool = False) -> None:
    """Put a person into the search index as it is now."""
    emails = tuple(email["value"] for email in person["emails"])
    phones = tuple(phone["value"] for phone in person["phones"])
    custom = find_searchable_texts(person["custom_fields"], company.person_fields)
    texts = {"name": (person["name"],), "email": emails, "phone": phones, "custom_fields": custom}
    organization = company.store.organizations.get(person["org_id"])
    item = {
        "id": person["id"],
        "type": "person",
        "name": person["name"],
        "phones": list(phones),
        "emails": list(emails),
        "visible_to": person["visible_to"],
        "owner": {"id": person["owner_id"]},
        "organization": {"id": organization["id"], "name": organization["name"]}
        if organization
        else None,
        "custom_fields": list(custom),
        "notes": [],
    }
    company.index.put("person", person["id"], texts, item, immediately=immediately)


def _change(person: Record, body: Record, company: Company) -> Record:
    synced = [name for name in SYNCED_FIELDS if name in body]
    if synced and not company.settings.contact_sync:
        raise forbidden(
            f'"{synced[0]}" needs contact sync, which is not enabled for the company',
            "ERR_FORBIDDEN",
        )
    company.require_user(body.get("owner_id"), "owner_id")
    if "org_id" in body:
        company.store.organizations.require(body["org_id"], "Organization")
    check_labels(body, company.person_fields["label_ids"].options or {})
    custom = merge_custom_fields(person["custom_fields"], body, company.person_fields, company)
    changed = person | body | {"custom_fields": custom}
    for kind in ("emails", "phones"):
        changed[kind] = _complete_channels(changed[kind])
    changed["first_name"], changed["last_name"] = _split_name(changed["name"])
    return changed | {
        "add_time": person["add_time"],
        "marketing_status": _change_status(person, body, changed["emails"]),
    }


def _change_status(person: Record, body: Record, emails: list[Record]) -> str:
    old, new = str(person["marketing_status"]), body.get("marketing_status")
    if new is None:
        return old
    if not emails:
        raise invalid_value("Email must be given if marketing status is set.")
    # A status can be changed once only; later changes are answered with success and not made.
    return str(new) if old == "no_consent" else old


def _complete_channels(items: list[Record]) -> list[Record]:
    """E-mails or phones with what the server adds: label `work`, and the first one is primary."""
    channels = [
        {
            "value": item["value"],
            "primary": bool(item.get("primary")),
            "label": item.get("label", "work"),
        }
        for item in items
    ]
    if channels and not any(channel["primary"] for channel in channels):
        channels[0]["primary"] = True
    return channels


def _split_name(name: str) -> tuple[str | None, str | None]:
    """First and last name as Pipedrive splits them: the last word is the last name."""
    *first, last = name.split()
    return (" ".join(first), last) if first else (last, None)


PERSONS = ContactResource(
    kind="person",
    label="Person",
    defaults=DEFAULTS,
    hidden=("marketing_status",),
    change=_change,
    index=index_person,
)
