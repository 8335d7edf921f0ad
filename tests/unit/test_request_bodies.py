from __future__ import annotations

from typing import Any

import pytest

from worker.contract import Lead
from worker.lead.plan import LeadPlan, OrganizationDetails, PersonPlan, build_plan
from worker.lead.settings import LeadMapping, LeadSettings, ValueTemplates
from worker.pipedrive.request_bodies import (
    ResolvedNames,
    lead_body,
    lead_patch,
    missing_fields,
    note_body,
    organization_body,
    organization_search,
    person_body,
    person_searches,
)

FULL = Lead(
    name="Ann Lee",
    email="ann@acme.example",
    phone="+4915112345678",
    company="Acme",
    form_name="Contact",
)


def build(lead: Lead, **settings: Any) -> LeadPlan:
    mapping = LeadMapping(source="contact", lead=LeadSettings(**settings))
    return build_plan(mapping, lead, submission_id="sub-1", received_at=0.0, now=0.0)


def test_person() -> None:
    """A person has a name, a primary e-mail and phone, an organisation and custom fields."""
    person = build(FULL).person
    assert person is not None
    assert person_body(
        person, ResolvedNames(owner_id=4, person_custom={"k": 1}), organization_id=7
    ) == {
        "name": "Ann Lee",
        "owner_id": 4,
        "org_id": 7,
        "emails": [{"value": "ann@acme.example", "primary": True, "label": "work"}],
        "phones": [{"value": "+4915112345678", "primary": True, "label": "work"}],
        "custom_fields": {"k": 1},
    }
    assert person_body(PersonPlan(name="Ann"), ResolvedNames(), organization_id=None) == {
        "name": "Ann"
    }


def test_lead() -> None:
    """A lead has Pipedrive's shapes; a label is set once, and a custom field displaces nothing."""
    planned = build(
        FULL, value=ValueTemplates("5", "EUR"), expected_close="2026-02-01", visible_to="3",
        channel="Web forms", channel_id="spring"
    )  # fmt: skip
    assert lead_body(
        planned,
        ResolvedNames(
            label_ids=["a", "b", "a"], channel=9, owner_id=4, custom={"k": 1, "title": "no"}
        ),
        person_id=8,
        organization_id=7,
    ) == {
        "title": "Acme via Contact",
        "person_id": 8,
        "organization_id": 7,
        "owner_id": 4,
        "label_ids": ["a", "b"],
        "value": {"amount": 5, "currency": "EUR"},
        "expected_close_date": "2026-02-01",
        "visible_to": "3",
        "origin_id": "contact:sub-1",
        "channel": 9,
        "channel_id": "spring",
        "k": 1,
    }


def test_bare_lead() -> None:
    """A bare lead holds nothing but what Pipedrive requires and what marks it as ours."""
    planned = build(Lead(email="a@b.example"))
    assert lead_body(planned, ResolvedNames(), person_id=8, organization_id=None) == {
        "title": "a@b.example via contact",
        "person_id": 8,
        "origin_id": "contact:sub-1",
    }


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        (
            {"label_ids": ["x"], "channel": None, "channel_id": None},
            {"label_ids": ["x", "a", "b"], "channel": 9, "channel_id": "spring"},
        ),
        (
            {"label_ids": ["b", "x"], "channel": 1, "channel_id": ""},
            {"label_ids": ["b", "x", "a"], "channel_id": "spring"},
        ),
        ({"label_ids": ["x", "b", "a"], "channel": 1, "channel_id": "kept"}, {}),
        ({}, {"label_ids": ["a", "b"], "channel": 9, "channel_id": "spring"}),
        ({"label_ids": None, "channel": 0, "channel_id": "kept"}, {"label_ids": ["a", "b"]}),
    ],
)
def test_patch(lead: dict[str, Any], expected: dict[str, Any]) -> None:
    """Labels are added and empty channel fields filled; nothing to change means no call."""
    names = ResolvedNames(label_ids=["a", "b"], channel=9)
    assert lead_patch(build(FULL, channel_id="spring"), names, lead=lead) == expected


def test_others() -> None:
    """Organisations, notes and searches are as Pipedrive wants them."""
    assert organization_body("Acme", ResolvedNames(owner_id=4)) == {"name": "Acme", "owner_id": 4}
    assert organization_body("Acme", ResolvedNames()) == {"name": "Acme"}
    assert note_body("<p>Hi</p>", lead_id="uuid") == {"content": "<p>Hi</p>", "lead_id": "uuid"}
    assert organization_search("Acme") == {"term": "Acme", "fields": "name", "exact_match": True}


