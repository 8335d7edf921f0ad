from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.chaos.cluster import find_children
from tests.chaos.running_stack import RunningStack
from tests.polling import eventually
from worker.contract import State

pytestmark = pytest.mark.timeout(600)


def test_a_hung_redis_costs_the_senders_nothing(running: RunningStack) -> None:
    """While Redis hangs every sender gets its 2xx; when it goes on, all is delivered once and
    duplicates are one lead.
    """
    running.post_until_accepted("before-hung", "before-hung@example.com")
    redis = running.stack.pids["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        waits = []
        for number in range(100):
            began = time.monotonic()
            assert running.post(f"hung-{number}", f"hung{number}@example.com")
            waits.append(time.monotonic() - began)
        assert running.post("hung-0", "hung0@example.com")
        assert sorted(waits)[50] < 0.4  # a busy machine may hold up some
        ready = running.http.get(f"{running.stack.endpoints.service_url}/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, ["redis"])
    finally:
        os.kill(redis, signal.SIGCONT)
    running.wait_until_idle(90)
    assert eventually(
        lambda: all(running.record(one) is not None for one in running.acknowledged.values()),
        60,
    )
    running.wait_until_idle(90)
    running.check()


def test_a_spool_left_by_a_killed_service_is_drained_by_the_next(running: RunningStack) -> None:
    """What a service spooled before kill -9 is delivered by its successor; a twin sent meanwhile is
    its duplicate.
    """
    redis = running.stack.pids["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        for number in range(20):
            assert running.post(f"left-{number}", f"left{number}@example.com")
        answering = find_children(running.stack.pids["serve"])
        running.kill("serve")
        for pid in answering:  # left alone, they would serve on for a moment
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.post_until_accepted("left-later", "left-later@example.com")
        twin = dict(running.acknowledged)
        running.acknowledged = {}
        running.post_until_accepted("left-0", "left0@example.com")
        second = running.acknowledged.pop("left-0")
        running.acknowledged = twin
    finally:
        os.kill(redis, signal.SIGCONT)
    # A post that was never answered may have left a pointer of its own, so the ids are looked
    # for and not counted.
    acknowledged = [*running.acknowledged.values(), second]
    assert eventually(lambda: all(running.record(one) is not None for one in acknowledged), 60)
    running.wait_until_idle(90)
    first = running.acknowledged["left-0"]
    records = {submission_id: running.record(submission_id) for submission_id in (first, second)}
    [pointer] = [record for record in records.values() if record.state is State.IGNORED]
    [delivered] = [record for record in records.values() if record.state is State.DELIVERED]
    assert pointer.duplicate_of == delivered.id
    running.acknowledged["left-0"] = delivered.id
    running.check()


def test_a_spooled_submission_can_be_asked_for(running: RunningStack) -> None:
    """While Redis is away the status of what was just accepted reads queued, not unknown."""
    redis = running.stack.pids["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        assert running.post("asked", "asked@example.com")
        answer = running.http.get(
            f"{running.stack.endpoints.service_url}/submissions/{running.acknowledged['asked']}"
        )
    finally:
        os.kill(redis, signal.SIGCONT)
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
