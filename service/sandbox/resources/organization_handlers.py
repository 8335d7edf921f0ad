"""Organizations, as v2 has them."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult
from service.sandbox.account.search import Texts
from service.sandbox.account.stock import ORGANIZATION_LABELS
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.contact_resource import (
    ContactResource,
    check_labels,
    merge_custom_fields,
)
from service.sandbox.resources.paging import search_records

Record = dict[str, Any]
SEARCH_FIELDS = ("name", "address", "notes", "custom_fields")
DEFAULTS: Record = {
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


def search_organizations(call: ValidCall, company: Company) -> OperationResult:
    """Search names, addresses, notes and custom fields."""
    return search_records(call, company, "organization", SEARCH_FIELDS)


def index_organization(
    organization: Record, company: Company, *, immediately: bool = False
) -> None:
    """Put an organization into the search index as it is now."""
    address = (organization["address"] or {}).get("value", "")
    item = {
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
    company.index.put("organization", organization["id"], texts, item, immediately=immediately)


def _change(organization: Record, body: Record, company: Company) -> Record:
    company.require_user(body.get("owner_id"), "owner_id")
    check_labels(body, ORGANIZATION_LABELS)
    custom = merge_custom_fields(organization["custom_fields"], body, {}, company)
    return organization | body | {"custom_fields": custom, "add_time": organization["add_time"]}


ORGANIZATIONS = ContactResource(
    kind="organization",
    label="Organization",
    defaults=DEFAULTS,
    change=_change,
    index=index_organization,
)
