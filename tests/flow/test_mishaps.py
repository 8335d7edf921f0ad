"""Deliveries that fail half-way: nothing is created twice, and nothing is forgotten."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, cast

import pytest
from msgspec import structs

from tests.flow.conftest import Account, Pipeline
from worker.contract import Result, State
from worker.delivery import Delivery
from worker.delivery.dry_run import DryRunner
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.lead.plan import without_quotations
from worker.lead.settings import LeadMapping, ValueTemplates
from worker.ledger import Ledger
from worker.ledger.contact_cache import ContactCache
from worker.store import keys


def once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int = 1) -> None:
    """Makes a method fail `times` times as if Redis were unreachable."""
    real, calls = getattr(owner, name), []

    def away(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) <= times:
            raise StoreUnavailable("Redis: gone")
        return real(self, *args, **options)

    monkeypatch.setattr(owner, name, away)


def test_an_adopted_lead_is_labelled_by_the_next_submission(
    pipeline: Pipeline, account: Account
) -> None:
    """A lead whose response was lost is labelled by the person's next submission."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    record = pipeline.accept_and_deliver()
    assert pipeline.deliver_later(record.id, 100).state is State.DELIVERED
    assert pipeline.accept_and_deliver().result is Result.LABELLED
    assert len(account.leads) == 1


