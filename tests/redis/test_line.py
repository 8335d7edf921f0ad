from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis as redis_py

from worker.errors import OutOfAllowance
from worker.pipedrive.calls import LEADS_ADD, LEADS_GET
from worker.pipedrive.rate_limiter import (
    MAX_FIRST_WAIT_SECONDS,
    MAX_LATER_WAIT_SECONDS,
    ApiLimits,
    RateLimiter,
    WaitingRateLimiter,
)
from worker.store import keys

NOON = 1_800_014_400.0


class Clock:
    """The workers' clock and their sleep: a pause advances it."""

    def __init__(self) -> None:
        self.now = NOON
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def allowance(redis: redis_py.Redis, clock: Clock, **limits: Any) -> RateLimiter:
    return RateLimiter(
        redis, ApiLimits(**({"calls_per_window": 1, "daily_tokens": 1000} | limits)), clock
    )


def test_a_call_waits_for_its_turn_and_goes(redis: redis_py.Redis, clock: Clock) -> None:
    """When the window is full, a call sleeps until there is room, and then counts like any other."""
    mine = WaitingRateLimiter(allowance(redis, clock), clock.pause)
    for _ in range(3):
        mine.before(LEADS_GET)
        mine.after(LEADS_GET, 200, {})
    assert clock.slept == [pytest.approx(2.0, abs=0.002), pytest.approx(2.0, abs=0.002)]
    assert redis.zcard(keys.DEFAULT_ACCOUNT.allowance("waiting")) == 0


@pytest.mark.parametrize(
    ("fresh", "patience"), [(True, MAX_FIRST_WAIT_SECONDS), (False, MAX_LATER_WAIT_SECONDS)]
)
def test_the_wait_is_bounded(
    redis: redis_py.Redis, clock: Clock, fresh: bool, patience: float
) -> None:
    """A call that would wait too long is refused with the time when it could go."""
    shared = allowance(redis, clock)
    shared.before(LEADS_GET)
    shared.after(LEADS_GET, 429, {"retry-after": "30"})
    with pytest.raises(OutOfAllowance) as caught:
        WaitingRateLimiter(shared, clock.pause, lambda: fresh).before(LEADS_GET)
    assert not caught.value.budget
    assert caught.value.until == pytest.approx(NOON + 30)
    assert sum(clock.slept) <= patience


def test_a_spent_day_is_not_waited_for(redis: redis_py.Redis, clock: Clock) -> None:
    """When the day's tokens are used up, a call is refused without waiting."""
    mine = WaitingRateLimiter(
        allowance(redis, clock, calls_per_window=20, daily_tokens=5), clock.pause
    )
    with pytest.raises(OutOfAllowance) as caught:
        mine.before(LEADS_ADD)
    assert (caught.value.budget, clock.slept) == (True, [])


def test_a_process_that_stops_waits_no_longer(redis: redis_py.Redis, clock: Clock) -> None:
    """When the process stops, a waiting call gives up its place at once."""
    mine = WaitingRateLimiter(allowance(redis, clock), lambda _: True)
    mine.before(LEADS_GET)
    with pytest.raises(OutOfAllowance) as caught:
        mine.before(LEADS_GET)
    assert not caught.value.budget
    assert redis.zcard(keys.DEFAULT_ACCOUNT.allowance("waiting")) == 0


def test_threads_of_one_process_share_an_allowance(redis: redis_py.Redis) -> None:
    """Each response frees its own call's place: ten calls in windows of four take three windows."""
    shared = RateLimiter(redis, ApiLimits(calls_per_window=4, daily_tokens=1000))
    last_tries: list[float] = []
    went: list[float] = []

    def work() -> None:
        tries = [time.monotonic()]

        def pause(seconds: float) -> None:
            time.sleep(seconds)
            tries.append(time.monotonic())

        mine = WaitingRateLimiter(shared, pause)
        mine.before(LEADS_GET)
        went.append(time.monotonic())
        last_tries.append(tries[-1])
        mine.after(LEADS_GET, 200, {})

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(went) == 10
    # The Redis clock read each of them between its last try and its going.
    pairs = zip(sorted(last_tries), sorted(went)[4:], strict=False)
    assert all(late - early > 1.9 for early, late in pairs)
