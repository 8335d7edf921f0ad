"""Creates whose response is lost and whose next attempt is hours away: nobody else waits for it."""

from __future__ import annotations

import pytest

from tests.flow.conftest import TOKEN, Account, Pipeline
from tests.polling import eventually
from worker.contract import Lead, Result, State
from worker.delivery.duplicates import DuplicateChecks
from worker.fate import MAX_LOOK_SECONDS, Policy
from worker.store import keys

HOUR = 3600.0
LOST = {"kind": "drop-before"}


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    pipeline.policy = Policy((HOUR, HOUR), 90.0, 30.0)
    return pipeline


def test_what_was_made_is_adopted_as_soon_as_it_has_settled(
    pipeline: Pipeline, account: Account
) -> None:
    """A lead whose answer was lost is found after the settle time, an hour before its next try."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (State.WAITING, "settle")
    done = pipeline.deliver_later(record.id, 91)
    assert (done.state, done.lead_id) == (State.DELIVERED, account.leads[0]["id"])


@pytest.mark.parametrize("operation", ["persons.add", "leads.add"])
def test_others_of_the_person_do_not_wait_for_the_next_try(
    operation: str, pipeline: Pipeline, account: Account
) -> None:
    """A submission whose create was not found lets the person's next one go.

    Both end as one person.
    """
    account.fault({"operation": operation, "count": 1}, LOST)
    first = pipeline.accept_and_deliver()
    second = pipeline.accept()
    assert pipeline.deliver(second).reason == "person-queue"
    waiting = pipeline.deliver_later(first.id, 91)
    assert (waiting.state, waiting.reason, waiting.announced) == (
        State.WAITING,
        "retry",
        operation.partition("s.")[0],
    )
    assert waiting.next_at is not None
    assert 0.8 * HOUR - 95 <= waiting.next_at - pipeline.clock() <= 1.2 * HOUR
    done = pipeline.deliver_later(second, 0)
    assert (done.state, done.result) == (State.DELIVERED, Result.CREATED)
    last = pipeline.deliver_later(first.id, 1.3 * HOUR)
    assert (last.state, last.result, last.lead_id) == (
        State.DELIVERED,
        Result.LABELLED,
        done.lead_id,
    )
    assert (len(account.persons), len(account.leads)) == (1, 1)
    assert not list(pipeline.redis.scan_iter(f"{keys.DEFAULT_ACCOUNT.prefix}person_queue:*"))


@pytest.mark.parametrize(("operation", "step"), [("persons.add", "person"), ("leads.add", "lead")])
def test_what_is_committed_after_others_went_on_is_reported(
    operation: str, step: str, pipeline: Pipeline, account: Account
) -> None:
    """A person or lead that exists twice in the end is reported, for people to merge."""
    account.fault({"operation": operation, "count": 1}, LOST)
    first = pipeline.accept_and_deliver()
    second = pipeline.accept()
    pipeline.deliver(second)
    assert pipeline.deliver_later(first.id, 91).reason == "retry"
    other = pipeline.deliver_later(second, 0)
    if step == "lead":
        last = pipeline.deliver_later(first.id, 1.3 * HOUR)
        assert (last.result, last.lead_id) == (Result.LABELLED, other.lead_id)
    _committed_late(pipeline, account, first.id, step)
    duplicate = DuplicateChecks(
        pipeline.redis, pipeline.ledger, pipeline.build_context()[1].new_client()
    )
    for _ in range(2):
        pipeline.advance(800)
        duplicate.tick()
    assert pipeline.redis.hkeys(keys.DUPLICATES) == [first.id.encode()]
    assert pipeline.redis.zcard(keys.DUPLICATE_CHECKS) == 0


def _committed_late(pipeline: Pipeline, account: Account, submission_id: str, step: str) -> None:
    """Pipedrive commits the first create after all."""
    client = pipeline.build_context()[1].new_client()
    if step == "person":
        client.persons.add(
            name="Ada Lovelace", emails=[{"value": "ada@example.com", "primary": True}]
        )
    else:
        client.leads.add(
            title="Ada", person_id=account.persons[0]["id"], origin_id=f"contact:{submission_id}"
        )


def test_a_commit_between_the_look_and_the_next_try_is_found(
    pipeline: Pipeline, account: Account
) -> None:
    """It is looked for once more right before it is repeated."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "late-commit", "seconds": 1.0})
    record = pipeline.accept_and_deliver()
    assert pipeline.deliver_later(record.id, 91).reason == "retry"
    assert eventually(lambda: len(account.leads) == 1)
    done = pipeline.deliver_later(record.id, 1.3 * HOUR)
    assert (done.state, done.lead_id, len(account.leads)) == (
        State.DELIVERED,
        account.leads[0]["id"],
        1,
    )


