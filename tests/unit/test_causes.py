"""What causes are called, and how they are grouped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import structs

from worker.causes import INTERNAL_CODE, TITLES, UNRECORDED, cause_id, no_contact, title
from worker.contract import Cause
from worker.errors import LeadlineError
from worker.ledger.schedule import POISON


def classes(kind: type[LeadlineError] = LeadlineError) -> Iterator[type[LeadlineError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == "worker.errors":
            yield from classes(each)


CODES = sorted(
    {kind.code for kind in classes()} | {INTERNAL_CODE, POISON.code, UNRECORDED.code, "no-contact"}
)


def test_every_code_has_a_title() -> None:
    """Each code has a title in words, whatever the field or step."""
    for field in [None, "label", "lead custom field", "value.currency"]:
        for code in CODES:
            assert code in TITLES
            words = title(Cause(step="lead", code=code, detail="x", field=field))
            assert words[0].isupper()
            assert "{" not in words
            assert len(words) < 100


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause(step="lead", code="invalid", detail="x", field="value"), "Pipedrive rejected the lead's value"),
        (Cause(step="person", code="invalid", detail="x"), "Pipedrive rejected the person"),
        (
            Cause(step="names", code="unknown-name", detail="x", field="label"),
            "Pipedrive is missing a label that the source file uses",
        ),
        (no_contact("contact", "intake", None), "No contact details: no e-mail, phone or name"),
        (POISON, "This lead crashes the worker"),
        (
            Cause(step="organization", code="forbidden", detail="organizations.add: 403 no"),
            "Pipedrive denied permission to create the organisation",
        ),
        (
            Cause(step="person", code="unavailable", detail="persons.search: 503 Unavailable"),
            "Pipedrive didn't respond while looking up the person",
        ),
        (
            Cause(step="lead", code="invalid", detail="leads.add: 400 no", field="value.currency"),
            "Pipedrive rejected the lead's currency",
        ),
        (
            Cause(step="lead", code="unavailable", detail="gave up after 9 tries in 45h: leads.update: 503 no"),
            "Pipedrive didn't respond while updating the lead",
        ),
        (
            Cause(step="note", code="internal", detail="KeyError"),
            "Leadline itself failed while writing the note",
        ),
        (Cause(step="settle", code="absent", detail="x"), "The request never reached Pipedrive"),
        (Cause(step="moon", code="new-code", detail="x"), "It failed while doing the step “moon” (new-code)"),
    ],
)  # fmt: skip
def test_titles(cause: Cause, words: str) -> None:
    """A title says what failed and where; for an unknown code, at least where."""
    assert title(cause) == words


def test_a_cause_is_identified_by_what_has_to_be_fixed() -> None:
    """Step, code, field and setting make the id; detail, status, hint and process do not."""
    cause = Cause(
        step="lead", code="invalid", detail="a", field="value", setting="sources.contact.lead.value"
    )
    assert cause_id(structs.replace(cause, detail="b", status=400, hint="c")) == cause_id(cause)
    for change in ({"step": "note"}, {"code": "gone"}, {"field": None}, {"setting": None}):
        assert cause_id(structs.replace(cause, **change)) != cause_id(cause)
    assert cause_id(cause) == "022622bedc210a49"
    assert cause_id(None) == cause_id(UNRECORDED)
