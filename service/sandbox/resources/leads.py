"""Leads, as v1 has them, and their search, as v2 has it."""

from __future__ import annotations

from functools import partial
from typing import Any

from service.sandbox.account.company import Answer, Company, milliseconds
from service.sandbox.account.custom_fields import KEY, check_custom, searchable, split_custom
from service.sandbox.account.paging import (
    changed_within,
    hits_answer,
    page_by_start,
    require_long_enough,
)
from service.sandbox.account.stock import CHANNELS, DEAL_FIELDS, SOURCES
from service.sandbox.errors import MISSING, Refusal, invalid, missing
from service.sandbox.validation import Call

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


def list_leads(call: Call, company: Company) -> Answer:
    """Leads that are not archived, oldest first."""
    return _page(call, company, archived=False)


def list_archived(call: Call, company: Company) -> Answer:
    """Archived leads, oldest first."""
    return _page(call, company, archived=True)


def get_lead(call: Call, company: Company) -> Answer:
    """One lead, archived or not."""
    return Answer(_found(call, company))


def add_lead(call: Call, company: Company) -> Answer:
    """Creates a lead; 201. There is no idempotency: the same body twice makes two leads."""
    named, custom = _split(call.body)
    _check(named, custom, company)
    if named.get("person_id") is None and named.get("organization_id") is None:
        raise invalid(NO_CONTACT)
    company.require_room(company.store.leads, company.store.deals)
    now = milliseconds(company.now())
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
    lead = lead | DEFAULTS | named | _set(custom)
    return Answer(_kept(lead, company), status=201)


def update_lead(call: Call, company: Company) -> Answer:
    """Changes what is given; `label_ids` replaces the whole list, null empties what can be
    empty.
    """
    lead = _found(call, company)
    named, custom = _split(call.body)
    if lead["is_archived"] and named != {"is_archived": False}:
        raise invalid("Archived leads cannot be edited")
    _check(named, custom, company)
    changed = {
        key: value
        for key, value in (lead | named | custom).items()
        if value is not None or not KEY.fullmatch(key)
    }
    if changed["person_id"] is None and changed["organization_id"] is None:
        raise invalid(NO_CONTACT)
    return Answer(_kept(changed | {"update_time": milliseconds(company.now())}, company))


def delete_lead(call: Call, company: Company) -> Answer:
    """Deletes a lead for good."""
    lead = _found(call, company)
    company.store.leads.remove(lead["id"])
    company.search.drop("lead", lead["id"])
    return Answer({"id": lead["id"]})


def search_leads(call: Call, company: Company) -> Answer:
    """Searches titles, notes and custom fields; never `origin_id`."""
    require_long_enough(call)
    person, organization = call.query.get("person_id"), call.query.get("organization_id")

    def wanted(item: Record) -> bool:
        return _is_linked(item["person"], person) and _is_linked(item["organization"], organization)

    return hits_answer(call, company, "lead", ("title", "notes", "custom_fields"), wanted)


