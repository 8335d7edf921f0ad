from __future__ import annotations

from typing import Any

from worker.contract import Lead, Utm
from worker.delivery.planned_steps import planned_calls
from worker.lead.plan import build_plan
from worker.lead.settings import LeadMapping, LeadSettings
from worker.lead.uploads import UploadedFile


def calls(lead: Lead, **settings: Any) -> list[dict[str, Any]]:
    mapping = LeadMapping(source="contact", lead=LeadSettings(**settings))
    return planned_calls(build_plan(mapping, lead, submission_id="sub-1", received_at=0.0, now=0.0))


def test_everything() -> None:
    """A full lead is searched for, then created; what only the account knows stays a name."""
    planned = calls(
        Lead(name="Ann", email="ann+x@acme.example", company="Acme & Sons", message="Hi", utm=Utm(campaign="spring")),
        labels=["Website"], channel="Web forms", owner_id="bob@acme.example",
        custom={"Kind": "ad", "person.News": "no"},
    )  # fmt: skip
    note = planned[-1]["body"].pop("content")
    assert "Hi" in note
    assert planned == [
        {
            "method": "GET",
            "path": "/api/v2/organizations/search?term=Acme+%26+Sons&fields=name&exact_match=true",
            "body": None,
        },
        {
            "method": "POST",
            "path": "/api/v2/organizations",
            "body": {"name": "Acme & Sons", "owner_id": "bob@acme.example"},
        },
        {
            "method": "GET",
            "path": (
                "/api/v2/persons/search?term=ann%2Bx@acme.example&fields=email&exact_match=true"
            ),
            "body": None,
        },
        {
            "method": "POST",
            "path": "/api/v2/persons",
            "body": {
                "name": "Ann",
                "owner_id": "bob@acme.example",
                "org_id": "{organization.id}",
                "emails": [{"value": "ann+x@acme.example", "primary": True, "label": "work"}],
                "custom_fields": {"News": "no"},
            },
        },
        {
            "method": "POST",
            "path": "/v1/leads",
            "body": {
                "title": "Acme & Sons via contact",
                "person_id": "{person.id}",
                "organization_id": "{organization.id}",
                "owner_id": "bob@acme.example",
                "label_ids": ["Website"],
                "origin_id": "contact:sub-1",
                "channel": "Web forms",
                "channel_id": "spring",
                "Kind": "ad",
            },
        },
        {"method": "POST", "path": "/v1/notes", "body": {"lead_id": "{lead.id}"}},
    ]


def test_bare_leads() -> None:
    """Only the necessary calls are planned: a phone alone is searched in all its forms, a name not
    at all.
    """
    assert [call["path"].split("&")[0] for call in calls(Lead(phone="+49151", name="Ann"))] == [
        "/api/v2/persons/search?term=%2B49151",
        "/api/v2/persons/search?term=151",
        "/api/v2/persons",
        "/v1/leads",
    ]
    assert [call["path"] for call in calls(Lead(name="Ann"))] == ["/api/v2/persons", "/v1/leads"]
    company = calls(Lead(company="Acme"))
    assert [call["path"].split("?")[0] for call in company] == [
        "/api/v2/organizations/search",
        "/api/v2/organizations",
        "/v1/leads",
    ]
    assert "person_id" not in company[-1]["body"]


def test_what_more_may_be_set() -> None:
    """Searches of `match`, owners in turn, details of both contacts and files are all planned."""
    mapping = LeadMapping(
        source="contact",
        lead=LeadSettings(
            match=["email", "phone"],
            owner_id=[12, 15],
            person_labels=["Inbound"],
            person_visible_to="1",
            organization_visible_to="7",
            marketing=True,
            was_seen=True,
            note=False,
            files=True,
            custom={"organization.address": "{answers.street}", "Kind": "ad"},
        ),
    )
    lead = Lead(
        name="Ann",
        email="ann@acme.example",
        phone="+4915112345678",
        company="Acme",
        consent=True,
        answers={"street": "1 High Street"},
    )
    plan = build_plan(mapping, lead, submission_id="sub-1", received_at=0.0, now=0.0)
    upload = UploadedFile("cv.pdf", "application/pdf", b"%PDF-1.7")
    planned = planned_calls(plan, [upload])
    assert [(call["method"], call["path"].partition("?")[0]) for call in planned] == [
        ("GET", "/api/v2/organizations/search"),
        ("POST", "/api/v2/organizations"),
        ("GET", "/api/v2/persons/search"),
        ("GET", "/api/v2/persons/search"),
        ("POST", "/api/v2/persons"),
        ("POST", "/v1/leads"),
        ("POST", "/v1/files"),
    ]
    organization, person, created, file = (planned[at]["body"] for at in (1, 4, 5, 6))
    assert organization == {
        "name": "Acme",
        "owner_id": "{owner.id}",
        "visible_to": 7,
        "address": {"value": "1 High Street"},
    }
    assert (person["label_ids"], person["visible_to"]) == (["Inbound"], 1)
    assert (person["marketing_status"], person["owner_id"]) == ("subscribed", "{owner.id}")
    assert (created["owner_id"], created["was_seen"], created["Kind"]) == ("{owner.id}", True, "ad")
    assert "organization.address" not in created
    assert file == {"lead_id": "{lead.id}", "file": "cv.pdf (application/pdf, 8 bytes)"}
