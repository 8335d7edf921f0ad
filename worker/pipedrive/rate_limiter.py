"""Keeps all workers together within the rate limits: calls per two seconds, tokens per day.

A call is counted in Redis before it is sent and moved when its response arrives: Pipedrive counts
arrivals, and a call arrives somewhere in between. Its place in the window is free two seconds after
the response, so no margin is needed (`store/lua/rate_limiter/prelude.lua`).

Plans and windows: https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from msgspec import Struct

from worker.errors import (
    BudgetSpent,
    Gated,
    OutOfAllowance,
    RateLimited,
    Reserved,
    StoreUnavailable,
)
from worker.pipedrive.calls import Call
from worker.pipedrive.responses import MIN_WAIT_SECONDS, rate_limit_error
from worker.store import keys, scripts
from worker.store.connection import translate_errors

RATE_WINDOW_SECONDS = 2.0
# After this, a call without a reported response has surely arrived: no call may take that long.
UNANSWERED_SECONDS = 25.0

# A call is remembered this long after its response, to compare Pipedrive's counts with ours.
CALL_MEMORY_SECONDS = 10.0

# A waiting call that asks again later than this counts as gone, with its process.
TICKET_GRACE_SECONDS = 1.5

MAX_CLOSED_SECONDS = 60.0
# After an HTML 403, no waiting call may go for this long; then the gate decides.
BLOCKED_SECONDS = 15.0

# Without tokens, we ask Pipedrive this often whether there are any again.
ASK_AGAIN_SECONDS = 3600.0

DAILY_TOKENS_PER_SEAT = 30_000

# The part of a day's tokens that only submissions of verified sources may spend: on one seat of the
# lite plan 9,000 tokens, some 250 leads, while strangers have 600.
VERIFIED_SHARE = 0.3


class ApiLimits(Struct, frozen=True):
    """What a plan allows. A window lasts two seconds.

    `is_fixed`: `daily_tokens` was set by hand and is not exceeded even if Pipedrive would allow
    more.
    """

    calls_per_window: int
    daily_tokens: int
    searches_per_window: int = 10
    is_fixed: bool = False


def limits_of_plan(
    name: str, seats: int, daily_tokens: int | None, *, oauth: bool
) -> ApiLimits | None:
    """Return the limits of a plan by name; None for `unlimited`."""
    multipliers = {"lite": 1, "growth": 2, "premium": 5, "ultimate": 7}
    bursts = {"lite": 20, "growth": 40, "premium": 100, "ultimate": 120}
    if name == "unlimited":
        return None
    return ApiLimits(
        calls_per_window=bursts[name] * (4 if oauth else 1),
        daily_tokens=(
            daily_tokens
            if daily_tokens is not None
            else DAILY_TOKENS_PER_SEAT * multipliers[name] * seats
        ),
        is_fixed=daily_tokens is not None,
    )


class SentCall(Struct, frozen=True):
    """A call that was allowed to go: `member` of the window, when, and if without tokens left."""

    member: str = ""
    granted: float | None = None
    beyond: bool = False


@dataclass
class Ticket:
    """The place of a waiting call in the queue.

    `is_first_call` puts the first call of a delivery behind the calls of deliveries that have
    begun. `ready_at` (Unix seconds) is when the call may go, as far as we can tell. `submission_id`
    is the submission that the call is for: a closed gate lets only its probe pass. `is_unverified`:
    anybody may have sent it, so it may not spend what is kept for verified sources; a delivery that
    has begun is finished all the same.
    """

    is_first_call: bool = False
    submission_id: str = ""
    is_unverified: bool = False
    place: str = ""
    ready_at: float = 0.0


class RateLimiter:
    """A `Limiter` that never waits. One per process; any thread may use it.

    `clock` returns Unix seconds, the same for all workers; None means Redis's clock. Without
    `limits`, every call may go and none is counted.
    """

    def __init__(
        self,
        connection: redis.Redis,
        limits: ApiLimits | None,
        clock: Callable[[], float] | None = None,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._account = account
        self._limits = limits
        self._clock = clock
        self._sent = threading.local()

    def before(self, call: Call) -> None:
        """Count the call; if this raises, it must not be sent.

        Raises `OutOfAllowance` or `StoreUnavailable`.
        """
        self.acquire(call, Ticket(), 0.0)

    def acquire(self, call: Call, ticket: Ticket, max_wait: float) -> float:
        """Count the call and return 0, or return in how many seconds to ask again.

        Ask again with the same `ticket`. Raises `OutOfAllowance` if the call cannot go within
        `max_wait` seconds of its first request (the ticket is void then), `Reserved` if the tokens
        that are left are for verified sources, `Gated` if the gate has
        closed since the submission was claimed, and `StoreUnavailable`.
        """
        limits = self._limits
        if limits is None:
            return 0.0
        member = f"{secrets.token_hex(6)}:{call.cost}"
        verdict, *values = self._run(
            "take",
            member=member,
            cost=call.cost,
            search=call.search,
            calls=limits.calls_per_window,
            searches=limits.searches_per_window,
            tokens=limits.daily_tokens,
            fixed=limits.is_fixed,
            place=ticket.place or None,
            patience=max_wait,
            id=ticket.submission_id or None,
            reserve=VERIFIED_SHARE * limits.daily_tokens
            if ticket.is_unverified and ticket.is_first_call
            else None,
            **{"class": int(ticket.is_first_call)},
        )
        if verdict == b"go":
            self._sent.last = SentCall(member, float(values[0]), beyond=bool(values[1]))
            return 0.0
        if verdict == b"wait":
            ticket.ready_at, ticket.place = float(values[1]), values[2].decode()
            return max(0.001, float(values[0]))
        if verdict == b"gated":
            raise Gated(float(values[0]), values[1].decode())
        if verdict == b"reserved":
            raise Reserved(float(values[0]))
        raise OutOfAllowance(float(values[0]), budget=verdict == b"budget")

    def give_up(self, ticket: Ticket) -> None:
        """Give up the ticket's place in the queue."""
        with contextlib.suppress(redis.RedisError):
            self._redis.zrem(self._account.allowance("waiting"), ticket.place)

    def release_unsent(self, call: Call) -> None:
        """Give back the place and tokens of this thread's last call: it is not sent after all."""
        last = self._pop_last()
        # If this fails, the place becomes free by itself.
        with contextlib.suppress(StoreUnavailable):
            if last.member:
                self._run("unsent", member=last.member, cost=call.cost)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        """Free the call's place in two seconds, and correct our counts by Pipedrive's."""
        last = self._pop_last()
        limits = self._limits
        if limits is None:
            return
        refusal = rate_limit_error(call.name, headers, "", "") if status == 429 else None
        # The response matters more than the count: a failed correction must not lose it.
        with contextlib.suppress(StoreUnavailable):
            self._run(
                "answered",
                member=last.member,
                granted=last.granted,
                beyond=last.beyond,
                answered=status is not None,
                accepted=status is not None and 200 <= status < 300,
                search=call.search,
                limit=_count_header(headers, "x-ratelimit-limit"),
                remaining=_count_header(headers, "x-ratelimit-remaining"),
                tokens_left=_count_header(headers, "x-daily-ratelimit-token-remaining"),
                closed=_closed_seconds(refusal, status, headers),
                spent=_spent_seconds(refusal),
                tokens=limits.daily_tokens,
                fixed=limits.is_fixed,
            )

    def _pop_last(self) -> SentCall:
        """Return this thread's last allowed call, and forget it."""
        last: SentCall = getattr(self._sent, "last", SentCall())
        self._sent.last = SentCall()
        return last

    def _run(self, script: str, **args: Any) -> Any:
        with translate_errors():
            return scripts.run(
                self._redis,
                _script_source(script, self._account),
                "" if self._clock is None else self._clock(),
                args,
            )


