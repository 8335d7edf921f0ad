"""The search index lags, lists do not."""

from __future__ import annotations

import httpx
import pytest

from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import ManualClock, add_lead, add_person, data
from tests.sandbox.conftest import Opener


def search(api: httpx.Client, kind: str, term: str, **query: str | int) -> list[object]:
    items = data(api.get(f"/api/v2/{kind}/search", params={"term": term, **query}))["items"]
    return [item["item"]["id"] for item in items]


def test_a_fresh_person_is_listed_but_not_found(api: httpx.Client, clock: ManualClock) -> None:
    """Until the lag has passed only the list has the person; changes and deletions lag, too."""
    person = add_person(api)
    assert [item["id"] for item in data(api.get("/api/v2/persons"))] == [person]
    clock.advance(1.9)
    assert search(api, "persons", "jane@example.org") == []
    clock.advance(0.2)
    assert search(api, "persons", "jane@example.org") == [person]
    api.patch(f"/api/v2/persons/{person}", json={"emails": [{"value": "new@example.org"}]})
    assert search(api, "persons", "new@example.org") == []
    clock.advance(2)
    assert (
        search(api, "persons", "new@example.org"),
        search(api, "persons", "jane@example.org"),
    ) == ([person], [])
    api.delete(f"/api/v2/persons/{person}")
    assert search(api, "persons", "new@example.org") == [person]
    clock.advance(2)
    assert search(api, "persons", "new@example.org") == []


def test_the_lag_is_a_setting(open_sandbox: Opener, clock: ManualClock) -> None:
    """A lag of 30 s takes 30 s, a lag of 0 takes none."""
    slow, quick = (
        open_sandbox(SandboxSettings(search_delay_seconds=30)),
        open_sandbox(SandboxSettings(search_delay_seconds=0)),
    )
    ids = [add_person(slow), add_person(quick)]
    clock.advance(29)
    assert (search(slow, "persons", "jane"), search(quick, "persons", "jane")) == ([], [ids[1]])
    clock.advance(1)
    assert search(slow, "persons", "jane") == [ids[0]]


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ({"term": "JANE@EXAMPLE.ORG", "exact_match": "true", "fields": "email"}, True),
        ({"term": "jane@example.or", "exact_match": "true", "fields": "email"}, False),
        ({"term": "jane@example.org", "exact_match": "true", "fields": "name,phone"}, False),
        ({"term": "doe"}, True),
        ({"term": "doe jan"}, True),
        ({"term": "doe smith"}, False),
        ({"term": "+372 5555", "fields": "phone"}, True),
        ({"term": "doe", "organization_id": 1}, True),
        ({"term": "doe", "organization_id": 2}, False),
    ],
)
def test_how_persons_are_found(
    api: httpx.Client, clock: ManualClock, query: dict[str, str | int], hits: bool
) -> None:
    """An exact match is the whole field in any case; else every word must occur in some field."""
    api.post("/api/v2/organizations", json={"name": "Example Ltd"})
    person = add_person(api, org_id=1, phones=[{"value": "+372 5555 0100"}])
    add_person(api, "Someone Else", "else@example.org")
    clock.advance(3)
    assert search(api, "persons", str(query.pop("term")), **query) == ([person] if hits else [])


def test_a_hit_has_the_documented_shape(api: httpx.Client, clock: ManualClock) -> None:
    """E-mails and phones of a hit are plain texts; its organization has an id and a name."""
    api.post("/api/v2/organizations", json={"name": "Example Ltd"})
    add_person(api, org_id=1)
    clock.advance(3)
    (hit,) = data(api.get("/api/v2/persons/search", params={"term": "jane"}))["items"]
    assert hit["item"]["emails"] == ["jane@example.org"]
    assert hit["item"]["organization"] == {"id": 1, "name": "Example Ltd"}
    assert hit["item"]["type"] == "person"


def test_leads_are_found_by_title_note_and_custom_field_only(
    api: httpx.Client, clock: ManualClock
) -> None:
    """A lead is found by its title and its notes, never by `origin_id`."""
    lead = add_lead(api, add_person(api), title="Roof repair", origin_id="contact:77")
    api.post("/v1/notes", json={"content": "<p>wants slate</p>", "lead_id": lead})
    clock.advance(3)
    assert (
        search(api, "leads", "roof")
        == search(api, "leads", "slate")
        == search(api, "leads", "slate", fields="notes")
        == [lead]
    )
    assert search(api, "leads", "contact:77") == search(api, "leads", "slate", fields="title") == []


def test_hits_are_paged(api: httpx.Client, clock: ManualClock) -> None:
    """A cursor leads through all hits once."""
    ids = [add_person(api, f"Jane {number}") for number in range(5)]
    clock.advance(3)
    hit_ids: list[int] = []
    query: dict[str, str | int] = {"term": "jane", "limit": 2}
    for _ in range(5):
        body = api.get("/api/v2/persons/search", params=query).json()
        hit_ids += [item["item"]["id"] for item in body["data"]["items"]]
        query["cursor"] = body["additional_data"]["next_cursor"]
        if query["cursor"] is None:
            break
    assert hit_ids == ids