def test_until_it_was_looked_for_nobody_else_goes(pipeline: Pipeline, account: Account) -> None:
    """While the look itself fails the line is held, and the look is repeated within minutes."""
    account.fault({"operation": "persons.add", "count": 1}, {"kind": "commit-then-drop"})
    first = pipeline.accept_and_deliver()
    second = pipeline.accept()
    pipeline.deliver(second)
    account.fault({"operation": "persons.list", "count": 2}, {"kind": "answer", "status": 503})
    for _ in range(2):
        waiting = pipeline.deliver_later(first.id, MAX_LOOK_SECONDS + 1)
        assert waiting.next_at is not None
        assert (waiting.reason, waiting.attempts) == ("retry", 1)
        assert waiting.next_at - pipeline.clock() <= MAX_LOOK_SECONDS
        assert pipeline.deliver(second).reason == "person-queue"
    assert pipeline.deliver_later(first.id, MAX_LOOK_SECONDS + 1).state is State.DELIVERED
    assert pipeline.deliver_later(second, 0).state is State.DELIVERED
    assert len(account.persons) == 1


def test_the_last_try_is_looked_for_and_not_repeated(pipeline: Pipeline, account: Account) -> None:
    """If the last create is absent as well, the submission dies, and a replay delivers it once."""
    account.fault({"operation": "leads.add", "count": 3}, LOST)
    record = pipeline.accept_and_deliver()
    for _ in range(2):
        assert pipeline.deliver_later(record.id, 91).reason == "retry"
        record = pipeline.deliver_later(record.id, 1.3 * HOUR)
        assert record.reason == "settle"
    record = pipeline.deliver_later(record.id, 91)
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.code, record.cause.step) == ("absent", "settle")
    assert account.calls("leads.add") == ["leads.add"] * 3
    pipeline.sweeper.replay(record.id, "kim", "", None)
    assert pipeline.deliver(record.id).state is State.DELIVERED
    assert len(account.leads) == 1


def test_a_mended_one_is_looked_for_among_the_leads_of_whom_it_named_before(
    pipeline: Pipeline, account: Account
) -> None:
    """After an edit, a lost lead is looked for at the person that it was sent to.

    The new lead belongs to the person of the new address.
    """
    account.fault({"operation": "leads.add", "count": 3}, LOST)
    record = pipeline.accept_and_deliver()
    for _ in range(2):
        pipeline.deliver_later(record.id, 91)
        record = pipeline.deliver_later(record.id, 1.3 * HOUR)
    record = pipeline.deliver_later(record.id, 91)
    assert (record.state, record.announced) == (State.DEAD, "lead")
    before, first = len(account.calls()), record.person_id
    pipeline.sweeper.replay(record.id, "kim", "", Lead(name="Bob", email="bob@example.com"))
    done = pipeline.deliver(record.id)
    assert done.state is State.DELIVERED
    lists = [
        call
        for call in account.state()["calls"][before:]
        if call["operation"] in ("leads.list", "deals.list")
    ]
    assert lists
    assert all(f"person_id={first}" in call["query"] for call in lists)
    [lead] = account.leads
    assert lead["person_id"] == done.person_id != first


@pytest.mark.parametrize("gone", ["before the look", "after it"])
def test_a_lost_note_on_a_lead_that_is_gone_goes_to_the_person(
    gone: str, pipeline: Pipeline, account: Account
) -> None:
    """If the lead is deleted while its note settles, the person gets the note."""
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add", "count": 1}, LOST)
    record = pipeline.accept_and_deliver(message="hello")
    if gone == "before the look":
        account.fault({"operation": "notes.list"}, {"kind": "answer", "status": 404})
    account.http.delete(f"/v1/leads/{record.lead_id}", headers={"x-api-token": TOKEN})
    waiting = pipeline.deliver_later(record.id, 91)
    assert (waiting.state, waiting.lead_id) == (State.WAITING, record.lead_id)
    done = pipeline.deliver_later(record.id, 1.3 * HOUR)
    assert (done.state, done.lead_id) == (State.DELIVERED, record.lead_id)
    assert [note["person_id"] for note in account.notes] == [done.person_id]
    assert len(account.calls("leads.add")) == 1
