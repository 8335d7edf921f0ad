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
    Label,
    LeadSource,
    Note,
    Organization,
    OrganizationHit,
    Person,
    PersonHit,
    PipedriveField,
    PipedriveLead,
    PipedriveUser,
    ResultPage,
    UnreadableResponse,
    decode,
    parse_timestamp,
)
from worker.pipedrive.responses import ApiResponse

# What an operation's data is read as, and how a list is followed from page to page without end or
# gap.

MAX_PAGE_SIZE = 500
"""The most entries Pipedrive gives per page:
https://pipedrive.readme.io/docs/core-api-concepts-pagination
"""

MAX_PAGES = 40
"""Pages a list is followed for. One that goes on is an error: half a list must not be taken for all
of it.
"""

T = TypeVar("T")
M = TypeVar("M", bound=Struct)
Dated = TypeVar("Dated", Person, Organization)


def parse_one(model: type[M]) -> Callable[[ApiResponse], M]:
    return lambda answer: decode(model, answer.data)


def parse_created(model: type[M]) -> Callable[[ApiResponse], M]:
    """What a create answers. The id is enough: what was made is known even where the rest is not as
    documented.
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
    """A list without pages. v1 answers null for an empty one."""
    return lambda answer: _decode_items(model, answer.data)


def parse_deleted_id(answer: ApiResponse) -> str:
    """The id of what was deleted."""
    if isinstance(answer.data, dict) and isinstance(answer.data.get("id"), str | int):
        return str(answer.data["id"])
    raise UnreadableResponse("expected the id of what was deleted")


def parse_start_page(model: type[M]) -> Callable[[ApiResponse], ResultPage[M]]:
    """v1: `start`, `limit`, `more_items_in_collection`; documented at the top for leads and under
    `pagination` for all others.
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
    """v2: `next_cursor`."""
    return lambda answer: ResultPage(
        _decode_items(model, answer.data), next_cursor=_next_cursor(answer)
    )


def parse_hits(model: type[M]) -> Callable[[ApiResponse], ResultPage[M]]:
    """v2 searches: `data.items[].item`."""

    def read(answer: ApiResponse) -> ResultPage[M]:
        results = answer.data.get("items") if isinstance(answer.data, dict) else answer.data
        if results is not None and not isinstance(results, list):
            raise UnreadableResponse("expected a list of search results")
        items = [item.get("item") if isinstance(item, dict) else item for item in results or []]
        return ResultPage(_decode_items(model, items), next_cursor=_next_cursor(answer))

    return read


def iterate_by_start(fetch: Callable[[int], ResultPage[T]]) -> Iterator[T]:
    """Every entry of a v1 list. Raises `Unavailable` where it does not end, or does not move on."""
    start = 0
    for _ in range(MAX_PAGES):
        page = fetch(start)
        yield from page
        if page.next_start is None:
            return
        if page.next_start <= start:
            raise Unavailable("pages", "the list does not move on")
        start = page.next_start
    raise Unavailable("pages", f"the list does not end within {MAX_PAGES} pages")


def iterate_by_cursor(fetch: Callable[[str | None], ResultPage[T]]) -> Iterator[T]:
    """Every entry of a v2 list. Raises `Unavailable` where it does not end, or does not move on."""
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = fetch(cursor)
        yield from page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise Unavailable("pages", "the list does not move on")
        cursor = page.next_cursor
    raise Unavailable("pages", f"the list does not end within {MAX_PAGES} pages")


def iterate_newest(
    fetch: Callable[[str | None], ResultPage[Dated]], since: float
) -> Iterator[Dated]:
    """Entries added at or after `since` (Unix seconds) of a list sorted by `add_time`, newest
    first.

    One without a readable time is kept: leaving it out could make a second one of it.
    """
    for entry in iterate_by_cursor(fetch):
        added = parse_timestamp(entry.add_time)
        if added and added < since:
            return
        yield entry


def _decode_items(model: type[M], data: Any) -> list[M]:
    if data is not None and not isinstance(data, list):
        raise UnreadableResponse(f"expected a list of {model.__name__.lower()}s")
    return [decode(model, item) for item in data or []]


