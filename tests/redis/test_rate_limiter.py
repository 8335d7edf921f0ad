from __future__ import annotations

import contextlib
import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis as redis_py

from worker.errors import OutOfAllowance, StoreUnavailable
from worker.pipedrive.calls import LEADS_ADD, LEADS_GET, PERSONS_ADD, PERSONS_SEARCH
from worker.pipedrive.rate_limiter import (
    UNANSWERED_SECONDS,
    ApiLimits,
    RateLimiter,
    Ticket,
    limits_of_plan,
)
from worker.store import keys

# Half a day before midnight UTC.
NOON = 1_800_057_600.0 - 43_200.0
MIDNIGHT = NOON + 43_200
TOKENS = "x-daily-ratelimit-token-remaining"


class World:
    """Redis with a clock that the test moves; each `worker()` is the limiter of another process."""

    def __init__(self, redis: redis_py.Redis) -> None:
        self.redis = redis
        self.now = NOON

    def worker(self, **limits: Any) -> RateLimiter:
        return RateLimiter(
            self.redis,
            ApiLimits(**({"calls_per_window": 20, "daily_tokens": 100_000} | limits)),
            lambda: self.now,
        )

    def left(self) -> int:
        return int(self.redis.get(keys.DEFAULT_ACCOUNT.allowance("left")) or -1)


@pytest.fixture
def world(redis: redis_py.Redis) -> World:
    return World(redis)


def refused(act: Callable[[], object]) -> OutOfAllowance:
    with pytest.raises(OutOfAllowance) as caught:
        act()
    return caught.value


# -- the window
# --------------------------------------------------------------------------------------------------


def test_a_place_is_free_a_window_after_the_answer(world: World) -> None:
    """However long a call was on its way, the next one goes two seconds after its response."""
    mine, other = world.worker(calls_per_window=1), world.worker(calls_per_window=1)
    mine.before(LEADS_ADD)
    world.now += 0.7
    mine.after(LEADS_ADD, 201, {})
    world.now += 1.999
    error = refused(lambda: other.before(LEADS_ADD))
    assert (error.budget, round(error.until - NOON, 3)) == (False, 2.7)
    world.now += 0.001
    other.before(LEADS_ADD)


def test_a_call_without_a_word_of_its_end_keeps_its_place(world: World) -> None:
    """A worker that died during a call holds the place until the call can no longer arrive."""
    world.worker(calls_per_window=1).before(LEADS_ADD)
    world.now += UNANSWERED_SECONDS + 1.99
    refused(lambda: world.worker(calls_per_window=1).before(LEADS_ADD))
    world.now += 0.02
    world.worker(calls_per_window=1).before(LEADS_ADD)


def test_searches_have_a_window_of_their_own(world: World) -> None:
    """When ten searches fill theirs, other calls still go."""
    mine = world.worker()
    for _ in range(10):
        mine.before(PERSONS_SEARCH)
    refused(lambda: mine.before(PERSONS_SEARCH))
    for _ in range(10):
        mine.before(LEADS_ADD)
    refused(lambda: mine.before(LEADS_ADD))


def test_a_call_that_is_not_sent_gives_its_share_back(world: World) -> None:
    """Place and tokens of a call that was allowed but not sent are there for the next one, once."""
    mine = world.worker(calls_per_window=1, searches_per_window=1)
    mine.before(PERSONS_SEARCH)
    mine.release_unsent(PERSONS_SEARCH)
    mine.release_unsent(PERSONS_SEARCH)
    mine.before(PERSONS_SEARCH)
    assert world.left() == 100_000 - 20


def test_without_a_plan_redis_is_never_asked() -> None:
    """`unlimited` costs nothing: no connection is used."""
    nothing: Any = None
    mine = RateLimiter(nothing, None)
    mine.before(LEADS_ADD)
    mine.after(LEADS_ADD, 201, {TOKENS: "5"})
    mine.release_unsent(LEADS_ADD)


