"""The one allowance of all workers: calls per two seconds, searches per two seconds, tokens per
day.

Counted in Redis before a call is sent, and again when its answer is there: the receiver counts
arrivals, and a call arrives somewhere between. A place in the window is free two seconds after the
answer, so no margin is needed (`lua/prelude.lua`). It says go or until when to wait; waiting in
line is `worker.pipedrive.rate_limiter`'s. Plans and windows:
https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
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

from worker.errors import Gated, OutOfAllowance, StoreUnavailable
from worker.pipedrive.calls import Call
from worker.pipedrive.responses import rate_limit_error
from worker.store import keys, scripts
from worker.store.connection import translate_errors

RATE_WINDOW_SECONDS = 2.0
UNANSWERED_SECONDS = 25.0
"""A call whose answer nobody reported has arrived by then: longer than the total limit of one call.
"""

CALL_MEMORY_SECONDS = 10.0
"""How long a call is remembered after its answer, to compare the receiver's counts with ours."""

TICKET_GRACE_SECONDS = 1.5
"""How late a call in line may ask again before it counts as gone, with its process."""

MAX_CLOSED_SECONDS = 60.0
BLOCKED_SECONDS = 15.0
"""After an HTML 403 those in line must not call; what follows is for the gate to decide."""

DAILY_TOKENS_PER_SEAT = 30_000


class ApiLimits(Struct, frozen=True):
    """What a plan allows: `burst` and `search` calls per window, `tokens` per day.

    `fixed`: a person set `tokens`, so they are not passed even where the receiver has more.
    """

    calls_per_window: int
    daily_tokens: int
    searches_per_window: int = 10
    is_fixed: bool = False


def limits_of_plan(
    name: str, seats: int, daily_tokens: int | None, *, oauth: bool
) -> ApiLimits | None:
    """The limits of a plan by name; None for `unlimited`."""
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


@dataclass
class Ticket:
    """A call's place in line. `fresh`: the first of its delivery, behind all that go on with one.

    `until` (Unix seconds) is when it may go, as far as can be seen. `who` is the submission it is
    for: a closed gate lets only the one that tries it pass.
    """

    is_first_call: bool = False
    submission_id: str = ""
    place: str = ""
    ready_at: float = 0.0


class RateLimiter:
    """Limits of the client (`worker.pipedrive.client.Limits`) that never wait. One per process; any
    thread may use it.

    `clock` is Unix seconds, the same for all workers; None: Redis's own. Without a plan nothing is
    asked or counted.
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
        """Takes one call's share. Raises `OutOfAllowance` or `StoreUnavailable`: the call must not
        be sent.
        """
        self.acquire(call, Ticket(), 0.0)

    def acquire(self, call: Call, ticket: Ticket, max_wait: float) -> float:
        """Takes one call's share and returns 0, or the seconds after which to ask again with the
        same `place`.

        Raises `OutOfAllowance` (then it stands in line no more) when it cannot go within `patience`
        seconds of its first question, `Gated` when delivery was stopped since it was claimed, and
        `StoreUnavailable`.
        """
        limits = self._limits
        if limits is None:
            return 0.0
        member = f"{secrets.token_hex(6)}:{call.cost}"
        verdict, *values = self._run(
            "take", member, call.cost, int(call.search), int(ticket.is_first_call), ticket.place, max_wait,
            limits.calls_per_window, limits.searches_per_window, limits.daily_tokens, int(limits.is_fixed), ticket.submission_id,
        )  # fmt: skip
        if verdict == b"go":
            self._sent.last = member, values[0]
            return 0.0
        if verdict == b"wait":
            ticket.ready_at, ticket.place = float(values[1]), values[2].decode()
            return max(0.001, float(values[0]))
        if verdict == b"gated":
            raise Gated(float(values[0]), values[1].decode())
        raise OutOfAllowance(float(values[0]), budget=verdict == b"budget")

    def give_up(self, ticket: Ticket) -> None:
        """Gives up a place in line."""
        with contextlib.suppress(redis.RedisError):
            self._redis.zrem(self._account.allowance("waiting"), ticket.place)

    def release_unsent(self, call: Call) -> None:
        """The call that this thread was allowed is not sent after all."""
        member, _ = self._pop_last()
        # If this is lost the place comes back by itself.
        with contextlib.suppress(StoreUnavailable):
            if member:
                self._run("unsent", member, call.cost)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        """Frees the call's place two seconds from now, and lets the receiver's own counts correct
        ours.
        """
        member, granted = self._pop_last()
        limits = self._limits
        if limits is None:
            return
        # The answer is more than this count: losing a correction must not lose it.
        with contextlib.suppress(StoreUnavailable):
            self._run(
                "answered", member, granted, int(status is not None), int(call.search),
                _count_header(headers, "x-ratelimit-limit"), _count_header(headers, "x-ratelimit-remaining"),
                _count_header(headers, "x-daily-ratelimit-token-remaining"),
                _closed_seconds(call, status, headers),
                limits.daily_tokens, int(limits.is_fixed),
            )  # fmt: skip

    def _pop_last(self) -> tuple[str, bytes]:
        """What this thread was last allowed, once."""
        last: tuple[str, bytes] = getattr(self._sent, "last", ("", b""))
        self._sent.last = ("", b"")
        return last

    def _run(self, script: str, *args: Any) -> Any:
        with translate_errors():
            return scripts.run(
                self._redis,
                _script_source(script, self._account),
                "" if self._clock is None else self._clock(),
                *args,
            )


def _closed_seconds(call: Call, status: int | None, headers: Mapping[str, str]) -> float | str:
    """Seconds for which this answer forbids every call; empty where it forbids nothing."""
    if status == 429:
        return min(rate_limit_error(call.name, headers, "", "").retry_after, MAX_CLOSED_SECONDS)
    if status == 403 and "json" not in headers.get("content-type", ""):
        return BLOCKED_SECONDS
    return ""


def _count_header(headers: Mapping[str, str], name: str) -> str:
    """A header's whole number; empty where there is none."""
    text = headers.get(name, "").strip()
    return text if text.isascii() and text.isdigit() and len(text) < 16 else ""


