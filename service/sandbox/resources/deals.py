"""Deals, as far as leads become them: the conversion of a lead, its status, the list."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Answer, Company, seconds
from service.sandbox.account.custom_fields import KEY
from service.sandbox.account.paging import changed_within, page_by_cursor
from service.sandbox.account.stock import DEFAULT_CURRENCY
from service.sandbox.errors import MISSING, Refusal, missing
from service.sandbox.resources.contacts import only_asked, with_ids
from service.sandbox.validation import Call

Record = dict[str, Any]
FILTERS = ("owner_id", "person_id", "org_id", "pipeline_id", "stage_id")


def list_deals(call: Call, company: Company) -> Answer:
    """Deals that are not archived, of any status unless `status` says otherwise."""
    query = call.query
    if "filter_id" in query:
        raise Refusal(404, "Filter not found", info=MISSING)
    table = company.store.deals
    deals = table.where("person_id", query["person_id"]) if "person_id" in query else list(table)
    for field in FILTERS:
        if field in query:
            deals = [deal for deal in deals if deal[field] == query[field]]
    if "status" in query:
        deals = [deal for deal in deals if deal["status"] in query["status"]]
    page, additional = page_by_cursor(changed_within(with_ids(deals, query), query), query)
    return Answer(only_asked(page, query, ()), additional)


def convert_lead(call: Call, company: Company) -> Answer:
    """Turns a lead into a deal at once, and answers as if that took a while: with the id of the
    conversion.
    """
    store = company.store
    lead = store.leads.get(call.path["id"].lower())
    if lead is None:
        raise Refusal(404, "Entity was not found", info=MISSING)
    deal = store.deals.put(_deal(lead, call.body, company))
    store.leads.remove(lead["id"])
    company.search.drop("lead", lead["id"])
    for note in store.notes.where("lead_id", lead["id"]):
        store.notes.put(note | {"lead_id": None, "deal_id": deal["id"]})
    key = company.new_uuid("conversion")
    store.conversions.put({"id": key, "lead_id": lead["id"], "deal_id": deal["id"]})
    return Answer({"conversion_id": key}, None)


def get_conversion(call: Call, company: Company) -> Answer:
    """The status of a conversion: always completed."""
    conversion = company.store.conversions.get(call.path["conversion_id"].lower())
    if conversion is None or conversion["lead_id"] != call.path["id"].lower():
        raise Refusal(404, "Entity was not found", info=MISSING)
    data = {"conversion_id": conversion["id"], "status": "completed"}
    return Answer(data | {"lead_id": conversion["lead_id"], "deal_id": conversion["deal_id"]}, None)


def _deal(lead: Record, body: Record, company: Company) -> Record:
    pipeline = body.get("pipeline_id", 1)
    if pipeline != 1:
        raise missing("Pipeline")
    now = seconds(company.now())
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
        "custom_fields": {key: value for key, value in lead.items() if KEY.fullmatch(key)},
    }