def _next_cursor(answer: ApiResponse) -> str | None:
    cursor = answer.additional.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None


R = TypeVar("R")
List = list
"""`list` under a name that the methods called `list` do not hide."""
EMPTY_BODY: Mapping[str, Any] = {}


class CallFunction(Protocol):
    """`Pipedrive.call`."""

    def __call__(
        self,
        call: Call,
        read: Callable[[ApiResponse], R],
        *,
        path: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> R: ...


class _Operations:
    def __init__(self, call: CallFunction) -> None:
        self._call = call


class Leads(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Leads"""

    def add(self, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any) -> PipedriveLead:
        """`title` and one of `person_id`, `organization_id` are needed; custom fields stand beside
        them under their keys.

        https://developers.pipedrive.com/docs/api/v1/Leads#addLead
        """
        return self._call(calls.LEADS_ADD, parse_created(PipedriveLead), body={**body, **fields})

    def get(self, id: str) -> PipedriveLead:
        return self._call(calls.LEADS_GET, parse_one(PipedriveLead), path={"id": id})

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
        return self._call(
            calls.LEADS_LIST, parse_start_page(PipedriveLead), params=_without_none(locals())
        )

    def list_archived(
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
        return self._call(
            calls.LEADS_ARCHIVED, parse_start_page(PipedriveLead), params=_without_none(locals())
        )

    def update(
        self, id: str, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any
    ) -> PipedriveLead:
        """`label_ids` replaces the whole list; `origin_id` can never be changed."""
        return self._call(
            calls.LEADS_UPDATE, parse_one(PipedriveLead), path={"id": id}, body={**body, **fields}
        )

    def delete(self, id: str) -> str:
        """The id of what was deleted."""
        return self._call(calls.LEADS_DELETE, parse_deleted_id, path={"id": id})

    def list_all(
        self, *, person_id: int | None = None, organization_id: int | None = None
    ) -> Iterator[PipedriveLead]:
        """All leads of a person or organisation that are not archived, page by page."""
        return iterate_by_start(
            lambda start: self.list(
                person_id=person_id,
                organization_id=organization_id,
                start=start,
                limit=MAX_PAGE_SIZE,
            )
        )

    def list_all_of_person(self, person_id: int) -> Iterator[PipedriveLead]:
        return self.list_all(person_id=person_id)

    def list_all_archived(
        self, *, person_id: int | None = None, organization_id: int | None = None
    ) -> Iterator[PipedriveLead]:
        return iterate_by_start(
            lambda start: self.list_archived(
                person_id=person_id,
                organization_id=organization_id,
                start=start,
                limit=MAX_PAGE_SIZE,
            )
        )


class Labels(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/LeadLabels"""

    def list(self) -> List[Label]:
        return self._call(calls.LABELS_LIST, parse_all(Label))

    def add(self, *, name: str, color: str) -> Label:
        return self._call(
            calls.LABELS_ADD, parse_created(Label), body={"name": name, "color": color}
        )

    def update(self, id: str, *, name: str | None = None, color: str | None = None) -> Label:
        return self._call(
            calls.LABELS_UPDATE,
            parse_one(Label),
            path={"id": id},
            body=_without_none({"name": name, "color": color}),
        )

    def delete(self, id: str) -> str:
        return self._call(calls.LABELS_DELETE, parse_deleted_id, path={"id": id})


class LeadSources(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/LeadSources"""

    def list(self) -> List[LeadSource]:
        return self._call(calls.SOURCES_LIST, parse_all(LeadSource))


class Notes(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Notes"""

    def add(self, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any) -> Note:
        """`content` is HTML, which Pipedrive sanitises; one of `lead_id`, `person_id`, `org_id`,
        `deal_id` is needed.
        """
        return self._call(calls.NOTES_ADD, parse_created(Note), body={**body, **fields})

    def list(
        self,
        *,
        lead_id: str | None = None,
        person_id: int | None = None,
        start: int | None = None,
        limit: int | None = None,
    ) -> ResultPage[Note]:
        return self._call(calls.NOTES_LIST, parse_start_page(Note), params=_without_none(locals()))

    def list_all_of_lead(self, lead_id: str) -> Iterator[Note]:
        return iterate_by_start(
            lambda start: self.list(lead_id=lead_id, start=start, limit=MAX_PAGE_SIZE)
        )


class Users(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Users"""

    def me(self) -> PipedriveUser:
        """Whose credentials these are; the cheapest proof that they work."""
        return self._call(calls.USERS_ME, parse_one(PipedriveUser))

    def list(self) -> List[PipedriveUser]:
        return self._call(calls.USERS_LIST, parse_all(PipedriveUser))


class Persons(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Persons"""

    def add(self, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any) -> Person:
        """`name` is needed. Pipedrive never looks for an equal one: each call makes a new
        person.
        """
        return self._call(calls.PERSONS_ADD, parse_created(Person), body={**body, **fields})

    def get(self, id: int) -> Person:
        return self._call(calls.PERSONS_GET, parse_one(Person), path={"id": id})

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
        return self._call(
            calls.PERSONS_SEARCH, parse_hits(PersonHit), params=_without_none(locals())
        )

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
        return self._call(
            calls.PERSONS_LIST, parse_cursor_page(Person), params=_without_none(locals())
        )

    def list_newest(self, *, since: float) -> Iterator[Person]:
        """Persons added at or after `since` (Unix seconds), newest first."""
        return iterate_newest(
            lambda cursor: self.list(
                sort_by="add_time", sort_direction="desc", limit=MAX_PAGE_SIZE, cursor=cursor
            ),
            since,
        )


class Organizations(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Organizations"""

    def add(self, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any) -> Organization:
        return self._call(
            calls.ORGANIZATIONS_ADD, parse_created(Organization), body={**body, **fields}
        )

    def get(self, id: int) -> Organization:
        return self._call(calls.ORGANIZATIONS_GET, parse_one(Organization), path={"id": id})

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
            calls.ORGANIZATIONS_SEARCH, parse_hits(OrganizationHit), params=_without_none(locals())
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
            calls.ORGANIZATIONS_LIST,
            parse_cursor_page(Organization),
            params=_without_none(locals()),
        )

    def list_newest(self, *, since: float) -> Iterator[Organization]:
        """Organisations added at or after `since` (Unix seconds), newest first."""
        return iterate_newest(
            lambda cursor: self.list(
                sort_by="add_time", sort_direction="desc", limit=MAX_PAGE_SIZE, cursor=cursor
            ),
            since,
        )


class Deals(_Operations):
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
        return self._call(calls.DEALS_LIST, parse_cursor_page(Deal), params=_without_none(locals()))

    def list_all(
        self, *, person_id: int | None = None, org_id: int | None = None
    ) -> Iterator[Deal]:
        return iterate_by_cursor(
            lambda cursor: self.list(
                person_id=person_id,
                org_id=org_id,
                include_fields="source_lead_id",
                limit=MAX_PAGE_SIZE,
                cursor=cursor,
            )
        )


class DealFields(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/DealFields; leads take their custom fields from
    deals.
    """

    def list(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> ResultPage[PipedriveField]:
        return self._call(
            calls.DEAL_FIELDS_LIST,
            parse_cursor_page(PipedriveField),
            params=_without_none(locals()),
        )

    def get(self, field_code: str) -> PipedriveField:
        """`channel` holds the account's marketing channels as its options."""
        return self._call(
            calls.DEAL_FIELDS_GET, parse_one(PipedriveField), path={"field_code": field_code}
        )

    def list_all(self) -> Iterator[PipedriveField]:
        return iterate_by_cursor(lambda cursor: self.list(limit=MAX_PAGE_SIZE, cursor=cursor))


class PersonFields(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/PersonFields"""

    def list(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> ResultPage[PipedriveField]:
        return self._call(
            calls.PERSON_FIELDS_LIST,
            parse_cursor_page(PipedriveField),
            params=_without_none(locals()),
        )

    def list_all(self) -> Iterator[PipedriveField]:
        return iterate_by_cursor(lambda cursor: self.list(limit=MAX_PAGE_SIZE, cursor=cursor))


def _without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in arguments.items() if value is not None and name != "self"
    }
