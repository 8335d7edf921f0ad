from __future__ import annotations

import pytest

from service.intake.submissions import duplicate_key, fingerprint, precedence
from service.sources.normalize import process_request
from service.sources.request import InboundRequest, Outcome, SourceEvent
from service.sources.schema import Source
from tests.unit.sources.factories import NOW, form, source
from worker.contract import Lead, Precedence

SOURCE = Source(name="contact")
REQUEST = InboundRequest(
    method="POST",
    query="",
    headers=[("content-type", "application/x-www-form-urlencoded")],
    body=b"email=a",
)


def key_of(outcome: Outcome) -> str:
    event = SourceEvent(outcome=outcome, lead=Lead(email="ada@example.com"))
    key = duplicate_key(SOURCE, REQUEST, event, 0, None, fingerprint(REQUEST))
    assert key is not None
    return key.value


def test_a_person_is_never_the_twin_of_a_robot() -> None:
    """A post that looks like spam never has the key of a genuine one with the same fields."""
    assert key_of(Outcome.LEAD) == key_of(Outcome.LEAD)
    assert key_of(Outcome.SPAM) != key_of(Outcome.LEAD)


@pytest.mark.parametrize(
    ("adapter", "headers", "first"),
    [
        ("form", [], True),
        ("typeform", [], False),
        ("json", [], False),
        ("json", [("origin", "https://acme.example")], True),
    ],
)
def test_people_go_before_programs(
    adapter: str, headers: list[tuple[str, str]], first: bool
) -> None:
    """A form, and whatever a browser posts, has precedence over webhooks and partners."""
    request = InboundRequest(method="POST", query="", headers=headers, body=b"")
    expected = Precedence.FORM if first else Precedence.WEBHOOK
    assert precedence(Source(name="contact", adapter=adapter), request) is expected


def content_of(toml: str = "", **fields: str) -> str:
    """The content by which a form's post is recognised."""
    one = source(toml)
    request = form(**fields)
    [event] = process_request(one, request, NOW).events
    key = duplicate_key(one, request, event, 0, None, fingerprint(request))
    assert key is not None
    assert key.kind == "content"
    return key.value


POST = {"email": "ada@example.com", "comment": "Please call"}


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("ts", "1772000001", "1772000009"),
        ("form_loaded_at", "1772000001234", "1772000009876"),
        ("_t", "1772000001.52", "1772000002.01"),
        ("submittedAt", "2026-03-01T10:00:00Z", "2026-03-01T10:00:04.120+01:00"),
        ("render time", "Sun Mar 01 2026 10:00:00 GMT+0100 (CET)", "Sun Mar 01 2026 10:00:03 GMT"),
        ("_started", "1772000001", "1772000009"),
        ("time_on_page", "12.5", "19"),
        ("math_captcha", "7", "12"),
        ("g-recaptcha-response-data[contact]", "03AFcWeA5", "03AFcWeA6"),
        ("form_token", "abc", "def"),
        (
            "session_uuid",
            "5b1d2c9e-8f7a-4f0c-9a67-1f2e3d4c5b6a",
            "0c9a671f-2e3d-4c5b-8a5b-1d2c9e8f7a4f",
        ),
        ("created_at", "2026-03-01 10:00:00", "2026-03-01 10:00:04"),
    ],
)
def test_what_a_page_adds_makes_no_second_lead(name: str, first: str, second: str) -> None:
    """Two posts that differ in a time, a token or a captcha's answer of the page are the same."""
    assert content_of(**POST, **{name: first}) == content_of(**POST, **{name: second})


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("comment", "Please call", "Please write"),
        ("Preferred time", "10:00", "11:00"),
        ("Start", "2026-05-01", "2026-06-01"),
        ("Order number", "1772000001", "1772000009"),
        ("Team", "Sales", "Support"),
        ("State", "Ohio", "Iowa"),
        ("Licence", "A1B2-C3D4-E5F6-G7H8", "A1B2-C3D4-E5F6-G7H9"),
    ],
)
def test_what_people_say_makes_a_second_lead(name: str, first: str, second: str) -> None:
    """Two posts that differ in an answer are two."""
    assert content_of(**(POST | {name: first})) != content_of(**(POST | {name: second}))


def test_dedupe_ignore() -> None:
    """Named answers, fields of the lead and mapped paths do not make two posts different."""
    toml = 'dedupe_ignore = ["visit", "message", "q1"]\nmap = { q1 = "company" }'
    one = content_of(toml, email="a@b.example", visit="1", message="Hello there", q1="Acme")
    other = content_of(toml, email="a@b.example", visit="2", message="Hello again", q1="Bolt")
    assert one == other
    assert one != content_of(toml, email="a@b.example", visit="1", Team="A")
    assert content_of(email="a@b.example", visit="1") != content_of(email="a@b.example", visit="2")


def test_dedupe_on() -> None:
    """Only the named fields count, unless a post lacks one of them."""
    toml = 'dedupe_on = ["email", "Team"]'
    one = content_of(toml, email="a@b.example", Team="A", message="Hello there")
    assert one == content_of(toml, email="a@b.example", Team="A", message="Hello again")
    assert one != content_of(toml, email="a@b.example", Team="B", message="Hello there")
    assert content_of(toml, phone="+4930123456", Team="A") != content_of(
        toml, phone="+4930123457", Team="A"
    )
