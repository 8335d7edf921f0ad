from __future__ import annotations

from typing import Any

import pytest

from worker.errors import Unavailable
from worker.pipedrive.models import (
    LeadSource,
    Note,
    Organization,
    Person,
    PersonHit,
    PipedriveField,
    PipedriveLead,
    PipedriveUser,
    ResultPage,
    UnreadableResponse,
    decode,
    noun_of,
    parse_timestamp,
)
from worker.pipedrive.pagination import (
    MAX_PAGES,
    iterate_by_cursor,
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

KEY = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"
LEAD = {
    "id": "adf21080-0e10-11eb-879b-05d71fb426ec",
    "title": "Jane Doe Lead",
    "owner_id": 1,
    "creator_id": 1,
    "label_ids": ["f08b42a0-4e75-11ea-9643-03698ef1cfd6"],
    "person_id": 1092,
    "organization_id": None,
    "source_name": "API",
    "origin": "API",
    "origin_id": None,
    "channel": 52,
    "channel_id": "Jun23 Billboards",
    "is_archived": False,
    "was_seen": False,
    "value": {"amount": 999, "currency": "USD"},
    "expected_close_date": None,
    "add_time": "2020-10-14T11:30:36.551Z",
    "visible_to": "3",
    "cc_email": "company+1+lead@dev.example",
    KEY: 12,
    f"{KEY}_currency": "EUR",
}


def test_lead() -> None:
    """A lead as documented is read with its custom fields; unknown keys are ignored."""
    lead = decode(PipedriveLead, LEAD)
    assert lead.person_id == 1092
    assert lead.value is not None
    assert lead.value.amount == 999
    assert lead.custom == {KEY: 12, f"{KEY}_currency": "EUR"}
    assert lead.label_ids == ["f08b42a0-4e75-11ea-9643-03698ef1cfd6"]


@pytest.mark.parametrize(
    ("model", "data", "name", "value"),
    [
        (PipedriveLead, {"id": 7}, "id", "7"),
        (PipedriveLead, {"id": "x", "person_id": "12"}, "person_id", 12),
        (PipedriveLead, {"id": "x", "owner_id": {"id": 5, "name": "A"}}, "owner_id", 5),
        (PipedriveLead, {"id": "x", "person_id": {"value": 6, "name": "A"}}, "person_id", 6),
        (PipedriveLead, {"id": "x", "label_ids": None}, "label_ids", []),
        (PipedriveLead, {"id": "x", "label_ids": [1, "b"]}, "label_ids", ["1", "b"]),
        (PipedriveLead, {"id": "x", "visible_to": 3}, "visible_to", "3"),
        (PipedriveLead, {"id": "x", "is_archived": 1}, "is_archived", True),
        (PipedriveLead, {"id": "x", "channel": "52"}, "channel", 52),
        (PipedriveLead, {"id": "x", "origin_id": 12}, "origin_id", "12"),
        (Person, {"id": "31"}, "id", 31),
        (Person, {"id": 1, "emails": None}, "emails", []),
        (
            PersonHit,
            {"id": 1, "emails": ["a@b.example", {"value": "c@d.example"}]},
            "emails",
            ["a@b.example", "c@d.example"],
        ),
        (Note, {"id": "5", "content": None}, "content", None),
        (PipedriveUser, {"id": 1, "name": None}, "name", ""),
        (PipedriveField, {"field_code": "channel", "options": None}, "options", []),
    ],
)
def test_lenient(model: Any, data: dict[str, Any], name: str, value: Any) -> None:
    """Ids as text, numbers for text, nulls, and objects in place of ids are understood."""
    assert getattr(decode(model, data), name) == value


def test_contact_with_nulls() -> None:
    """An e-mail entry whose label is null is still an e-mail."""
    person = decode(
        Person, {"id": 1, "emails": [{"value": "a@b.example", "primary": None, "label": None}]}
    )
    assert [(contact.value, contact.primary) for contact in person.emails] == [
        ("a@b.example", False)
    ]


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (PipedriveLead, None),
        (PipedriveLead, []),
        (PipedriveLead, "x"),
        (PipedriveLead, {}),
        (PipedriveLead, {"id": None}),
        (PipedriveLead, {"id": []}),
        (PipedriveLead, {"id": True}),
        (PipedriveLead, {"id": "x", "label_ids": "y"}),
        (PipedriveLead, {"id": "x", "person_id": "twelve"}),
        (Person, {"id": "abc"}),
        (Person, {"id": {"deep": 1}}),
    ],
)
def test_unreadable(model: Any, data: Any) -> None:
    """Unusable data give one clear error, never a crash."""
    with pytest.raises(UnreadableResponse):
        decode(model, data)


def test_created_needs_only_the_id() -> None:
    """A create's response needs only a valid id."""
    assert parse_created(PipedriveLead)(ApiResponse({"id": "abc", "label_ids": 5})).id == "abc"
    with pytest.raises(UnreadableResponse):
        parse_one(PipedriveLead)(ApiResponse({"id": "abc", "label_ids": 5}))
    rubbish: list[Any] = [None, [], {"id": None}, "abc"]
    for data in rubbish:
        with pytest.raises(UnreadableResponse):
            parse_created(PipedriveLead)(ApiResponse(data))


