from __future__ import annotations

from typing import Any

import pytest

from worker import keys
from worker.errors import OutOfAllowance, StoreUnavailable
from worker.pipedrive.allowance import Allowance, Plan
from worker.pipedrive.calls import LEADS_ADD, PERSONS_SEARCH

NOON = 1_800_057_600.0 - 43_200.0
"""Half a day before midnight UTC."""


def allowance(redis: Any, **limits: int) -> Allowance:
    return Allowance(redis, Plan(**({"burst": 20, "tokens": 1000} | limits)), lambda: NOON)


def test_no_more_calls_than_the_burst_window_takes(redis: Any) -> None:
    """The call beyond the window is held back until there is room, and takes nothing of the day."""
    mine = allowance(redis, burst=3)
    for _ in range(3):
        mine.before(LEADS_ADD)
    with pytest.raises(OutOfAllowance) as caught:
        mine.before(LEADS_ADD)
    assert not caught.value.budget
    assert 0 < caught.value.until - NOON <= 2.25
    assert redis.get(keys.ALLOWANCE + "left") == b"970"


def test_searches_have_a_window_of_their_own(redis: Any) -> None:
    """When ten searches fill theirs, other calls still go."""
    mine = allowance(redis)
    for _ in range(10):
        mine.before(PERSONS_SEARCH)
    with pytest.raises(OutOfAllowance):
        mine.before(PERSONS_SEARCH)
    mine.before(LEADS_ADD)


def test_the_days_tokens_are_never_passed(redis: Any) -> None:
    """A call that would cost more than is left waits for midnight UTC."""
    mine = allowance(redis, tokens=25)
    mine.before(PERSONS_SEARCH)
    with pytest.raises(OutOfAllowance) as caught:
        mine.before(LEADS_ADD)
    assert caught.value.budget
    assert caught.value.until == NOON + 43_200


def test_what_is_left_is_said_for_today_only(redis: Any) -> None:
    """The number shown ends with the day it belongs to, whoever wrote it."""
    mine = allowance(redis)
    mine.before(LEADS_ADD)
    assert 0 < redis.ttl(keys.ALLOWANCE + "left") <= 43_200
    mine.after(LEADS_ADD, 200, {"x-daily-ratelimit-token-remaining": "7"})
    assert redis.get(keys.ALLOWANCE + "left") == b"7"
    assert 0 < redis.ttl(keys.ALLOWANCE + "left") <= 43_200


def test_an_answer_is_not_lost_over_a_correction(redis: Any) -> None:
    """When the shared clock cannot be asked after a call, the call's answer still counts."""

    def away() -> float:
        raise StoreUnavailable("gone")

    Allowance(redis, Plan(burst=1, tokens=1), away).after(LEADS_ADD, 201, {"x-daily-ratelimit-token-remaining": "7"})