@pytest.mark.parametrize(
    ("given", "searches"),
    [
        ({"email": "a@b.example", "phone": "+491711234567"}, ["a@b.example"]),
        ({"phone": "+491711234567"}, ["+491711234567", "171 1234567"]),
        ({"phone": "0171/1234567"}, ["0171/1234567", "171 1234567"]),
        ({"phone": "0"}, ["0"]),
        (
            {"email": "a@b.example", "phone": "+12125551234", "match": ("email", "phone")},
            ["a@b.example", "212 555 1234"],
        ),
        (
            {"email": "a@b.example", "phone": "+12125551234", "match": ("phone", "email")},
            ["212 555 1234", "a@b.example"],
        ),
        (
            {"email": "a@b.example", "phone": "+12125551234", "match": ("phone",)},
            ["+12125551234", "212 555 1234"],
        ),
        ({"email": "a@b.example", "match": ("email", "phone")}, ["a@b.example"]),
        ({"phone": "+12125551234", "match": ("email",)}, []),
        ({}, []),
    ],
)
def test_searches_of_a_person(given: dict[str, Any], searches: list[str]) -> None:
    """A person is searched at most twice, a phone also by the groups of digits of all its forms."""
    searched = person_searches(PersonPlan(name="A", **given))
    assert [query["term"] for _, query in searched] == searches
    assert all(query["fields"] == kind for kind, query in searched)
    assert all(query["exact_match"] is (query["term"] in given.values()) for _, query in searched)


DETAILED = PersonPlan(
    name="Ann",
    email="ann@acme.example",
    phone="+4915112345678",
    job_title="Head",
    visible_to="3",
    marketing_status="subscribed",
)


def test_details_of_a_person() -> None:
    """Visibility is a number, and a job title stands beside the built-in fields, if there is one."""
    names = ResolvedNames(
        person_label_ids=[5, 6, 5], person_custom={"birthday": "1815-12-10", "k": 1}
    )
    body = person_body(DETAILED, names, organization_id=None)
    assert {key: body[key] for key in ("label_ids", "visible_to", "marketing_status")} == {
        "label_ids": [5, 6],
        "visible_to": 3,
        "marketing_status": "subscribed",
    }
    assert (body["birthday"], body["custom_fields"]) == ("1815-12-10", {"k": 1})
    assert "job_title" not in body
    with_title = ResolvedNames(writes_job_title=True)
    assert person_body(DETAILED, with_title, organization_id=None)["job_title"] == "Head"
    by_custom_field = ResolvedNames(writes_job_title=True, person_custom={"job_title": "Boss"})
    assert person_body(DETAILED, by_custom_field, organization_id=None)["job_title"] == "Boss"


def test_details_of_an_organisation() -> None:
    """An address is an object, as v2 takes it."""
    details = OrganizationDetails(visible_to="7", address="1 High Street", website="acme.example")
    assert organization_body("Acme", ResolvedNames(), details) == {
        "name": "Acme",
        "visible_to": 7,
        "address": {"value": "1 High Street"},
        "website": "acme.example",
    }


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        ({}, {"phones": ["p"], "org_id": 7, "custom_fields": {"k": 1, "m": 0}}),
        ({"phones": [], "org_id": None, "custom_fields": {"k": "", "m": None}},
         {"phones": ["p"], "org_id": 7, "custom_fields": {"k": 1, "m": 0}}),
        ({"phones": ["q"], "org_id": 8, "custom_fields": {"k": 0, "m": False}}, {}),
        ({"phones": ["q"], "org_id": 8, "custom_fields": {"k": 2}}, {"custom_fields": {"m": 0}}),
        ({"phones": ["q"], "org_id": 8, "custom_fields": {"k": 2, "m": 2},
          "marketing_status": "no_consent"}, {"marketing_status": "subscribed"}),
        ({"phones": ["q"], "org_id": 8, "custom_fields": {"k": 2, "m": 2},
          "marketing_status": "unsubscribed"}, {}),
    ],
)  # fmt: skip
def test_what_is_missing(record: dict[str, Any], missing: dict[str, Any]) -> None:
    """Only what is empty is added: never a name, an owner, a visibility or another value."""
    body = {
        "name": "Ann",
        "owner_id": 4,
        "visible_to": 3,
        "phones": ["p"],
        "org_id": 7,
        "marketing_status": "subscribed",
        "custom_fields": {"k": 1, "m": 0},
    }
    assert missing_fields(body, record) == missing


def test_an_empty_address_is_missing() -> None:
    """An address of which Pipedrive returns only empty parts is none."""
    body = {"name": "Acme", "address": {"value": "1 High Street"}}
    assert missing_fields(body, {"address": {"value": None, "route": ""}}) == {
        "address": {"value": "1 High Street"}
    }
    assert missing_fields(body, {"address": {"value": "Oxford"}}) == {}
