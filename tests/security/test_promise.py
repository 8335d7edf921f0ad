"""The promise of a 2xx on servers that do not keep what they acknowledge, watched while given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from structlog.testing import capture_logs

from service.alerts.conditions import Condition, machine_conditions, shared_conditions
from service.alerts.monitor import gather
from service.checks.environment import check_store
from service.checks.finding import Level
from service.ops.auth import OpsAuth
from service.ops.console.page import Console
from service.ops.console.status_bar import Banner
from service.web.authorization import TokenGuard
from service.web.lockout import Lockout
from tests.flow.intake_world import World, open_world
from tests.polling import eventually
from tests.redis.servers import (
    CLUSTER,
    EACH_WRITE,
    EVERY_SECOND,
    EVICTING,
    MANAGED,
    NO_FILE,
    redis_with,
)
from worker.accept import promise_watch
from worker.accept.promise import WHATS, Breach, Surroundings, Terms, find_breaches
from worker.accept.promise_watch import PromiseWatch
from worker.settings.table import Settings
from worker.store.connection import connect
from worker.store.durability import Durability

pytestmark = pytest.mark.usefixtures("redis_url")  # skips where there is no server

NEVER = {"LEADLINE_JOURNAL": "never"}
ACCEPTED = {"LEADLINE_ACCEPT_UNSAFE_REDIS": "yes"}
UNSAFE = [
    (CLUSTER, {}, "cluster"),
    (EVICTING, {}, "eviction"),
    (EVICTING | MANAGED, {}, "eviction"),
    (NO_FILE, NEVER, "append_only"),
    (EVERY_SECOND, NEVER, "fsync"),
    (EACH_WRITE | MANAGED, NEVER, "fsync"),
]


@pytest.fixture(params=UNSAFE, ids=lambda each: f"{each[2]}-{len(each[0])}")
def unsafe(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str], str]]:
    """A server that breaks the promise: its URL, the settings, and the name of the breach."""
    options, env, what = request.param
    with redis_with(options | {"maxmemory": "100mb"}) as url:
        yield url, env, what


def broken(world: World) -> list[str]:
    """What `/metrics` says is broken."""
    return [what for what in WHATS if world.metric(f'leadline_unsafe{{what="{what}"}}')]


def alerts(world: World) -> list[Condition]:
    """What the monitor would send, of this machine and of all."""
    context = world.context
    try:
        facts = gather(context.ledger, silent={}, oldest_limit=900.0)
        shared = list(shared_conditions(facts))
    except Exception:
        shared = []
    machine = machine_conditions(redis=bool(shared), spool=0, unsafe=context.promise.breaches)
    return [each for each in (*shared, *machine) if each.key.startswith("unsafe:")]


def banners(world: World) -> list[Banner]:
    lockout = Lockout(world.context.aredis, world.context.acceptor.breaker)
    auth = OpsAuth(world.context, TokenGuard((), lockout))
    console = Console(world.context, auth, world.queries, world.actions)
    return console.status_bar().banners


def test_no_2xx_that_does_not_hold(
    unsafe: tuple[str, dict[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no journal mends is a 503 that says when to come again, and is told everywhere."""
    url, env, what = unsafe
    with capture_logs() as logs, open_world(url, monkeypatch, env, spool=tmp_path) as world:
        answer = world.post()
        assert (answer.status_code, answer.json()["type"]) == (503, "/docs#problem-unsafe-store")
        assert int(answer.headers["retry-after"]) > 0
        assert "leadline check" in answer.json()["detail"]
        ready = world.client.get("/readyz")
        assert ready.status_code == 503
        assert what in ready.json()["degraded"]
        assert not ready.json()["ready"]
        assert broken(world) == [what]
        assert [alert.key for alert in alerts(world)] == [f"unsafe:{what}"]
        [banner] = [each for each in banners(world) if each.kind == "bad"][:1]
        assert "503" in banner.text
        world.context.promise.look()
    [line] = [each for each in logs if each.get("what") == what and "cause" in each]
    assert line["log_level"] == "warning"
    assert "503" in line["effect"]


