"""What real products send becomes the lead that a person would write down from it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from service.sources.judge import judge
from service.sources.reading import Event, Outcome, Reading
from tests.providers.cases import OUTCOMES, Case, cases, name_of, request_of, source_of

PLAIN = ("name", "first_name", "last_name", "company", "email", "message", "form_id", "form_name", "referrer", "is_test",
         "event_id")  # fmt: skip
AT = 1_700_000_000.0


def read(case: Case) -> Reading:
    return judge(source_of(case), request_of(case), case.get("verification", {}).get("now", AT))


def accepted(expected: dict[str, Any], field: str) -> list[Any]:
    return [expected[field] for _ in range(field in expected)] + list(expected.get("accept", {}).get(field, []))


@pytest.mark.parametrize("case", list(cases()), ids=name_of)
def test_outcome(case: Case) -> None:
    """Each request is told for what it is, and refused ones hold no lead."""
    reading = read(case)
    assert reading.outcome in {OUTCOMES.get(word, word) for word in accepted(case["expected"], "outcome")}, reading
    if reading.outcome in (Outcome.REFUSED, Outcome.UNREADABLE):
        assert reading.events == []
        assert reading.status in case["expected"].get("status", [reading.status])


@pytest.mark.parametrize("case", [case for case in cases() if case["expected"]["outcome"] == "lead"], ids=name_of)
def test_fields(case: Case) -> None:
    """Each field that the case names stands in the lead, and nothing that is empty does."""
    expected = case["expected"]
    [event] = read(case).events
    assert event.lead is not None
    for field in PLAIN:
        if allowed := accepted(expected, field):
            assert getattr(event.lead, field) in [_trimmed(value) for value in allowed], field
    _check_rest(event, expected)


def _check_rest(event: Event, expected: dict[str, Any]) -> None:
    lead = event.lead
    assert lead is not None
    if "phone" in expected:
        assert re.sub(r"\D", "", lead.phone or "").lstrip("0") == re.sub(r"\D", "", expected["phone"]).lstrip("0")
    if utms := accepted(expected, "utm"):
        assert msgspec.to_builtins(lead.utm) in utms
    assert lead.click_ids == expected.get("click_ids", {})
    if "source_url" in expected:
        assert lead.page_url in accepted(expected, "source_url")
    if "consent" in expected:
        assert lead.consent is True
    if "submitted_at" in expected:
        assert lead.occurred_at == expected["submitted_at"]
    assert expected.get("answers", {}).items() <= lead.answers.items()
    assert "" not in lead.answers.values()


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
