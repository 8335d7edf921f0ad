"""Organizations, as v2 has them."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Answer, Company, seconds
from service.sandbox.account.paging import (
    changed_within,
    hits_answer,
    page_by_cursor,
    require_long_enough,
)
from service.sandbox.account.search import Texts
from service.sandbox.account.stock import ORGANIZATION_LABELS
from service.sandbox.errors import MISSING, Refusal, missing
from service.sandbox.resources.contacts import (
    check_labels,
    created_at,
    merged_custom,
    only_asked,
    with_ids,
)
from service.sandbox.validation import Call

Record = dict[str, Any]
NEW: Record = {
    "is_deleted": False,
    "visible_to": 3,
    "address": None,
    "label_ids": [],
    "website": None,
    "linkedin": None,
    "industry": None,
    "annual_revenue": None,
    "employee_count": None,
    "custom_fields": {},
}


def list_organizations(call: Call, company: Company) -> Answer:
    """Organizations, by id unless `sort_by` says otherwise."""
    query = call.query
    if "filter_id" in query:
        raise Refusal(404, "Filter not found", info=MISSING)
    found = list(company.store.organizations)
    if "owner_id" in query:
        found = [
            organization for organization in found if organization["owner_id"] == query["owner_id"]
        ]
    page, additional = page_by_cursor(changed_within(with_ids(found, query), query), query)
    return Answer(only_asked(page, query, ()), additional)


def get_organization(call: Call, company: Company) -> Answer:
    """One organization."""
    return Answer(only_asked([_found(call, company)], call.query, ())[0])


def add_organization(call: Call, company: Company) -> Answer:
    """Creates an organization; answers 200, not 201."""
    company.require_room(company.store.organizations)
    at = created_at(call.body, company)
    new = NEW | {"owner_id": call.user_id, "add_time": at, "update_time": at}
    changed = _changed(new, call.body, company)
    return Answer(_kept({"id": company.store.next_number("organization")} | changed, company))


def update_organization(call: Call, company: Company) -> Answer:
    """Changes what is given."""
    changed = _changed(_found(call, company), call.body, company)
    return Answer(_kept(changed | {"update_time": seconds(company.now())}, company))


def delete_organization(call: Call, company: Company) -> Answer:
    """Deletes an organization; its leads and persons stay."""
    organization = _found(call, company)
    company.store.organizations.remove(organization["id"])
    company.search.drop("organization", organization["id"])
    return Answer({"id": organization["id"]})


def search_organizations(call: Call, company: Company) -> Answer:
    """Searches names, addresses, notes and custom fields."""
    require_long_enough(call)
    return hits_answer(
        call, company, "organization", ("name", "address", "notes", "custom_fields"), lambda _: True
    )


def index_organization(organization: Record, company: Company, *, at_once: bool = False) -> None:
    """Tells the search index what an organization looks like now."""
    address = (organization["address"] or {}).get("value", "")
    hit = {
        "id": organization["id"],
        "type": "organization",
        "name": organization["name"],
        "address": address or None,
        "visible_to": organization["visible_to"],
        "owner": {"id": organization["owner_id"]},
        "custom_fields": [],
        "notes": [],
    }
    texts: Texts = {"name": (organization["name"],), "address": (address,)}
    company.search.put("organization", organization["id"], texts, hit, at_once=at_once)


def _changed(organization: Record, body: Record, company: Company) -> Record:
    company.require_user(body.get("owner_id"), "owner_id")
    check_labels(body, ORGANIZATION_LABELS)
    custom = merged_custom(organization["custom_fields"], body, {})
    return organization | body | {"custom_fields": custom, "add_time": organization["add_time"]}


def _found(call: Call, company: Company) -> Record:
    organization = company.store.organizations.get(call.path["id"])
    if organization is None:
        raise missing("Organization")
    return organization


def _kept(organization: Record, company: Company) -> Record:
    company.store.organizations.put(organization)
    index_organization(organization, company)
    return organization
