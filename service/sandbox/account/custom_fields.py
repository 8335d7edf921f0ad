"""Field definitions: of deals and persons as v2 describes them, of leads as v1 does."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from service.sandbox.account.company import Answer, Company
from service.sandbox.account.paging import page_by_cursor, page_by_start
from service.sandbox.account.stock import BORN, DEAL_FIELDS, PERSON_FIELDS, Field
from service.sandbox.errors import invalid, missing
from service.sandbox.validation import Call

Record = dict[str, Any]
MONEY_PARTS = [
    {"field_code": "value", "field_name": "Amount of Value", "field_type": "double"},
    {"field_code": "currency", "field_name": "Currency of Value", "field_type": "varchar"},
]
NOT_OF_LEADS = frozenset({"org_id", "origin", "origin_id", "channel", "channel_id"})
"""Whether v1 lists the channel among the lead fields is not known; who relies on it would be caught
here.
"""
EXTRAS: Record = {
    "ui_visibility": {"add_visible_flag": True, "details_visible_flag": True},
    "important_fields": {"enabled": False, "stage_ids": []},
    "required_fields": {"enabled": False},
}


def list_deal_fields(call: Call, company: Company) -> Answer:  # noqa: ARG001 - every operation has this signature
    """All fields that deals and leads share."""
    return _page(call, DEAL_FIELDS)


def get_deal_field(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """One field by its code, `channel` included."""
    return _one(call, DEAL_FIELDS)


def list_person_fields(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """All fields of persons."""
    return _page(call, PERSON_FIELDS)


def get_person_field(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """One field by its code."""
    return _one(call, PERSON_FIELDS)


def list_lead_fields(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """The fields of leads, in the shape of v1."""
    fields = [field for field in DEAL_FIELDS.values() if field.code not in NOT_OF_LEADS]
    page, about = page_by_start(
        [_v1(place, field) for place, field in enumerate(fields, 1)], call.query
    )
    about.pop("next_start", None)
    return Answer(page, about)


def _page(call: Call, fields: dict[str, Field]) -> Answer:
    described = [
        {"id": place} | _v2(field, call.query) for place, field in enumerate(fields.values(), 1)
    ]
    page, additional = page_by_cursor(described, call.query)
    return Answer(
        [{key: value for key, value in field.items() if key != "id"} for field in page], additional
    )


def _one(call: Call, fields: dict[str, Field]) -> Answer:
    field = fields.get(call.path["field_code"])
    if field is None:
        raise missing("Field")
    return Answer(_v2(field, call.query))


def _v2(field: Field, query: Record) -> Record:
    described = {
        "field_name": field.name,
        "field_code": field.code,
        "field_type": field.kind,
        "options": _options(field),
        "subfields": MONEY_PARTS if field.kind == "monetary" else None,
        "is_custom_field": field.custom,
        "is_optional_response_field": False,
    }
    return described | {name: EXTRAS[name] for name in query.get("include_fields", [])}


def _v1(place: int, field: Field) -> Record:
    return {
        "id": place,
        "key": field.code,
        "name": field.name,
        "order_nr": place,
        "field_type": field.kind,
        "add_time": BORN,
        "update_time": BORN,
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
        "options": _options(field),
    }


def _options(field: Field) -> list[Record] | None:
    return (
        None
        if field.options is None
        else [{"id": key, "label": label} for key, label in field.options.items()]
    )


# Custom-field values: does the field exist, and does the value suit its type?

KEY = re.compile(r"[0-9a-f]{40}")
LONGEST = {"varchar": 255, "phone": 255, "text": 65_535}


def check_custom(values: dict[str, Any], fields: dict[str, Field]) -> None:
    """Raises `Refusal` (400) for a key the account does not have or a value of another type. None
    empties a field.
    """
    for key, value in values.items():
        field = fields.get(key)
        if field is None or not field.custom:
            raise invalid(f'"{key[:100]}" is not allowed')
        if value is not None and (fault := _fault(field, value)):
            raise invalid(f'"{key}" {fault}')


def split_custom(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A lead's body as (named properties, custom fields)."""
    custom = {key: value for key, value in body.items() if KEY.fullmatch(key)}
    return {key: value for key, value in body.items() if key not in custom}, custom


def searchable(values: dict[str, Any], fields: dict[str, Field]) -> tuple[str, ...]:
    """The texts that a search over custom fields looks at."""
    kinds = ("varchar", "text", "double", "phone")
    return tuple(
        str(value)
        for key, value in values.items()
        if value is not None and fields[key].kind in kinds
    )


def _fault(field: Field, value: Any) -> str | None:
    match field.kind:
        case "double":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return None if number else "must be a number"
        case "date":
            return (
                None
                if isinstance(value, str) and _is_day(value)
                else "must be in YYYY-MM-DD format"
            )
        case "enum":
            return None if _is_option(field, value) else "must be one of the field's options"
        case "set":
            chosen = _chosen(value)
            whole = chosen and all(_is_option(field, each) for each in chosen)
            return None if whole else "must be an array of the field's options"
        case kind:
            return _text_fault(value, LONGEST[kind])


def _chosen(value: Any) -> list[Any]:
    """Of a field with several options: an array, or as v1 also answers them, ids in a text with
    commas.
    """
    if isinstance(value, str):
        return [int(each) if each.strip().isdecimal() else each for each in value.split(",")]
    return value if isinstance(value, list) else []


def _text_fault(value: Any, longest: int) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    return (
        f"length must be less than or equal to {longest} characters long"
        if len(value) > longest
        else None
    )


def _is_option(field: Field, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in (field.options or {})


def _is_day(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False
