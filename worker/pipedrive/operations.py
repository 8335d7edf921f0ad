"""The operations of the client, one class per group.

Names, parameters and body fields are Pipedrive's own. Bodies are mappings, keywords, or both:
`leads.add({"title": …}, person_id=5)`. A null in a body is sent: it unsets a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from worker.pipedrive import calls
from worker.pipedrive.calls import Call
from worker.pipedrive.models import (
    Currency,
    Deal,
    Label,
    LeadSource,
    Note,
    Organization,
    OrganizationHit,
    Person,
    PersonHit,
    PipedriveField,
    PipedriveFile,
    PipedriveLead,
    PipedriveUser,
    ResultPage,
)
from worker.pipedrive.pagination import (
    MAX_PAGE_SIZE,
    iterate_by_cursor,
    iterate_by_size,
    iterate_by_start,
    iterate_newest,
    parse_all,
    parse_created,
    parse_cursor_page,
    parse_deleted_id,
    parse_hits,
    parse_one,
    parse_start_page,
)
from worker.pipedrive.responses import ApiResponse

R = TypeVar("R")
# `list` under a name that the methods called `list` do not hide.
List = list
# The largest page of files.
MAX_FILES_PAGE_SIZE = 100
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
        """Create a lead; it needs `title` and one of `person_id` and `organization_id`.

        Custom fields go beside the others under their keys.
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
        """Return a page of the leads that are not archived, oldest first."""
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
        """Update a lead. `label_ids` replaces the whole list; `origin_id` cannot be changed."""
        return self._call(
            calls.LEADS_UPDATE, parse_one(PipedriveLead), path={"id": id}, body={**body, **fields}
        )

    def delete(self, id: str) -> str:
        """Return the id of what was deleted."""
        return self._call(calls.LEADS_DELETE, parse_deleted_id, path={"id": id})

    def list_all(
        self, *, person_id: int | None = None, organization_id: int | None = None
    ) -> Iterator[PipedriveLead]:
        """Yield all leads of a person or organisation that are not archived, page by page."""
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
        """Create a note; it needs one of `lead_id`, `person_id`, `org_id` and `deal_id`.

        `content` is HTML, which Pipedrive sanitises.
        """
        return self._call(calls.NOTES_ADD, parse_created(Note), body={**body, **fields})

    def list(
        self,
        *,
        lead_id: str | None = None,
        deal_id: int | None = None,
        person_id: int | None = None,
        org_id: int | None = None,
        start: int | None = None,
        limit: int | None = None,
    ) -> ResultPage[Note]:
        return self._call(calls.NOTES_LIST, parse_start_page(Note), params=_without_none(locals()))

    def list_all(self, **target: Any) -> Iterator[Note]:
        """Yield all notes of one target: `lead_id`, `deal_id`, `person_id` or `org_id`."""
        return iterate_by_start(lambda start: self.list(**target, start=start, limit=MAX_PAGE_SIZE))


class Files(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Files"""

    def add(self, body: Mapping[str, Any]) -> PipedriveFile:
        """Add a file to one lead, deal, person or organisation; `file` is an `UploadedFile`."""
        return self._call(calls.FILES_ADD, parse_created(PipedriveFile), body=body)

    def list_newest(self) -> ResultPage[PipedriveFile]:
        """Return the files that were changed last, at most 100."""
        return self._call(
            calls.FILES_LIST,
            parse_start_page(PipedriveFile),
            params={"sort": "update_time DESC", "limit": MAX_FILES_PAGE_SIZE},
        )


class Users(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Users"""

    def me(self) -> PipedriveUser:
        """Return the user of these credentials; the cheapest proof that they work."""
        return self._call(calls.USERS_ME, parse_one(PipedriveUser))

    def list(self) -> List[PipedriveUser]:
        return self._call(calls.USERS_LIST, parse_all(PipedriveUser))


class Currencies(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Currencies"""

    def list(self) -> List[Currency]:
        return self._call(calls.CURRENCIES_LIST, parse_all(Currency))


class Persons(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/Persons"""

    def add(self, body: Mapping[str, Any] = EMPTY_BODY, /, **fields: Any) -> Person:
        """Create a person; it needs `name`. Pipedrive does not check for duplicates."""
        return self._call(calls.PERSONS_ADD, parse_created(Person), body={**body, **fields})

    def get(self, id: int, *, include_fields: str | None = None) -> Person:
        return self._call(
            calls.PERSONS_GET,
            parse_one(Person),
            path={"id": id},
            params=_without_none({"include_fields": include_fields}),
        )

    def update(self, id: int, body: Mapping[str, Any]) -> Person:
        """Update a person. Lists, such as `phones`, are replaced as a whole."""
        return self._call(calls.PERSONS_UPDATE, parse_one(Person), path={"id": id}, body=body)

    def delete(self, id: int) -> str:
        """Return the id of what was deleted. Pipedrive keeps a deleted person for 30 days."""
        return self._call(calls.PERSONS_DELETE, parse_deleted_id, path={"id": id})

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
        """Search for persons.

        The index lags behind creation by seconds; `exact_match` ignores case and is not always
        exact.
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
        """Yield the persons added at or after `since` (Unix seconds), newest first."""
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

    def update(self, id: int, body: Mapping[str, Any]) -> Organization:
        return self._call(
            calls.ORGANIZATIONS_UPDATE, parse_one(Organization), path={"id": id}, body=body
        )

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
        """Yield the organisations added at or after `since` (Unix seconds), newest first."""
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
        """Return a page of the deals that are not archived."""
        return self._call(calls.DEALS_LIST, parse_cursor_page(Deal), params=_without_none(locals()))

    def list_archived(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> ResultPage[Deal]:
        return self._call(
            calls.DEALS_ARCHIVED, parse_cursor_page(Deal), params=_without_none(locals())
        )

    def update(self, id: int, body: Mapping[str, Any]) -> Deal:
        """Update a deal. `label_ids` replaces the whole list."""
        return self._call(calls.DEALS_UPDATE, parse_one(Deal), path={"id": id}, body=body)

    def list_all(
        self,
        *,
        person_id: int | None = None,
        org_id: int | None = None,
        status: str | None = None,
    ) -> Iterator[Deal]:
        return iterate_by_cursor(
            lambda cursor: self.list(
                person_id=person_id,
                org_id=org_id,
                status=status,
                include_fields="source_lead_id",
                limit=MAX_PAGE_SIZE,
                cursor=cursor,
            )
        )


class DealFields(_Operations):
    """https://developers.pipedrive.com/docs/api/v1/DealFields

    Leads share the custom fields of deals.
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
        """Return a field. The options of `channel` are the account's marketing channels."""
        return self._call(
            calls.DEAL_FIELDS_GET, parse_one(PipedriveField), path={"field_code": field_code}
        )

    def list_all(self) -> Iterator[PipedriveField]:
        return iterate_by_size(lambda cursor, limit: self.list(limit=limit, cursor=cursor))


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

    def get(self, field_code: str) -> PipedriveField:
        """Return a field. The options of `label_ids` are the account's labels of persons."""
        return self._call(
            calls.PERSON_FIELDS_GET, parse_one(PipedriveField), path={"field_code": field_code}
        )

    def list_all(self) -> Iterator[PipedriveField]:
        return iterate_by_size(lambda cursor, limit: self.list(limit=limit, cursor=cursor))


def _without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in arguments.items() if value is not None and name != "self"
    }
