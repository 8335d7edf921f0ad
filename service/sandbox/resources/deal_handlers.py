"""Deals that leads become: the conversion of a lead, its status, the lists, won and lost."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult, format_seconds
from service.sandbox.account.field_values import CUSTOM_FIELD_KEY
from service.sandbox.account.stock import DEFAULT_CURRENCY
from service.sandbox.api_errors import OBJECT_NOT_FOUND, ApiError, invalid_value, not_found
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.contact_resource import (
    check_labels,
    filter_by_ids,
    merge_custom_fields,
    select_fields,
)
from service.sandbox.resources.paging import (
    filter_by_update_time,
    page_by_cursor,
    refuse_saved_filter,
)

Record = dict[str, Any]
STATUSES = ("open", "won", "lost")
FILTERS = ("owner_id", "person_id", "org_id", "pipeline_id", "stage_id")


def list_deals(call: ValidCall, company: Company) -> OperationResult:
    """Deals that are not archived, of any status unless `status` says otherwise."""
    return _list_deals(call, company, archived=False)


def list_archived(call: ValidCall, company: Company) -> OperationResult:
    """Archived deals, likewise."""
    return _list_deals(call, company, archived=True)


def update_deal(call: ValidCall, company: Company) -> OperationResult:
    """Change the fields that the body names; a deal that is won or lost is closed then."""
    deal, body = company.store.deals.require(call.path["id"], "Deal"), call.body
    if (status := body.get("status", deal["status"])) not in STATUSES:
        raise invalid_value(f'"status" must be one of [{", ".join(STATUSES)}]')
    company.require_user(body.get("owner_id"), "owner_id")
    check_labels(body, company.deal_fields["label_ids"].options or {})
    company.require_currency(body.get("currency") or deal["currency"])
    now = format_seconds(company.now())
    changed = deal | body | {"update_time": now}
    changed["custom_fields"] = merge_custom_fields(
        deal["custom_fields"], body, company.deal_fields, company
    )
    if status != deal["status"]:
        changed |= {"close_time": None, "won_time": None, "lost_time": None}
        if status != "open":
            changed |= {"close_time": now, f"{status}_time": now}
    return OperationResult(company.store.deals.put(changed))


def _list_deals(call: ValidCall, company: Company, *, archived: bool) -> OperationResult:
    query = call.query
    refuse_saved_filter(query)
    table = company.store.deals
    deals = table.find_by("person_id", query["person_id"]) if "person_id" in query else list(table)
    deals = [deal for deal in deals if deal["is_archived"] is archived and not deal["is_deleted"]]
    for field in FILTERS:
        if field in query:
            deals = [deal for deal in deals if deal[field] == query[field]]
    if "status" in query:
        deals = [deal for deal in deals if deal["status"] in query["status"]]
    deals = filter_by_update_time(filter_by_ids(deals, query), query)
    page, additional = page_by_cursor(deals, query)
    return OperationResult(select_fields(page, query, ()), additional)


def convert_lead(call: ValidCall, company: Company) -> OperationResult:
    """Turn a lead into a deal at once, but answer like the slow original: with a conversion id."""
    store = company.store
    lead = store.leads.get(call.path["id"].lower())
    if lead is None:
        raise ApiError(404, "Entity was not found", info=OBJECT_NOT_FOUND)
    deal = turn_into_deal(lead, call.body, company)
    key = company.new_uuid("conversion")
    store.conversions.put({"id": key, "lead_id": lead["id"], "deal_id": deal["id"]})
    return OperationResult({"conversion_id": key}, None)


def turn_into_deal(lead: Record, body: Record, company: Company) -> Record:
    """Replace a lead by a deal, which gets its notes and files."""
    store = company.store
    deal = store.deals.put(_build_deal(lead, body, company))
    store.leads.remove(lead["id"])
    company.index.remove("lead", lead["id"])
    for note in store.notes.find_by("lead_id", lead["id"]):
        store.notes.put(note | {"lead_id": None, "deal_id": deal["id"]})
    for file in [file for file in store.files if file.get("lead_id") == lead["id"]]:
        store.files.put(file | {"lead_id": None, "deal_id": deal["id"]})
    return deal


def get_conversion(call: ValidCall, company: Company) -> OperationResult:
    """The status of a conversion: always completed."""
    conversion = company.store.conversions.get(call.path["conversion_id"].lower())
    if conversion is None or conversion["lead_id"] != call.path["id"].lower():
        raise ApiError(404, "Entity was not found", info=OBJECT_NOT_FOUND)
    data = {"conversion_id": conversion["id"], "status": "completed"}
    return OperationResult(
        data | {"lead_id": conversion["lead_id"], "deal_id": conversion["deal_id"]}, None
    )


def _build_deal(lead: Record, body: Record, company: Company) -> Record:
    pipeline = body.get("pipeline_id", 1)
    if pipeline != 1:
        raise not_found("Pipeline")
    now = format_seconds(company.now())
    value = lead["value"] or {"amount": 0, "currency": DEFAULT_CURRENCY}
    return {
        "id": company.store.next_number("deal"),
        "title": lead["title"],
        "creator_user_id": lead["creator_id"],
        "owner_id": lead["owner_id"],
        "person_id": lead["person_id"],
        "org_id": lead["organization_id"],
        "pipeline_id": pipeline,
        "stage_id": body.get("stage_id", 1),
        "value": value["amount"],
        "currency": value["currency"],
        "add_time": now,
        "update_time": now,
        "stage_change_time": None,
        "is_deleted": False,
        "is_archived": False,
        "status": "open",
        "probability": None,
        "lost_reason": None,
        "visible_to": int(lead["visible_to"]),
        "close_time": None,
        "won_time": None,
        "lost_time": None,
        "expected_close_date": lead["expected_close_date"],
        "label_ids": [],
        "origin": lead["origin"],
        "origin_id": lead["origin_id"],
        "channel": lead["channel"],
        "channel_id": lead["channel_id"],
        "source_lead_id": lead["id"],
        "arr": None,
        "mrr": None,
        "acv": None,
        "custom_fields": {
            key: value for key, value in lead.items() if CUSTOM_FIELD_KEY.fullmatch(key)
        },
    }
