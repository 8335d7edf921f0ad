"""Checks a run: the responses to senders, the store and the account must fit together.

    acknowledged -> exactly one effect     refused -> none     never answered -> none or one

An effect is one record that is no pointer to another, ended as its kind ends: one lead of its own
(`created`), one labelled lead, one dead letter, one quarantined or ignored item. It only reads `Facts`, so that a test can show it false ones.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.facts import Facts
from tests.chaos.senders import Answer, Kind, Post
from worker.contract import MOVES, WORKING, State
from worker.lead.note import has_marker_of
from worker.ledger import Record

FINAL_STATES = {
    Kind.BROKEN: State.DEAD,
    Kind.TRAP: State.QUARANTINED,
    Kind.TRIAL: State.IGNORED,
}
"""How the special kinds end; everything else is delivered."""

DELIBERATE_CAUSE = "unknown-name"
"""The cause of the dead letters that a run makes on purpose."""


@dataclass(frozen=True)
class Violation:
    rule: str
    detail: str
    submission: str | None = None


def check(facts: Facts, posts: Sequence[Post], *, forgets: bool = False) -> list[Violation]:
    """Find every broken promise of a run; an empty list if it kept them all.

    With `forgets`, Redis has lost what was over, and the books with it: then the account shows what
    became of each post.
    """
    if forgets:
        return [*_effects_in_account(facts, posts), *_stuck(facts), *_leftovers(facts)]
    return [
        *_effects(facts, posts),
        *_stuck(facts),
        *_ends(facts, posts),
        *_account(facts),
        *_moves(facts),
        *_books(facts),
        *_leftovers(facts),
    ]


def about(record: Record) -> str:
    """The token of the post that a record came from."""
    message = record.lead.message if record.lead else None
    return (message or "").removeprefix("about ")


def by_token(records: Iterable[Record]) -> dict[str, list[Record]]:
    by_token: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.duplicate_of is None:
            by_token[about(record)].append(record)
    return by_token


def _effects(facts: Facts, posts: Sequence[Post]) -> Iterator[Violation]:
    effects = by_token(facts.records.values())
    tokens = {post.token for post in posts}
    for token, records in effects.items():
        if token not in tokens:
            yield Violation("unasked", f"nobody posted {token!r}", records[0].id)
    for post in posts:
        mine = effects.get(post.token, [])
        match post.answer:
            case Answer.ACKNOWLEDGED if not mine:
                yield Violation(
                    "lost", f"{post.token} was acknowledged as {sorted(post.ids)} and has no record"
                )
            case Answer.REFUSED if mine:
                yield Violation(
                    "refused-effect",
                    f"{post.token} was refused ({post.statuses}) and has a record",
                    mine[0].id,
                )
        if len(mine) > 1:
            yield Violation(
                "doubled",
                f"{post.token} has {len(mine)} records: {[record.id for record in mine]}",
                mine[0].id,
            )
        for submission_id in post.ids:
            record = facts.records.get(submission_id)
            if record is None:
                yield Violation(
                    "lost",
                    f"{post.token} was told {submission_id}, which has no record",
                    submission_id,
                )
            elif (record.duplicate_of or submission_id) not in {first.id for first in mine}:
                yield Violation(
                    "lost",
                    f"{post.token} was told {submission_id}, which is of another post",
                    submission_id,
                )


def _effects_in_account(facts: Facts, posts: Sequence[Post]) -> Iterator[Violation]:
    """One note or one lead for each post, whatever Redis remembers; a record for each answer."""
    leads = Counter(lead["origin_id"].rpartition(":")[2] for lead in facts.leads)
    for submission_id, count in leads.items():
        if count > 1:
            yield Violation("doubled", f"{count} leads by origin_id", submission_id)
    for email, count in Counter(_addresses(facts.persons)).items():
        if count > 1:
            yield Violation("person-doubled", f"{count} persons have {email}")
    texts = [note["content"] for note in facts.notes]
    for post in posts:
        answered = [facts.records.get(submission_id) for submission_id in post.ids]
        for submission_id in post.ids - facts.records.keys():
            yield Violation("lost", f"{post.token} was told {submission_id}, which has no record")
        if post.kind is Kind.FRESH:
            ids = post.ids | {
                record.duplicate_of for record in answered if record and record.duplicate_of
            }
            count = sum(leads[submission_id] for submission_id in ids)
        else:
            mention = re.compile(rf"about {re.escape(post.token)}\b")
            count = sum(mention.search(text) is not None for text in texts)
        if count > 1:
            yield Violation("doubled", f"{post.token} has {count} effects; it was told {post.ids}")
        if count == 0 and post.ids and post.kind in (Kind.SITE, Kind.FIRM, Kind.FRESH):
            yield Violation("lost", f"{post.token} was told {post.ids} and has no effect")


def _stuck(facts: Facts) -> Iterator[Violation]:
    for record in facts.records.values():
        if record.state in WORKING:
            yield Violation(
                "stuck",
                f"still {record.state}, reason {record.reason}, next at {record.next_at}",
                record.id,
            )


def _ends(facts: Facts, posts: Sequence[Post]) -> Iterator[Violation]:
    kinds = {post.token: post.kind for post in posts}
    for record in facts.records.values():
        if record.state in WORKING:
            continue
        expected = (
            State.IGNORED
            if record.duplicate_of
            else FINAL_STATES.get(kinds.get(about(record), Kind.SITE), State.DELIVERED)
        )
        if record.state is not expected:
            yield Violation(
                "wrong-end", f"is {record.state} and not {expected}: {record.cause}", record.id
            )
        elif expected is State.DEAD and (
            record.cause is None or record.cause.code != DELIBERATE_CAUSE
        ):
            yield Violation("wrong-end", f"died of {record.cause}", record.id)


def _account(facts: Facts) -> Iterator[Violation]:
    """Leads by `origin_id`, notes by their mark, persons by e-mail, against the records."""
    leads = Counter(lead["origin_id"].rpartition(":")[2] for lead in facts.leads)
    lead_ids = {lead["id"] for lead in facts.leads}
    for submission_id in leads.keys() - facts.records.keys():
        yield Violation("unasked", "a lead of a submission that has no record", submission_id)
    for record in facts.records.values():
        count, expected = leads[record.id], int(record.result == "created")
        if count > expected:
            yield Violation(
                "doubled", f"{count} leads by origin_id, its result is {record.result}", record.id
            )
        elif count < expected:
            yield Violation("lost", "its result is created and there is no lead", record.id)
        if record.state is State.DELIVERED and record.lead_id not in lead_ids:
            yield Violation("lost", f"its lead {record.lead_id} is not in the account", record.id)
    yield from _notes(facts)
    for email, count in Counter(_addresses(facts.persons)).items():
        if count > 1:
            yield Violation("person-doubled", f"{count} persons have {email}")
    for name, count in Counter(
        organization["name"] for organization in facts.organizations
    ).items():
        if count > 1:
            yield Violation("organization-doubled", f"{count} organisations are called {name}")


def _notes(facts: Facts) -> Iterator[Violation]:
    by_lead: dict[str, list[str]] = defaultdict(list)
    for note in facts.notes:
        by_lead[note["lead_id"]].append(note["content"])
    total = 0
    for record in facts.records.values():
        mine = sum(
            has_marker_of(content, record.id) for content in by_lead.get(record.lead_id or "", [])
        )
        total += mine
        if mine > 1 or (mine == 0 and record.note_id is not None):
            yield Violation("note", f"{mine} notes, and its note is {record.note_id}", record.id)
    if total != len(facts.notes):
        yield Violation("note", f"{len(facts.notes) - total} notes belong to no record's lead")


def _addresses(persons: Iterable[dict[str, Any]]) -> Iterator[str]:
    for person in persons:
        yield from {email["value"].strip().lower() for email in person["emails"]}


def _moves(facts: Facts) -> Iterator[Violation]:
    for submission_id, moments in facts.timelines.items():
        record = facts.records.get(submission_id)
        if record is not None and moments and moments[-1].state is not record.state:
            yield Violation(
                "move",
                f"is {record.state}, its timeline ends with {moments[-1].state}",
                submission_id,
            )
        for before, after in pairwise(moments):
            if after.state not in MOVES[before.state]:
                yield Violation(
                    "move", f"{before.state} -> {after.state} by {after.by}", submission_id
                )


def _books(facts: Facts) -> Iterator[Violation]:
    """Accepted = sum of states, by every book; and each book says the same of each state."""
    store = Counter(record.state.value for record in facts.records.values())
    for name, book in {"store": dict(store), **facts.books}.items():
        if sum(book.values()) != facts.accepted:
            yield Violation(
                "books",
                f"accepted {facts.accepted}, the {name}'s states sum up to {sum(book.values())}",
            )
        wrong = {
            state: (book.get(state, 0), store[state])
            for state in State
            if book.get(state, 0) != store[state]
        }
        if wrong:
            yield Violation("books", f"{name} and store differ: {wrong}")


def _leftovers(facts: Facts) -> Iterator[Violation]:
    for name, content in facts.leftovers.items():
        yield Violation("leftover", f"{name}: {str(content)[:300]}")
