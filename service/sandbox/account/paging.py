"""Pages of a list: `start` and `limit` in v1, an opaque cursor in v2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from service.sandbox.account.company import Answer, Company
from service.sandbox.errors import invalid
from service.sandbox.validation import Call

DEFAULT_LIMIT = 100
Record = dict[str, Any]


def page_by_start(records: list[Record], query: Record) -> tuple[list[Record], Record]:
    """The page and `{start, limit, more_items_in_collection}`, with `next_start` where there is
    more.
    """
    start, limit = query.get("start", 0), query.get("limit", DEFAULT_LIMIT)
    more = len(records) > start + limit
    about = {"start": start, "limit": limit, "more_items_in_collection": more}
    return records[start : start + limit], about | ({"next_start": start + limit} if more else {})


def page_by_cursor(records: list[Record], query: Record) -> tuple[list[Record], Record]:
    """The page and `{next_cursor}`, null on the last page. Sorted by `sort_by` and
    `sort_direction`, then by id.

    The cursor names the last record given, so that records which appear or vanish meanwhile shift
    nothing.
    """
    field, down = query.get("sort_by", "id"), query.get("sort_direction", "asc") == "desc"
    ordered = sorted(records, key=lambda record: (record[field], record["id"]), reverse=down)
    if "cursor" in query:
        last = tuple(_decoded(query["cursor"], field))
        places = ((record[field], record["id"]) for record in ordered)
        passed = sum(1 for place in places if (place >= last if down else place <= last))
        ordered = ordered[passed:]
    return _first_page(ordered, query.get("limit", DEFAULT_LIMIT), field)


def page_of_hits(hits: list[Record], query: Record) -> tuple[list[Record], Record]:
    """As `page_by_cursor`, for results that have an order of their own."""
    first = _decoded(query["cursor"], "place")[0] if "cursor" in query else 0
    limit = query.get("limit", DEFAULT_LIMIT)
    after = first + limit
    return hits[first:after], {
        "next_cursor": _encoded("place", after, 0) if len(hits) > after else None
    }


def moment(record: Record, field: str) -> datetime:
    """A record's time of change, to compare with `updated_since`."""
    return datetime.fromisoformat(record[field])


def changed_within(records: list[Record], query: Record) -> list[Record]:
    """Records with `updated_since` <= update_time < `updated_until`."""
    if "updated_since" in query:
        since = datetime.fromisoformat(query["updated_since"])
        records = [record for record in records if moment(record, "update_time") >= since]
    if "updated_until" in query:
        until = datetime.fromisoformat(query["updated_until"])
        records = [record for record in records if moment(record, "update_time") < until]
    return records


def _first_page(ordered: list[Record], limit: int, field: str) -> tuple[list[Record], Record]:
    page = ordered[:limit]
    more = len(ordered) > limit
    return page, {"next_cursor": _encoded(field, page[-1][field], page[-1]["id"]) if more else None}


def _encoded(field: str, value: Any, key: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([field, value, key])).decode().rstrip("=")


def _decoded(cursor: str, field: str) -> list[Any]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        kind, value, key = msgspec.json.decode(raw, type=tuple[str, int | str, int])
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise invalid('"cursor" is not valid') from error
    if kind != field or isinstance(value, str) == (field in ("id", "place")):
        raise invalid('"cursor" is not valid')
    return [value, key]


# What all searches share: the length of the term, the choice of fields, the shape of the answer.


def require_long_enough(call: Call) -> None:
    """Raises `Refusal` (400) for a term under 2 characters, or under 1 when the match is exact."""
    least = 1 if call.query.get("exact_match") else 2
    if len(call.query["term"].strip()) < least:
        raise invalid(f'"term" length must be at least {least} characters long')


def hits_answer(
    call: Call,
    company: Company,
    kind: str,
    fields: tuple[str, ...],
    wanted: Callable[[dict[str, Any]], bool],
) -> Answer:
    """The page of hits of one kind, in the fields asked for (all by default)."""
    exact = call.query.get("exact_match", False)
    found = company.search.find(
        kind, call.query["term"], call.query.get("fields") or fields, exact=exact
    )
    items = [{"result_score": hit.score, "item": hit.item} for hit in found if wanted(hit.item)]
    page, additional = page_of_hits(items, call.query)
    return Answer({"items": page}, additional)
