"""The operations of the client, one class per group. Names, parameters and body fields are
Pipedrive's own.

Bodies are mappings, keywords, or both: `leads.add({"title": …}, person_id=5)`. A null in a body is
sent (it unsets a field).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from worker.errors import Unavailable
from worker.pipedrive import calls
from worker.pipedrive.calls import Call
from worker.pipedrive.models import (
    Deal,
    PipedriveField,
    Label,
    PipedriveLead,
    Note,
    Organization,
    OrganizationHit,
    ResultPage,
    Person,
    PersonHit,
    LeadSource,
    UnreadableResponse,
    PipedriveUser,
    decode,
    parse_timestamp,
)
from worker.pipedrive.responses import Answer

# What an operation's data is read as, and how a list is followed from page to page without end or
# gap.

FULL_PAGE = 500
"""The most entries Pipedrive gives per page:
https://pipedrive.readme.io/docs/core-api-concepts-pagination
"""

MOST_PAGES = 40
"""Pages a list is followed for. One that goes on is an error: half a list must not be taken for all
of it.
"""

T = TypeVar("T")
M = TypeVar("M", bound=Struct)
Dated = TypeVar("Dated", Person, Organization)


def one(model: type[M]) -> Callable[[Answer], M]:
    return lambda answer: decode(model, answer.data)


def made(model: type[M]) -> Callable[[Answer], M]:
    """What a create answers. The id is enough: what was made is known even where the rest is not as
    documented.
    """

    def read(answer: Answer) -> M:
        try:
            return decode(model, answer.data)
        except UnreadableResponse:
            return decode(
                model,
                {"id": answer.data.get("id")} if isinstance(answer.data, dict) else answer.data,
            )

    return read


def every(model: type[M]) -> Callable[[Answer], list[M]]:
    """A list without pages. v1 answers null for an empty one."""
    return lambda answer: _items(model, answer.data)


def deleted(answer: Answer) -> str:
    """The id of what was deleted."""
    if isinstance(answer.data, dict) and isinstance(answer.data.get("id"), str | int):
        return str(answer.data["id"])
    raise UnreadableResponse("expected the id of what was deleted")


def start_page(model: type[M]) -> Callable[[Answer], ResultPage[M]]:
    """v1: `start`, `limit`, `more_items_in_collection`; documented at the top for leads and under
    `pagination` for all others.
    """

    def read(answer: Answer) -> ResultPage[M]:
        items = _items(model, answer.data)
        where = answer.additional.get("pagination")
        where = where if isinstance(where, dict) else answer.additional
        if where.get("more_items_in_collection") is not True:
            return ResultPage(items)
        start, next_start = where.get("start", 0), where.get("next_start")
        if not isinstance(next_start, int):
            next_start = (start if isinstance(start, int) else 0) + len(items)
        return ResultPage(items, next_start=next_start)

    return read


def cursor_page(model: type[M]) -> Callable[[Answer], ResultPage[M]]:
    """v2: `next_cursor`."""
    return lambda answer: ResultPage(_items(model, answer.data), next_cursor=_cursor(answer))


def hits(model: type[M]) -> Callable[[Answer], ResultPage[M]]:
    """v2 searches: `data.items[].item`."""

    def read(answer: Answer) -> ResultPage[M]:
        found = answer.data.get("items") if isinstance(answer.data, dict) else answer.data
        if found is not None and not isinstance(found, list):
            raise UnreadableResponse("expected a list of search results")
        items = [item.get("item") if isinstance(item, dict) else item for item in found or []]
        return ResultPage(_items(model, items), next_cursor=_cursor(answer))

    return read


def by_start(fetch: Callable[[int], ResultPage[T]]) -> Iterator[T]:
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


def by_cursor(fetch: Callable[[str | None], ResultPage[T]]) -> Iterator[T]:
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


def newest_first(fetch: Callable[[str | None], ResultPage[Dated]], since: float) -> Iterator[Dated]:
    """Entries added at or after `since` (Unix seconds) of a list sorted by `add_time`, newest
    first.

    One without a readable time is kept: leaving it out could make a second one of it.
    """
    for entry in by_cursor(fetch):
        added = parse_timestamp(entry.add_time)
        if added and added < since:
            return
        yield entry


def _items(model: type[M], data: Any) -> list[M]:
    if data is not None and not isinstance(data, list):
        raise UnreadableResponse(f"expected a list of {model.__name__.lower()}s")
    return [decode(model, item) for item in data or []]


def _cursor(answer: Answer) -> str | None:
    cursor = answer.additional.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None


R = TypeVar("R")
Many = list
"""`list` under a name that the methods called `list` do not hide."""
NOTHING: Mapping[str, Any] = {}


class Caller(Protocol):
    """`Pipedrive.call`."""

    def __call__(
        self,
        call: Call,
        read: Callable[[Answer], R],
        *,
        path: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> R: ...


class _Group:
    def __init__(self, call: Caller) -> None:
        self._call = call


class Leads(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Leads"""

    def add(self, body: Mapping[str, Any] = NOTHING, /, **fields: Any) -> PipedriveLead:
        """`title` and one of `person_id`, `organization_id` are needed; custom fields stand beside
        them under their keys.

        https://developers.pipedrive.com/docs/api/v1/Leads#addLead
        """
        return self._call(calls.LEADS_ADD, made(PipedriveLead), body={**body, **fields})

    def get(self, id: str) -> PipedriveLead:
        return self._call(calls.LEADS_GET, one(PipedriveLead), path={"id": id})

    def list(
        self,
        *,
        limit: int | None = None,
        start: int | None = None,
        owner_id: int | None = None,
        person_id: int | None = None,
        organization_id: int | None = None,
        filter_id: int | None = None,
        updated_since: str | None = None,
        sort: str | None = None,
    ) -> ResultPage[PipedriveLead]:
        """Leads that are not archived, oldest first."""
        return self._call(calls.LEADS_LIST, start_page(PipedriveLead), params=_given(locals()))

    def archived(
        self,
        *,
        limit: int | None = None,
        start: int | None = None,
        owner_id: int | None = None,
        person_id: int | None = None,
        organization_id: int | None = None,
        filter_id: int | None = None,
        sort: str | None = None,
    ) -> ResultPage[PipedriveLead]:
        return self._call(calls.LEADS_ARCHIVED, start_page(PipedriveLead), params=_given(locals()))

    def update(self, id: str, body: Mapping[str, Any] = NOTHING, /, **fields: Any) -> PipedriveLead:
        """`label_ids` replaces the whole list; `origin_id` can never be changed."""
        return self._call(calls.LEADS_UPDATE, one(PipedriveLead), path={"id": id}, body={**body, **fields})

    def delete(self, id: str) -> str:
        """The id of what was deleted."""
        return self._call(calls.LEADS_DELETE, deleted, path={"id": id})

    def of(
        self, *, person_id: int | None = None, organization_id: int | None = None
    ) -> Iterator[PipedriveLead]:
        """All leads of a person or organisation that are not archived, page by page."""
        return by_start(
            lambda start: self.list(
                person_id=person_id, organization_id=organization_id, start=start, limit=FULL_PAGE
            )
        )

    def of_person(self, person_id: int) -> Iterator[PipedriveLead]:
        return self.of(person_id=person_id)

    def archived_of(
        self, *, person_id: int | None = None, organization_id: int | None = None
    ) -> Iterator[PipedriveLead]:
        return by_start(
            lambda start: self.archived(
                person_id=person_id, organization_id=organization_id, start=start, limit=FULL_PAGE
            )
        )


