from __future__ import annotations

from typing import Any

from worker.contract import Lead, Utm
from worker.delivery.planned_steps import planned_calls
from worker.lead.plan import build_plan
from worker.lead.settings import LeadMapping, LeadSettings


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
