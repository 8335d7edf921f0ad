"""What the sandbox refuses, in the words and shapes of Pipedrive."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.sandbox.account.stock import custom_key, label_id
from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import NOBODY, add_lead, add_person
from tests.sandbox.conftest import Opener

ENUM = custom_key("deal", "Company size")
SET = custom_key("deal", "Interests")
SCORE = custom_key("deal", "Lead score")
BUDGET = custom_key("deal", "Budget")
DAY = custom_key("deal", "Start date")
CONTACT = 'One of the "person_id" or "organization_id" must be set.'

LEADS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, '"title" is required'),
    ({"title": ""}, 400, '"title" is not allowed to be empty'),
    ({"title": None}, 400, '"title" must be a string'),
    ({"title": 5}, 400, '"title" must be a string'),
    ({"title": "x" * 256}, 400, '"title" length must be less than or equal to 255 characters long'),
    ({"title": "x", "person_id": None}, 400, '"person_id" must be an integer'),
    ({"title": "x"}, 400, CONTACT),
    ({"title": "x", "person_id": "1"}, 400, '"person_id" must be an integer'),
    ({"title": "x", "person_id": True}, 400, '"person_id" must be an integer'),
    ({"title": "x", "person_id": 999}, 404, "Person not found"),
    ({"title": "x", "organization_id": 999}, 404, "Organization not found"),
    (
        {"title": "x", "person_id": 1, "owner_id": 2},
        400,
        '"owner_id" is not a user of this company',
    ),
    (
        {"title": "x", "person_id": 1, "label_ids": ["Hot"]},
        400,
        '"label_ids[0]" must be a valid GUID',
    ),
    (
        {"title": "x", "person_id": 1, "label_ids": label_id("Hot")},
        400,
        '"label_ids" must be an array',
    ),
    (
        {"title": "x", "person_id": 1, "label_ids": [NOBODY]},
        400,
        '"label_ids" holds the id of a label that does not exist',
    ),
    (
        {"title": "x", "person_id": 1, "channel": 1},
        400,
        '"channel" must be one of the channels of this company',
    ),
    ({"title": "x", "person_id": 1, "channel": "Web forms"}, 400, '"channel" must be an integer'),
    (
        {"title": "x", "person_id": 1, "channel_id": "x" * 256},
        400,
        '"channel_id" length must be less than or equal to 255 characters long',
    ),
    (
        {"title": "x", "person_id": 1, "origin_id": "x" * 256},
        400,
        '"origin_id" length must be less than or equal to 255 characters long',
    ),
    ({"title": "x", "person_id": 1, "origin_id": 7}, 400, '"origin_id" must be a string'),
    ({"title": "x", "person_id": 1, "value": 5}, 400, '"value" must be of type object'),
    ({"title": "x", "person_id": 1, "value": {"amount": 5}}, 400, '"value.currency" is required'),
    (
        {"title": "x", "person_id": 1, "value": {"amount": "5", "currency": "EUR"}},
        400,
        '"value.amount" must be a number',
    ),
    (
        {"title": "x", "person_id": 1, "value": {"amount": -5, "currency": "EUR"}},
        400,
        '"value.amount" must be larger than or equal to 0',
    ),
    (
        {"title": "x", "person_id": 1, "value": {"amount": 5, "currency": "XXX"}},
        400,
        '"value.currency" must be a currency of this company',
    ),
    ({"title": "x", "person_id": 1, "visible_to": 3}, 400, '"visible_to" must be a string'),
    (
        {"title": "x", "person_id": 1, "visible_to": "2"},
        400,
        '"visible_to" must be one of [1, 3, 5, 7]',
    ),
    ({"title": "x", "person_id": 1, "was_seen": 1}, 400, '"was_seen" must be a boolean'),
    (
        {"title": "x", "person_id": 1, "expected_close_date": "31.12.2026"},
        400,
        '"expected_close_date" must be in YYYY-MM-DD format',
    ),
    (
        {"title": "x", "person_id": 1, "expected_close_date": "2026-02-30"},
        400,
        '"expected_close_date" must be in YYYY-MM-DD format',
    ),
    (
        {"title": "x", "person_id": 1, "expected_close_date": None},
        400,
        '"expected_close_date" must be a string',
    ),
    ({"title": "x", "person_id": 1, "note": "gone"}, 400, '"note" is not allowed'),
    ({"title": "x", "person_id": 1, "source_name": "Web"}, 400, '"source_name" is not allowed'),
    ({"title": "x", "person_id": 1, "a" * 40: "x"}, 400, f'"{"a" * 40}" is not allowed'),
    (
        {"title": "x", "person_id": 1, custom_key("person", "Newsletter"): "x"},
        400,
        "is not allowed",
    ),
    ({"title": "x", "person_id": 1, BUDGET: 5}, 400, f'"{BUDGET}" must be a string'),
    (
        {"title": "x", "person_id": 1, BUDGET: "x" * 256},
        400,
        "length must be less than or equal to 255 characters long",
    ),
    (
        {"title": "x", "person_id": 1, ENUM: "1-10"},
        400,
        f'"{ENUM}" must be one of the field\'s options',
    ),
    ({"title": "x", "person_id": 1, SET: []}, 400, "must be an array of the field's options"),
    ({"title": "x", "person_id": 1, SCORE: "5"}, 400, f'"{SCORE}" must be a number'),
    ({"title": "x", "person_id": 1, DAY: "soon"}, 400, "must be in YYYY-MM-DD format"),
]


@pytest.mark.parametrize(("body", "status", "error"), LEADS)
def test_leads_are_checked(
    api: httpx.Client, body: dict[str, Any], status: int, error: str
) -> None:
    """An invalid lead is refused in the shape of v1 with the field's name, and none is created."""
    add_person(api)
    answer = api.post("/v1/leads", json=body)
    assert answer.status_code == status
    assert error in answer.json()["error"]
    assert set(answer.json()) == {"success", "error", "error_info", "data", "additional_data"}
    assert api.get("/_sandbox/state").json()["leads"] == []


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"origin_id": "x"}, 400, '"origin_id" is not allowed'),
        ({"title": None}, 400, '"title" must be a string'),
        ({"person_id": None}, 400, CONTACT),
        ({"person_id": 999}, 404, "Person not found"),
        ({"label_ids": [NOBODY]}, 400, '"label_ids" holds the id of a label that does not exist'),
        ({"is_archived": "yes"}, 400, '"is_archived" must be a boolean'),
        ({"channel": 5}, 400, '"channel" must be one of the channels of this company'),
    ],
)
def test_changes_of_leads_are_checked(
    api: httpx.Client, body: dict[str, Any], status: int, error: str
) -> None:
    """An invalid change is refused and leaves the lead as it was."""
    lead = add_lead(api, add_person(api))
    before = api.get(f"/v1/leads/{lead}").json()
    answer = api.patch(f"/v1/leads/{lead}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert api.get(f"/v1/leads/{lead}").json() == before


def test_archived_leads_cannot_be_edited(api: httpx.Client) -> None:
    """The only change an archived lead accepts is to be unarchived."""
    lead = add_lead(api, add_person(api))
    assert api.patch(f"/v1/leads/{lead}", json={"is_archived": True}).status_code == 200
    assert api.patch(f"/v1/leads/{lead}", json={"title": "new"}).status_code == 400
    assert (
        api.patch(f"/v1/leads/{lead}", json={"is_archived": False, "title": "new"}).status_code
        == 400
    )
    assert api.patch(f"/v1/leads/{lead}", json={"is_archived": False}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "Name must be given."),
        ({"name": "  "}, 400, "Name must be given."),
        (
            {"name": "x" * 256},
            400,
            '"name" length must be less than or equal to 255 characters long',
        ),
        ({"first_name": "Jane", "last_name": "Doe"}, 400, '"first_name" is not allowed'),
        ({"name": "x", "email": "x@example.org"}, 400, '"email" is not allowed'),
        ({"name": "x", "emails": "x@example.org"}, 400, '"emails" must be an array'),
        ({"name": "x", "emails": ["x@example.org"]}, 400, '"emails[0]" must be of type object'),
        ({"name": "x", "emails": [{"label": "work"}]}, 400, '"emails[0].value" is required'),
        (
            {"name": "x", "emails": [{"value": ""}]},
            400,
            '"emails[0].value" is not allowed to be empty',
        ),
        (
            {"name": "x", "emails": [{"value": "x", "primary": "true"}]},
            400,
            '"emails[0].primary" must be a boolean',
        ),
        ({"name": "x", "owner_id": "1"}, 400, '"owner_id" must be an integer'),
        ({"name": "x", "owner_id": 5}, 400, '"owner_id" is not a user of this company'),
        ({"name": "x", "org_id": 5}, 404, "Organization not found"),
        ({"name": "x", "visible_to": "3"}, 400, '"visible_to" must be an integer'),
        ({"name": "x", "visible_to": 4}, 400, '"visible_to" must be one of [1, 3, 5, 7]'),
        (
            {"name": "x", "label_ids": [99]},
            400,
            '"label_ids" holds 99, which is not a label of this company',
        ),
        (
            {"name": "x", "marketing_status": "subscribed"},
            400,
            "Email must be given if marketing status is set.",
        ),
        ({"name": "x", "marketing_status": "yes"}, 400, '"marketing_status" must be one of'),
        ({"name": "x", "custom_fields": {"a" * 40: 1}}, 400, f'"{"a" * 40}" is not allowed'),
        ({"name": "x", "custom_fields": []}, 400, '"custom_fields" must be of type object'),
        ({"name": "x", "add_time": "yesterday"}, 400, '"add_time" is not a valid datetime'),
        ({"name": "x", "job_title": "CEO"}, 403, '"job_title" needs contact sync'),
    ],
)
def test_persons_are_checked(
    api: httpx.Client, body: dict[str, Any], status: int, error: str
) -> None:
    """An invalid person is refused in the shape of v2, and none is created."""
    answer = api.post("/api/v2/persons", json=body)
    assert answer.status_code == status
    assert error in answer.json()["error"]
    assert answer.json()["success"] is False
    assert api.get("/_sandbox/state").json()["persons"] == []