@pytest.mark.parametrize(
    ("additional", "next_start"),
    [
        ({}, None),
        ({"start": 0, "limit": 2, "more_items_in_collection": False}, None),
        ({"start": 4, "limit": 2, "more_items_in_collection": True}, 6),
        (
            {
                "pagination": {
                    "start": 0,
                    "limit": 2,
                    "more_items_in_collection": True,
                    "next_start": 2,
                }
            },
            2,
        ),
        ({"pagination": {"start": 2, "limit": 2, "more_items_in_collection": True}}, 4),
        ({"pagination": {"start": 2, "more_items_in_collection": False, "next_start": 9}}, None),
        ({"pagination": None}, None),
    ],
)
def test_start_page(additional: dict[str, Any], next_start: int | None) -> None:
    """The next start is read from both formats that v1 uses."""
    page = parse_start_page(PipedriveLead)(ApiResponse([{"id": "a"}, {"id": "b"}], additional))
    assert ([lead.id for lead in page], page.next_start) == (["a", "b"], next_start)


def test_empty_lists() -> None:
    """v1 answers null for an empty list."""
    assert len(parse_start_page(PipedriveLead)(ApiResponse(None))) == 0
    assert parse_all(Note)(ApiResponse(None)) == []
    assert len(parse_hits(PersonHit)(ApiResponse(None))) == 0
    assert len(parse_hits(PersonHit)(ApiResponse({"items": None}))) == 0


def test_hits() -> None:
    """Search results are taken out of their wrapping."""
    page = parse_hits(PersonHit)(
        ApiResponse(
            {"items": [{"result_score": 0.5, "item": {"id": 1, "name": "Jane"}}]},
            {"next_cursor": "c"},
        )
    )
    assert ([hit.name for hit in page], page.next_cursor) == (["Jane"], "c")


@pytest.mark.parametrize("data", [{"id": 1}, "x", 5, [None], [[]]])
def test_no_list(data: Any) -> None:
    """Anything but a list of the right entries gives one clear error."""
    for read in (
        parse_start_page(PipedriveLead),
        parse_cursor_page(PipedriveLead),
        parse_all(PipedriveLead),
    ):
        with pytest.raises(UnreadableResponse):
            read(ApiResponse(data))


@pytest.mark.parametrize(("data", "id"), [({"id": "a"}, "a"), ({"id": 5}, "5")])
def test_deleted(data: Any, id: str) -> None:
    """A deletion returns the id."""
    assert parse_deleted_id(ApiResponse(data)) == id
    with pytest.raises(UnreadableResponse):
        parse_deleted_id(ApiResponse(None))


def test_walks() -> None:
    """A list is followed to its last page."""
    pages = {
        0: ResultPage([1, 2], next_start=2),
        2: ResultPage([3], next_start=3),
        3: ResultPage([4]),
    }
    assert list(iterate_by_start(pages.__getitem__)) == [1, 2, 3, 4]
    cursors = {None: ResultPage([1], next_cursor="a"), "a": ResultPage([2])}
    assert list(iterate_by_cursor(cursors.__getitem__)) == [1, 2]


def test_endless_lists_end() -> None:
    """A list that never ends or does not advance is an error, not a partial list."""
    cursors: list[int] = []

    def growing(start: int) -> ResultPage[int]:
        cursors.append(start)
        return ResultPage([start], next_start=start + 1)

    with pytest.raises(Unavailable):
        list(iterate_by_start(growing))
    assert len(cursors) == MAX_PAGES
    with pytest.raises(Unavailable, match="does not advance"):
        list(iterate_by_start(lambda _: ResultPage([1], next_start=0)))
    with pytest.raises(Unavailable, match="does not advance"):
        list(iterate_by_cursor(lambda _: ResultPage([1], next_cursor="a")))


def test_newest() -> None:
    """Entries are read until one is too old; one without a time is kept."""
    fetched: list[str | None] = []
    pages = {
        None: ResultPage(
            [Organization(id=4, add_time="2024-01-02T00:00:00Z"), Organization(id=3)],
            next_cursor="a",
        ),
        "a": ResultPage(
            [
                Organization(id=2, add_time="2024-01-01T00:00:00Z"),
                Organization(id=1, add_time="2023-12-31T00:00:00Z"),
            ]
        ),
    }

    def fetch(cursor: str | None) -> ResultPage[Organization]:
        fetched.append(cursor)
        return pages[cursor]

    assert [ids.id for ids in iterate_newest(fetch, parse_timestamp("2024-01-01T00:00:00Z"))] == [
        4,
        3,
        2,
    ]
    assert [
        lead.id for lead in iterate_newest(fetch, parse_timestamp("2024-02-01T00:00:00Z"))
    ] == []
    assert fetched == [None, "a", None]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00.500Z", 60.5),
        ("1970-01-01 00:01:00", 60.0),
        ("1970-01-01T02:01:00+02:00", 60.0),
        (None, 0.0),
        ("", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_timestamp(text: str | None, seconds: float) -> None:
    """Times are read in each form Pipedrive writes them; without a zone they are UTC."""
    assert parse_timestamp(text) == seconds


def test_records_are_called_by_words_people_use() -> None:
    """A message about an unreadable record names it as people do, not by our class."""
    nouns = [noun_of(model) for model in (PipedriveLead, LeadSource, Organization)]
    assert nouns == ["a lead", "a lead source", "an organization"]
