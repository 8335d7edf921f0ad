"""What an operation's data is read as, and how a list is followed from page to page without end or gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import Struct

from worker.errors import Unavailable
from worker.pipedrive.answers import Answer
from worker.pipedrive.models import Organization, Page, Person, Unreadable, decode, timestamp

FULL_PAGE = 500
"""The most entries Pipedrive gives per page: https://pipedrive.readme.io/docs/core-api-concepts-pagination"""

MOST_PAGES = 40
"""Pages a list is followed for. One that goes on is an error: half a list must not be taken for all of it."""

T = TypeVar("T")
M = TypeVar("M", bound=Struct)
Dated = TypeVar("Dated", Person, Organization)


def one(model: type[M]) -> Callable[[Answer], M]:
    return lambda answer: decode(model, answer.data)


def made(model: type[M]) -> Callable[[Answer], M]:
    """What a create answers. The id is enough: what was made is known even where the rest is not as documented."""

    def read(answer: Answer) -> M:
        try:
            return decode(model, answer.data)
        except Unreadable:
            return decode(model, {"id": answer.data.get("id")} if isinstance(answer.data, dict) else answer.data)

    return read


def every(model: type[M]) -> Callable[[Answer], list[M]]:
    """A list without pages. v1 answers null for an empty one."""
    return lambda answer: _items(model, answer.data)


def deleted(answer: Answer) -> str:
    """The id of what was deleted."""
    if isinstance(answer.data, dict) and isinstance(answer.data.get("id"), str | int):
        return str(answer.data["id"])
    raise Unreadable("expected the id of what was deleted")


def start_page(model: type[M]) -> Callable[[Answer], Page[M]]:
    """v1: `start`, `limit`, `more_items_in_collection`; documented at the top for leads and under `pagination` for all others."""

    def read(answer: Answer) -> Page[M]:
        items = _items(model, answer.data)
        where = answer.additional.get("pagination")
        where = where if isinstance(where, dict) else answer.additional
        if where.get("more_items_in_collection") is not True:
            return Page(items)
        start, next_start = where.get("start", 0), where.get("next_start")
        if not isinstance(next_start, int):
            next_start = (start if isinstance(start, int) else 0) + len(items)
        return Page(items, next_start=next_start)

    return read


def cursor_page(model: type[M]) -> Callable[[Answer], Page[M]]:
    """v2: `next_cursor`."""
    return lambda answer: Page(_items(model, answer.data), next_cursor=_cursor(answer))


def hits(model: type[M]) -> Callable[[Answer], Page[M]]:
    """v2 searches: `data.items[].item`."""

    def read(answer: Answer) -> Page[M]:
        found = answer.data.get("items") if isinstance(answer.data, dict) else answer.data
        if found is not None and not isinstance(found, list):
            raise Unreadable("expected a list of search results")
        items = [item.get("item") if isinstance(item, dict) else item for item in found or []]
        return Page(_items(model, items), next_cursor=_cursor(answer))

    return read


def by_start(fetch: Callable[[int], Page[T]]) -> Iterator[T]:
    """Every entry of a v1 list. Raises `Unavailable` where it does not end, or does not move on."""
    start = 0
    for _ in range(MOST_PAGES):
        page = fetch(start)
        yield from page
        if page.next_start is None:
            return
        if page.next_start <= start:
            raise Unavailable("pages", "the list does not move on")
        start = page.next_start
    raise Unavailable("pages", f"the list does not end within {MOST_PAGES} pages")


def by_cursor(fetch: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Every entry of a v2 list. Raises `Unavailable` where it does not end, or does not move on."""
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = fetch(cursor)
        yield from page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise Unavailable("pages", "the list does not move on")
        cursor = page.next_cursor
    raise Unavailable("pages", f"the list does not end within {MOST_PAGES} pages")


def newest_first(fetch: Callable[[str | None], Page[Dated]], since: float) -> Iterator[Dated]:
    """Entries added at or after `since` (Unix seconds) of a list sorted by `add_time`, newest first.

    One without a readable time is kept: leaving it out could make a second one of it.
    """
    for entry in by_cursor(fetch):
        added = timestamp(entry.add_time)
        if added and added < since:
            return
        yield entry


def _items(model: type[M], data: Any) -> list[M]:
    if data is not None and not isinstance(data, list):
        raise Unreadable(f"expected a list of {model.__name__.lower()}s")
    return [decode(model, item) for item in data or []]


def _cursor(answer: Answer) -> str | None:
    cursor = answer.additional.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None