class Labels(_Group):
    """https://developers.pipedrive.com/docs/api/v1/LeadLabels"""

    def list(self) -> Many[Label]:
        return self._call(calls.LABELS_LIST, every(Label))

    def add(self, *, name: str, color: str) -> Label:
        return self._call(calls.LABELS_ADD, made(Label), body={"name": name, "color": color})

    def update(self, id: str, *, name: str | None = None, color: str | None = None) -> Label:
        return self._call(
            calls.LABELS_UPDATE,
            one(Label),
            path={"id": id},
            body=_given({"name": name, "color": color}),
        )

    def delete(self, id: str) -> str:
        return self._call(calls.LABELS_DELETE, deleted, path={"id": id})


class Sources(_Group):
    """https://developers.pipedrive.com/docs/api/v1/LeadSources"""

    def list(self) -> Many[LeadSource]:
        return self._call(calls.SOURCES_LIST, every(LeadSource))


class Notes(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Notes"""

    def add(self, body: Mapping[str, Any] = NOTHING, /, **fields: Any) -> Note:
        """`content` is HTML, which Pipedrive sanitises; one of `lead_id`, `person_id`, `org_id`,
        `deal_id` is needed.
        """
        return self._call(calls.NOTES_ADD, made(Note), body={**body, **fields})

    def list(
        self,
        *,
        lead_id: str | None = None,
        person_id: int | None = None,
        start: int | None = None,
        limit: int | None = None,
    ) -> ResultPage[Note]:
        return self._call(calls.NOTES_LIST, start_page(Note), params=_given(locals()))

    def of_lead(self, lead_id: str) -> Iterator[Note]:
        return by_start(lambda start: self.list(lead_id=lead_id, start=start, limit=FULL_PAGE))


class Users(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Users"""

    def me(self) -> PipedriveUser:
        """Whose credentials these are; the cheapest proof that they work."""
        return self._call(calls.USERS_ME, one(PipedriveUser))

    def list(self) -> Many[PipedriveUser]:
        return self._call(calls.USERS_LIST, every(PipedriveUser))


class Persons(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Persons"""

    def add(self, body: Mapping[str, Any] = NOTHING, /, **fields: Any) -> Person:
        """`name` is needed. Pipedrive never looks for an equal one: each call makes a new
        person.
        """
        return self._call(calls.PERSONS_ADD, made(Person), body={**body, **fields})

    def get(self, id: int) -> Person:
        return self._call(calls.PERSONS_GET, one(Person), path={"id": id})

    def search(
        self,
        *,
        term: str,
        fields: str | None = None,
        exact_match: bool | None = None,
        organization_id: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ResultPage[PersonHit]:
        """The index lags behind creation by seconds, and `exact_match` ignores case and is not
        always exact.
        """
        return self._call(calls.PERSONS_SEARCH, hits(PersonHit), params=_given(locals()))

    def list(
        self,
        *,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        owner_id: int | None = None,
        org_id: int | None = None,
        updated_since: str | None = None,
    ) -> ResultPage[Person]:
        return self._call(calls.PERSONS_LIST, cursor_page(Person), params=_given(locals()))

    def newest(self, *, since: float) -> Iterator[Person]:
        """Persons added at or after `since` (Unix seconds), newest first."""
        return newest_first(
            lambda cursor: self.list(
                sort_by="add_time", sort_direction="desc", limit=FULL_PAGE, cursor=cursor
            ),
            since,
        )


class Organizations(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Organizations"""

    def add(self, body: Mapping[str, Any] = NOTHING, /, **fields: Any) -> Organization:
        return self._call(calls.ORGANIZATIONS_ADD, made(Organization), body={**body, **fields})

    def get(self, id: int) -> Organization:
        return self._call(calls.ORGANIZATIONS_GET, one(Organization), path={"id": id})

    def search(
        self,
        *,
        term: str,
        fields: str | None = None,
        exact_match: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ResultPage[OrganizationHit]:
        return self._call(
            calls.ORGANIZATIONS_SEARCH, hits(OrganizationHit), params=_given(locals())
        )

    def list(
        self,
        *,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        owner_id: int | None = None,
        updated_since: str | None = None,
    ) -> ResultPage[Organization]:
        return self._call(
            calls.ORGANIZATIONS_LIST, cursor_page(Organization), params=_given(locals())
        )

    def newest(self, *, since: float) -> Iterator[Organization]:
        """Organisations added at or after `since` (Unix seconds), newest first."""
        return newest_first(
            lambda cursor: self.list(
                sort_by="add_time", sort_direction="desc", limit=FULL_PAGE, cursor=cursor
            ),
            since,
        )


class Deals(_Group):
    """https://developers.pipedrive.com/docs/api/v1/Deals"""

    def list(
        self,
        *,
        person_id: int | None = None,
        org_id: int | None = None,
        status: str | None = None,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        include_fields: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ResultPage[Deal]:
        """Deals that are not archived."""
        return self._call(calls.DEALS_LIST, cursor_page(Deal), params=_given(locals()))

    def of(self, *, person_id: int | None = None, org_id: int | None = None) -> Iterator[Deal]:
        return by_cursor(
            lambda cursor: self.list(
                person_id=person_id,
                org_id=org_id,
                include_fields="source_lead_id",
                limit=FULL_PAGE,
                cursor=cursor,
            )
        )


class DealFields(_Group):
    """https://developers.pipedrive.com/docs/api/v1/DealFields; leads take their custom fields from
    deals.
    """

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> ResultPage[PipedriveField]:
        return self._call(calls.DEAL_FIELDS_LIST, cursor_page(PipedriveField), params=_given(locals()))

    def get(self, field_code: str) -> PipedriveField:
        """`channel` holds the account's marketing channels as its options."""
        return self._call(calls.DEAL_FIELDS_GET, one(PipedriveField), path={"field_code": field_code})

    def all(self) -> Iterator[PipedriveField]:
        return by_cursor(lambda cursor: self.list(limit=FULL_PAGE, cursor=cursor))


class PersonFields(_Group):
    """https://developers.pipedrive.com/docs/api/v1/PersonFields"""

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> ResultPage[PipedriveField]:
        return self._call(calls.PERSON_FIELDS_LIST, cursor_page(PipedriveField), params=_given(locals()))

    def all(self) -> Iterator[PipedriveField]:
        return by_cursor(lambda cursor: self.list(limit=FULL_PAGE, cursor=cursor))


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in arguments.items() if value is not None and name != "self"
    }
