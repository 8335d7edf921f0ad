"""The checker itself: each kind of lie is told from the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from tests.chaos.checker import check
from tests.chaos.facts import Facts
from tests.chaos.senders import Kind, Post
from worker.contract import Lead, Moment, State
from worker.lead.note import note_marker
from worker.ledger import Record


def record(submission_id: str, token: str, state: State = State.DELIVERED, **more: Any) -> Record:
    return structs.replace(
        Record(
            id=submission_id, source="site", state=state, received_at=1.0, updated_at=2.0,
            accepted_as=State.QUEUED,
            lead=Lead(email=f"{token}@example.com", message=f"about {token}"), raw=None,
        ),
        **more,
    )  # fmt: skip


def post(token: str, *answers: int | None, submission_id: str | None = None) -> Post:
    return Post(
        token,
        Kind.SITE,
        f"{token}@example.com",
        token,
        True,
        0,
        list(answers),
        {submission_id} if submission_id else set(),
    )


POSTS = [post("a", None, 202, submission_id="A"), post("b", 422), post("c", None)]


def truth() -> Facts:
    """One that was acknowledged and has its lead, one that was refused, one without an answer that
    arrived after all.
    """
    facts: dict[str, Any] = {"result": "created", "note_id": 1}
    records = {
        "A": record("A", "a", lead_id="l1", **facts),
        "C": record("C", "c", lead_id="l2", **facts),
    }
    states = {"delivered": 2}
    return Facts(
        records=records,
        timelines={name: [Moment(1.0, State.QUEUED, "intake"),
        Moment(1.0, State.DELIVERING, "worker"),
                          Moment(2.0, State.DELIVERED, "worker")] for name in records},
        leads=[{"id": "l1", "origin_id": "site:A"}, {"id": "l2", "origin_id": "site:C"}],
        persons=[{"emails": [{"value": "a@example.com"}]}, {"emails": [{"value": "c@example.com"}]}],
        organizations=[],
        notes=[{"lead_id": f"l{number}", "content": f"hello<br>{note_marker('site', name)}"} for number, name in ((1, "A"), (2, "C"))],
        accepted=2,
        books={"metrics": states, "status": states, "index": states},
    )  # fmt: skip


def test_the_truth_passes() -> None:
    """A run that kept the promise has no violations."""
    assert check(truth(), POSTS) == []


def lose_record(facts: Facts) -> None:
    del facts.records["A"]


def refused_effect(facts: Facts) -> None:
    facts.records["B"] = record("B", "b", State.DEAD)


def second_record(facts: Facts) -> None:
    facts.records["A2"] = record("A2", "a")


def leave_working(facts: Facts) -> None:
    facts.records["C"] = record("C", "c", State.WAITING)


def wrong_end(facts: Facts) -> None:
    facts.records["C"] = record("C", "c", State.DEAD)


def pointer_to_nowhere(facts: Facts) -> None:
    facts.records["A"] = record("A", "a", State.IGNORED, duplicate_of="Z")


def lose_lead(facts: Facts) -> None:
    facts.leads.pop()


def double_lead(facts: Facts) -> None:
    facts.leads.append({"id": "l3", "origin_id": "site:A"})


def unasked_lead(facts: Facts) -> None:
    facts.leads.append({"id": "l3", "origin_id": "site:Q"})


def double_person(facts: Facts) -> None:
    facts.persons.append({"emails": [{"value": "A@example.com"}]})


def double_organization(facts: Facts) -> None:
    facts.organizations += [{"name": "Acme"}, {"name": "Acme"}]


def double_note(facts: Facts) -> None:
    facts.notes.append(facts.notes[0])


def lose_note(facts: Facts) -> None:
    facts.notes.pop()


def illegal_move(facts: Facts) -> None:
    facts.timelines["A"][1:2] = [Moment(1.0, State.DEAD, "worker")]


def wrong_books(facts: Facts) -> None:
    facts.books["status"] = {"delivered": 1, "queued": 1}


def uncounted(facts: Facts) -> None:
    facts.accepted = 3


def stuck_line(facts: Facts) -> None:
    facts.leftovers["lines"] = ["leadline:account:default:person_queue:1"]


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        (lose_record, "lost"), (refused_effect, "refused-effect"), (second_record, "doubled"),
        (leave_working, "stuck"),
        (wrong_end, "wrong-end"), (pointer_to_nowhere, "lost"), (lose_lead, "lost"),
        (double_lead, "doubled"),
        (unasked_lead, "unasked"), (double_person, "person-doubled"),
        (double_organization, "organization-doubled"),
        (double_note, "note"), (lose_note, "note"), (illegal_move, "move"), (wrong_books, "books"),
        (uncounted, "books"),
        (stuck_line, "leftover"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
def test_each_lie_is_told(lie: Callable[[Facts], None], rule: str) -> None:
    """Whatever is lost, doubled, stuck or miscounted is reported under its rule."""
    facts = replace(truth())
    lie(facts)
    assert rule in {violation.rule for violation in check(facts, POSTS)}
