from __future__ import annotations

from service.intake.duplicates import duplicate_key
from service.sources.config import Source
from service.sources.reading import Event, Outcome, Request
from worker.contract import Lead

SOURCE = Source(name="contact")
REQUEST = Request(method="POST", query="", headers=[("content-type", "application/x-www-form-urlencoded")], body=b"email=a")


def key_of(outcome: Outcome) -> str:
    event = Event(outcome=outcome, lead=Lead(email="ada@example.com"))
    found = duplicate_key(SOURCE, REQUEST, event, 0, None)
    assert found is not None
    return found.value


def test_a_person_is_never_the_twin_of_a_robot() -> None:
    """A post that looks like spam and a genuine one with the same fields have different keys, so neither hides the other."""
    assert key_of(Outcome.LEAD) == key_of(Outcome.LEAD)
    assert key_of(Outcome.SPAM) != key_of(Outcome.LEAD)
