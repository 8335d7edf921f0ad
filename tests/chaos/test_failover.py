"""Sentinel fails over while posts come in, and the replica has seen nothing of the last of them,
nor of the last deliveries.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.bench.load import Load
from tests.chaos.checker import Violation, by_token, check
from tests.chaos.facts import Facts, count_unfinished, gather, leftovers, metrics_of
from tests.chaos.running_stack import SOURCES, RunningStack, run_stack
from tests.chaos.senders import Kind, Post
from tests.chaos.sentinels import Trio, trio
from tests.polling import eventually
from worker.contract import State
from worker.errors import LeadlineError
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)

RATE = 10.0
HEALED_SECONDS = 60.0
"""From the failover to the last delivery."""


def post(number: int) -> Post:
    """New people and known ones, with a lead of their own each or labels and notes."""
    token = f"f{number:05d}x"
    email = f"person{number % 7}@example.com" if number % 3 == 0 else f"{token}@example.com"
    return Post(
        token,
        Kind.FRESH if number % 2 else Kind.SITE,
        email,
        f"key-{token}",
        careful=False,
        repeats=0,
    )


class Storm:
    """One run. `blind` are the tokens that were answered while the replica saw nothing, up to the
    primary's death.

    With `hold` the worker stands still from there to the failover, and so delivers nothing of what
    gets lost.
    """

    def __init__(self, folder: Path, wait_replicas: int, *, hold: bool) -> None:
        self._folder = folder
        self._wait = str(wait_replicas)
        self._hold = hold
        self.blind: set[str] = set()

    def run(self, afterwards: Callable[[Trio], None]) -> tuple[Load, Facts]:
        """`afterwards` happens once the replica is the primary."""
        with (
            trio(self._folder / "redis") as servers,
            run_stack(
                self._folder / "machine",
                SOURCES,
                REDIS_URL=servers.url,
                LEADLINE_WAIT_REPLICAS=self._wait,
            ) as running,
        ):
            load = Load(running.stack.endpoints.service_url, RATE, post)
            load.start()
            assert eventually(lambda: running.counts()[State.DELIVERED] >= 10)
            self._fail_over(servers, running, load)
            more = len(load.results) + RATE
            assert eventually(lambda: len(load.results) >= more)
            afterwards(servers)
            load.stop()
            return load, self._settled(running)

    def _fail_over(self, servers: Trio, running: RunningStack, load: Load) -> None:
        worker = running.stack.pids["work"]
        if self._hold:
            os.kill(worker, signal.SIGSTOP)
        try:
            with connect(servers.url, timeout=5) as client:
                client.set("leadline-test", "1")
                assert client.wait(1, 5000) == 1
            servers.blind_replica()
            began, answered = load.now, len(load.results)
            stored = sum(running.counts().values())
            assert eventually(lambda: len(load.results) >= answered + RATE)
            if self._hold:
                # On a busy machine the first of them may have gone into the spool.
                assert eventually(lambda: sum(running.counts().values()) > stored)
            servers.kill_primary()
            ended = load.now
            servers.fail_over()
        finally:
            os.kill(worker, signal.SIGCONT)
        self.blind = {
            answer.token for answer in load.results if began <= answer.answered_at <= ended + 0.5
        }

    def _settled(self, running: RunningStack) -> Facts:
        data, url = self._folder / "machine" / "data", running.stack.endpoints.redis_url
        with connect(url, timeout=5) as client:

            def still() -> bool:
                with suppress(redis.RedisError, LeadlineError):
                    return count_unfinished(client) == 0 and not any(
                        leftovers(client, data).values()
                    )
                return False

            assert eventually(still, HEALED_SECONDS), leftovers(client, data)
            return gather(
                client,
                running.sandbox(),
                metrics_of(running.stack.endpoints.service_url, eventually),
                data,
            )


def unanswered(load: Load) -> list[object]:
    return [answer for answer in load.results if answer.status != 202]


def test_a_failover_under_load_loses_nothing_that_a_replica_had_to_have(tmp_path: Path) -> None:
    """With LEADLINE_WAIT_REPLICAS=1 each post gets its 2xx all along, and all are delivered once
    there is a replica again.
    """
    load, facts = Storm(tmp_path, 1, hold=False).run(Trio.come_back)
    assert unanswered(load) == []
    assert check(facts, load.posts) == []


def test_without_waiting_a_failover_loses_what_the_replica_had_not_seen(tmp_path: Path) -> None:
    """Only what was answered while the replica saw nothing is lost; the rest is delivered once, and
    nothing is doubled.
    """
    storm = Storm(tmp_path, 0, hold=True)
    load, facts = storm.run(lambda _: None)
    stored = by_token(facts.records.values())
    lost = {post.token for post in load.posts if post.token not in stored}
    assert unanswered(load) == []
    assert lost
    assert lost <= storm.blind
    violations: list[Violation] = check(
        facts, [post for post in load.posts if post.token not in lost]
    )
    assert violations == []
