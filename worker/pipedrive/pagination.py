"""Parses responses, and follows lists from page to page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import Struct

from worker.errors import TooLarge, Unavailable
from worker.pipedrive.models import (
    Organization,
    Person,
    ResultPage,
    UnreadableResponse,
    decode,
    noun_of,
    parse_timestamp,
)
from worker.pipedrive.responses import ApiResponse

# Entries per page: https://pipedrive.readme.io/docs/core-api-concepts-pagination
MAX_PAGE_SIZE = 500

# A longer list is an error: half a list must not be taken for all of it.
MAX_PAGES = 40
# Fields with thousands of options need small pages: an account has up to 500 fields of its own.
MAX_FIELD_PAGES = 200

T = TypeVar("T")
M = TypeVar("M", bound=Struct)
Dated = TypeVar("Dated", Person, Organization)


def parse_one(model: type[M]) -> Callable[[ApiResponse], M]:
    return lambda answer: decode(model, answer.data)


def parse_created(model: type[M]) -> Callable[[ApiResponse], M]:
    """Parse the response to a create.

    An id is enough: we then know what was created even if the rest is not as documented.
    """

    def read(answer: ApiResponse) -> M:
        try:
            return decode(model, answer.data)
        except UnreadableResponse:
            return decode(
                model,
                {"id": answer.data.get("id")} if isinstance(answer.data, dict) else answer.data,
            )

    return read


def parse_all(model: type[M]) -> Callable[[ApiResponse], list[M]]:
    """Parse a list without pages. v1 returns null for an empty one."""
    return lambda answer: _decode_items(model, answer.data)


def parse_deleted_id(answer: ApiResponse) -> str:
    """Return the id of what was deleted."""
    if isinstance(answer.data, dict) and isinstance(answer.data.get("id"), str | int):
        return str(answer.data["id"])
    raise UnreadableResponse("expected the id of what was deleted")


def parse_start_page(model: type[M]) -> Callable[[ApiResponse], ResultPage[M]]:
    """Parse a page of v1: `start`, `limit`, `more_items_in_collection`.

    The documentation has them at the top level for leads and under `pagination` for all others.
    """

    def read(answer: ApiResponse) -> ResultPage[M]:
        items = _decode_items(model, answer.data)
        pagination = answer.additional.get("pagination")
        pagination = pagination if isinstance(pagination, dict) else answer.additional
        if pagination.get("more_items_in_collection") is not True:
            return ResultPage(items)
        start, next_start = pagination.get("start", 0), pagination.get("next_start")
        if not isinstance(next_start, int):
            next_start = (start if isinstance(start, int) else 0) + len(items)
        return ResultPage(items, next_start=next_start)

    return read


def parse_cursor_page(model: type[M]) -> Callable[[ApiResponse], ResultPage[M]]:
    """Parse a page of v2: `next_cursor`."""
    return lambda answer: ResultPage(
        _decode_items(model, answer.data), next_cursor=_next_cursor(answer)
    )


def parse_hits(model: type[M]) -> Callable[[ApiResponse], ResultPage[M]]:
    """Parse a page of a v2 search: `data.items[].item`."""

    def read(answer: ApiResponse) -> ResultPage[M]:
        results = answer.data.get("items") if isinstance(answer.data, dict) else answer.data
        if results is not None and not isinstance(results, list):
            raise UnreadableResponse("expected a list of search results")
        items = [item.get("item") if isinstance(item, dict) else item for item in results or []]
        return ResultPage(_decode_items(model, items), next_cursor=_next_cursor(answer))

    return read


def iterate_by_start(fetch: Callable[[int], ResultPage[T]]) -> Iterator[T]:
    """Yield every entry of a v1 list.

    Raises `Unavailable` if the list does not end or does not advance.
    """
    start = 0
    for _ in range(MAX_PAGES):
        page = fetch(start)
        yield from page
        if page.next_start is None:
            return
        if page.next_start <= start:
            raise Unavailable("pages", "the list does not advance")
        start = page.next_start
    raise Unavailable("pages", f"the list does not end within {MAX_PAGES} pages")


def iterate_by_cursor(fetch: Callable[[str | None], ResultPage[T]]) -> Iterator[T]:
    """Yield every entry of a v2 list.

    Raises `Unavailable` if the list does not end or does not advance.
    """
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = fetch(cursor)
        yield from page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise Unavailable("pages", "the list does not advance")
        cursor = page.next_cursor
    raise Unavailable("pages", f"the list does not end within {MAX_PAGES} pages")


def iterate_by_size(fetch: Callable[[str | None, int], ResultPage[T]]) -> Iterator[T]:
    """Yield every entry of a v2 list whose entries may be large; `fetch` takes cursor and limit.

    A page that is too large is read again in smaller ones. Raises `TooLarge` if a single entry is,
    and `Unavailable` if the list does not end or does not advance.
    """
    cursor: str | None = None
    size = MAX_PAGE_SIZE
    for _ in range(MAX_FIELD_PAGES):
        try:
            page = fetch(cursor, size)
        except TooLarge:
            if size == 1:
                raise
            size = max(1, size // 5)
            continue
        yield from page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise Unavailable("pages", "the list does not advance")
        cursor = page.next_cursor
    raise Unavailable("pages", f"the list does not end within {MAX_FIELD_PAGES} pages")


def iterate_newest(
    fetch: Callable[[str | None], ResultPage[Dated]], since: float
) -> Iterator[Dated]:
    """Yield the entries added at or after `since`, from a list sorted newest first.

    `since` is in Unix seconds; the list is sorted by `add_time`. An entry without a readable time
    is kept, because leaving it out could lead to a duplicate.
    """
    for entry in iterate_by_cursor(fetch):
        added = parse_timestamp(entry.add_time)
        if added and added < since:
            return
        yield entry


def _decode_items(model: type[M], data: Any) -> list[M]:
    if data is not None and not isinstance(data, list):
        raise UnreadableResponse(f"expected a list, each item {noun_of(model)}")
    return [decode(model, item) for item in data or []]


def _next_cursor(answer: ApiResponse) -> str | None:
    cursor = answer.additional.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None