@pytest.mark.parametrize("jump", [-86_400.0, -30.0, -1.0, 86_400.0])
def test_a_clock_that_jumps_only_delays(world: World, jump: float) -> None:
    """After Redis's clock was set forth or back, a full window is free again within 40 seconds."""
    mine = world.worker()
    for _ in range(20):
        mine.before(LEADS_ADD)
        mine.after(LEADS_ADD, 201, {})
    world.now += jump
    for _ in range(40):
        world.now += 1
        with contextlib.suppress(OutOfAllowance):
            return mine.before(LEADS_ADD)
    pytest.fail("never went again")


# -- as the receiver counts
# --------------------------------------------------------------------------------------------


class Way:
    """Seconds there, at work and back, drawn per call; one in `lost_one_in` never answers."""

    def __init__(
        self,
        there: tuple[float, float],
        work: tuple[float, float],
        back: tuple[float, float],
        lost: float = 0.0,
    ) -> None:
        self.parts, self.lost = (there, work, back), lost


LATENCIES = {
    "loopback": Way((0.0005, 0.002), (0.001, 0.005), (0.0005, 0.002)),
    "steady 150 ms": Way((0.02, 0.02), (0.11, 0.11), (0.02, 0.02)),
    "jitter": Way((0.01, 0.3), (0.02, 0.2), (0.01, 0.1)),
    "slow there, quick back": Way((0.05, 0.4), (0.0, 0.001), (0.0, 0.001)),
    "some never answer": Way((0.01, 0.1), (0.02, 0.1), (0.01, 0.05), lost=0.01),
}


@pytest.mark.parametrize("way", LATENCIES)
def test_never_more_than_the_window_however_long_calls_travel(world: World, way: str) -> None:
    """Under full load Pipedrive never counts more than the window's calls, and little is unused."""
    arrivals, seconds, exchange = travel(world, LATENCIES[way], 180.0)
    arrivals.sort()
    assert (
        min(late - early for early, late in zip(arrivals, arrivals[20:], strict=False)) >= 2 - 1e-5
    )
    steady = [at for at in arrivals if at > NOON + seconds / 2]
    use = len(steady) / (seconds / 2 / 2 * 20)
    if not LATENCIES[way].lost:
        assert use > 0.99 * 2 / (2 + exchange)
    if way == "steady 150 ms":
        assert use > 0.95


def travel(world: World, way: Way, seconds: float) -> tuple[list[float], float, float]:
    """Run fifteen callers for some seconds of the test's clock.

    Return when their calls arrived, and the mean exchange in seconds.
    """
    dice, count = random.Random(7), itertools.count()
    arrivals: list[float] = []
    exchanges: list[float] = []
    callers = [(world.worker(), [Ticket()]) for _ in range(15)]
    events: list[tuple[float, int, int, str]] = [
        (NOON, next(count), number, "ask") for number in range(15)
    ]
    while events:
        world.now, _, number, what = heapq.heappop(events)
        if world.now > NOON + seconds:
            break
        caller, place = callers[number]
        if what == "answer":
            caller.after(LEADS_GET, 200, {})
        elif wait := caller.acquire(LEADS_GET, place[0], 60.0):
            heapq.heappush(
                events, (world.now + wait + dice.uniform(0, 0.002), next(count), number, "ask")
            )
            continue
        else:
            there, work, back = (dice.uniform(*part) for part in way.parts)
            arrivals.append(world.now + there)
            exchanges.append(there + work + back)
            if dice.random() >= way.lost:
                heapq.heappush(events, (world.now + exchanges[-1], next(count), number, "answer"))
                continue
            heapq.heappush(events, (world.now + UNANSWERED_SECONDS, next(count), number, "ask"))
        place[0] = Ticket()
        if what == "answer":
            heapq.heappush(events, (world.now, next(count), number, "ask"))
    return arrivals, seconds, sum(exchanges) / len(exchanges)


def test_what_others_send_takes_places_too(world: World) -> None:
    """An answer that counts more calls than ours leaves as much less room for us, for a window."""
    mine = world.worker()
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, 200, {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "4"})
    for _ in range(4):
        mine.before(LEADS_GET)
    refused(lambda: mine.before(LEADS_GET))
    world.now += 2
    mine.before(LEADS_GET)


