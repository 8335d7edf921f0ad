"""Rate limits in the whole pipeline: a short day, rejections, and a lease lost while waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.flow.conftest import TOKEN, Account, Pipeline
from worker.contract import State
from worker.delivery import Delivery
from worker.delivery.client_factory import PipedriveClientFactory
from worker.errors import LeaseLost
from worker.queue.slots import InFlightLimit
from worker.settings.table import Settings
from worker.settings.types import Secret
from worker.store import keys

# Tokens: reading labels and channels once; a new person and its lead.
NAMES, LEAD = 11, 35
DAY = NAMES + 2 * LEAD + 10


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with serve_in_thread(
        SandboxSettings(port=0, search_delay_seconds=0.0, plan="lite", daily_tokens=DAY)
    ) as url:
        yield url


def slot(
    pipeline: Pipeline,
    kind: type[Delivery] = Delivery,
    in_flight: InFlightLimit | None = None,
    **settings: Any,
) -> Delivery:
    """A slot of a worker that keeps within the small plan."""
    values: dict[str, Any] = {
        "pipedrive_plan": "lite",
        "pipedrive_api_token": Secret(TOKEN),
    } | settings
    clients = PipedriveClientFactory(
        Settings(pipedrive_base_url=pipeline.account.url, **values),
        pipeline.redis,
        pipeline.meter,
        pipeline.clock,
        time.sleep,
    )
    clients.in_flight = in_flight or clients.in_flight
    context, _ = pipeline.build_context()
    return kind(replace(context, metadata=clients.metadata), clients.new_client)


def refusals(account: Account) -> list[int]:
    return [call["status"] for call in account.state()["calls"] if call["status"] >= 400]


@pytest.mark.parametrize(
    "is_set", [True, False], ids=["by our own count", "by the receiver's count"]
)
def test_when_the_day_is_spent_everything_waits_for_the_next(
    pipeline: Pipeline, account: Account, is_set: bool
) -> None:
    """Without tokens, submissions wait for midnight, without using attempts."""
    delivery = slot(pipeline, pipedrive_daily_tokens=DAY if is_set else None)
    records = [
        pipeline.deliver(pipeline.accept(email=f"{number}@example.com"), delivery)
        for number in range(4)
    ]
    assert [record.state for record in records] == [
        State.DELIVERED,
        State.DELIVERED,
        State.WAITING,
        State.WAITING,
    ]
    third = records[2]
    assert (third.reason, third.attempts, third.person_id) == ("budget", 0, None)
    assert third.next_at is not None
    assert 0 < third.next_at - time.time() <= 86_400
    assert refusals(account) == []
    assert account.tokens() == NAMES + 2 * LEAD
    assert pipeline.redis.get(keys.DEFAULT_ACCOUNT.allowance("left")) == b"10"


@pytest.mark.parametrize(
    ("has_verified", "facts", "goes_on"),
    [
        pytest.param(True, {}, False, id="a stranger waits"),
        pytest.param(True, {"verified": 1}, True, id="a verified source goes on"),
        pytest.param(True, {"replayed": 1}, True, id="what a person let pass goes on"),
        pytest.param(False, {}, True, id="nobody to keep it for"),
    ],
)
def test_a_part_of_the_day_is_kept_for_verified_sources(
    pipeline: Pipeline, *, has_verified: bool, facts: dict[str, int], goes_on: bool
) -> None:
    """Near the end of the day strangers wait, visibly and without using attempts; others go on.

    Nothing is kept where no source verifies its senders.
    """
    delivery = slot(pipeline, pipedrive_daily_tokens=DAY)
    mapping = structs.replace(delivery._context.mappings["contact"], verified=has_verified)
    delivery._context = replace(delivery._context, mappings={"contact": mapping})
    first = pipeline.deliver(pipeline.accept(email="1@example.com"), delivery)
    assert first.state is State.DELIVERED
    submission_id = pipeline.accept(email="2@example.com")
    for name, value in facts.items():
        pipeline.redis.hset(keys.submission(submission_id), name, value)
    second = pipeline.deliver(submission_id, delivery)
    if goes_on:
        assert second.state is State.DELIVERED
        return
    assert (second.state, second.reason, second.attempts) == (State.WAITING, "reserve", 0)
    assert second.next_at is not None
    assert 0 < second.next_at - time.time() <= 3600
    assert second.cause is not None
    assert second.cause.code == "reserved"
    assert pipeline.ledger.gate.find_pause() is None


def test_what_others_spend_is_not_spent_again(pipeline: Pipeline, account: Account) -> None:
    """Tokens that another integration used are seen in the next response, before they run out."""
    delivery = slot(pipeline)
    assert (
        pipeline.deliver(pipeline.accept(email="1@example.com"), delivery).state is State.DELIVERED
    )
    account.http.get("/v1/leadLabels", headers={"x-api-token": TOKEN}).raise_for_status()
    second = pipeline.deliver(pipeline.accept(email="2@example.com"), delivery)
    third = pipeline.deliver(pipeline.accept(email="3@example.com"), delivery)
    assert (second.state, third.state, third.reason) == (State.DELIVERED, State.WAITING, "budget")
    assert refusals(account) == []


def test_after_a_429_nobody_calls_until_the_reset(pipeline: Pipeline, account: Account) -> None:
    """A delivery under way when another meets a 429 waits for the stated reset too."""
    other = slot(pipeline)
    first = slot(pipeline)
    account.fault(
        {"operation": "persons.search", "count": 1},
        {"kind": "answer", "status": 429, "headers": {"retry-after": "1"}},
    )
    refused = pipeline.deliver(pipeline.accept(), first)
    other._pipedrive.users.me()
    calls = account.state()["calls"]
    assert (refused.state, refused.reason, refused.attempts) == (State.WAITING, "limit", 0)
    assert [call["operation"] for call in calls[-2:]] == ["persons.search", "users.me"]
    assert calls[-1]["at"] - calls[-2]["at"] > 0.99


def test_the_first_call_makes_room_for_the_next_submission(pipeline: Pipeline) -> None:
    """A slot gives up its in-flight place when Pipedrive takes a call, not only at the end."""
    in_flight = InFlightLimit(1)
    assert in_flight.enter(0)
    pipeline.deliver(pipeline.accept(), slot(pipeline, in_flight=in_flight))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(in_flight.enter, 0).result()


class Overtaken(Delivery):
    """Finds its lease lost once it may send a create."""

    def require_lease(self, seconds: float) -> None:  # noqa: ARG002
        raise LeaseLost("it took too long")


def test_a_create_that_is_not_sent_costs_nothing(pipeline: Pipeline, account: Account) -> None:
    """If the lease is lost while waiting, the create is not sent and its tokens are given back."""
    pipeline.deliver(pipeline.accept(), slot(pipeline, Overtaken))
    assert "persons.add" not in account.calls()
    assert pipeline.redis.zcard(keys.DEFAULT_ACCOUNT.allowance("burst")) == len(account.calls())
    assert (
        int(pipeline.redis.get(keys.DEFAULT_ACCOUNT.allowance("left")) or 0)
        == DAY - account.tokens()
    )
