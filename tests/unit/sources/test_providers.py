"""What real products send becomes the lead that a person would write down from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import process_request
from service.sources.request import NormalizationResult, Outcome, SourceEvent
from tests.providers.cases import (
    HERE,
    OUTCOMES,
    Case,
    cases,
    labels_of,
    name_of,
    request_of,
    source_of,
)
from worker.contract import Lead

TEXTS = (
    "name",
    "first_name",
    "last_name",
    "company",
    "email",
    "message",
    "form_id",
    "form_name",
    "referrer",
)
RENAMED = {"source_url": "page_url", "submitted_at": "occurred_at"}
"""Words of the cases -> fields of the lead."""
CHECKED = {
    "outcome", "status", "accept", "must_not", "events", "is_test", "event_id", "phone", "utm",
    "click_ids", "consent",
    "answers", "hidden", "response_text", "response_content_type", "response_json", *TEXTS,
    *RENAMED,
}  # fmt: skip
ELSEWHERE = {
    "submission_id": "no field of the lead: the event's id tells deliveries apart",
    "customer_id": "the same",
    "page_id": "the same",
    "post_twice": "what makes two posts one is the ledger's business",
    "response_json_has": "the door writes refusals",
    "source_detail": "answers of a fetched record",
}
UNSIGNED = (
    "query_secret", "google_key", "handshake_key", "meta_verify_token", "linkedin_challenge",
    "woocommerce_ping",
)  # fmt: skip
"""Schemes that say nothing of the body."""
AT = 1_700_000_000.0
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def such(holds: Callable[[Case], bool]) -> list[Any]:
    """The cases of which something holds."""
    return [pytest.param(case, id=name_of(case)) for case in cases() if holds(case)]


ALL = such(lambda case: True)  # noqa: ARG005 -- every one
LEADS = such(lambda case: case["expected"]["outcome"] == "lead")


def now_of(case: Case) -> float:
    return float(case.get("verification", {}).get("now", AT))


def read(case: Case) -> NormalizationResult:
    return process_request(source_of(case), request_of(case), now_of(case))


def _is_signed(check: dict[str, Any]) -> bool:
    return bool(check.get("valid")) and check["scheme"] not in UNSIGNED


def lead_of(reading: NormalizationResult) -> Lead:
    [event] = reading.events
    assert event.lead is not None
    return event.lead


def allowed(expected: dict[str, Any], field: str) -> list[Any]:
    """The values that the case takes for a field: the one that it expects, and others that are as
    good.
    """
    return [expected[field] for _ in range(field in expected)] + list(
        expected.get("accept", {}).get(field, [])
    )


def test_every_adapter_has_cases() -> None:
    """Each adapter has a folder of captured cases, and each folder has its adapter."""
    folders = {path.parent.name.replace("_", "-") for path in HERE.glob("*/*.json")}
    assert folders == set(ADAPTERS)


@pytest.mark.parametrize("case", ALL)
def test_outcome(case: Case) -> None:
    """Each request is told for what it is, and refused ones hold no lead."""
    expected, reading = case["expected"], read(case)
    assert reading.outcome in {OUTCOMES.get(word, word) for word in allowed(expected, "outcome")}, (
        reading
    )
    assert reading.status in expected.get("status", [reading.status])
    if reading.outcome in (Outcome.REFUSED, Outcome.UNREADABLE):
        assert reading.events == []
    if reading.outcome is Outcome.NO_LEAD:
        assert all(event.reason for event in reading.events)


@pytest.mark.parametrize("case", ALL)
def test_nothing_of_a_case_is_overlooked(case: Case) -> None:
    """Every word of what a case expects is looked at by a test of this file, or belongs
    elsewhere.
    """
    assert set(case["expected"]) - CHECKED - set(ELSEWHERE) == set()


@pytest.mark.parametrize("case", such(lambda case: "verification" in case))
def test_verification(case: Case) -> None:
    """Who did not prove to be the product is refused, and nobody else."""
    assert (read(case).outcome is Outcome.REFUSED) is not case["verification"]["valid"]


@pytest.mark.parametrize("case", such(lambda case: _is_signed(case.get("verification", {}))))
def test_signed_bytes(case: Case) -> None:
    """One byte more or less under the same signature, or another secret, is refused."""
    source, request, now = source_of(case), request_of(case), now_of(case)
    middle = len(request.body) // 2
    flipped = request.body[:middle] + bytes([request.body[middle] ^ 1]) + request.body[middle + 1 :]
    for body in (request.body + b" ", request.body[:-1], flipped):
        assert (
            process_request(source, msgspec.structs.replace(request, body=body), now).outcome
            is Outcome.REFUSED
        )
    other = source_of(case | {"secret": case["secret"][::-1]})
    assert process_request(other, request, now).outcome is Outcome.REFUSED
    bare = msgspec.structs.replace(request, headers=[("content-type", request.content_type)])
    assert process_request(source, bare, now).outcome is Outcome.REFUSED


@pytest.mark.parametrize("case", ALL)
def test_events(case: Case) -> None:
    """Each event has the product's own id, and only the product's own tells make it a test."""
    expected, events = case["expected"], read(case).events
    for one in expected.get("events", []):
        assert any(_has_id(event, [one["event_id"]]) for event in events)
    if ids := allowed(expected, "event_id"):
        assert any(_has_id(event, ids) for event in events)
    if flags := allowed(expected, "is_test"):
        assert {event.lead.is_test for event in events if event.lead} <= set(flags)


def _has_id(event: SourceEvent, ids: list[Any]) -> bool:
    """The event's own id, or the one that it has in the lead: a product may need more than that to
    tell two apart.
    """
    return event.event_id in ids or (event.lead is not None and event.lead.event_id in ids)


@pytest.mark.parametrize("case", LEADS)
def test_fields(case: Case) -> None:
    """Each field that the case names stands in the lead, and nothing that is empty does."""
    expected, lead = case["expected"], lead_of(read(case))
    for field in (*TEXTS, *RENAMED):
        if values := allowed(expected, field):
            assert getattr(lead, RENAMED.get(field, field)) in [
                _trimmed(value) for value in values
            ], field
    if numbers := allowed(expected, "phone"):
        assert _digits(lead.phone) in {_digits(number) for number in numbers}
    for consent in expected.get("consent", []):
        assert lead.consent is True if consent["value"] else not lead.consent
    _check_kept(case, lead)


def _check_kept(case: Case, lead: Lead) -> None:
    """Attribution to the letter; the answers that the case names, and none that is empty."""
    expected, labels = case["expected"], labels_of(case)
    if utms := allowed(expected, "utm"):
        assert msgspec.to_builtins(lead.utm) in utms
    else:
        assert msgspec.to_builtins(lead.utm) == {}
    assert lead.click_ids == expected.get("click_ids", {})
    for key, value in {**expected.get("answers", {}), **expected.get("hidden", {})}.items():
        assert lead.answers.get(labels.get(key, key)) == _answer(value), key
    assert not {"", ()} & {
        tuple(answer) if isinstance(answer, list) else answer for answer in lead.answers.values()
    }


def _answer(value: Any) -> str | list[str]:
    """As answers are kept: texts, and a table as one text for each of its rows."""
    if isinstance(value, dict):
        return [f"{row}: {', '.join(chosen)}" for row, chosen in value.items()]
    if isinstance(value, list):
        return [str(item) for item in value]
    return json.dumps(value) if isinstance(value, bool | int) else str(value)


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _digits(number: str | None) -> str:
    return re.sub(r"\D", "", number or "").lstrip("0")


@pytest.mark.parametrize("case", such(lambda case: case["expected"]["outcome"] == "handshake"))
def test_handshakes(case: Case) -> None:
    """A product that asks whether the URL is ours gets what it asks for."""
    expected, answer = case["expected"], read(case).response
    assert answer is not None
    assert answer.status in expected["status"]
    assert answer.media_type.partition(";")[0] == expected["response_content_type"]
    assert answer.body == expected.get("response_json", expected.get("response_text"))


def everything(reading: NormalizationResult) -> str:
    return msgspec.json.encode(reading).decode()


def lacks(*texts: str) -> Callable[[NormalizationResult], bool]:
    """Whether nothing of the reading holds any of these texts."""
    return lambda reading: not any(text in everything(reading) for text in texts)


TRAPS: dict[str, Callable[[NormalizationResult], bool]] = {
    "calcom-booking_created": lacks("host@", "Olga", "otto@", "9946", "friend@"),
    "calcom-requested_without_responses": lacks("host@", "Olga"),
    "calendly-outbound_call": lacks("host@"),
    "callrail-anonymous_call": lacks("66696687", "Anonymous", "79460001", "4045558514", "agent@"),
    "callrail-named_after_a_town": lambda reading: lead_of(reading).full_name is None,
    "callrail-post_call": lacks("Vendor", "79460001", "4045558514", "404-555", "agent@"),
    "cognito-entry_submitted": lacks("owner@", "Olga", "Springfield", '"US"'),
    "cognito-nobody_to_contact": lacks("owner@", "Olga"),
    "cognito-table_of_attendees": lacks("owner@", "Olga"),
    "fluent_forms-all_fields_json": lacks("d2f9ae5dc1", '"88"', "Springfield", "Ada Example"),
    "fluent_forms-posted_form_without_entry": lacks("08e4399de5", '"88"'),
    "formstack-field_types": lacks("formstack-handshake", "field_type", "textarea"),
    "formstack-json_field_types": lambda reading: everything(reading).count("Friend") == 1,
    "formstack-json_with_another_person": lambda reading: (
        everything(reading).count("pat@") == everything(reading).count("Pat") == 1
    ),
    "formspree-hidden_replyto_of_owner": lacks("owner@"),
    "formspree-submission_signed": lacks("thanks", "keys"),
    "gohighlevel-contact_without_email": lambda reading: (
        lead_of(reading).email is None and lacks("chris@", "Agency")(reading)
    ),
    "gohighlevel-workflow_assigned_contact": lacks("chris@", "Colleague", "Agency", "New lead to"),
    "netlify-event_of_a_function": lacks("owner@", "Owner"),
    "sendgrid_inbound-html_only": lacks("color", "<"),
    "sendgrid_inbound-message": lacks("sales@", "colleague@", "Colleague", "Spam detection"),
    "sendgrid_inbound-text_in_windows_1251": lacks("sales@", "colleague@"),
    "shopify-customer_not_subscribed": lambda reading: lead_of(reading).consent is False,
    "wix-form_submitted": lambda reading: everything(reading).count("friend@other") == 1,
    "woocommerce-only_an_address": lambda reading: (
        lead_of(reading).full_name is None and lacks("Gus", "Gift", "(direct)")(reading)
    ),
    "woocommerce-order_created": lacks("Gus", "Gift", "Leeds", "pi_3RNME1", "Mozilla", "none"),
    "wpforms-json_signed": lacks("5f2c1d", "1773151200"),
    "wufoo-with_metadata": lacks("owner@", "wufoo-handshake", "Print"),
    "zoom-webinar_registration": lacks("host@", "tk=personal"),
    "form-multipart_with_file": lambda reading: "empty_file" not in everything(reading),
    "contact_form_7-cf7_to_webhook_default_json": lambda reading: lead_of(reading).phone is None,
    "elementor-advanced_data_utm": lambda reading: (
        lead_of(reading).full_name == "Teste Exemplo"
        and not {"content", "term"} & set(msgspec.to_builtins(lead_of(reading).utm))
    ),
    "elementor-flattened_labels": lambda reading: everything(reading).count("New Form") == 1,
    "google_ads-wrong_key": lambda reading: (
        reading.status < 500 and "testkey" not in everything(reading)
    ),
    "gravity_forms-all_fields_json": lambda reading: (
        not {"USD", "currency", "created_by"} & set(re.findall(r"\w+", everything(reading)))
        and not lead_of(reading).is_test
    ),
    "hubspot-subscription_batch_v3": lambda reading: all(
        event.outcome is not Outcome.LEAD for event in reading.events
    ),
    "jotform-colon_comma_in_pretty": lambda reading: "Key1 with colon" not in everything(reading),
    "linkedin-lead_deleted_signed": lambda reading: (
        not {event.event_id for event in reading.events}
        & {
            event.event_id
            for case in cases()
            if case["case"] == "lead_created_signed"
            for event in read(case).events
        }
    ),
    "meta_lead_ads-handshake_wrong_token": lambda reading: reading.response is None,
    "meta_lead_ads-leadgen_notification_signed": lambda reading: all(
        event.outcome is not Outcome.LEAD and (event.fetch or {}).get("ad_id") != "0"
        for event in reading.events
    ),
    "tally-official_all_field_types": lambda reading: (
        set(_UUID.findall(everything(reading)))
        <= {"a4cb511e-d513-4fa5-baee-b815d718dfd1", *_UUID.findall(str(_files(reading)))}
        and "Soccer" not in everything(reading)
        and lead_of(reading).consent is None
    ),
    "typeform-official_example_signed": lambda reading: (
        lead_of(reading).full_name == "Laura" and everything(reading).count("@") == 1
    ),
    "webflow-v1_official_unsigned": lambda reading: everything(reading).count("Sample Form") == 1,
    "webflow-v2_swedish_fullwidth_dots": lambda reading: lead_of(reading).phone is None,
}
"""Case -> whether it walked past the traps that the case warns of."""


def _files(reading: NormalizationResult) -> list[Any]:
    answers = lead_of(reading).answers
    return [answers["File upload"], answers["Signature"]]


@pytest.mark.parametrize("case", such(lambda case: "must_not" in case["expected"]))
def test_traps(case: Case) -> None:
    """What only looks like a field stays none."""
    assert TRAPS[name_of(case)](read(case))