@functools.cache
def _script_source(name: str, account: keys.Account) -> str:
    """The whole text of a script, with the keys and spans in front."""
    table: dict[str, object] = {
        part: f"'{account.allowance(part)}'"
        for part in ("burst", "search", "waiting", "left", "closed", "limit")
    }
    table |= {"gate": f"'{account.gate}'", "probe": f"'{account.probe}'"}
    prefixes = {part: f"'{account.allowance(part)}:'" for part in ("day", "fastest")}
    spans = {
        "window": RATE_WINDOW_SECONDS,
        "unanswered": UNANSWERED_SECONDS,
        "kept": CALL_MEMORY_SECONDS,
        "grace": TICKET_GRACE_SECONDS,
        "closed_most": MAX_CLOSED_SECONDS,
    }
    return (
        scripts.head(table | prefixes | spans)
        + scripts.text("rate_limiter/prelude")
        + scripts.text(f"rate_limiter/{name}")
    )


# Standing in line for the allowance: a bounded wait inside the slot, in the order of asking.
#
# Sending a delivery back to the ledger for each full window cost eight workers a third of the
# window and most of two processors; a wait of some seconds costs nothing. Calls of a delivery that
# has begun go before those that begin one.

MAX_FIRST_WAIT_SECONDS = 10.0
"""The longest wait of a delivery's first call: a third of the lease, which is renewed meanwhile."""
MAX_LATER_WAIT_SECONDS = 5.0


class WaitingRateLimiter:
    """Limits of the client that wait for their turn. `pause` sleeps for some seconds and returns
    True to give up at once.

    `fresh` says whether the next call is the first of a delivery, `who` of which submission it is
    ("" for none).
    """

    def __init__(
        self,
        limiter: RateLimiter,
        pause: Callable[[float], object],
        is_first_call: Callable[[], bool] = lambda: False,
        submission_id: Callable[[], str] = lambda: "",
    ) -> None:
        self._limiter = limiter
        self._pause = pause
        self._is_first_call = is_first_call
        self._submission_id = submission_id

    def before(self, call: Call) -> None:
        """Takes one call's share, now or in a few seconds. Raises `OutOfAllowance`, `Gated` or
        `StoreUnavailable`.
        """
        ticket = Ticket(is_first_call=self._is_first_call(), submission_id=self._submission_id())
        max_wait = MAX_FIRST_WAIT_SECONDS if ticket.is_first_call else MAX_LATER_WAIT_SECONDS
        while wait := self._limiter.acquire(call, ticket, max_wait):
            if self._pause(wait):
                self._limiter.give_up(ticket)
                raise OutOfAllowance(ticket.ready_at, budget=False)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._limiter.after(call, status, headers)
