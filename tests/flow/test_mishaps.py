"""Deliveries that go wrong half-way: nothing is made twice, nothing is forgotten, nobody dies of somebody else's trouble."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.flow.conftest import Account, Road
from worker.contract import Result, State
from worker.delivery import Delivery
from worker.errors import StoreUnavailable
from worker.memory import Memory

TOKEN = {"x-api-token": "sandbox-token"}


def once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int = 1) -> None:
    """Lets a method fail as if Redis were away, the first `times` times."""
    real, calls = getattr(owner, name), []

    def away(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) <= times:
            raise StoreUnavailable("Redis: gone")
        return real(self, *args, **options)

    monkeypatch.setattr(owner, name, away)


def test_an_adopted_lead_is_labelled_by_the_next_submission(road: Road, account: Account) -> None:
    """A lead whose answer was lost is known afterwards like any other: the person's next submission makes no second one."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    record = road.sent()
    assert road.again(record.id, 100).state is State.DELIVERED
    assert road.sent().result is Result.LABELLED
    assert len(account.leads) == 1


def test_a_lead_made_by_a_worker_that_died_is_labelled_by_the_next(
    road: Road, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies between the record of a lead and the memory of its person leaves no gap for a second lead."""
    once(monkeypatch, Memory, "remember_lead")
    record = road.sent()
    assert road.again(record.id, 31).state is State.DELIVERED
    assert road.sent().result is Result.LABELLED
    assert len(account.leads) == 1


def test_a_lead_converted_before_its_note_is_not_made_again(road: Road, account: Account) -> None:
    """When the lead of this submission became a deal, its note has no place any more; a second lead would be wrong."""
    road.settings(note=True)
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    record = road.sent(message="hello")
    [lead] = account.leads
    account.http.post(f"/api/v2/leads/{lead['id']}/convert/deal", json={}, headers=TOKEN).raise_for_status()
    done = road.again(record.id, 200)
    assert (done.state, done.lead_id, account.leads) == (State.DELIVERED, lead["id"], [])
    assert road.ledger.attempts(record.id)[-1].step == "note"


def test_a_create_settles_by_the_ledgers_clock(road: Road, account: Account) -> None:
    """A worker whose clock is an hour ahead gives a dead worker's create the same time to settle."""
    mine = road.accept()
    road.ledger.claim(mine, "dead", 30)
    road.ledger.announce(mine, "dead", 30, "person")
    road.ahead(31)
    road.sweeper.sweep()
    workshop, office = road.workshop()
    Delivery(replace(workshop, clock=lambda: road.clock() + 3600), office.client)(mine)
    record = road.record(mine)
    assert (record.state, record.reason, account.persons) == (State.WAITING, "settle", [])
    assert record.next_at is not None
    assert 0 < record.next_at - road.clock() < 90

