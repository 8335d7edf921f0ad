from __future__ import annotations

import pytest

from service.intake.submissions import duplicate_key, precedence
from service.sources.request import InboundRequest, Outcome, SourceEvent
from service.sources.schema import Source
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
    key = duplicate_key(SOURCE, REQUEST, event, 0, None)
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
