"""What monitors see: alive, ready, and the numbers, with Redis and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis as redis_py

from service.sources.request import Outcome
from tests.flow.intake_world import World, make_result, open_world
from worker.fate import GATE_REASONS
from worker.metrics import DELIVERIES, series
from worker.store import keys


@pytest.fixture
def world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, spool=tmp_path) as opened:
        yield opened


@pytest.fixture
def lonely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(f"unix://{tmp_path}/none.sock", monkeypatch, spool=tmp_path) as opened:
        yield opened


def test_alive_and_ready(world: World) -> None:
    """With Redis there, the process lives and can accept."""
    assert world.client.get("/healthz").json() == {"alive": True}
    assert world.client.head("/healthz").status_code == 200
    assert world.client.head("/readyz").status_code == 200
    ready = world.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "degraded": []})


def test_without_redis_it_lives_and_says_what_is_missing(lonely: World) -> None:
    """Without Redis the process lives, accepts into its spool and still shows its own numbers."""
    assert lonely.client.get("/healthz").status_code == 200
    ready = lonely.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "degraded": ["redis"]})
    lonely.result = make_result(Outcome.REFUSED, status=401)
    lonely.post("typeform")
    assert lonely.metric("leadline_up_redis") == 0
    assert (
        lonely.metric(series("leadline_submissions_total", source="typeform", outcome="refused"))
        == 1
    )
    assert lonely.post("contact").status_code == 401


def test_without_redis_and_spool_it_is_not_ready(lonely: World, tmp_path: Path) -> None:
    """Where neither can take a submission, readiness says so and names both."""
    (tmp_path / "spool").write_text("a file in the way")
    ready = lonely.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        503,
        {"ready": False, "degraded": ["redis", "spool"]},
    )


def test_a_redis_that_takes_no_writes_is_degraded(world: World, redis: redis_py.Redis) -> None:
    """A full Redis answers PING and stores nothing: it is degraded, and the spool takes over."""
    before = redis.config_get("maxmemory")["maxmemory"]
    redis.config_set("maxmemory", "1")
    try:
        assert world.post().status_code == 202
        ready = world.client.get("/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, ["redis", "storage"])
        assert world.context.acceptor.spool
        assert world.context.acceptor.spool.count == 1
    finally:
        redis.config_set("maxmemory", str(before))


def test_the_numbers_are_those_of_all_processes(world: World, redis: redis_py.Redis) -> None:
    """A scrape reads states, ages, workers and tokens from Redis, and what workers counted."""
    world.post()
    world.result = make_result(Outcome.SPAM)
    world.post("partner")
    now = world.context.clock()
    redis.zadd(keys.state("waiting"), {"A": now - 100, "B": now - 50})
    beats = {"w1": {"at": now - 10}, "w2": {"at": now - 120}, "w3": {"pid": 1}}
    for name, beat in beats.items():
        redis.hset(keys.WORKERS, name, msgspec.json.encode(beat))
    redis.hset(keys.WORKERS, "w4", b"junk")
    redis.set(keys.DEFAULT_ACCOUNT.allowance("left"), "1234.5")
    redis.hincrby(keys.METRICS, series(DELIVERIES, source="contact", result="created"), 7)
    assert world.metric('leadline_state{state="queued"}') == 1
    assert world.metric('leadline_state{state="quarantined"}') == 1
    assert world.metric('leadline_state{state="waiting"}') == 2
    assert world.metric('leadline_state{state="erased"}') == 0
    assert world.metric('leadline_oldest_seconds{state="waiting"}') == pytest.approx(100, abs=20)
    assert world.metric("leadline_workers") == 1
    assert world.metric("leadline_pipedrive_tokens_left") == 1234.5
    assert world.metric(series(DELIVERIES, source="contact", result="created")) == 7
    assert (
        world.metric(series("leadline_submissions_total", source="contact", outcome="accepted"))
        == 1
    )
    assert world.metric("leadline_up_redis") == 1
    assert world.metric("leadline_intake_seconds_count") == 2
    assert redis.hget(keys.METRICS, "leadline_intake_seconds_count") == b"2"


def test_what_stops_deliveries_is_a_metric(world: World) -> None:
    """Every reason is there at zero; the closed gate's and the operator's pause stand at one."""
    gate = world.context.ledger.gate
    reasons = ("operator", *GATE_REASONS)

    def stopped() -> list[str]:
        return [one for one in reasons if world.metric(f'leadline_paused{{reason="{one}"}}') == 1]

    assert stopped() == []
    gate.close("one", "account", world.context.clock() + 30, probe=True, advice="pay")
    gate.pause("the CRM is being tidied", "kim")
    assert stopped() == ["operator", "account"]


def test_counters_do_not_fall_when_redis_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Redis has gone, a scrape shows what it last said and what was counted since."""
    text = series("leadline_submissions_total", source="typeform", outcome="refused")
    world.result = make_result(Outcome.REFUSED, status=401)
    world.post("typeform")
    assert world.metric(text) == 1

    def away(**_: object) -> None:
        raise redis_py.ConnectionError

    monkeypatch.setattr(world.context.aredis, "pipeline", away)
    world.post("typeform")
    assert world.metric("leadline_up_redis") == 0
    assert world.metric(text) == 2