def _closed_seconds(
    refusal: RateLimited | None, status: int | None, headers: Mapping[str, str]
) -> float | None:
    """Return for how many seconds this response forbids all calls; None if it forbids none."""
    if refusal is not None:
        # How long a spent day lasts is nothing to wait for in a slot: the gate decides.
        spent = isinstance(refusal, BudgetSpent) and not refusal.stated
        return MIN_WAIT_SECONDS if spent else min(refusal.retry_after, MAX_CLOSED_SECONDS)
    if status == 403 and "json" not in headers.get("content-type", ""):
        return BLOCKED_SECONDS
    return None


def _spent_seconds(refusal: RateLimited | None) -> float | None:
    """Return in how many seconds to ask for tokens again; None if they are not used up."""
    if not isinstance(refusal, BudgetSpent):
        return None
    return min(refusal.retry_after, ASK_AGAIN_SECONDS)


def _count_header(headers: Mapping[str, str], name: str) -> int | None:
    """Return the whole number in a header; None if it has none."""
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


@functools.cache
def _script_source(name: str, account: keys.Account) -> str:
    """Return the full text of a script, with keys and times in front."""
    constants: dict[str, object] = {
        part: account.allowance(part)
        for part in ("ask", "burst", "search", "waiting", "left", "closed", "limit")
    }
    constants |= {part: f"{account.allowance(part)}:" for part in ("day", "fastest")}
    constants |= {
        "gate": account.gate,
        "probe": account.probe,
        "window": RATE_WINDOW_SECONDS,
        "unanswered": UNANSWERED_SECONDS,
        "kept": CALL_MEMORY_SECONDS,
        "grace": TICKET_GRACE_SECONDS,
        "closed_most": MAX_CLOSED_SECONDS,
        "ask_again": ASK_AGAIN_SECONDS,
    }
    return scripts.build(f"rate_limiter/{name}", "rate_limiter/prelude", constants)


