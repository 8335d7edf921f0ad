"""Field definitions: of deals and persons in the shape of v2, of leads in that of v1."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult
from service.sandbox.account.stock import CREATED_AT, StockField
from service.sandbox.api_errors import not_found
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.paging import page_by_cursor, page_by_start

Record = dict[str, Any]
MONEY_SUBFIELDS = [
    {"field_code": "value", "field_name": "Amount of Value", "field_type": "double"},
    {"field_code": "currency", "field_name": "Currency of Value", "field_type": "varchar"},
]
# Whether v1 lists the channel among the lead fields is not known; code that relies on it would fail
# here.
NOT_OF_LEADS = frozenset({"org_id", "origin", "origin_id", "channel", "channel_id", "label_ids"})
OPTIONAL_PARTS: Record = {
    "ui_visibility": {"add_visible_flag": True, "details_visible_flag": True},
    "important_fields": {"enabled": False, "stage_ids": []},
    "required_fields": {"enabled": False},
}


def list_deal_fields(call: ValidCall, company: Company) -> OperationResult:
    """All fields that deals and leads share."""
    return _list_fields(call, company.deal_fields)


def get_deal_field(call: ValidCall, company: Company) -> OperationResult:
    """One field of deals by its code, including `channel`."""
    return _find_field(call, company.deal_fields)


def list_person_fields(call: ValidCall, company: Company) -> OperationResult:
    """All fields of persons, with those of contact sync where it is on."""
    return _list_fields(call, company.person_fields)


def get_person_field(call: ValidCall, company: Company) -> OperationResult:
    """One field of persons by its code."""
    return _find_field(call, company.person_fields)


def list_lead_fields(call: ValidCall, company: Company) -> OperationResult:
    """The fields of leads, in the shape of v1."""
    fields = [field for field in company.deal_fields.values() if field.code not in NOT_OF_LEADS]
    page, about = page_by_start(
        [_describe_v1(number, field) for number, field in enumerate(fields, 1)], call.query
    )
    about.pop("next_start", None)
    return OperationResult(page, about)


def _list_fields(call: ValidCall, fields: dict[str, StockField]) -> OperationResult:
    descriptions = [
        {"id": number} | _describe_v2(field, call.query)
        for number, field in enumerate(fields.values(), 1)
    ]
    page, additional = page_by_cursor(descriptions, call.query)
    return OperationResult(
        [{key: value for key, value in field.items() if key != "id"} for field in page], additional
    )


def _find_field(call: ValidCall, fields: dict[str, StockField]) -> OperationResult:
    field = fields.get(call.path["field_code"])
    if field is None:
        raise not_found("Field")
    return OperationResult(_describe_v2(field, call.query))


def _describe_v2(field: StockField, query: Record) -> Record:
    described = {
        "field_name": field.name,
        "field_code": field.code,
        "field_type": field.kind,
        "options": _list_options(field),
        "subfields": MONEY_SUBFIELDS if field.kind == "monetary" else None,
        "is_custom_field": field.custom,
        "is_optional_response_field": False,
    }
    return described | {name: OPTIONAL_PARTS[name] for name in query.get("include_fields", [])}


def _describe_v1(number: int, field: StockField) -> Record:
    return {
        "id": number,
        "key": field.code,
        "name": field.name,
        "order_nr": number,
        "field_type": field.kind,
        "add_time": CREATED_AT,
        "update_time": CREATED_AT,
        "last_updated_by_user_id": None,
        "created_by_user_id": None,
        "active_flag": True,
        "edit_flag": field.custom,
        "index_visible_flag": True,
        "details_visible_flag": True,
        "add_visible_flag": False,
        "important_flag": False,
        "bulk_edit_allowed": True,
        "searchable_flag": field.custom and field.kind in ("varchar", "text", "double"),
        "filtering_allowed": True,
        "sortable_flag": True,
        "mandatory_flag": field.code == "title",
        "options": _list_options(field),
    }


def _list_options(field: StockField) -> list[Record] | None:
    return (
        None
        if field.options is None
        else [{"id": key, "label": label} for key, label in field.options.items()]
    )
