"""What one address and one source may cost: events, leads, and who has to wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py
from msgspec import structs

from service.alerts.monitor import gather
from service.overview import describe_held_back, read_overview
from service.sources.schema import Rate
from service.web.rate_limit import MAX_DEBT_EVENTS, AddressRateLimiter, Limit
from tests.flow.intake_world import World, make_event, make_result, open_world
from tests.redis.store import submission
from tests.settable_clock import SettableClock
from tests.unit.sources.factories import source
from worker.accept.acceptor import Acceptor
from worker.accept.bounds import BoundCounts, read_bounds
from worker.accept.breaker import Breaker
from worker.accept.encoding import encode_submissions
from worker.contract import FLOOD, Lead, Receipt, State, Submission
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.metrics import series
from worker.queue.rq_queue import open_queue
from worker.store import keys, scripts
from worker.store.connection import connect_async

Client = Callable[[], AbstractAsyncContextManager[Any]]
HOUR = 472_222
NOON = HOUR * 3600.0


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch) as one:
        yield one


def lead(at: float = NOON, bound: int | None = 10, **more: Any) -> Submission:
    return structs.replace(submission(received_at=at, **more), leads_per_hour=bound)


def states(redis: redis_py.Redis) -> dict[str, int]:
    return {one.value: count for one in State if (count := redis.zcard(keys.state(one)))}


def test_a_flood_waits_in_quarantine(aredis: Client, redis: redis_py.Redis) -> None:
    """Of thirty leads at once over two processes exactly the allowed ten flow; none is lost."""

    async def post() -> list[list[Receipt]]:
        async with aredis() as one, aredis() as other:
            acceptors = [Acceptor(each, open_queue(redis), Cipher()) for each in (one, other)]
            for acceptor in acceptors:
                await acceptor.start()
            try:
                return await asyncio.gather(*(acceptors[n % 2].accept([lead()]) for n in range(30)))
            finally:
                for acceptor in acceptors:
                    await acceptor.stop()

    receipts = [receipt for [receipt] in asyncio.run(post())]
    assert Counter(receipt.state for receipt in receipts) == {
        State.QUEUED: 10,
        State.QUARANTINED: 20,
    }
    assert states(redis) == {"queued": 10, "quarantined": 20}
    ledger = Ledger(redis, Cipher())
    held = next(one.id for one in receipts if one.state is State.QUARANTINED)
    assert [moment.why for moment in ledger.timeline(held)] == [FLOOD]
    stored = cast("dict[bytes, bytes]", redis.hgetall(keys.METRICS))
    metrics = {name.decode(): float(value) for name, value in stored.items()}
    assert metrics[series("leadline_limited_total", bound="leads_per_hour", source="contact")] == 20
    assert metrics[series("leadline_submissions_total", outcome="accepted", source="contact")] == 30
    assert (
        metrics[series("leadline_submissions_total", outcome="quarantined", source="contact")] == 20
    )


def record(redis: redis_py.Redis, *items: Submission) -> None:
    packed = [each.packed for each in encode_submissions(items, Cipher())]
    redis.eval(scripts.source("ledger/accept"), 0, items[-1].received_at, scripts.pack({}), *packed)


def test_the_hour_slides(redis: redis_py.Redis) -> None:
    """What flowed in the hour before counts for the part of it that is not an hour ago yet."""
    record(redis, *(lead(NOON - 1) for _ in range(10)))
    record(redis, lead(NOON + 1))
    record(redis, *(lead(NOON + 1800) for _ in range(10)))
    assert states(redis) == {"queued": 15, "quarantined": 6}


def test_only_leads_of_the_source_count(redis: redis_py.Redis) -> None:
    """Spam, repeats, other sources and sources without a bound fill no hour."""
    record(redis, *(lead(state=State.QUARANTINED) for _ in range(20)))
    record(redis, *(lead(key="same") for _ in range(20)))
    record(redis, *(lead(source="other") for _ in range(10)))
    record(redis, *(lead(bound=None, source="partner") for _ in range(50)))
    record(redis, *(lead() for _ in range(9)))
    assert states(redis) == {"queued": 70, "quarantined": 20}


def test_a_spool_of_many_hours_is_no_flood(redis: redis_py.Redis) -> None:
    """What was spooled counts for the hour in which it came, however late it is handed over."""
    hours = [lead(NOON + 3600 * hour) for hour in range(5) for _ in range(5)]
    record(redis, *hours)
    assert states(redis) == {"queued": 25}
    record(redis, *(lead(NOON + 9 * 3600) for _ in range(30)))
    assert states(redis) == {"queued": 35, "quarantined": 20}


def test_a_person_lets_a_held_lead_flow(world: World, redis: redis_py.Redis) -> None:
    """The sender sees the ordinary answer; a person who accepts the lead is not held back again."""
    for number in range(4):
        world.result = make_result(events=[make_event(lead=Lead(email=f"{number}@acme.example"))])
        answer = world.post("hourly", {"n": number})
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    [held] = [
        str(raw, "ascii")
        for raw in cast("list[bytes]", redis.zrange(keys.state(State.QUARANTINED), 0, -1))
    ]
    assert world.actions.accept(held, by="ada") is State.QUEUED
    assert states(redis) == {"queued": 4}


def test_who_proves_his_origin_has_no_hourly_bound(world: World, redis: redis_py.Redis) -> None:
    """`leads_per_hour` does not count for a source that verifies its senders."""
    world.context.sources.sources["partner"] = structs.replace(
        world.context.sources.sources["partner"], leads_per_hour=1
    )
    for number in range(3):
        world.result = make_result(events=[make_event(lead=Lead(email=f"{number}@acme.example"))])
        world.post("partner", {"n": number})
    assert states(redis) == {"queued": 3}


def test_rates_count_events(world: World, redis: redis_py.Redis) -> None:
    """A batch of five takes five: the address waits for the rest, and is told for how long."""
    world.result = make_result(
        events=[make_event(lead=Lead(email=f"{n}@acme.example")) for n in range(5)]
    )
    assert world.post("limited").status_code == 202
    answer = world.post("limited", {"n": 2})
    assert (answer.status_code, answer.json()["title"]) == (429, "Too many submissions")
    # Two a minute: five are worth 150 seconds, of which 30 have to be left for another.
    assert 118 <= int(answer.headers["retry-after"]) <= 120
    assert states(redis) == {"queued": 5}


def test_all_addresses_together_have_a_rate(world: World) -> None:
    """`rate_limit_source` refuses whoever comes, and the metric names the bound."""
    statuses = []
    for number in range(3):
        world.result = make_result(events=[make_event(lead=Lead(email=f"{number}@acme.example"))])
        statuses.append(world.post("shared", {"n": number}).status_code)
    assert statuses == [202, 202, 429]
    name = series("leadline_limited_total", source="shared", bound="rate_limit_source")
    assert world.metric(name) == 1


def test_a_rate_for_all_is_exact_over_processes(aredis: Client, redis: redis_py.Redis) -> None:
    """Of fifty addresses at once over two processes the allowed ten pass; no address pays for it."""
    rate = Rate(count=10, seconds=600.0)

    async def ask() -> list[Any]:
        async with aredis() as one, aredis() as other:
            limiters = [AddressRateLimiter(each, Breaker(each)) for each in (one, other)]
            return await asyncio.gather(
                *(
                    limiters[n % 2].admit(
                        [
                            Limit(keys.rate_limit("s", str(n)), rate),
                            Limit(keys.rate_limit_source("s"), rate, "rate_limit_source"),
                        ]
                    )
                    for n in range(50)
                )
            )

    refused = [excess for excess in asyncio.run(ask()) if excess]
    assert len(refused) == 40
    assert {excess.limit.setting for excess in refused} == {"rate_limit_source"}
    assert len(redis.keys("leadline:limit:s:*")) == 10


@pytest.mark.parametrize("has_redis", [True, False], ids=["redis", "alone"])
def test_a_debt_is_bounded(aredis: Client, tmp_path: object, *, has_redis: bool) -> None:
    """However much comes at once, an address waits for the largest batch and a period at most."""
    limit = Limit(keys.rate_limit("s", "a"), Rate(count=10, seconds=10.0))

    async def ask() -> float:
        connection = aredis() if has_redis else connect_async(f"unix://{tmp_path}/none.sock")
        async with connection as store:
            limiter = AddressRateLimiter(store, Breaker(store), SettableClock(1000.0))
            for _ in range(2):
                await limiter.count_rest([limit], MAX_DEBT_EVENTS)
            excess = await limiter.admit([limit])
            return excess.seconds if excess else 0.0

    assert MAX_DEBT_EVENTS - 10 <= asyncio.run(ask()) <= MAX_DEBT_EVENTS + 1


def test_what_was_held_back_is_named_by_its_bound(world: World, aredis: Client) -> None:
    """The last hour of a source says how many leads flowed and what each bound held back."""
    now = world.context.clock()
    for number in range(5):
        world.result = make_result(events=[make_event(lead=Lead(email=f"{number}@acme.example"))])
        world.post("hourly", {"n": number})
        world.post("shared", {"n": number})
    counts = BoundCounts(world.context.clock)
    counts.count("shared", "events")

    async def hand_over() -> None:
        async with aredis() as store:
            await counts.aflush(store)

    asyncio.run(hand_over())
    counted = read_bounds(world.context.redis, now)
    assert (counted["hourly"].leads, counted["hourly"].held_back) == (3, {"leads_per_hour": 2})
    assert counted["shared"].held_back["events"] == 1
    assert counted.keys() == {"hourly", "shared"}


def test_bounds_are_written_as_people_write_them() -> None:
    """`leads_per_hour` is a number or off, `rate_limit_source` a rate; both have a default."""
    plain = source("")
    assert (plain.leads_per_hour, plain.rate_limit_source) == (200, None)
    written = source('leads_per_hour = "off"\nrate_limit_source = "600/m"')
    assert (written.leads_per_hour, written.rate_limit_source) == (None, Rate(600, 60.0))


def test_what_is_held_back_is_shown_and_alerted(redis: redis_py.Redis, tmp_path: Path) -> None:
    """Overview and alerts say of the last hour how full a source's bound is, and what it held."""
    ledger = Ledger(redis, Cipher())
    now = ledger.now()
    record(redis, *(lead(now) for _ in range(8)))
    bounds = {"contact": 10}
    gathered = gather(ledger, silent={}, oldest_limit=900.0, bounds=bounds)
    assert gathered.hourly == {"contact": 0.8}
    record(redis, *(lead(now) for _ in range(7)))
    assert gather(ledger, silent={}, oldest_limit=900.0, bounds=bounds).hourly["contact"] == 1.5
    overview = read_overview(ledger, tmp_path)
    assert overview.held_back == {"contact": {"leads_per_hour": 5}}
    assert describe_held_back(overview.held_back) == ["contact: 5 by leads_per_hour"]
