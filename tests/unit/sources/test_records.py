"""Events that carry ids only, and the records that they point to."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize, normalize_record
from service.sources.request import NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from tests.providers.cases import Case, cases, name_of, source_of
from tests.unit.sources.factories import NOW, json_post, source
from tests.unit.sources.test_any_bytes import TREES
from worker.contract import Lead

PLAIN = ("name", "email", "phone", "form_id", "event_id", "is_test")


@cache
def unverified_source(adapter: str, more: str = "") -> Source:
    return source(f'adapter = "{adapter}"\n{more}\n[sources.x.verify]\nscheme = "none"')


def normalize_json(
    adapter: str, tree: Any, fetch: dict[str, str] | None = None, more: str = ""
) -> NormalizationResult:
    return normalize_record(unverified_source(adapter, more), json.dumps(tree).encode(), NOW, fetch)


def lead_of(result: NormalizationResult) -> Lead:
    [event] = result.events
    assert event.lead is not None
    return event.lead


@pytest.mark.parametrize("case", list(cases("api_response")), ids=name_of)
def test_captured_records(case: Case) -> None:
    """A record from a product's API becomes the lead that its case expects."""
    expected = case["expected"]
    body = json.dumps(case["response"]["body_json"]).encode()
    result = normalize_record(source_of(case), body, NOW)
    lead = lead_of(result)
    assert result.outcome.value == expected["outcome"]
    for field in PLAIN:
        assert getattr(lead, field) == expected.get(field, getattr(lead, field)), field
    assert lead.occurred_at == expected.get("submitted_at", lead.occurred_at)
    assert msgspec.to_builtins(lead.utm) == expected.get("utm", {})
    assert expected.get("source_detail", {}).items() <= lead.answers.items()


ANSWERS = [
    {"questionId": 1, "answerDetails": {"textQuestionAnswer": {"answer": "Ada"}}},
    {"questionId": 2, "answerDetails": {"textQuestionAnswer": {"answer": "Ada@Acme.example"}}},
    {"questionId": 3, "answerDetails": {"multipleChoiceAnswer": {"options": [7, 9]}}},
    {"questionId": 4, "answerDetails": {"textQuestionAnswer": {"answer": "soon"}}},
]
QUESTIONS = [
    {
        "questionId": 1,
        "predefinedField": "FIRST_NAME",
        "question": {"localized": {"de_DE": "Vorname"}},
    },
    {"questionId": 2, "predefinedField": "WORK_EMAIL"},
    {
        "questionId": 3,
        "name": "products",
        "questionDetails": {
            "multipleChoiceQuestionDetails": {
                "options": [
                    {"id": 7, "text": {"localized": {"en_US": "Pumps"}}},
                    {"id": 8, "text": {"localized": {"en_US": "No"}}},
                ]
            }
        },
    },
]
LINKEDIN = {
    "id": "52dcb737-26f9-4af3-b1fc-935b3e93f838-4",
    "submittedAt": 1706741502694,
    "testLead": False,
    "versionedLeadGenFormUrn": "urn:li:versionedLeadGenForm:(urn:li:leadGenForm:3213,1)",
    "leadMetadataInfo": {"sponsoredLeadMetadataInfo": {"campaign": {"name": "Pumps 2026"}}},
    "form": {
        "name": "Pumps",
        "content": {"questions": QUESTIONS},
        "hiddenFields": [{"name": "utm_source", "value": "linkedin"}, {"name": 5}],
    },
    "formResponse": {"answers": ANSWERS, "consentResponses": [{"consentId": 1, "accepted": True}]},
}


def test_linkedin_record() -> None:
    """Answers are named by the form's questions, choices by their labels, else by number."""
    lead = lead_of(result := normalize_json("linkedin", LINKEDIN))
    assert result.outcome is Outcome.LEAD
    assert (lead.first_name, lead.email, lead.consent) == ("Ada", "ada@acme.example", True)
    assert (lead.form_name, lead.utm.source, lead.occurred_at) == (
        "Pumps",
        "linkedin",
        "2024-01-31T22:51:42Z",
    )
    assert lead.answers["products"] == ["Pumps", "9"]
    assert lead.answers["4"] == "soon"
    assert "Pumps 2026" in lead.answers.values()
    assert normalize_json("linkedin", {**LINKEDIN, "testLead": True}).outcome is Outcome.NO_LEAD


@pytest.mark.parametrize("is_given", [True, False])
def test_linkedin_consent(is_given: bool) -> None:
    """Consent needs every box."""
    boxes = [{"consentId": 1, "accepted": True}, {"consentId": 2, "accepted": is_given}]
    changed = {**LINKEDIN, "formResponse": {"answers": ANSWERS, "consentResponses": boxes}}
    assert (lead_of(normalize_json("linkedin", changed)).consent or False) is is_given


