"""Redis in trouble of every kind, on a whole machine: what senders, monitors and workers notice of
it, and what of it heals.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from service.local.redis import EmbeddedRedis
from tests.chaos.faults import limit_resource, linux
from tests.chaos.proxy import Proxy
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)

HEALED_SECONDS = 40.0
"""From Redis being well to the last delivery, on a busy machine. RQ would wait longer for a
connection that has died.
"""


@dataclass
class Stand:
    """A machine whose Redis lies behind a proxy. `operator` is a connection beside it, opened
    before any trouble.
    """

    running: RunningStack
    server: EmbeddedRedis
    proxy: Proxy
    operator: Any
    log: Path

    def restarted(self, before: int | None) -> bool:
        return self.server.pid not in (None, before)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("store")
    with (
        EmbeddedRedis(folder / "store") as server,
        Proxy(server.socket) as proxy,
        run_stack(folder, REDIS_URL=proxy.url("redis")) as running,
        connect(server.url, timeout=10, connect_timeout=10) as operator,
    ):
        yield Stand(running, server, proxy, operator, folder / "logs" / "work.log")


@contextmanager
def loading(stand: Stand) -> Iterator[None]:
    """Killed, and slow to read its file at the next start: it stops at each of many thousand
    commands.
    """
    with stand.operator.pipeline(transaction=False) as pipe:
        for number in range(60_000):
            pipe.set("padding", number)
        pipe.delete("padding")
        pipe.execute()
    settings = stand.server.folder / "redis.conf"
    as_it_was = settings.read_text()
    settings.write_text(f"{as_it_was}key-load-delay 200\n")
    pid = stand.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: stand.restarted(pid) and _loads(stand.operator))
    try:
        yield
        assert _loads(stand.operator), "it had loaded before anybody looked"
    finally:
        settings.write_text(as_it_was)
        stand.operator.config_set("key-load-delay", 0)


def _loads(operator: Any) -> bool:
    try:
        return bool(operator.info("persistence")["loading"])
    except redis_py.RedisError:
        return False


def _full_disk(stand: Stand) -> AbstractContextManager[None]:
    """As far as one process goes: what it appends to grows no further, for which root is not
    needed.
    """
    pid = stand.server.pid
    assert pid is not None
    appended = max(stand.server.folder.rglob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
    return limit_resource(pid, resource.RLIMIT_FSIZE, appended.stat().st_size)


@contextmanager
def disk_full(stand: Stand) -> Iterator[None]:
    """With a sync each second Redis goes on, and refuses what it could not write down, a PING
    too.
    """
    stand.operator.config_set("appendfsync", "everysec")
    with _full_disk(stand):
        yield
    assert eventually(lambda: stand.operator.info("persistence")["aof_last_write_status"] == "ok")
    stand.operator.config_set("appendfsync", "always")


@contextmanager
def disk_full_always(stand: Stand) -> Iterator[None]:
    """With a sync before each answer it ends itself, as it can keep no promise; started again, it
    finds room.
    """
    before = stand.server.pid
    with _full_disk(stand):
        yield
        assert eventually(lambda: stand.restarted(before))
    stand.server.wait_ready()


@contextmanager
def slow(stand: Stand) -> Iterator[None]:
    """A fifth of a second to Redis and back."""
    stand.proxy.delay = 0.1
    try:
        yield
    finally:
        stand.proxy.delay = 0.0


@contextmanager
def black_hole(stand: Stand) -> Iterator[None]:
    """Connections stand, and nothing comes through."""
    stand.proxy.deaf = True
    try:
        yield
    finally:
        stand.proxy.deaf = False


@contextmanager
def too_many_clients(stand: Stand) -> Iterator[None]:
    former = stand.operator.config_get("maxclients")["maxclients"]
    stand.operator.config_set("maxclients", 1)
    stand.operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        yield
    finally:
        stand.operator.config_set("maxclients", former)


@contextmanager
def password_rotated(stand: Stand) -> Iterator[None]:
    """Where only Redis has been told so far."""
    stand.operator.config_set("requirepass", "another")
    stand.operator.execute_command("AUTH", "another")
    stand.operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        yield
    finally:
        stand.operator.config_set("requirepass", "")


@contextmanager
def rights_taken(stand: Stand) -> Iterator[None]:
    stand.operator.execute_command("ACL", "SETUSER", "default", "-@write", "-@scripting")
    try:
        yield
    finally:
        stand.operator.execute_command("ACL", "SETUSER", "default", "+@all")


@dataclass(frozen=True)
class Trouble:
    """`told`: what the worker's log must name meanwhile; None where the worker notices nothing."""

    cause: Callable[[Stand], AbstractContextManager[None]]
    refusal: bytes | None
    degraded: bool = True


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(loading, b"BusyLoadingError"),
        pytest.param(Trouble(disk_full, b"ResponseError"), marks=linux),
        pytest.param(Trouble(disk_full_always, b"ConnectionError"), marks=linux),
        Trouble(slow, None, degraded=False),
        Trouble(black_hole, b"TimeoutError"),
        Trouble(too_many_clients, b"ConnectionError"),
        Trouble(password_rotated, b"AuthenticationError"),
        Trouble(rights_taken, b"NoPermissionError"),
    ],
    ids=lambda trouble: trouble.cause.__name__,
)
def test_a_store_in_trouble_costs_nothing(stand: Stand, trouble: Trouble) -> None:
    """Senders get their 2xx, monitors read what is degraded, logs name it, no process ends; healed,
    all arrives once.
    """
    running, name = stand.running, trouble.cause.__name__
    running.post_until_accepted(f"before-{name}", f"before-{name}@example.com")
    running.wait_until_idle(
        60
    )  # what is in the middle of its delivery when Redis goes waits for its lease: another test's matter
    parts = {part: running.stack.pids[part] for part in ("serve", "work")}
    log_size = stand.log.stat().st_size
    with trouble.cause(stand):
        for number in range(8):
            running.post_until_accepted(f"{name}-{number}", f"{name}{number % 6}@example.com")
        if trouble.degraded:
            assert eventually(lambda: running.health() == (200, 200, ["redis"])), running.health()
        else:
            assert running.health()[:2] == (200, 200)
        if trouble.refusal:
            refusal = trouble.refusal
            assert eventually(lambda: refusal in stand.log.read_bytes()[log_size:]), (
                stand.log.read_bytes()[log_size:][-1000:]
            )
    assert eventually(lambda: running.health() == (200, 200, [])), running.health()
    assert eventually(
        lambda: all(running.record(one) is not None for one in running.acknowledged.values()), 60
    )
    running.wait_until_idle(HEALED_SECONDS)
    running.check()
    assert parts == {part: running.stack.pids[part] for part in ("serve", "work")}