def test_v2_refusals_carry_a_code(api: httpx.Client) -> None:
    """A refusal of v2 has `success`, `error` and an `ERR_` code, nothing else."""
    assert api.post("/api/v2/persons", json={}).json() == {
        "success": False,
        "error": "Name must be given.",
        "code": "ERR_SCHEMA_VALIDATION_FAILED",
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, '"name" is required'),
        ({"name": ""}, '"name" is not allowed to be empty'),
        ({"name": "x", "industry": "IT"}, '"industry" must be an integer'),
        ({"name": "x", "address": "Main Street 1"}, '"address" must be of type object'),
        ({"name": "x", "people": []}, '"people" is not allowed'),
    ],
)
def test_organizations_are_checked(api: httpx.Client, body: dict[str, Any], error: str) -> None:
    """An invalid organization is refused."""
    answer = api.post("/api/v2/organizations", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"lead_id": NOBODY}, 400, '"content" is required'),
        (
            {"content": "x"},
            400,
            (
                "Note must be associated with at least one organization, person, deal, lead or"
                " project."
            ),
        ),
        ({"content": "x", "lead_id": "5"}, 400, '"lead_id" must be a valid GUID'),
        ({"content": "x", "lead_id": NOBODY}, 404, "Lead not found"),
        ({"content": "x", "person_id": 9}, 404, "Person not found"),
        ({"content": "x", "project_id": 9}, 404, "Project not found"),
        (
            {"content": "x", "person_id": 1, "pinned_to_lead_flag": True},
            400,
            '"pinned_to_lead_flag" must be a number',
        ),
        (
            {"content": "x", "person_id": 1, "pinned_to_lead_flag": 1},
            400,
            '"pinned_to_lead_flag" needs "lead_id"',
        ),
        (
            {"content": "x", "person_id": 1, "add_time": "2026-01-01T00:00:00Z"},
            400,
            '"add_time" must be in YYYY-MM-DD HH:MM:SS format',
        ),
        ({"content": "x", "person_id": 1, "title": "x"}, 400, '"title" is not allowed'),
    ],
)
def test_notes_are_checked(
    api: httpx.Client, body: dict[str, Any], status: int, error: str
) -> None:
    """An invalid note is refused, and none is created."""
    add_person(api)
    answer = api.post("/v1/notes", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert api.get("/_sandbox/state").json()["notes"] == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/leads?limit=0", '"limit" must be larger than or equal to 1'),
        ("/v1/leads?limit=501", '"limit" must be less than or equal to 500'),
        ("/v1/leads?limit=ten", '"limit" must be an integer'),
        ("/v1/leads?start=-1", '"start" must be larger than or equal to 0'),
        ("/v1/leads?sort=origin_id", '"sort" must be made of known fields'),
        ("/v1/leads?sort=title%20UP", '"sort" must be made of known fields'),
        ("/v1/leads?updated_since=2026-01-01", '"updated_since" must be a valid datetime'),
        ("/v1/leads?origin_id=x", '"origin_id" is not allowed'),
        ("/v1/leads?person_id=1&person_id=2", "A parameter is given more than once"),
        ("/v1/leads/archived?updated_since=2026-01-01T00:00:00Z", '"updated_since" is not allowed'),
        ("/v1/leads/5", '"id" must be a valid GUID'),
        ("/v1/notes/abc", '"id" must be an integer'),
        ("/v1/notes?lead_id=5", '"lead_id" must be a valid GUID'),
        ("/v1/notes?pinned_to_lead_flag=2", '"pinned_to_lead_flag" must be one of [0, 1]'),
        ("/api/v2/persons/search", '"term" is required'),
        ("/api/v2/persons/search?term=a", '"term" length must be at least 2 characters long'),
        (
            "/api/v2/persons/search?term=%20&exact_match=true",
            '"term" length must be at least 1 characters long',
        ),
        (
            "/api/v2/persons/search?term=" + "a" * 256,
            '"term" length must be less than or equal to 255 characters long',
        ),
        ("/api/v2/persons/search?term=ab&fields=mail", '"fields" must be one of'),
        ("/api/v2/persons/search?term=ab&exact_match=1", '"exact_match" must be a boolean'),
        ("/api/v2/persons/search?term=ab&limit=501", '"limit" must be less than or equal to 500'),
        ("/api/v2/leads/search?term=ab&fields=origin_id", '"fields" must be one of'),
        ("/api/v2/persons?sort_by=name", '"sort_by" must be one of [id, update_time, add_time]'),
        ("/api/v2/persons?sort=add_time", '"sort" is not allowed'),
        ("/api/v2/persons?start=0", '"start" is not allowed'),
        ("/api/v2/persons?cursor=nonsense", '"cursor" is not valid'),
        (
            "/api/v2/persons?updated_since=2025-01-01T10:20:00.123Z",
            '"updated_since" is not a valid datetime',
        ),
        ("/api/v2/persons?ids=1,x", '"ids" must be up to 100 comma separated ids'),
        ("/api/v2/persons?include_fields=emails", '"include_fields" must be one of'),
        ("/api/v2/deals?status=all", '"status" must be one of [open, won, lost, deleted]'),
    ],
)
def test_paths_and_queries_are_checked(api: httpx.Client, path: str, error: str) -> None:
    """A parameter that is unknown, repeated, out of range or of another type is refused."""
    answer = api.get(path)
    assert answer.status_code == 400, answer.text
    assert error in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", f"/v1/leads/{NOBODY}", "requested lead not found"),
        ("PATCH", f"/v1/leads/{NOBODY}", "requested lead not found"),
        ("DELETE", f"/v1/leads/{NOBODY}", "requested lead not found"),
        ("GET", "/v1/notes/9", "Note not found"),
        ("GET", "/api/v2/persons/9", "Person not found"),
        ("PATCH", "/api/v2/persons/9", "Person not found"),
        ("DELETE", "/api/v2/organizations/9", "Organization not found"),
        ("GET", "/api/v2/dealFields/nothing", "Field not found"),
        ("GET", "/v1/leads?filter_id=5", "Filter not found"),
        ("POST", f"/api/v2/leads/{NOBODY}/convert/deal", "Entity was not found"),
    ],
)
def test_what_is_not_there_is_404(api: httpx.Client, method: str, path: str, error: str) -> None:
    """What does not exist is answered with 404 in the words of Pipedrive."""
    answer = api.request(method, path, json={} if method == "PATCH" else None)
    assert answer.status_code == 404
    assert answer.json() == {
        "success": False,
        "error": error,
        "error_info": "Object was not found.",
        "data": None,
        "additional_data": None,
    }


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"title=x", 415),
        ("", b"{}", 415),
        ("application/json", b"", 400),
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"title":"\xff"}', 400),
        ("application/json; charset=utf-8", b"[" * 100_000, 400),
        ("application/json", b'{"title":"' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
def test_bodies_are_checked(
    api: httpx.Client, content_type: str, content: bytes, status: int
) -> None:
    """A body of another type, unreadable or too large, is refused."""
    answer = api.post("/v1/leads", content=content, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/leads", 405),
        ("GET", "/v1/persons", 404),
        ("GET", "/api/v2/leads", 404),
        ("GET", "/api/v3/leads", 404),
    ],
)
def test_unknown_routes(api: httpx.Client, method: str, path: str, status: int) -> None:
    """Paths and methods that the API does not have are refused, including v1's retired ones."""
    assert api.request(method, path).status_code == status


