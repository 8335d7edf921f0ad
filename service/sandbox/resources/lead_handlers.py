"""Leads, their labels and sources, as v1 has them, and the search of leads, as v2 has it."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult, format_milliseconds
from service.sandbox.account.field_values import (
    CUSTOM_FIELD_KEY,
    check_custom_fields,
    find_searchable_texts,
    split_custom_fields,
)
from service.sandbox.account.stock import SOURCES
from service.sandbox.api_errors import invalid_value
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.paging import (
    filter_by_update_time,
    page_by_start,
    refuse_saved_filter,
    search_records,
    sort_records,
)

Record = dict[str, Any]
NO_CONTACT = 'One of the "person_id" or "organization_id" must be set.'
DEFAULTS: Record = {
    "label_ids": [],
    "person_id": None,
    "organization_id": None,
    "origin_id": None,
    "channel": None,
    "channel_id": None,
    "value": None,
    "expected_close_date": None,
    "visible_to": "3",
    "was_seen": False,
}


def list_leads(call: ValidCall, company: Company) -> OperationResult:
    """Leads that are not archived, oldest first."""
    return _list_leads(call, company, archived=False)


def list_archived(call: ValidCall, company: Company) -> OperationResult:
    """Archived leads, oldest first."""
    return _list_leads(call, company, archived=True)


def get_lead(call: ValidCall, company: Company) -> OperationResult:
    """One lead, archived or not."""
    return OperationResult(_find_lead(call, company))


def add_lead(call: ValidCall, company: Company) -> OperationResult:
    """Create a lead (201). Nothing is idempotent: the same body twice makes two leads."""
    named, custom = _split_body(call.body, company)
    _check_references(named, custom, company)
    if named.get("person_id") is None and named.get("organization_id") is None:
        raise invalid_value(NO_CONTACT)
    company.require_room(company.store.leads, company.store.deals)
    now = format_milliseconds(company.now())
    key = company.new_uuid("lead")
    lead = {
        "id": key,
        "title": named["title"],
        "owner_id": call.user_id,
        "creator_id": call.user_id,
        "source_name": "API",
        "origin": "API",
        "source_deal_id": None,
        "is_archived": False,
        "next_activity_id": None,
        "add_time": now,
        "update_time": now,
        "cc_email": f"sandbox+1+lead{key[:8]}@pipedrivemail.example",
    }
    lead |= DEFAULTS | named
    lead |= {key: value for key, value in custom.items() if value is not None}
    return OperationResult(_save(lead, company), status=201)


def update_lead(call: ValidCall, company: Company) -> OperationResult:
    """Change the fields that the body names; `label_ids` replaces the whole list."""
    lead = _find_lead(call, company)
    named, custom = _split_body(call.body, company)
    if lead["is_archived"] and named != {"is_archived": False}:
        raise invalid_value("Archived leads cannot be edited")
    _check_references(named, custom, company)
    changed = {
        key: value
        for key, value in (lead | named | custom).items()
        if value is not None or not CUSTOM_FIELD_KEY.fullmatch(key)
    }
    if changed["person_id"] is None and changed["organization_id"] is None:
        raise invalid_value(NO_CONTACT)
    changed["update_time"] = format_milliseconds(company.now())
    return OperationResult(_save(changed, company))


def delete_lead(call: ValidCall, company: Company) -> OperationResult:
    """Delete a lead for good."""
    lead = _find_lead(call, company)
    company.store.leads.remove(lead["id"])
    company.index.remove("lead", lead["id"])
    return OperationResult({"id": lead["id"]})


def search_leads(call: ValidCall, company: Company) -> OperationResult:
    """Search titles, notes and custom fields, but never `origin_id`."""
    person, organization = call.query.get("person_id"), call.query.get("organization_id")

    def is_linked(item: Record) -> bool:
        return _is_link(item["person"], person) and _is_link(item["organization"], organization)

    return search_records(call, company, "lead", ("title", "notes", "custom_fields"), is_linked)


def index_lead(lead: Record, company: Company, *, immediately: bool = False) -> None:
    """Put a lead into the search index as it is now, including its notes."""
    store = company.store
    notes = tuple(note["content"] for note in store.notes.find_by("lead_id", lead["id"]))
    custom = {key: value for key, value in lead.items() if CUSTOM_FIELD_KEY.fullmatch(key)}
    texts = {
        "title": (lead["title"],),
        "notes": notes,
        "custom_fields": find_searchable_texts(custom, company.deal_fields),
    }
    person = store.persons.get(lead["person_id"])
    organization = store.organizations.get(lead["organization_id"])
    value = lead["value"] or {"amount": None, "currency": None}
    item = {
        "id": lead["id"],
        "type": "lead",
        "title": lead["title"],
        "owner": {"id": lead["owner_id"]},
        "person": {"id": person["id"], "name": person["name"]} if person else None,
        "organization": (
            {"id": organization["id"], "name": organization["name"]} if organization else None
        ),
        "phones": [phone["value"] for phone in person["phones"]] if person else [],
        "emails": [email["value"] for email in person["emails"]] if person else [],
        "custom_fields": list(texts["custom_fields"]),
        "notes": list(notes),
        "value": value["amount"],
        "currency": value["currency"],
        "visible_to": int(lead["visible_to"]),
        "is_archived": lead["is_archived"],
    }
    company.index.put("lead", lead["id"], texts, item, immediately=immediately)


def _list_leads(call: ValidCall, company: Company, *, archived: bool) -> OperationResult:
    query = call.query
    refuse_saved_filter(query)
    leads = [lead for lead in _find_linked(query, company) if lead["is_archived"] is archived]
    if "owner_id" in query:
        leads = [lead for lead in leads if lead["owner_id"] == query["owner_id"]]
    leads = sort_records(filter_by_update_time(leads, query), query.get("sort", []))
    page, about = page_by_start(leads, query)
    about.pop("next_start", None)
    return OperationResult(page, about)


def _find_linked(query: Record, company: Company) -> list[Record]:
    table = company.store.leads
    if "person_id" in query:
        leads = table.find_by("person_id", query["person_id"])
        if "organization_id" not in query:
            return leads
        return [lead for lead in leads if lead["organization_id"] == query["organization_id"]]
    if "organization_id" in query:
        return table.find_by("organization_id", query["organization_id"])
    return list(table)


def _find_lead(call: ValidCall, company: Company) -> Record:
    return company.store.leads.require(call.path["id"].lower(), "requested lead")


def _check_references(named: Record, custom: Record, company: Company) -> None:
    store = company.store
    company.require_user(named.get("owner_id"), "owner_id")
    if (person := named.get("person_id")) is not None:
        store.persons.require(person, "Person")
    if (organization := named.get("organization_id")) is not None:
        store.organizations.require(organization, "Organization")
    for key in named.get("label_ids", []):
        if store.labels.get(key) is None:
            raise invalid_value('"label_ids" holds the id of a label that does not exist')
    if (channel := named.get("channel")) is not None and channel not in company.channels:
        raise invalid_value('"channel" must be one of the channels of this company')
    if value := named.get("value"):
        company.require_currency(value["currency"])
    check_custom_fields(custom, company.deal_fields)


def _split_body(body: Record, company: Company) -> tuple[Record, Record]:
    named, custom = split_custom_fields(body)
    custom = {key: value for key, value in custom.items() if not company.is_deleted_field(key)}
    if "label_ids" in named:
        named["label_ids"] = list(dict.fromkeys(key.lower() for key in named["label_ids"]))
    return named, custom


def _save(lead: Record, company: Company) -> Record:
    company.store.leads.put(lead)
    index_lead(lead, company)
    return lead


def _is_link(other: Record | None, key: int | None) -> bool:
    return key is None or (other is not None and other["id"] == key)


# Labels and sources.


def list_labels(call: ValidCall, company: Company) -> OperationResult:  # noqa: ARG001 - every operation has this signature
    """All labels; there are no pages."""
    return OperationResult(list(company.store.labels))


def add_label(call: ValidCall, company: Company) -> OperationResult:
    """Add a label; the same name twice makes two labels."""
    company.require_room(company.store.labels)
    now = format_milliseconds(company.now())
    label = {"id": company.new_uuid("label"), **call.body, "add_time": now, "update_time": now}
    return OperationResult(company.store.labels.put(label))


def update_label(call: ValidCall, company: Company) -> OperationResult:
    """Change the name or the colour of a label."""
    label = _find_label(call, company)
    return OperationResult(
        company.store.labels.put(
            label | call.body | {"update_time": format_milliseconds(company.now())}
        )
    )


def delete_label(call: ValidCall, company: Company) -> OperationResult:
    """Delete a label and take it off every lead."""
    label = _find_label(call, company)
    remove_label(label, company)
    return OperationResult({"id": label["id"]})


def remove_label(label: Record, company: Company) -> None:
    """Delete a label and take it off every lead."""
    company.store.labels.remove(label["id"])
    for lead in [lead for lead in company.store.leads if label["id"] in lead["label_ids"]]:
        company.store.leads.put(
            lead | {"label_ids": [key for key in lead["label_ids"] if key != label["id"]]}
        )


def list_sources(call: ValidCall, company: Company) -> OperationResult:  # noqa: ARG001
    """The fixed list of lead sources."""
    return OperationResult([{"name": name} for name in SOURCES])


def _find_label(call: ValidCall, company: Company) -> Record:
    return company.store.labels.require(call.path["id"].lower(), "requested lead label")