def test_our_own_calls_are_no_others(world: World) -> None:
    """Our calls that a slow response still counts are not taken for somebody else's."""
    mine, slow = world.worker(), world.worker()
    for _ in range(10):
        mine.before(LEADS_GET)
        mine.after(LEADS_GET, 200, {})
    slow.before(LEADS_GET)
    world.now += 3
    slow.after(LEADS_GET, 200, {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "9"})
    for _ in range(19):
        mine.before(LEADS_GET)


def test_a_smaller_window_than_the_plans_is_believed(world: World) -> None:
    """An account with a smaller plan than the settings say is not overrun."""
    mine = world.worker(calls_per_window=40)
    mine.before(PERSONS_SEARCH)
    mine.after(PERSONS_SEARCH, 200, {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0"})
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, 200, {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "18"})
    for _ in range(18):
        mine.before(LEADS_GET)
    refused(lambda: mine.before(LEADS_GET))


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"x-ratelimit-reset": "2"}, 2.0),
        (429, {"retry-after": "7"}, 7.0),
        (429, {}, 2.0),
        (429, {"retry-after": "0"}, 1.0),
        (429, {"retry-after": "rubbish"}, 2.0),
        (429, {"retry-after": "60"}, 60.0),
        (429, {"retry-after": "3600"}, 3600.0),
        (403, {"content-type": "text/html"}, 15.0),
        (403, {"content-type": "application/json"}, 0.0),
        (200, {"x-ratelimit-reset": "2"}, 0.0),
        (None, {}, 0.0),
    ],
)
def test_a_refusal_of_the_receiver_stops_everybody(
    world: World, status: int | None, headers: dict[str, str], seconds: float
) -> None:
    """After a 429 nobody sends anything until its stated reset, whatever our own count says."""
    mine, other = world.worker(), world.worker()
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, status, headers)
    if seconds:
        world.now += seconds - 0.001
        assert refused(lambda: other.before(LEADS_GET)).until == pytest.approx(
            NOON + seconds, abs=0.01
        )
        world.now += 0.001
    other.before(LEADS_GET)


# -- in line
# --------------------------------------------------------------------------------------------------


def test_calls_go_in_the_order_of_their_first_question(world: World) -> None:
    """Who asked first goes first, even if another asks at the moment a place is free."""
    holder, first, second = world.worker(calls_per_window=1), Ticket(), Ticket()
    holder.before(LEADS_GET)
    holder.after(LEADS_GET, 200, {})
    world.now += 0.5
    assert holder.acquire(LEADS_GET, first, 10) == pytest.approx(1.5)
    world.now += 0.5
    assert holder.acquire(LEADS_GET, second, 10) == pytest.approx(2.0)
    assert second.ready_at == pytest.approx(NOON + 4)
    world.now += 1
    assert holder.acquire(LEADS_GET, second, 10) > 0
    assert holder.acquire(LEADS_GET, first, 10) == 0


def test_what_has_begun_goes_before_what_begins(world: World) -> None:
    """A delivery's later calls overtake the first calls of others that have waited longer."""
    mine, fresh, begun = world.worker(calls_per_window=1), Ticket(is_first_call=True), Ticket()
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, 200, {})
    assert mine.acquire(LEADS_GET, fresh, 10) > 0
    world.now += 1
    assert mine.acquire(LEADS_GET, begun, 10) > 0
    world.now += 1
    assert mine.acquire(LEADS_GET, fresh, 10) > 0
    assert mine.acquire(LEADS_GET, begun, 10) == 0


def test_a_search_that_cannot_go_holds_nobody_up(world: World) -> None:
    """While searches wait for their own window, other calls use the free places."""
    mine = world.worker(calls_per_window=4, searches_per_window=1)
    mine.before(PERSONS_SEARCH)
    mine.after(PERSONS_SEARCH, 200, {})
    for _ in range(5):
        assert mine.acquire(PERSONS_SEARCH, Ticket(), 60) > 0
    world.now += 1
    for _ in range(3):
        mine.before(LEADS_ADD)
    refused(lambda: mine.before(LEADS_ADD))