def test_both_prefixes_of_v1_lead_to_the_same(api: httpx.Client) -> None:
    """`/v1` and `/api/v1` are the same; v2 is only below `/api/v2`."""
    assert api.get("/v1/leadSources").json() == api.get("/api/v1/leadSources").json()
    assert api.get("/v2/persons").status_code == 404


def test_a_full_account_takes_no_more_leads(open_sandbox: Opener) -> None:
    """Leads and deals together reach the plan's limit: 403 with a code, and no lead is created."""
    api = open_sandbox(SandboxSettings(capacity=2))
    person = add_person(api)
    lead = add_lead(api, person)
    add_lead(api, person)
    api.post(f"/api/v2/leads/{lead}/convert/deal")
    answer = api.post("/v1/leads", json={"title": "x", "person_id": person})
    assert answer.status_code == 403
    assert answer.json()["code"] == "feature_capping_deals_limit"
    assert (
        api.delete(f"/v1/leads/{api.get('/v1/leads').json()['data'][0]['id']}").status_code == 200
    )
    add_lead(api, person)


def test_contact_sync_opens_more_fields(open_sandbox: Opener) -> None:
    """With contact sync, persons accept and show a job title."""
    api = open_sandbox(SandboxSettings(contact_sync=True))
    person = add_person(api, job_title="CEO")
    assert api.get(f"/api/v2/persons/{person}").json()["data"]["job_title"] == "CEO"