def test_hubspot_record() -> None:
    """Values come without history, big ids stay text, the event's own id and time stay in force."""
    contact = {
        "id": "106314056576",
        "properties": {
            "email": "ada@acme.example", "firstname": "Ada", "hs_google_click_id": "gc1",
            "hs_object_id": "106314056576",
            "hs_analytics_first_url": "https://acme.example/?utm_campaign=spring", "budget": "500",
            "city": None,
        },
        "createdAt": "2026-01-01T00:00:00Z",
        "archived": False,
    }  # fmt: skip
    fetch = {
        "id": "106314056576",
        "event_id": "3400564480",
        "occurred_at": "2026-01-02T00:00:00Z",
        "odd": "x",
    }
    lead = lead_of(result := normalize_json("hubspot", contact, fetch))
    assert result.events[0].event_id == "3400564480"
    assert (lead.email, lead.first_name, lead.event_id) == ("ada@acme.example", "Ada", "3400564480")
    assert (lead.click_ids, lead.utm.campaign) == ({"gclid": "gc1"}, "spring")
    assert lead.occurred_at == "2026-01-02T00:00:00Z"
    assert lead.answers == {"budget": "500", "createdAt": "2026-01-01T00:00:00Z"}


def test_a_source_maps_its_record() -> None:
    """Paths of `map` lead into the record, and name what HubSpot's API is asked for."""
    meta = {
        "id": "1",
        "field_data": [
            {"name": "email", "values": ["a@b.example"]},
            {"name": "q7", "values": ["hello"]},
        ],
    }
    for path in ("q7", "field_data.q7"):
        assert (
            lead_of(
                normalize_json("meta-lead-ads", meta, more=f'map = {{ "{path}" = "message" }}')
            ).message
            == "hello"
        ), path
    hubspot = unverified_source(
        "hubspot", 'map = { "properties.budget" = "answers.Budget", "team" = "answers.Team" }'
    )
    api = ADAPTERS["hubspot"].record_api
    assert api is not None
    [target] = api.targets("7", hubspot)
    assert target.startswith("/crm/v3/objects/contacts/7?properties=email,")
    assert target.endswith(",budget,team")


def test_meta_disclaimers() -> None:
    """A ticked disclaimer is consent."""
    meta = {
        "id": "1",
        "field_data": [{"name": "email", "values": ["a@b.example"]}],
        "custom_disclaimer_responses": [{"checkbox_key": "news", "is_checked": "1"}],
    }
    assert lead_of(normalize_json("meta-lead-ads", meta)).consent is True


@pytest.mark.parametrize("adapter", ["meta-lead-ads", "linkedin", "hubspot"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"error": {"code": 190}}', b"\xff", b"<html>"]
)
def test_no_record(adapter: str, body: bytes) -> None:
    """A body that is not a record is unreadable and makes no lead."""
    assert normalize_record(unverified_source(adapter), body, NOW).outcome is Outcome.UNREADABLE


def test_nobody_in_the_record() -> None:
    """A record without anybody to reach says so."""
    result = normalize_json(
        "meta-lead-ads", {"id": "1", "field_data": [{"name": "q", "values": ["x"]}]}
    )
    assert (result.outcome, lead_of(result).answers["q"]) == (Outcome.NO_CONTACT, "x")
    assert result.field_errors
    with pytest.raises(ValueError, match="no records"):
        normalize_json("form", {"email": "a@b.example"})


KEYS = (
    "field_data",
    "formResponse",
    "properties",
    "answers",
    "form",
    "content",
    "questions",
    "name",
    "values",
    "id",
)


@pytest.mark.parametrize("adapter", ["meta-lead-ads", "linkedin", "hubspot"])
@settings(deadline=None, max_examples=50)
@given(tree=TREES, key=TREES)
def test_any_record(adapter: str, tree: Any, key: Any) -> None:
    """Any JSON in place of a record, or of a part of it, gives a result that can be stored."""
    whole = dict.fromkeys(KEYS, tree) | {
        "formResponse": {"answers": [key], "consentResponses": tree}
    }
    whole["field_data"] = [key, tree]
    for value in (
        tree,
        whole,
        {**LINKEDIN, "form": tree},
        {"properties": {"email": tree}, "form-submissions": [key, tree]},
    ):
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        result = normalize_record(
            unverified_source(adapter),
            body,
            NOW,
            {"id": "1", "event_id": "e", "occurred_at": "never"},
        )
        assert (
            msgspec.json.decode(msgspec.json.encode(result.events), type=list[SourceEvent])
            == result.events
        )