def test_a_lead_of_a_crashed_worker_is_labelled_by_the_next(
    pipeline: Pipeline, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies after recording a lead leaves no gap for a second one."""
    once(monkeypatch, ContactCache, "remember_lead")
    record = pipeline.accept_and_deliver()
    assert pipeline.deliver_later(record.id, 6).state is State.DELIVERED
    assert pipeline.accept_and_deliver().result is Result.LABELLED
    assert len(account.leads) == 1


def test_a_create_settles_by_the_ledgers_clock(pipeline: Pipeline, account: Account) -> None:
    """A worker whose clock is an hour ahead gives a create the same time to settle."""
    mine = pipeline.accept()
    pipeline.ledger.claim(mine, "dead", 30)
    pipeline.ledger.announce(mine, "dead", 30, "person")
    pipeline.advance(31)
    pipeline.sweeper.sweep()
    context, clients = pipeline.build_context()
    Delivery(replace(context, clock=lambda: pipeline.clock() + 3600), clients.new_client)(mine)
    record = pipeline.record(mine)
    assert (record.state, record.reason, account.persons) == (State.WAITING, "settle", [])
    assert record.next_at is not None
    assert 0 < record.next_at - pipeline.clock() < 90


def test_a_clock_that_is_set_ahead_makes_no_create_look_settled(
    pipeline: Pipeline, account: Account
) -> None:
    """However far Redis's clock jumps during a create, the create has its time to settle."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "drop-before"})
    record = pipeline.accept_and_deliver()
    pipeline.skew += 3600
    pipeline.sweeper.sweep()
    waiting = pipeline.deliver(record.id)
    assert (waiting.state, waiting.reason, account.calls("leads.add")) == (
        State.WAITING,
        "settle",
        ["leads.add"],
    )
    assert waiting.next_at is not None
    assert 80 < waiting.next_at - pipeline.clock() <= 90
    assert pipeline.deliver_later(record.id, 91).state is State.DELIVERED
    assert len(account.leads) == 1


def test_redis_going_away_is_no_death_of_a_worker(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often Redis fails during a delivery, the submission waits and is delivered."""
    once(monkeypatch, ContactCache, "find_person", times=3)
    record = pipeline.accept_and_deliver()
    for _ in range(3):
        assert (record.state, record.reason, record.crashes) == (State.WAITING, "store", 0)
        record = pipeline.deliver_later(record.id, 6)
    assert record.state is State.DELIVERED


def test_an_outcome_that_cannot_be_stored_is_stored_later(
    pipeline: Pipeline, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Redis fails at the very end, nothing is created again."""
    once(monkeypatch, Ledger, "finish", times=2)
    record = pipeline.accept_and_deliver()
    assert record.state is State.WAITING
    assert pipeline.deliver_later(record.id, 6).state is State.DELIVERED
    assert (len(account.persons), len(account.leads)) == (1, 1)


def test_content_encrypted_with_a_missing_key_waits_for_the_key(pipeline: Pipeline) -> None:
    """Content that cannot be decrypted is retried, says what to do, and arrives with the key."""
    key = base64.b64encode(bytes(range(32))).decode()
    mine = pipeline.accept()
    plain = cast("bytes", pipeline.redis.hget(keys.submission(mine), "lead"))
    pipeline.redis.hset(
        keys.submission(mine), "lead", Cipher([key]).encrypt(Cipher([]).decrypt(plain))
    )
    record = pipeline.deliver(mine)
    assert (record.state, record.reason, record.lead) == (State.WAITING, "retry", None)
    assert record.cause is not None
    assert "LEADLINE_ENCRYPTION_KEYS" in (record.cause.hint or "")
    assert [each.unreadable for each in pipeline.ledger.in_state(State.WAITING)] == [True]
    pipeline.ledger.cipher = Cipher([key])
    assert pipeline.deliver_later(mine, 20).state is State.DELIVERED


def test_a_403_for_our_credentials_stops_all_deliveries(
    pipeline: Pipeline, account: Account
) -> None:
    """If Pipedrive rejects our credentials with 403, delivery waits and no submission dies."""
    pipeline.accept_and_deliver(email="warm@example.com")
    refusal = {"kind": "answer", "status": 403, "body": {"success": False, "error": "forbidden"}}
    account.fault({"operation": "persons.search"}, refusal)
    assert pipeline.accept_and_deliver(email="one@example.com").state is State.DEAD
    account.fault({"operation": "users.me"}, refusal)
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (State.WAITING, "credentials")
    account.heal()
    assert pipeline.deliver_later(record.id, 60).state is State.DELIVERED


def test_a_mended_address_is_another_person(pipeline: Pipeline, account: Account) -> None:
    """After an edit of the e-mail, the lead goes to the other person; both are cached."""
    body = {"success": False, "error": '"title" is too long'}
    refusal = {"kind": "answer", "status": 400, "body": body}
    account.fault({"operation": "leads.add", "count": 1}, refusal)
    record = pipeline.accept_and_deliver(email="wrong@example.com")
    assert record.state is State.DEAD
    assert record.lead is not None
    pipeline.sweeper.replay(
        record.id, "kim", "", structs.replace(record.lead, email="right@example.com")
    )
    done = pipeline.deliver(record.id)
    emails = {person["id"]: person["emails"][0]["value"] for person in account.persons}
    assert (done.state, emails[done.person_id]) == (State.DELIVERED, "right@example.com")
    assert pipeline.accept_and_deliver(email="right@example.com").person_id == done.person_id
    assert pipeline.accept_and_deliver(email="wrong@example.com").person_id == record.person_id


@pytest.mark.parametrize(
    ("budget", "when", "left_out"),
    [
        ("5000 HUF", "", "The value given is left out: the account has no currency HUF."),
        ("5000 CHF", "", "The value given is left out: the account has no currency CHF."),
        ("-500 €", "", "The value given is left out: Pipedrive takes no negative values."),
        ("5k-10k €", "", "The value given is left out: it is not a number."),
        ("5000 €", "03/04/2027", "The field “Start date”: expected a date such as 2025-01-31"),
    ],
)
def test_a_value_that_pipedrive_refuses_does_not_stop_the_lead(
    pipeline: Pipeline, account: Account, budget: str, when: str, left_out: str
) -> None:
    """The lead arrives without it, and note, attempts and dry run say so.

    The account's currencies are read once, and only for an amount that would be written.
    """
    account.http.post("/_sandbox/inactive-currencies", json=["CHF"]).raise_for_status()
    pipeline.settings(
        note=True,
        existing="new",
        value=ValueTemplates("{answers.budget}", ""),
        custom={"Start date": "{answers.when}"},
    )
    answers: dict[str, str | list[str]] = {"budget": budget, "when": when}
    record = pipeline.accept_and_deliver(answers=answers)
    assert record.lead is not None
    dry_runner = DryRunner(
        pipeline.redis, {"contact": LeadMapping("contact", pipeline.lead_settings)}, pipeline.clock
    )
    predicted = dry_runner.run(record, record.lead).left_out
    assert pipeline.accept_and_deliver(answers=answers).state is record.state is State.DELIVERED
    assert [lead["value"] is None for lead in account.leads] == [not when] * 2
    [detail] = [
        attempt.detail
        for attempt in pipeline.ledger.attempts(record.id)
        if attempt.outcome == "left out"
    ]
    assert (detail or "").startswith(left_out)
    assert [without_quotations(sentence) for sentence in predicted] == [detail]
    assert all("Not written to Pipedrive" in note["content"] for note in account.notes)
    is_amount = budget.startswith("5000")
    assert len(account.calls("currencies.list")) == (1 if is_amount else 0)


def test_what_the_sender_wrote_stands_in_the_note_only(
    pipeline: Pipeline, account: Account
) -> None:
    """A value that is left out is quoted in the note; the record says so in words of our own."""
    pipeline.settings(note=True, value=ValueTemplates("{answers.budget}", "EUR"))
    record = pipeline.accept_and_deliver(answers={"budget": "ask “me” at canary@example.com"})
    [attempts] = [
        attempt.detail
        for attempt in pipeline.ledger.attempts(record.id)
        if attempt.outcome == "left out"
    ]
    assert attempts == "The value given is left out: it is not a number."
    assert "canary" in account.notes[0]["content"]