def test_whoever_dies_in_line_is_forgotten(world: World) -> None:
    """A place whose process is gone holds the others up for a few seconds at the most."""
    mine, other, dead, alive = (
        world.worker(calls_per_window=1),
        world.worker(calls_per_window=1),
        Ticket(),
        Ticket(),
    )
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, 200, {})
    assert mine.acquire(LEADS_GET, dead, 10) > 0
    waited = 0.0
    while wait := other.acquire(LEADS_GET, alive, 10):
        world.now += wait
        waited += wait
        assert waited < 5
    assert waited < 5


def test_too_long_a_line_is_not_joined(world: World) -> None:
    """A call that cannot go within its patience is told when it could, and leaves the line."""
    mine = world.worker(calls_per_window=2)
    for _ in range(2):
        mine.before(LEADS_GET)
        mine.after(LEADS_GET, 200, {})
    for _ in range(6):
        world.now += 0.001
        assert mine.acquire(LEADS_GET, Ticket(), 7) > 0
    world.now += 0.001
    error = refused(lambda: mine.acquire(LEADS_GET, Ticket(), 7))
    assert not error.budget
    assert error.until == pytest.approx(NOON + 8)
    assert world.redis.zcard(keys.DEFAULT_ACCOUNT.allowance("waiting")) == 6


def test_patience_counts_from_the_first_question(world: World) -> None:
    """A call that is overtaken again and again gives up in time."""
    mine, late = world.worker(calls_per_window=1), Ticket(is_first_call=True)
    mine.before(LEADS_GET)
    mine.after(LEADS_GET, 200, {})
    assert mine.acquire(LEADS_GET, late, 5) > 0
    world.now += 1.5
    for _ in range(2):
        assert mine.acquire(LEADS_GET, Ticket(), 10) > 0
    assert refused(lambda: mine.acquire(LEADS_GET, late, 5)).until == pytest.approx(NOON + 6)
    mine.give_up(Ticket(place="unknown"))


# -- the day
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_fixed", [False, True])
def test_the_days_tokens_are_never_passed(world: World, is_fixed: bool) -> None:
    """A call that would cost more than is left waits for midnight UTC; the next day it goes.

    Pipedrive is asked an hour later whether it has more, unless a person set how many are ours.
    """
    mine = world.worker(daily_tokens=25, is_fixed=is_fixed)
    mine.before(PERSONS_SEARCH)
    error = refused(lambda: mine.before(LEADS_ADD))
    assert (error.budget, error.until) == (True, MIDNIGHT if is_fixed else NOON + 3600)
    mine.before(PERSONS_ADD)
    world.now = MIDNIGHT
    world.redis.delete(keys.DEFAULT_ACCOUNT.allowance("left"))  # Redis's own clock would have
    mine.before(LEADS_ADD)
    assert world.left() == 15


@pytest.mark.parametrize(
    ("limits", "remaining", "left"),
    [
        pytest.param({"daily_tokens": 1000}, "700", 700, id="others spend from the same pot"),
        pytest.param({"daily_tokens": 1000}, "990", 990, id="as we counted"),
        pytest.param({"daily_tokens": 1000}, "5000", 5000, id="a top-up"),
        pytest.param(
            {"daily_tokens": 1000, "is_fixed": True},
            "5000",
            990,
            id="a top-up, but a person set our share",
        ),
        pytest.param(
            {"daily_tokens": 1000, "is_fixed": True}, "700", 700, id="less than our share is left"
        ),
        pytest.param({"daily_tokens": 1000}, "0", 0, id="nothing left"),
        pytest.param({"daily_tokens": 1000}, "-5", 990, id="below zero makes no sense"),
        pytest.param({"daily_tokens": 1000}, "1e3", 990, id="no whole number"),
        pytest.param({"daily_tokens": 1000}, "٣", 990, id="foreign digits"),
        pytest.param({"daily_tokens": 1000}, "9" * 40, 990, id="absurd"),
        pytest.param({"daily_tokens": 1000}, "", 990, id="empty"),
    ],
)
def test_the_receivers_count_of_the_day_wins(
    world: World, limits: dict[str, Any], remaining: str, left: int
) -> None:
    """What an answer says is left replaces our count, downward and upward."""
    mine = world.worker(**limits)
    mine.before(LEADS_ADD)
    mine.after(LEADS_ADD, 201, {TOKENS: remaining})
    assert max(world.left(), 0) == left


