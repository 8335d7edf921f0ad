"""What persons and organizations have in common: their operations and the views of v2."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from service.sandbox.account.company import Company, OperationResult, format_seconds
from service.sandbox.account.field_values import check_custom_fields
from service.sandbox.account.stock import StockField
from service.sandbox.account.store import RecordTable
from service.sandbox.api_errors import invalid_value
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.paging import (
    filter_by_update_time,
    page_by_cursor,
    refuse_saved_filter,
)

Record = dict[str, Any]
MAX_IDS = 100
MAX_CUSTOM_FIELDS = 15


class ContactResource(Struct, frozen=True, kw_only=True):
    """The operations on one kind of contact.

    `defaults` are the fields of a new record, `hidden` those that are shown only on request.
    `change(record, body, company)` returns the record with a request body applied to it, and
    `index(record, company)` puts it into the search index.
    """

    kind: str
    label: str
    defaults: Record
    hidden: tuple[str, ...] = ()
    change: Callable[[Record, Record, Company], Record]
    index: Callable[[Record, Company], None]

    def list_all(self, call: ValidCall, company: Company) -> OperationResult:
        """All records, by id unless `sort_by` says otherwise."""
        return self.build_page(list(self._table(company)), call.query)

    def build_page(self, records: list[Record], query: Record) -> OperationResult:
        """The page of `records` that the query asks for."""
        refuse_saved_filter(query)
        if "owner_id" in query:
            records = [record for record in records if record["owner_id"] == query["owner_id"]]
        records = filter_by_update_time(filter_by_ids(records, query), query)
        page, additional = page_by_cursor(records, query)
        return OperationResult(select_fields(page, query, self.hidden), additional)

    def get(self, call: ValidCall, company: Company) -> OperationResult:
        """One record."""
        (view,) = select_fields([self._find(call, company)], call.query, self.hidden)
        return OperationResult(view)

    def add(self, call: ValidCall, company: Company) -> OperationResult:
        """Create a record; the status is 200, not 201."""
        company.require_room(self._table(company))
        at = parse_add_time(call.body, company)
        blank = self.defaults | {"owner_id": call.user_id, "add_time": at, "update_time": at}
        record = self.change(blank, call.body, company)
        return self._save({"id": company.store.next_number(self.kind)} | record, company)

    def update(self, call: ValidCall, company: Company) -> OperationResult:
        """Change the fields that the body names; lists are replaced whole."""
        record = self.change(self._find(call, company), call.body, company)
        return self._save(record | {"update_time": format_seconds(company.now())}, company)

    def delete(self, call: ValidCall, company: Company) -> OperationResult:
        """Delete a record; what refers to it stays."""
        key = self._find(call, company)["id"]
        self._table(company).remove(key)
        company.index.remove(self.kind, key)
        return OperationResult({"id": key})

    def _table(self, company: Company) -> RecordTable:
        return company.store.tables[self.kind]

    def _find(self, call: ValidCall, company: Company) -> Record:
        return self._table(company).require(call.path["id"], self.label)

    def _save(self, record: Record, company: Company) -> OperationResult:
        self._table(company).put(record)
        self.index(record, company)
        return OperationResult(
            {key: value for key, value in record.items() if key not in self.hidden}
        )


def check_labels(body: Record, options: dict[int, str]) -> None:
    """Raise `ApiError` (400) for a label that is not one of the options."""
    for key in body.get("label_ids", []):
        if key not in options:
            raise invalid_value(f'"label_ids" holds {key}, which is not a label of this company')


def parse_add_time(body: Record, company: Company) -> str:
    """The `add_time` of the body, or else now; raises `ApiError` (400) if it cannot be parsed."""
    text = body.get("add_time")
    if text is None:
        return format_seconds(company.now())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_value('"add_time" is not a valid datetime') from error
    return format_seconds(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))


def merge_custom_fields(
    old: Record, body: Record, fields: dict[str, StockField], company: Company
) -> Record:
    """The custom fields after a change: null empties one, those that are not named stay."""
    named: Record = body.get("custom_fields", {})
    changes = {key: value for key, value in named.items() if not company.is_deleted_field(key)}
    check_custom_fields(changes, fields)
    return old | changes


def select_fields(records: list[Record], query: Record, hidden: tuple[str, ...]) -> list[Record]:
    """Records as v2 shows them.

    `include_fields` adds `hidden` fields; `custom_fields` narrows the custom fields.
    """
    include, keys = query.get("include_fields", []), query.get("custom_fields")
    drop = {field for field in hidden if field not in include}
    if keys is not None and len(keys) > MAX_CUSTOM_FIELDS:
        raise invalid_value(f'"custom_fields" must not name more than {MAX_CUSTOM_FIELDS} keys')
    views = [{key: value for key, value in record.items() if key not in drop} for record in records]
    if keys is not None:
        for view in views:
            view["custom_fields"] = {
                key: value for key, value in view["custom_fields"].items() if key in keys
            }
    return views


def filter_by_ids(records: list[Record], query: Record) -> list[Record]:
    """The records of `ids`, if the query has it; raises `ApiError` (400) unless it is valid."""
    if "ids" not in query:
        return records
    if len(query["ids"]) > MAX_IDS or not all(key.isdecimal() for key in query["ids"]):
        raise invalid_value(f'"ids" must be up to {MAX_IDS} comma separated ids')
    ids = {int(key) for key in query["ids"]}
    return [record for record in records if record["id"] in ids]