# A call waits for the rate limit inside its slot, for a bounded time, in the order of asking.
#
# Sending a delivery back to the ledger for each full window cost eight workers a third of the
# window and most of two processors; waiting a few seconds costs nothing. Calls of deliveries that
# have begun go before the first calls of others.

# For a delivery's first call: a third of the lease, which is renewed in the meantime.
MAX_FIRST_WAIT_SECONDS = 10.0
MAX_LATER_WAIT_SECONDS = 5.0


class WaitingRateLimiter:
    """A `Limiter` that waits its turn.

    `pause` sleeps for the given seconds and returns True to give up at once. `is_first_call` says
    whether the next call is the first of a delivery; `submission_id` says which submission it is
    for ("" for none), `is_unverified` whether anybody may have sent that.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        pause: Callable[[float], object],
        is_first_call: Callable[[], bool] = lambda: False,
        submission_id: Callable[[], str] = lambda: "",
        is_unverified: Callable[[], bool] = lambda: False,
    ) -> None:
        self._limiter = limiter
        self._pause = pause
        self._is_first_call = is_first_call
        self._submission_id = submission_id
        self._is_unverified = is_unverified

    def before(self, call: Call) -> None:
        """Count the call, now or in a few seconds.

        Raises `OutOfAllowance`, `Gated` or `StoreUnavailable`.
        """
        ticket = Ticket(
            is_first_call=self._is_first_call(),
            submission_id=self._submission_id(),
            is_unverified=self._is_unverified(),
        )
        max_wait = MAX_FIRST_WAIT_SECONDS if ticket.is_first_call else MAX_LATER_WAIT_SECONDS
        while wait := self._limiter.acquire(call, ticket, max_wait):
            if self._pause(wait):
                self._limiter.give_up(ticket)
                raise OutOfAllowance(ticket.ready_at, budget=False)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._limiter.after(call, status, headers)