def test_a_share_that_a_person_sets_counts_at_once(world: World) -> None:
    """What the account has left is no longer enough once a smaller share of it is ours."""
    before, after = world.worker(daily_tokens=1000), world.worker(daily_tokens=15, is_fixed=True)
    before.before(LEADS_ADD)
    before.after(LEADS_ADD, 201, {TOKENS: "5000"})
    assert refused(lambda: after.before(LEADS_ADD)).budget
    after.before(PERSONS_ADD)


def test_calls_in_flight_are_not_forgotten_by_a_correction(world: World) -> None:
    """An answer that cannot know of other calls in flight does not give their tokens back."""
    mine, other, third = (
        world.worker(daily_tokens=1000),
        world.worker(daily_tokens=1000),
        world.worker(daily_tokens=1000),
    )
    other.before(PERSONS_SEARCH)
    mine.before(LEADS_ADD)
    third.before(PERSONS_ADD)
    third.after(PERSONS_ADD, 201, {})
    world.now += 0.1
    mine.after(LEADS_ADD, 201, {TOKENS: "990"})
    assert world.left() == 1000 - 20 - 10 - 5
    world.now += 0.1
    other.after(PERSONS_SEARCH, 200, {TOKENS: "965"})
    assert world.left() == 965


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({TOKENS: "0", "retry-after": "25"}, 25, id="25 s mean 25 s"),
        pytest.param({TOKENS: "0", "retry-after": "21600"}, 3600, id="of six hours, one"),
        pytest.param({"retry-after": "61"}, 61, id="too long for a window"),
        pytest.param({TOKENS: "0"}, 3600, id="no word of the end"),
    ],
)
def test_an_empty_pot_is_looked_into_again(
    world: World, headers: dict[str, str], seconds: float
) -> None:
    """Once Pipedrive says that the day is spent, one call asks it again when it said, or hourly."""
    mine, other = world.worker(daily_tokens=1000), world.worker(daily_tokens=1000)
    mine.before(LEADS_ADD)
    mine.after(LEADS_ADD, 429, headers)
    for _ in range(3):
        start = world.now
        for elapsed in (1, seconds - 0.01):
            world.now = start + elapsed
            error = refused(lambda: other.before(LEADS_ADD))
            if elapsed > 1 and seconds > 60:
                assert error.budget
                assert error.until == pytest.approx(start + seconds, abs=0.01)
        world.now = start + seconds
        other.before(LEADS_ADD)
        assert refused(lambda: mine.before(LEADS_ADD)).budget
        other.after(LEADS_ADD, 429, headers)


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        pytest.param({TOKENS: "500"}, 500, id="as the answer says"),
        pytest.param({}, 25, id="a new day's, if it does not say"),
    ],
)
def test_tokens_that_are_back_count_at_once(
    world: World, headers: dict[str, str], left: int
) -> None:
    """Our own count gives way once Pipedrive takes a call again: some were bought, or a day began."""
    mine, other = world.worker(daily_tokens=25), world.worker(daily_tokens=25)
    mine.before(PERSONS_SEARCH)
    assert refused(lambda: mine.before(LEADS_ADD)).until == NOON + 3600
    world.now += 3600
    mine.before(LEADS_ADD)
    assert refused(lambda: other.before(LEADS_ADD)).budget
    world.now += 0.1
    mine.after(LEADS_ADD, 201, headers)
    other.before(LEADS_ADD)
    assert world.left() == left - 10


@pytest.mark.parametrize(
    ("status", "headers"), [(None, {}), (503, {}), (401, {}), (429, {TOKENS: "0"})]
)
def test_a_question_without_success_opens_nothing(
    world: World, status: int | None, headers: dict[str, str]
) -> None:
    """If the call that asks for tokens gets none, nobody else calls for another hour."""
    mine = world.worker(daily_tokens=25)
    mine.before(PERSONS_SEARCH)
    refused(lambda: mine.before(LEADS_ADD))
    world.now += 3600
    mine.before(LEADS_ADD)
    mine.after(LEADS_ADD, status, headers)
    world.now += 3599
    assert refused(lambda: mine.before(LEADS_ADD)).budget
    world.now += 1
    mine.before(LEADS_ADD)


