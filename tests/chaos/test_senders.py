"""Senders who turn the order round, repeat themselves thousands of times, or change their secret
under way.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.bench.client import read_response
from tests.chaos.conftest import SECRETS
from tests.chaos.environment import CrashEnvironment
from tests.chaos.running_stack import RunningStack
from tests.chaos.senders import CHAOS_SOURCES
from tests.polling import eventually
from worker.contract import State
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)


def sources(*names: str) -> str:
    """The machine's sources; `keyed` takes the secrets in these variables."""
    return CHAOS_SOURCES.replace('"CHAOS_SECRET"', ", ".join(f'"{name}"' for name in names))


@pytest.mark.parametrize(
    "kinds",
    [("signed up", "changed the plan"), ("changed the plan", "signed up")],
    ids=["in-order", "turned"],
)
def test_in_whatever_order_events_come_both_are_there(
    environment: CrashEnvironment, kinds: tuple[str, str]
) -> None:
    """An update that comes before its create makes the same of the account: one person, one lead, a
    note of each.
    """
    environment.reset(note=True)
    for message in kinds:
        environment.pipeline.accept(email="turned@example.com", message=message)
    environment.finish()
    assert environment.counts()[State.DELIVERED] == 2
    assert (len(environment.account.persons), len(environment.account.leads)) == (1, 1)
    notes = environment.account.state()["notes"]
    assert sorted(word for note in notes for word in kinds if word in note["content"]) == sorted(
        kinds
    )


REPEATS, EVENTS, CONNECTIONS = 2_000, 20, 16


def test_a_storm_of_repeats_leaves_no_trace_and_lets_others_in(running: RunningStack) -> None:
    """Twenty events come again two thousand times: each is told its first answer, nothing grows,
    others are served meanwhile.
    """
    for number in range(EVENTS):
        running.post_until_accepted(f"storm-{number}", f"storm{number}@example.com")
    running.wait_until_idle(60)
    with connect(running.stack.endpoints.redis_url, timeout=10) as client:
        before, leads, keys = running.counts(), len(running.sandbox()["leads"]), client.dbsize()
        others = threading.Thread(
            target=lambda: [running.post(f"other-{n}", "other@example.com") for n in range(20)]
        )
        others.start()
        statuses = asyncio.run(_storm(int(running.stack.endpoints.service_url.rpartition(":")[2])))
        others.join(60)
        assert statuses == [202] * REPEATS
        assert sum(f"other-{number}" in running.acknowledged for number in range(20)) == 20
        running.wait_until_idle(60)
        running.check()
        # Those that were spooled because the machine was busy, and known as repeats only later.
        after = running.counts()
        spooled = after[State.IGNORED] - before[State.IGNORED]
        assert spooled < REPEATS / 10
        assert sum(after.values()) == sum(before.values()) + 20 + spooled
        assert len(running.sandbox()["leads"]) == leads + 1
        assert client.dbsize() - keys < (20 + spooled) * 10


async def _storm(port: int) -> list[int]:
    """The statuses of all repeats, over some connections that stay open."""
    numbers = iter(range(REPEATS))

    async def sender() -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        statuses = []
        for number in numbers:
            writer.write(_repeat(number % EVENTS))
            statuses.append(await asyncio.wait_for(read_response(reader), 30))
        writer.close()
        return statuses

    return [
        status
        for statuses in await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
        for status in statuses
    ]


def _repeat(number: int) -> bytes:
    """The bytes of what `Running.post` sends."""
    fields = {
        "name": "Someone",
        "email": f"storm{number}@example.com",
        "message": f"about storm-{number}",
    }
    body = urlencode(fields).encode()
    head = (
        f"POST /in/site HTTP/1.1\r\nHost: a\r\nIdempotency-Key: storm-{number}\r\nAccept:"
        " application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length:"
        f" {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Sender:
    """Posts one after the other in a thread, each with `secret`; `told`: which secret, and the
    status.
    """

    def __init__(self, post: Callable[[str, int], int]) -> None:
        self.secret = "CHAOS_SECRET"
        self.answers: list[tuple[str, int]] = []
        self._post = post
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def sent_with(self, secret: str) -> int:
        return sum(name == secret for name, _ in self.answers)

    def _run(self) -> None:
        for number in itertools.count(1):
            if self._over.wait(0.02):
                return
            secret = self.secret
            self.answers.append((secret, self._post(secret, number)))


def test_a_secret_is_changed_under_load_without_one_refusal(running: RunningStack) -> None:
    """Both secrets in the file, then senders change, then the former goes: no valid post is
    refused, and then the former is.
    """
    file = Path(running.stack.endpoints.env["LEADLINE_CONFIG"])
    url = f"{running.stack.endpoints.service_url}/in/keyed"

    def status(name: str, number: int = 0) -> int:
        fields = {"email": f"keyed{number % 5}@example.com", "message": f"{name} {number}"}
        return httpx.post(
            url, data=fields, headers={"X-Key": SECRETS[name]}, timeout=10, trust_env=False
        ).status_code

    with Sender(status) as sender:
        assert status("CHAOS_NEXT") == 401
        file.write_text(sources("CHAOS_SECRET", "CHAOS_NEXT"))
        assert eventually(lambda: status("CHAOS_NEXT") == 202)
        sender.secret = "CHAOS_NEXT"
        assert eventually(lambda: sender.sent_with("CHAOS_NEXT") > 5)
        file.write_text(sources("CHAOS_NEXT"))
        assert eventually(lambda: status("CHAOS_SECRET") == 401)
        later = len(sender.answers)
        assert eventually(lambda: len(sender.answers) > later + 5)
    assert {status for _, status in sender.answers} == {202}
    running.wait_until_idle(60)
    running.check()
