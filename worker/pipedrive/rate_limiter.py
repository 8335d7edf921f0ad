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
from worker.pipedrive.responses import too_many
from worker.store import keys, scripts
from worker.store.connection import translate_errors

WINDOW_SECONDS = 2.0
UNANSWERED_SECONDS = 25.0
"""A call whose answer nobody reported has arrived by then: longer than the total limit of one call.
"""

KEPT_SECONDS = 10.0
"""How long a call is remembered after its answer, to compare the receiver's counts with ours."""

GRACE_SECONDS = 1.5
"""How late a call in line may ask again before it counts as gone, with its process."""

CLOSED_MOST_SECONDS = 60.0
BLOCKED_SECONDS = 15.0
"""After an HTML 403 those in line must not call; what follows is for the gate to decide."""

TOKENS_PER_SEAT = 30_000


class Plan(Struct, frozen=True):
    """What a plan allows: `burst` and `search` calls per window, `tokens` per day.

    `fixed`: a person set `tokens`, so they are not passed even where the receiver has more.
    """

    burst: int
    tokens: int
    search: int = 10
    fixed: bool = False


def plan_of(name: str, seats: int, daily_tokens: int | None, *, oauth: bool) -> Plan | None:
    """The limits of a plan by name; None for `unlimited`."""
    multipliers = {"lite": 1, "growth": 2, "premium": 5, "ultimate": 7}
    bursts = {"lite": 20, "growth": 40, "premium": 100, "ultimate": 120}
    if name == "unlimited":
        return None
    return Plan(
        burst=bursts[name] * (4 if oauth else 1),
        tokens=(
            daily_tokens
            if daily_tokens is not None
            else TOKENS_PER_SEAT * multipliers[name] * seats
        ),
        fixed=daily_tokens is not None,
    )


@dataclass
class Place:
    """A call's place in line. `fresh`: the first of its delivery, behind all that go on with one.

    `until` (Unix seconds) is when it may go, as far as can be seen. `who` is the submission it is
    for: a closed gate lets only the one that tries it pass.
    """

    fresh: bool = False
    who: str = ""
    held: str = ""
    until: float = 0.0


class Allowance:
    """Limits of the client (`worker.pipedrive.client.Limits`) that never wait. One per process; any
    thread may use it.

    `clock` is Unix seconds, the same for all workers; None: Redis's own. Without a plan nothing is
    asked or counted.
    """

    def __init__(
        self, connection: redis.Redis, plan: Plan | None, clock: Callable[[], float] | None = None
    ) -> None:
        self._redis = connection
        self._plan = plan
        self._clock = clock
        self._sent = threading.local()

    def before(self, call: Call) -> None:
        """Takes one call's share. Raises `OutOfAllowance` or `StoreUnavailable`: the call must not
        be sent.
        """
        self.ask(call, Place(), 0.0)

    def ask(self, call: Call, place: Place, patience: float) -> float:
        """Takes one call's share and returns 0, or the seconds after which to ask again with the
        same `place`.

        Raises `OutOfAllowance` (then it stands in line no more) when it cannot go within `patience`
        seconds of its first question, `Gated` when delivery was stopped since it was claimed, and
        `StoreUnavailable`.
        """
        plan = self._plan
        if plan is None:
            return 0.0
        member = f"{secrets.token_hex(6)}:{call.cost}"
        verdict, *said = self._run(
            "take", member, call.cost, int(call.search), int(place.fresh), place.held, patience,
            plan.burst, plan.search, plan.tokens, int(plan.fixed), place.who,
        )  # fmt: skip
        if verdict == b"go":
            self._sent.last = member, said[0]
            return 0.0
        if verdict == b"line":
            place.until, place.held = float(said[1]), said[2].decode()
            return max(0.001, float(said[0]))
        if verdict == b"gated":
            raise Gated(float(said[0]), said[1].decode())
        raise OutOfAllowance(float(said[0]), budget=verdict == b"budget")

    def leave(self, place: Place) -> None:
        """Gives up a place in line."""
        with contextlib.suppress(redis.RedisError):
            self._redis.zrem(keys.DEFAULT_ACCOUNT.allowance("waiting"), place.held)

    def give_back(self, call: Call) -> None:
        """The call that this thread was allowed is not sent after all."""
        member, _ = self._taken()
        # If this is lost the place comes back by itself.
        with contextlib.suppress(StoreUnavailable):
            if member:
                self._run("unsent", member, call.cost)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        """Frees the call's place two seconds from now, and lets the receiver's own counts correct
        ours.
        """
        member, granted = self._taken()
        plan = self._plan
        if plan is None:
            return
        # The answer is more than this count: losing a correction must not lose it.
        with contextlib.suppress(StoreUnavailable):
            self._run(
                "answered", member, granted, int(status is not None), int(call.search),
                _count(headers, "x-ratelimit-limit"), _count(headers, "x-ratelimit-remaining"),
                _count(headers, "x-daily-ratelimit-token-remaining"),
                _closed(call, status, headers),
                plan.tokens, int(plan.fixed),
            )  # fmt: skip

    def _taken(self) -> tuple[str, bytes]:
        """What this thread was last allowed, once."""
        taken: tuple[str, bytes] = getattr(self._sent, "last", ("", b""))
        self._sent.last = ("", b"")
        return taken

    def _run(self, script: str, *args: Any) -> Any:
        with translate_errors():
            return scripts.run(
                self._redis, _source(script), "" if self._clock is None else self._clock(), *args
            )


