"""How each field of a payload was read and why, for those who ask."""

from __future__ import annotations

from typing import Any

import pytest

from service.sources.normalize import process_request
from service.sources.request import FieldReading, InboundRequest
from service.sources.source_file.loader import load_sources
from tests.corpus.reading import NOW as CORPUS_NOW
from tests.corpus.reading import build_request, load_cases
from tests.unit.sources.factories import NOW, form, json_post, read, source

SOURCE = """
honeypot = ["website2"]
ignore = ["meta"]
default_country = "DE"
[sources.x.map]
who = "company"
vip = "answers.VIP"
both = { to = "website", extract = "url" }
"""
ADA = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}


def explain(request: InboundRequest, toml: str = "") -> dict[str, FieldReading]:
    """The readings of the only event, by path."""
    [event] = process_request(source(toml), request, NOW, explain=True).events
    return {each.field: each for each in event.explanation}


@pytest.mark.parametrize(
    ("payload", "field", "became", "why"),
    [
        ({"contact": ADA}, "contact.email", "email", '"email"'),
        ({"who": "Acme", **ADA}, "who", "company", 'map of "who", in the source file'),
        ({"vip": "1", **ADA}, "vip", "answers.VIP", 'map of "vip", in the source file'),
        ({"both": "see www.acme.example now", **ADA}, "both", "website, answer", "map of"),
        ({"website2": "", **ADA}, "website2", "hidden", "the honeypot"),
        ({"password": "x", **ADA}, "password", "hidden", "for machines, or a secret"),
        ({"meta": {"email": "a@b.example"}, **ADA}, "meta.email", "ignored", "ignore"),
        ({"note": "", **ADA}, "note", "empty", "it has no value"),
        (ADA, "who", "missing", "map, in the source file: the payload has no value there"),
        ({"frobnication": "40", **ADA}, "frobnication", "answer", "its name asks for no field"),
        (
            {**ADA, "contact": ADA},
            "email",
            "repeated",
            "it says the same as contact.email",
        ),
        ({"xyz": "ada@example.com"}, "xyz", "email", "the only one in the payload"),
        ({"email": "Ada Byron <ada@example.com>"}, "email", "email, name", '"email"; written'),
    ],
)  # fmt: skip
def test_what_a_field_became_and_why(
    payload: dict[str, Any], field: str, became: str, why: str
) -> None:
    """Each field says what came of it and what spoke for that."""
    reading = explain(json_post(payload), SOURCE)[field]
    assert reading.became == became
    assert reading.why.startswith(why)


@pytest.mark.parametrize(
    ("payload", "field", "other"),
    [
        ({"contact": ADA, "agent": {"email": "b@x.example"}}, "agent.email", ("email", "agent", "another owner")),
        ({**ADA, "phone": "call me"}, "phone", ("phone", "", "value unusable")),
        ({**ADA, "e-mail": "b@x.example"}, "e-mail", ("email", "", "a better one: email")),
        ({**ADA, "who": "Acme", "company": "Ame"}, "company", ("company", "", "the source file has another")),
    ],
)  # fmt: skip
def test_why_a_field_did_not_become_what_its_name_says(
    payload: dict[str, Any], field: str, other: tuple[str, str, str]
) -> None:
    """What a name asks for and the lead did not take says whose it is and why it lost."""
    reading = explain(json_post(payload), SOURCE)[field]
    [lost] = reading.others
    assert reading.became == "answer"
    assert (lost.became, lost.whose, lost.lost) == other


def test_a_secret_is_not_shown() -> None:
    """The value of a hidden field is withheld, and a long one is cut."""
    readings = explain(form(password="correct horse", email="a@example.com", text="x" * 900))
    assert readings["password"].value == "…"
    assert len(readings["text"].value) == 60


def test_nothing_is_explained_unasked() -> None:
    """The intake's own way has no readings and no guess."""
    result = read(form(email="a@example.com"))
    assert [event.explanation for event in result.events] == [()]
    assert result.guessed is None


def test_explaining_changes_nothing() -> None:
    """For each labelled submission: the lead is the same, and its fields are those explained."""
    for case in load_cases():
        [config] = load_sources(case.source_toml, case.env).sources.values()
        now = CORPUS_NOW if case.now is None else case.now
        plain = process_request(config, build_request(case), now)
        explained = process_request(config, build_request(case), now, explain=True)
        assert [one.lead for one in explained.events] == [one.lead for one in plain.events], (
            case.name
        )
        for event in explained.events:
            assert event.lead is not None
            became = {part for each in event.explanation for part in each.became.split(", ")}
            assert bool(event.lead.answers) <= ("answer" in became or "answers." in str(became))
            for target in ("email", "phone", "name", "first_name", "last_name", "company"):
                if getattr(event.lead, target) and config.map_rules == {}:
                    assert target in became, (case.name, target)
