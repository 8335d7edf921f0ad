"""What lists and searches share: filters, order and pages (`start` in v1, a cursor in v2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from service.sandbox.account.company import Company, OperationResult
from service.sandbox.api_errors import OBJECT_NOT_FOUND, ApiError, invalid_value
from service.sandbox.request_validation import ValidCall

DEFAULT_LIMIT = 100
Record = dict[str, Any]


def refuse_saved_filter(query: Record) -> None:
    """Raise `ApiError` (404) for `filter_id`: the account has no saved filters."""
    if "filter_id" in query:
        raise ApiError(404, "Filter not found", info=OBJECT_NOT_FOUND)


def filter_by_update_time(records: list[Record], query: Record) -> list[Record]:
    """Records with `updated_since` <= update_time < `updated_until`."""
    if "updated_since" in query:
        since = datetime.fromisoformat(query["updated_since"])
        records = [record for record in records if _update_time(record) >= since]
    if "updated_until" in query:
        until = datetime.fromisoformat(query["updated_until"])
        records = [record for record in records if _update_time(record) < until]
    return records


def _update_time(record: Record) -> datetime:
    return datetime.fromisoformat(record["update_time"])


def sort_records(records: list[Record], orders: list[tuple[str, bool]]) -> list[Record]:
    """Records by `orders`: (field, descending), the main one first. Null is the least value."""
    for field, descending in reversed(orders):
        records = sorted(records, key=partial(_rank, field), reverse=descending)
    return records


def _rank(field: str, record: Record) -> tuple[bool, Any]:
    return record[field] is not None, record[field]


def page_by_start(records: list[Record], query: Record) -> tuple[list[Record], Record]:
    """The page and `{start, limit, more_items_in_collection}`, `next_start` if there is more."""
    start, limit = query.get("start", 0), query.get("limit", DEFAULT_LIMIT)
    more = len(records) > start + limit
    about = {"start": start, "limit": limit, "more_items_in_collection": more}
    return records[start : start + limit], about | ({"next_start": start + limit} if more else {})


def page_by_cursor(records: list[Record], query: Record) -> tuple[list[Record], Record]:
    """The page and `{next_cursor}`, which is null on the last page.

    Records are sorted by `sort_by` and `sort_direction`, then by id. The cursor names the last
    record of the page, so records that appear or vanish in the meantime shift nothing.
    """
    field = query.get("sort_by", "id")
    descending = query.get("sort_direction", "asc") == "desc"
    limit = query.get("limit", DEFAULT_LIMIT)
    ordered = sorted(records, key=lambda record: (record[field], record["id"]), reverse=descending)
    if "cursor" in query:
        last = tuple(_decode_cursor(query["cursor"], field))
        places = ((record[field], record["id"]) for record in ordered)
        passed = sum(1 for place in places if (place >= last if descending else place <= last))
        ordered = ordered[passed:]
    page, more = ordered[:limit], len(ordered) > limit
    cursor = _encode_cursor(field, page[-1][field], page[-1]["id"]) if more else None
    return page, {"next_cursor": cursor}


def page_hits(hits: list[Record], query: Record) -> tuple[list[Record], Record]:
    """Like `page_by_cursor`, for results that have an order of their own."""
    first = _decode_cursor(query["cursor"], "place")[0] if "cursor" in query else 0
    after = first + query.get("limit", DEFAULT_LIMIT)
    cursor = _encode_cursor("place", after, 0) if len(hits) > after else None
    return hits[first:after], {"next_cursor": cursor}


def _encode_cursor(field: str, value: Any, key: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([field, value, key])).decode().rstrip("=")


def _decode_cursor(cursor: str, field: str) -> list[Any]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        kind, value, key = msgspec.json.decode(raw, type=tuple[str, int | str, int])
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise invalid_value('"cursor" is not valid') from error
    if kind != field or isinstance(value, str) == (field in ("id", "place")):
        raise invalid_value('"cursor" is not valid')
    return [value, key]


def search_records(
    call: ValidCall,
    company: Company,
    kind: str,
    fields: tuple[str, ...],
    is_wanted: Callable[[Record], bool] = lambda _: True,
) -> OperationResult:
    """The page of hits of one kind, in the fields that the query names (all of them by default).

    Raises `ApiError` (400) for a term of under 2 characters, or under 1 when the match is exact.
    """
    exact = call.query.get("exact_match", False)
    min_chars = 1 if exact else 2
    if len(call.query["term"].strip()) < min_chars:
        raise invalid_value(f'"term" length must be at least {min_chars} characters long')
    hits = company.index.find(
        kind, call.query["term"], call.query.get("fields") or fields, exact=exact
    )
    items = [{"result_score": hit.score, "item": hit.item} for hit in hits if is_wanted(hit.item)]
    page, additional = page_hits(items, call.query)
    return OperationResult({"items": page}, additional)