@pytest.mark.parametrize("is_fixed", [False, True])
def test_the_gates_probe_asks_for_tokens(world: World, is_fixed: bool) -> None:
    """The one submission that probes the gate calls whatever the count, save beyond a set share."""
    mine, ticket = world.worker(daily_tokens=25, is_fixed=is_fixed), Ticket(submission_id="probes")
    mine.before(PERSONS_SEARCH)
    world.redis.set(keys.DEFAULT_ACCOUNT.probe, "probes")
    if is_fixed:
        assert refused(lambda: mine.acquire(LEADS_ADD, ticket, 0)).until == MIDNIGHT
    else:
        assert mine.acquire(LEADS_ADD, ticket, 0) == 0
        assert refused(lambda: mine.acquire(LEADS_ADD, Ticket(submission_id="other"), 0)).budget


def test_every_key_ends_by_itself_and_names_nobody(world: World) -> None:
    """Nothing the allowance writes stays for ever, and its keys hold names and numbers only."""
    mine = world.worker(calls_per_window=2)
    mine.before(PERSONS_SEARCH)
    mine.before(LEADS_ADD)
    mine.after(
        LEADS_ADD, 429, {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "0", TOKENS: "500"}
    )
    assert mine.acquire(LEADS_ADD, Ticket(), 60) > 0
    mine.after(LEADS_ADD, 429, {TOKENS: "0"})
    stored_keys = [key.decode() for key in cast("list[bytes]", world.redis.keys("*"))]
    assert {key.removeprefix(keys.DEFAULT_ACCOUNT.allowance("")).split(":")[0] for key in stored_keys} == {
        "ask", "burst", "search", "waiting", "day", "left", "limit", "closed", "fastest",
    }  # fmt: skip
    assert all(0 < world.redis.ttl(key) <= 172_800 for key in stored_keys)
    assert 0 < world.redis.ttl(keys.DEFAULT_ACCOUNT.allowance("left")) <= 43_200


def test_an_answer_is_not_lost_over_a_correction(redis: redis_py.Redis) -> None:
    """If Redis fails after a call, its response still counts; an uncounted call is not sent."""

    def away() -> float:
        raise StoreUnavailable("gone")

    mine = RateLimiter(redis, ApiLimits(calls_per_window=1, daily_tokens=1), away)
    mine.after(LEADS_ADD, 201, {TOKENS: "7"})
    with pytest.raises(StoreUnavailable):
        mine.before(LEADS_ADD)


def test_redis_says_what_time_it_is(redis: redis_py.Redis) -> None:
    """Without a clock of the test all goes by Redis's."""
    mine = RateLimiter(redis, ApiLimits(calls_per_window=1, daily_tokens=1000))
    mine.before(LEADS_ADD)
    mine.after(LEADS_ADD, 201, {})
    now = redis.time()[0]
    assert now < refused(lambda: mine.before(LEADS_ADD)).until < now + 5


@pytest.mark.parametrize(
    ("name", "seats", "tokens", "oauth", "plan"),
    [
        ("unlimited", 1, None, False, None),
        ("lite", 1, None, False, ApiLimits(calls_per_window=20, daily_tokens=30_000)),
        ("lite", 3, None, True, ApiLimits(calls_per_window=80, daily_tokens=90_000)),
        ("growth", 2, None, False, ApiLimits(calls_per_window=40, daily_tokens=120_000)),
        (
            "premium",
            1,
            500,
            False,
            ApiLimits(calls_per_window=100, daily_tokens=500, is_fixed=True),
        ),
        ("ultimate", 1, None, True, ApiLimits(calls_per_window=480, daily_tokens=210_000)),
    ],
)
def test_what_a_plan_allows(
    name: str, seats: int, tokens: int | None, oauth: bool, plan: ApiLimits | None
) -> None:
    """Windows and tokens by plan, seats and credentials; configured tokens are kept to."""
    assert limits_of_plan(name, seats, tokens, oauth=oauth) == plan