def index_lead(lead: Record, company: Company, *, at_once: bool = False) -> None:
    """Tells the search index what a lead looks like now, its notes included."""
    store = company.store
    notes = tuple(note["content"] for note in store.notes.where("lead_id", lead["id"]))
    custom = {key: value for key, value in lead.items() if KEY.fullmatch(key)}
    texts = {
        "title": (lead["title"],),
        "notes": notes,
        "custom_fields": searchable(custom, DEAL_FIELDS),
    }
    person = store.persons.get(lead["person_id"])
    organization = store.organizations.get(lead["organization_id"])
    value = lead["value"] or {"amount": None, "currency": None}
    hit = {
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
    company.search.put("lead", lead["id"], texts, hit, at_once=at_once)


def _page(call: Call, company: Company, *, archived: bool) -> Answer:
    query = call.query
    if "filter_id" in query:
        raise Refusal(404, "Filter not found", info=MISSING)
    leads = _linked(query, company)
    leads = [lead for lead in leads if lead["is_archived"] is archived]
    if "owner_id" in query:
        leads = [lead for lead in leads if lead["owner_id"] == query["owner_id"]]
    leads = changed_within(leads, query)
    for field, down in reversed(query.get("sort", [])):
        leads = sorted(leads, key=partial(_rank, field), reverse=down)
    page, about = page_by_start(leads, query)
    about.pop("next_start", None)
    return Answer(page, about)


def _rank(field: str, lead: Record) -> tuple[bool, Any]:
    return lead[field] is not None, lead[field]


def _linked(query: Record, company: Company) -> list[Record]:
    table = company.store.leads
    if "person_id" in query:
        leads = table.where("person_id", query["person_id"])
        return [lead for lead in leads if _matches(lead, query, "organization_id")]
    if "organization_id" in query:
        return table.where("organization_id", query["organization_id"])
    return list(table)


def _matches(lead: Record, query: Record, field: str) -> bool:
    return field not in query or lead[field] == query[field]


def _found(call: Call, company: Company) -> Record:
    lead = company.store.leads.get(call.path["id"].lower())
    if lead is None:
        raise missing("requested lead")
    return lead


def _check(named: Record, custom: Record, company: Company) -> None:
    store = company.store
    company.require_user(named.get("owner_id"), "owner_id")
    if (person := named.get("person_id")) is not None and store.persons.get(person) is None:
        raise missing("Person")
    if (organization := named.get("organization_id")) is not None and store.organizations.get(
        organization
    ) is None:
        raise missing("Organization")
    for key in named.get("label_ids", []):
        if store.labels.get(key) is None:
            raise invalid('"label_ids" holds the id of a label that does not exist')
    if (channel := named.get("channel")) is not None and channel not in CHANNELS:
        raise invalid('"channel" must be one of the channels of this company')
    if value := named.get("value"):
        company.require_currency(value["currency"])
    check_custom(custom, DEAL_FIELDS)


def _split(body: Record) -> tuple[Record, Record]:
    named, custom = split_custom(body)
    if "label_ids" in named:
        named["label_ids"] = list(dict.fromkeys(key.lower() for key in named["label_ids"]))
    return named, custom


def _set(custom: Record) -> Record:
    return {key: value for key, value in custom.items() if value is not None}


def _kept(lead: Record, company: Company) -> Record:
    company.store.leads.put(lead)
    index_lead(lead, company)
    return lead


def _is_linked(other: Record | None, key: int | None) -> bool:
    return key is None or (other is not None and other["id"] == key)


# Lead labels and lead sources.


def list_labels(call: Call, company: Company) -> Answer:  # noqa: ARG001 - every operation has this signature
    """All labels; there are no pages."""
    return Answer(list(company.store.labels))


def add_label(call: Call, company: Company) -> Answer:
    """Adds a label; the same name twice makes two labels."""
    company.require_room(company.store.labels)
    now = milliseconds(company.now())
    label = {"id": company.new_uuid("label"), **call.body, "add_time": now, "update_time": now}
    return Answer(company.store.labels.put(label))


def update_label(call: Call, company: Company) -> Answer:
    """Renames or recolours a label."""
    label = _find_label(call, company)
    return Answer(
        company.store.labels.put(label | call.body | {"update_time": milliseconds(company.now())})
    )


def delete_label(call: Call, company: Company) -> Answer:
    """Deletes a label and takes it off every lead."""
    label = _find_label(call, company)
    company.store.labels.remove(label["id"])
    for lead in [lead for lead in company.store.leads if label["id"] in lead["label_ids"]]:
        company.store.leads.put(
            lead | {"label_ids": [key for key in lead["label_ids"] if key != label["id"]]}
        )
    return Answer({"id": label["id"]})


def list_sources(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """The fixed list of lead sources."""
    return Answer([{"name": name} for name in SOURCES])


def _find_label(call: Call, company: Company) -> dict[str, Any]:
    label = company.store.labels.get(call.path["id"].lower())
    if label is None:
        raise missing("requested lead label")
    return label
