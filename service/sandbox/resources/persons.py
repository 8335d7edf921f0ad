"""Persons, as v2 has them. Nothing is deduplicated: every create makes a new person."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Answer, Company, seconds
from service.sandbox.account.custom_fields import searchable
from service.sandbox.account.paging import (
    changed_within,
    hits_answer,
    page_by_cursor,
    require_long_enough,
)
from service.sandbox.account.stock import PERSON_FIELDS
from service.sandbox.errors import MISSING, Refusal, forbidden, invalid, missing
from service.sandbox.resources.contacts import (
    check_labels,
    created_at,
    listed_channels,
    merged_custom,
    only_asked,
    split_name,
    with_ids,
)
from service.sandbox.validation import Call

Record = dict[str, Any]
SYNCED = ("postal_address", "notes", "im", "birthday", "job_title")
HIDDEN = ("marketing_status",)
SEARCHED = ("name", "email", "phone", "notes", "custom_fields")
NEW: Record = {
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


def list_persons(call: Call, company: Company) -> Answer:
    """Persons, by id unless `sort_by` says otherwise."""
    query = call.query
    if "filter_id" in query:
        raise Refusal(404, "Filter not found", info=MISSING)
    store = company.store
    persons = (
        store.persons.where("org_id", query["org_id"]) if "org_id" in query else list(store.persons)
    )
    if "owner_id" in query:
        persons = [person for person in persons if person["owner_id"] == query["owner_id"]]
    if "deal_id" in query:
        deal = store.deals.get(query["deal_id"])
        persons = [person for person in persons if deal and person["id"] == deal["person_id"]]
    page, additional = page_by_cursor(changed_within(with_ids(persons, query), query), query)
    return Answer(only_asked(page, query, HIDDEN), additional)


def get_person(call: Call, company: Company) -> Answer:
    """One person."""
    return Answer(only_asked([_found(call, company)], call.query, HIDDEN)[0])


def add_person(call: Call, company: Company) -> Answer:
    """Creates a person; answers 200, not 201."""
    if not call.body.get("name", "").strip():
        raise invalid("Name must be given.")
    company.require_room(company.store.persons)
    at = created_at(call.body, company)
    new = NEW | {"owner_id": call.user_id, "add_time": at, "update_time": at}
    changed = _changed(new, call.body, company)
    return Answer(_kept({"id": company.store.next_number("person")} | changed, company))


def update_person(call: Call, company: Company) -> Answer:
    """Changes what is given; e-mails, phones and labels replace the whole list."""
    person = _found(call, company)
    changed = _changed(person, call.body, company) | {"update_time": seconds(company.now())}
    return Answer(_kept(changed, company))


def delete_person(call: Call, company: Company) -> Answer:
    """Deletes a person; its leads stay."""
    person = _found(call, company)
    company.store.persons.remove(person["id"])
    company.search.drop("person", person["id"])
    return Answer({"id": person["id"]})


def search_persons(call: Call, company: Company) -> Answer:
    """Searches names, e-mails, phones, notes and custom fields."""
    require_long_enough(call)
    wanted = call.query.get("organization_id")
    return hits_answer(
        call, company, "person", SEARCHED, lambda item: wanted is None or _works_at(item, wanted)
    )


def index_person(person: Record, company: Company, *, at_once: bool = False) -> None:
    """Tells the search index what a person looks like now."""
    emails = tuple(email["value"] for email in person["emails"])
    phones = tuple(phone["value"] for phone in person["phones"])
    custom = searchable(person["custom_fields"], PERSON_FIELDS)
    texts = {"name": (person["name"],), "email": emails, "phone": phones, "custom_fields": custom}
    organization = company.store.organizations.get(person["org_id"])
    hit = {
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
    company.search.put("person", person["id"], texts, hit, at_once=at_once)


def _changed(person: Record, body: Record, company: Company) -> Record:
    if synced := [name for name in SYNCED if name in body and not company.settings.contact_sync]:
        raise forbidden(
            f'"{synced[0]}" needs contact sync, which is not enabled for the company',
            "ERR_FORBIDDEN",
        )
    company.require_user(body.get("owner_id"), "owner_id")
    if "org_id" in body and company.store.organizations.get(body["org_id"]) is None:
        raise missing("Organization")
    check_labels(body, PERSON_FIELDS["label_ids"].options or {})
    changed = (
        person
        | body
        | {"custom_fields": merged_custom(person["custom_fields"], body, PERSON_FIELDS)}
    )
    changed.pop("add_time", None)
    for kind in ("emails", "phones"):
        changed[kind] = listed_channels(changed[kind])
    changed["first_name"], changed["last_name"] = split_name(changed["name"])
    return changed | {
        "add_time": person["add_time"],
        "marketing_status": _status(person, body, changed["emails"]),
    }


def _status(person: Record, body: Record, emails: list[Record]) -> str:
    old, new = str(person["marketing_status"]), body.get("marketing_status")
    if new is None:
        return old
    if not emails:
        raise invalid("Email must be given if marketing status is set.")
    # A status can be changed only once; what comes after is answered with success and not done.
    return str(new) if old == "no_consent" else old


def _found(call: Call, company: Company) -> Record:
    person = company.store.persons.get(call.path["id"])
    if person is None:
        raise missing("Person")
    return person


def _kept(person: Record, company: Company) -> Record:
    company.store.persons.put(person)
    index_person(person, company)
    return {key: value for key, value in person.items() if key not in HIDDEN}


def _works_at(item: Record, organization_id: int) -> bool:
    return item["organization"] is not None and item["organization"]["id"] == organization_id