BATCHES: list[tuple[str, Any, list[tuple[str, str | None, str | None]]]] = [
    (
        "meta-lead-ads",
        {"entry": [
            {"changes": [
                {"field": "leadgen", "value": {"leadgen_id": 123456789012345678, "ad_id": 0}},
                {"field": "feed", "value": {}},
            ]},
            {"changes": [{"field": "leadgen", "value": {"leadgen_id": "9"}}]},
        ]},
        [("needs_fetch", "123456789012345678", "123456789012345678"), ("needs_fetch", "9", "9")],
    ),
    ("meta-lead-ads", {"entry": [{"changes": [{"field": "feed", "value": {}}]}]}, [("no_lead", None, None)]),
    ("meta-lead-ads", {"entry": []}, [("no_lead", None, None)]),
    ("meta-lead-ads",
    {"entry": [{"changes": [{"field": "leadgen", "value": {"leadgen_id": "../me"}}]}]},
     [("no_lead", None, None)]),
    (
        "hubspot",
        [
            {"subscriptionType": "contact.creation", "objectId": 7, "eventId": 1},
            {"subscriptionType": "contact.deletion", "objectId": 7, "eventId": 2},
            {"subscriptionType": "object.creation", "objectTypeId": "0-1", "objectId": 8, "eventId": 3},
            {"subscriptionType": "object.creation", "objectTypeId": "0-2", "objectId": 9, "eventId": 4},
            {"subscriptionType": "contact.creation", "objectId": "7/../x", "eventId": 5},
        ],
        [("needs_fetch", "1", "7"), ("no_lead", "2", None), ("needs_fetch", "3", "8"),
        ("no_lead", "4", None),
         ("no_lead", "5", None)],
    ),
    ("hubspot", {"subscriptionType": "contact.creation", "objectId": 7}, [("needs_fetch", None, "7")]),
    ("hubspot", [], [("no_lead", None, None)]),
    ("linkedin", {"leadGenFormResponse": "urn:li:leadGenFormResponse:a-1", "leadAction": "CREATED"},
     [("needs_fetch", "urn:li:leadGenFormResponse:a-1:CREATED", "a-1")]),
    ("linkedin", {"leadGenFormResponse": "urn:li:leadGenFormResponse:", "leadAction": "CREATED"},
     [("no_lead", "urn:li:leadGenFormResponse:", None)]),
    ("linkedin", {"leadGenFormResponse": "urn:li:leadGenFormResponse:a-1"},
     [("no_lead", "urn:li:leadGenFormResponse:a-1", None)]),
]  # fmt: skip


@pytest.mark.parametrize(("adapter", "body", "events"), BATCHES)
def test_notifications(
    adapter: str, body: Any, events: list[tuple[str, str | None, str | None]]
) -> None:
    """Each event has its own id and names its record; one that names none is not fetched."""
    result = normalize(unverified_source(adapter), json_post(body), NOW)
    assert [
        (event.outcome.value, event.event_id, (event.fetch or {}).get("id"))
        for event in result.events
    ] == events
    assert result.status == 200
    assert "0" not in [
        text for event in result.events if event.lead for text in event.lead.answers.values()
    ]


@pytest.mark.parametrize(
    "answer", ["<test lead: dummy data for email>", "test@fb.com", "Test@Meta.com"]
)
def test_meta_test_leads(answer: str) -> None:
    """Each placeholder gives a test lead away; a person called Test does not."""
    fields = [{"name": "full_name", "values": ["Tess Test"]}, {"name": "email", "values": [answer]}]
    assert (
        normalize_json("meta-lead-ads", {"id": "1", "field_data": fields}).outcome
        is Outcome.NO_LEAD
    )
    assert (
        normalize_json("meta-lead-ads", {"id": "1", "field_data": fields[:1]}).outcome
        is Outcome.LEAD
    )


def test_too_many_events_in_one_request() -> None:
    """Too many events are refused rather than kept in part."""
    many = [{"subscriptionType": "contact.creation", "objectId": number} for number in range(100)]
    assert len(normalize(unverified_source("hubspot"), json_post(many), NOW).events) == 100
    changes = [{"field": "leadgen", "value": {"leadgen_id": number}} for number in range(300)]
    assert (
        normalize(
            unverified_source("meta-lead-ads"),
            json_post({"entry": [{"changes": changes}] * 2}),
            NOW,
        ).outcome
        is Outcome.UNREADABLE
    )
