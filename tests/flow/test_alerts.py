"""The monitor with a real Redis and a real webhook: what is sent, by whom, and what is sent again."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_py
from msgspec import structs
from structlog.testing import capture_logs

from service.alerts.monitor import Monitor
from service.alerts.webhook import AlertWebhook
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.causes import cause_id
from worker.contract import Cause, State
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.ledger.audit import ignore_cause
from worker.pipedrive.guarded_http import build_guarded_http
from worker.store import keys
from worker.store.connection import connect


class Channel:
    """What a chat would show. `status` is how its webhook answers."""

    def __init__(self) -> None:
        self.status = 200
        self.texts: list[str] = []

    def take(self, body: bytes) -> int:
        if self.status == 200:
            self.texts += json.loads(body)["text"].split("\n")
        return self.status


@pytest.fixture
def channel() -> Iterator[tuple[Channel, str]]:
    mine = Channel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(mine.take(self.rfile.read(int(self.headers["content-length"]))))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield mine, f"http://127.0.0.1:{server.server_address[1]}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


class World:
    def __init__(
        self,
        redis: redis_py.Redis,
        aredis: Any,
        folder: Path,
        channel: Channel,
        url: str,
        http: httpx.Client,
    ) -> None:
        self.redis, self._aredis, self.folder, self.channel = redis, aredis, folder, channel
        self._webhook, self.ahead = AlertWebhook(url, None, http), 0.0
        redis.hset(keys.WORKERS, "w", json.dumps({"at": time.time() + 10_000}))

    def clock(self) -> float:
        return time.time() + self.ahead

    def monitor(self, redis: redis_py.Redis | None = None, folder: Path | None = None) -> Monitor:
        ledger = Ledger(redis or self.redis, Cipher(()))
        return Monitor(ledger, folder or self.folder, self._webhook, 900.0, self.clock)

    def dead(self, count: int, code: str = "unknown-name") -> None:
        cause = Cause(
            step="names", code=code, detail="no label 'X'", setting="sources.contact.lead.labels"
        )
        letters = [structs.replace(submission(State.DEAD), cause=cause) for _ in range(count)]
        asyncio.run(accept(self._aredis, self.redis, letters))


@pytest.fixture
def world(
    redis: redis_py.Redis,
    aredis: Callable[[], AbstractAsyncContextManager[Any]],
    tmp_path: Path,
    channel: tuple[Channel, str],
) -> Iterator[World]:
    with build_guarded_http(allow_private=True) as http:
        yield World(redis, aredis, tmp_path, *channel, http)


def test_the_first_dead_letter_is_sent_once_and_its_end_once(world: World) -> None:
    """One message for the first dead letter, none while it stays, one when no more are left."""
    monitor = world.monitor()
    monitor.tick()
    assert world.channel.texts == []
    world.dead(1)
    monitor.tick()
    monitor.tick()
    [text] = world.channel.texts
    assert "1 lead could not be delivered, for one cause" in text
    assert "ada@example.com" not in text
    world.redis.delete(keys.state(State.DEAD))
    monitor.tick()
    world.ahead = 301.0
    monitor.tick()
    assert world.channel.texts[1:] == [
        ":white_check_mark: *Leadline*: Recovered: no dead letters are left"
    ]


def test_an_ignored_cause_wakes_nobody(world: World) -> None:
    """A cause that people chose to ignore is not sent until another lead fails for it."""
    world.dead(1)
    [raw] = world.redis.zrange(keys.state(State.DEAD), 0, -1)
    cause = Ledger(world.redis, Cipher(())).get(str(raw, "ascii")).cause  # type: ignore[union-attr, arg-type]
    ignore_cause(world.redis, cause_id(cause), time.time() + 1)
    world.monitor().tick()
    assert world.channel.texts == []
    world.redis.zadd(keys.state(State.DEAD), {str(raw, "ascii"): time.time() + 2})  # type: ignore[arg-type]
    world.redis.delete(keys.ALERTS_LOCK)
    world.monitor().tick()
    assert len(world.channel.texts) == 1


def test_a_growing_cause_is_sent_again(world: World) -> None:
    """At ten dead letters of one cause, and at each doubling."""
    monitor = world.monitor()
    for count, ahead in ((10, 0.0), (5, 400.0), (5, 800.0)):
        world.dead(count)
        world.ahead = ahead
        monitor.tick()
    grown = [text for text in world.channel.texts if "failed for one cause" in text]
    assert [text.split("*: ")[1].split(" failed")[0] for text in grown] == ["10 leads", "20 leads"]


def test_what_the_webhook_refuses_is_sent_later(world: World) -> None:
    """A message counts as sent once the webhook took it; the address stays out of the log."""
    world.dead(1)
    world.channel.status = 500
    with capture_logs() as logs:
        world.monitor().tick()
    assert [line["error"] for line in logs if "webhook" in line["event"]] == ["status 500"]
    assert "/hook" not in str(logs)
    world.channel.status = 200
    world.monitor().tick()
    assert len(world.channel.texts) == 0, "another process has the turn"
    world.redis.delete(keys.ALERTS_LOCK)
    world.monitor().tick()
    assert len(world.channel.texts) == 1


def test_of_several_processes_one_sends(world: World) -> None:
    """Four processes that watch at once send one message."""
    world.dead(1)
    monitors = [world.monitor() for _ in range(4)]
    for _ in range(3):
        for monitor in monitors:
            monitor.tick()
    assert len(world.channel.texts) == 1


def test_each_machine_reports_an_unreachable_redis(world: World, tmp_path: Path) -> None:
    """Half a minute without Redis is sent with the size of the spool; any process sends its return."""
    away = connect("redis://127.0.0.1:1/0", name="away")
    world.monitor(away).tick()
    world.ahead = 31.0
    world.monitor(away).tick()
    world.monitor(away, tmp_path / "another").tick()
    assert [
        ("Redis is unreachable" in text, "0 leads" in text) for text in world.channel.texts
    ] == [(True, True)]
    world.ahead = 60.0
    world.monitor().tick()
    world.ahead = 125.0
    world.monitor().tick()
    assert world.channel.texts[-1].endswith("Recovered: Redis is back")
    away.close()


def test_a_source_that_falls_silent(world: World) -> None:
    """A source that was active hourly for days and stops is sent once, and again when it is back."""
    series = 'leadline_submissions_total{outcome="accepted",source="contact"}'
    monitor = world.monitor()
    for hour in range(5 * 24):
        world.redis.hincrbyfloat(keys.METRICS, series, 20)
        world.ahead = hour * 3600.0
        monitor.tick()
        world.redis.delete(keys.ALERTS_LOCK)
        monitor = world.monitor()
    assert world.channel.texts == []
    world.ahead += 3 * 3600.0
    monitor.tick()
    [text] = world.channel.texts
    assert "contact is usually active at this hour and has been silent for 3 h" in text
    world.redis.hincrbyfloat(keys.METRICS, series, 1)
    world.ahead += 15.0
    monitor.tick()
    assert world.channel.texts[-1].endswith("Recovered: the source contact is active again")
