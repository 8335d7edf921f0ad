"""What one request may cost is shared by all its events, and what is beyond it stays an answer."""

from __future__ import annotations

from typing import Any

import pytest

from service.sources.fields import effort
from service.sources.fields.recognition import forget_plans
from tests.unit.sources.factories import json_post, read
from worker.contract import Lead


def leads_of(events: list[dict[str, Any]], toml: str = 'adapter = "json"') -> list[Lead]:
    return [event.lead for event in read(json_post(events), toml).events if event.lead]


def test_events_of_one_shape_are_read_alike() -> None:
    """A batch of events with the same names is read to its last event."""
    forget_plans()
    fields = {f"question {at}": "x" for at in range(30)}
    leads = leads_of([{**fields, "E-Mail": f"a{at}@b.example", "Name": "Ada"} for at in range(100)])
    assert [lead.email for lead in leads] == [f"a{at}@b.example" for at in range(100)]
    assert {lead.name for lead in leads} == {"Ada"}


def test_names_beyond_the_share_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of events that all have other names the later ones keep a lone address, and answers."""
    monkeypatch.setattr(effort, "MAX_NAME_UNITS", 2 * (3 * 25 + 2 * 12) - 1)
    forget_plans()
    leads = leads_of(
        [{f"x{at}": "y", "E-Mail": f"a{at}@b.example", "Name": "Ada"} for at in range(4)]
    )
    assert [lead.email for lead in leads] == [f"a{at}@b.example" for at in range(4)]
    assert [lead.name for lead in leads] == ["Ada", "Ada", None, None]
    assert leads[3].answers == {"x3": "y", "Name": "Ada"}
    forget_plans()


def test_one_large_event_is_always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event of a request is read by its names, however many it has."""
    monkeypatch.setattr(effort, "MAX_NAME_UNITS", 1)
    forget_plans()
    fields = {f"x{at}": "y" for at in range(100)}
    [lead] = leads_of([{**fields, "E-Mail": "a@b.example", "Name": "Ada"}])
    assert (lead.email, lead.name) == ("a@b.example", "Ada")
    forget_plans()


def test_unusual_values_beyond_the_share_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain addresses and numbers are read whatever else came; unusual ones only for a while."""
    monkeypatch.setattr(effort, "MAX_VALUE_UNITS", 130)
    unusual = {"email": "Ada <a@b.example>", "phone": "+49 (0)170 1234567"}
    plain = {"email": "a@b.example", "phone": "+491701234567"}
    leads = leads_of([unusual, unusual, plain])
    assert [lead.email for lead in leads] == ["a@b.example", None, "a@b.example"]
    assert [lead.phone for lead in leads] == ["+491701234567", None, "+491701234567"]
    assert leads[1].answers == unusual


def test_further_values_beyond_the_share_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that a field of the lead has already is no answer, unless nobody compared it."""
    monkeypatch.setattr(effort, "MAX_VALUE_UNITS", effort.FURTHER_VALUE_UNITS)
    fields = {"email": "a@b.example", "e-mail": "a@b.example", "E Mail": "A@b.example"}
    [lead] = leads_of([fields])
    assert lead.email == "a@b.example"
    assert lead.answers == {"E Mail": "A@b.example"}
