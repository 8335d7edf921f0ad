"""Deliveries under way when the gate closes make no further call, and continue once it opens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py

from tests.flow.conftest import TOKEN, Account, Pipeline
from worker.contract import State
from worker.delivery import Delivery
from worker.delivery.client_factory import PipedriveClientFactory
from worker.errors import Gated
from worker.pipedrive.calls import LEADS_GET
from worker.pipedrive.rate_limiter import ApiLimits, RateLimiter, Ticket
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings
from worker.settings.types import Secret
from worker.store import keys

REFUSED: dict[str, Any] = {"kind": "answer", "status": 401}


def slots(pipeline: Pipeline, pause: Callable[[float], object]) -> Callable[[], Delivery]:
    """Builds slots of one process on the smallest plan that wait by `pause`."""
    context, _ = pipeline.build_context()
    settings = Settings(
        pipedrive_api_token=Secret(TOKEN),
        pipedrive_base_url=pipeline.account.url,
        pipedrive_plan="lite",
    )
    clients = PipedriveClientFactory(
        settings, pipeline.redis, pipeline.meter, pipeline.clock, pause
    )
    return lambda: Delivery(context, clients.new_client)


def test_an_expired_token_is_met_by_those_under_way_alone(
    pipeline: Pipeline, account: Account
) -> None:
    """Of twenty deliveries only those already calling meet the first 401."""
    pipeline.accept_and_deliver(email="warm@example.com")
    account.fault({"operation": "persons.search"}, REFUSED)
    first_refused = threading.Event()

    def pause(seconds: float) -> None:
        first_refused.wait(min(seconds, 10.0))

    new = slots(pipeline, pause)
    before = len(account.calls("persons.search"))
    ids = [pipeline.accept(email=f"p{number}@example.com") for number in range(20)]

    def deliver(submission_id: str) -> None:
        new()(submission_id)
        first_refused.set()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(deliver, ids))
    refused = len(account.calls("persons.search")) - before
    assert 1 <= refused <= 10, "the window takes ten searches at once"
    assert {pipeline.record(one).reason for one in ids} == {"credentials"}
    assert {pipeline.record(one).attempts for one in ids} == {0}
    probes(pipeline, account, ids, new)


def probes(
    pipeline: Pipeline, account: Account, ids: list[str], new: Callable[[], Delivery]
) -> None:
    """Later one delivery probes the gate; once it succeeds, all proceed."""
    before = len(account.calls("persons.search"))
    pipeline.advance(31)
    swept(pipeline)
    for one in ids:
        new()(one)
    assert len(account.calls("persons.search")) - before == 1
    account.heal()
    delivery = pipeline.delivery()
    for _ in range(6):
        pipeline.advance(120)
        swept(pipeline)
        for one in ids:
            delivery(one)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}


def test_a_create_that_was_not_sent_is_not_looked_for(pipeline: Pipeline, account: Account) -> None:
    """If the gate closes between announcing a create and sending it, nothing has to settle."""
    pipeline.accept_and_deliver(email="warm@example.com")
    delivery = slots(pipeline, lambda _: None)()
    mine = pipeline.accept()
    announce = pipeline.ledger.announce

    def closing(*args: Any, **more: Any) -> None:
        announce(*args, **more)
        pipeline.ledger.gate.close("another", "credentials", pipeline.clock() + 30, probe=True)

    pipeline.ledger.announce = closing  # type: ignore[method-assign]
    record = pipeline.deliver(mine, delivery)
    assert (record.state, record.reason, record.announced) == (State.WAITING, "credentials", None)
    assert len(account.persons) == 1


def swept(pipeline: Pipeline) -> None:
    """Queues what is due and lets the slots deliver it."""
    pipeline.sweeper.sweep()
    open_queue(pipeline.redis).empty()  # type: ignore[no-untyped-call]


def test_the_gate_is_asked_with_the_rate_limit(redis: redis_py.Redis) -> None:
    """A closed gate stops all calls except those of the submission that probes it."""
    limiter = RateLimiter(redis, ApiLimits(calls_per_window=20, daily_tokens=1000))
    redis.hset(
        keys.DEFAULT_ACCOUNT.gate,
        mapping={"mode": "probe", "until": 1_900_000_000.5, "reason": "credentials"},
    )
    redis.set(keys.DEFAULT_ACCOUNT.probe, "tries")
    for who in ("", "tries"):
        assert limiter.acquire(LEADS_GET, Ticket(submission_id=who), 1) == 0
    with pytest.raises(Gated) as caught:
        limiter.acquire(LEADS_GET, Ticket(submission_id="other"), 1)
    assert (caught.value.until, caught.value.reason) == (1_900_000_000.5, "credentials")
    redis.hset(keys.DEFAULT_ACCOUNT.gate, "mode", "timed")
    assert limiter.acquire(LEADS_GET, Ticket(submission_id="other"), 1) == 0