def _closed(call: Call, status: int | None, headers: Mapping[str, str]) -> float | str:
    """Seconds for which this answer forbids every call; empty where it forbids nothing."""
    if status == 429:
        return min(too_many(call.name, headers, "", "").retry_after, CLOSED_MOST_SECONDS)
    if status == 403 and "json" not in headers.get("content-type", ""):
        return BLOCKED_SECONDS
    return ""


def _count(headers: Mapping[str, str], name: str) -> str:
    """A header's whole number; empty where there is none."""
    text = headers.get(name, "").strip()
    return text if text.isascii() and text.isdigit() and len(text) < 16 else ""


@functools.cache
def _source(name: str) -> str:
    """The whole text of a script, with the keys and spans in front."""
    account = keys.DEFAULT_ACCOUNT
    table: dict[str, object] = {
        part: f"'{account.allowance(part)}'"
        for part in ("burst", "search", "waiting", "left", "closed", "limit")
    }
    table |= {"gate": f"'{account.gate}'", "probe": f"'{account.probe}'"}
    prefixes = {part: f"'{account.allowance(part)}:'" for part in ("day", "fastest")}
    spans = {
        "window": WINDOW_SECONDS,
        "unanswered": UNANSWERED_SECONDS,
        "kept": KEPT_SECONDS,
        "grace": GRACE_SECONDS,
        "closed_most": CLOSED_MOST_SECONDS,
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

FRESH_SECONDS = 10.0
"""The longest wait of a delivery's first call: a third of the lease, which is renewed meanwhile."""
BEGUN_SECONDS = 5.0


class InLine:
    """Limits of the client that wait for their turn. `pause` sleeps for some seconds and returns
    True to give up at once.

    `fresh` says whether the next call is the first of a delivery, `who` of which submission it is
    ("" for none).
    """

    def __init__(
        self,
        allowance: Allowance,
        pause: Callable[[float], object],
        fresh: Callable[[], bool] = lambda: False,
        who: Callable[[], str] = lambda: "",
    ) -> None:
        self._allowance = allowance
        self._pause = pause
        self._fresh = fresh
        self._who = who

    def before(self, call: Call) -> None:
        """Takes one call's share, now or in a few seconds. Raises `OutOfAllowance`, `Gated` or
        `StoreUnavailable`.
        """
        place = Place(fresh=self._fresh(), who=self._who())
        patience = FRESH_SECONDS if place.fresh else BEGUN_SECONDS
        while wait := self._allowance.ask(call, place, patience):
            if self._pause(wait):
                self._allowance.leave(place)
                raise OutOfAllowance(place.until, budget=False)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._allowance.after(call, status, headers)