def test_the_operator_may_accept_the_risk(
    unsafe: tuple[str, dict[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With LEADLINE_ACCEPT_UNSAFE_REDIS it accepts, and says all the same what is broken."""
    url, env, what = unsafe
    with open_world(url, monkeypatch, env | ACCEPTED, spool=tmp_path) as world:
        assert world.post().status_code == 202
        ready = world.client.get("/readyz")
        assert ready.status_code == 200
        assert what in ready.json()["degraded"]
        assert broken(world) == [what]


def test_check_fails(unsafe: tuple[str, dict[str, str], str]) -> None:
    """`leadline check` ends with 1 on each of them."""
    url, env, _ = unsafe
    terms = Terms.from_settings(Settings.for_service(env), accepts=True)
    with connect(url, timeout=60) as client:
        findings = check_store(client, url, terms)
    assert Level.FAIL in [finding.level for finding in findings], findings


@pytest.mark.parametrize(
    "options", [NO_FILE, EVERY_SECOND, EACH_WRITE | MANAGED, EACH_WRITE], ids=str
)
def test_what_the_journal_mends_is_no_breach(
    options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the journal is kept, a Redis that does not sync is a warning of `check`, no more."""
    with (
        redis_with(options | {"maxmemory": "100mb"}) as url,
        open_world(url, monkeypatch, spool=tmp_path) as world,
    ):
        assert world.post().status_code == 202
        assert world.client.get("/readyz").json() == {"ready": True, "degraded": []}
        assert broken(world) == []
        findings = check_store(world.context.redis, url, Terms(accepts=True))
        assert Level.FAIL not in [finding.level for finding in findings]
        assert (Level.WARN in [finding.level for finding in findings]) is (options != EACH_WRITE)


@pytest.fixture
def world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, spool=tmp_path) as opened:
        yield opened


def test_it_begins_and_ends_while_it_runs(world: World, redis: redis_py.Redis) -> None:
    """A policy that changes under a running service refuses leads from the next look until it ends.

    Each end and each beginning is one line.
    """
    promise = world.context.promise
    with capture_logs() as logs:
        try:
            redis.config_set("maxmemory-policy", "allkeys-lru")
            for _ in range(3):
                promise.look()
            assert world.post().status_code == 503
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
        for _ in range(3):
            promise.look()
    assert world.post().status_code == 202
    lines = [each for each in logs if each.get("what") == "eviction"]
    assert ["cause" in line for line in lines] == [True, False]


def test_it_is_looked_at_every_minute(redis: redis_py.Redis, tmp_path: Path) -> None:
    """A look is due a minute after the last, and at once where something new is noticed."""
    now, noticed = [0.0], list[Breach]()
    watch = PromiseWatch(
        redis, Terms(accepts=True), tmp_path, observed=lambda: noticed, monotonic=lambda: now[0]
    )
    watch.tick()
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        watch.tick()
        assert watch.names == []
        now[0] = promise_watch.LOOK_SECONDS
        watch.tick()
        assert watch.names == ["eviction"]
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


def test_spooled_submissions_stay_where_they_are_safe(
    world: World, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted while Redis was away is not handed over to a Redis that may drop it."""
    acceptor, promise = world.context.acceptor, world.context.promise
    spool, rounds = acceptor.spool, list[None]()
    assert spool

    def adopt() -> None:
        """Each round of the drain begins with it."""
        rounds.append(None)

    monkeypatch.setattr(spool, "adopt", adopt)
    monkeypatch.setattr("worker.accept.drain.ADOPT_SECONDS", 0.0)
    acceptor.breaker.closed = False
    assert world.post().status_code == 202
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        promise.look()
        assert eventually(lambda: acceptor.drain and acceptor.drain.is_held)
        acceptor.breaker.closed = True
        before = len(rounds)
        assert eventually(lambda: len(rounds) > before + 1)
        assert spool.count == 1
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    promise.look()
    assert eventually(lambda: not spool.count)


@pytest.mark.parametrize(
    ("env", "status"), [({}, 202), ({"LEADLINE_JOURNAL": "always"}, 503)], ids=["spool", "journal"]
)
def test_a_data_directory_that_cannot_be_written(
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    status: int,
) -> None:
    """It is named and logged; where the journal must be written there, nothing is accepted."""
    (tmp_path / "file").write_text("in the way")
    with (
        capture_logs() as logs,
        open_world(redis_url, monkeypatch, env, spool=tmp_path / "file") as world,
    ):
        assert world.post().status_code == status
        ready = world.client.get("/readyz").json()
        assert ready == {"ready": status == 202, "degraded": ["spool", "data_dir"]}
        assert broken(world) == ["data_dir"]
    assert [each["what"] for each in logs if "cause" in each] == ["data_dir"]


def test_what_a_worker_sees_is_told_by_all(
    world: World, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """A worker on another machine, whose clock is off: metrics, alerts, overview, console, check."""
    (tmp_path / "file").write_text("in the way")
    worker = PromiseWatch(redis, Terms(accepts=False), tmp_path / "file", clock=lambda: 0.0)
    worker._name = "elsewhere-7"
    worker.look()
    assert worker.refusal is None
    assert broken(world) == ["data_dir", "clock"]
    assert {"data_dir", "clock"} <= {*world.queries.overview().degraded}
    assert {each.key for each in alerts(world)} == {"unsafe:data_dir", "unsafe:clock"}
    assert any("clock" in banner.title for banner in banners(world))
    findings = check_store(redis, "redis://h", Terms(accepts=True))
    assert [each.level for each in findings if "cannot be written" in each.message] == ["fail"]
    assert world.post().status_code == 202
    worker.close()
    assert broken(world) == []


def test_a_process_that_is_gone_is_forgotten(
    world: World, redis: redis_py.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process last saw counts for three minutes."""
    worker = PromiseWatch(redis, Terms(accepts=False), tmp_path, clock=lambda: 0.0)
    worker._name = "elsewhere-7"
    worker.look()
    assert broken(world) == ["clock"]
    monkeypatch.setattr(promise_watch, "RECORD_SECONDS", -1.0)
    assert broken(world) == []


@pytest.mark.parametrize(
    ("surroundings", "whats"),
    [
        ({"free_bytes": 255}, ["disk_space"]),
        ({"free_bytes": 256}, []),
        ({"clock_seconds": 11.0}, ["clock"]),
        ({"clock_seconds": -11.0}, ["clock"]),
        ({"clock_seconds": 9.0}, []),
        ({"durability": Durability(version_text="6.0.16")}, ["version"]),
        ({"durability": Durability(max_memory=0)}, ["max_memory"]),
        ({"durability": Durability(replicas=1)}, ["replicas"]),
        ({"durability": Durability(replicas=2)}, []),
        ({}, []),
    ],
    ids=str,
)
def test_what_counts_as_a_breach(surroundings: dict[str, object], whats: list[str]) -> None:
    """What is not known is no breach; each bound is where its text says."""
    terms = Terms(accepts=True, spool_max=256, wait_replicas=2)
    if isinstance(durability := surroundings.get("durability"), Durability):
        terms = Terms(accepts=True, wait_replicas=2 if durability.replicas else 0)
    breaches = list(find_breaches(Surroundings(**surroundings), terms))  # type: ignore[arg-type]
    assert [breach.what for breach in breaches] == whats
    assert {breach.what for breach in breaches} <= {*WHATS}
