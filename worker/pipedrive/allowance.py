"""The one allowance of all workers: calls per two seconds, searches per two seconds, tokens per day.

Counted in Redis before a call is sent, as the receiver will see it; corrected by what the answers say. It says go or
until when to wait (`OutOfAllowance`); it never sleeps. Plans and windows:
https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import redis
from msgspec import Struct

from worker import keys
from worker.errors import OutOfAllowance, StoreUnavailable
from worker.ledger.ledger import unavailable
from worker.pipedrive.calls import Call

WINDOW_SECONDS = 2.0
SPREAD_SECONDS = 0.25
"""Calls sent two seconds apart may arrive closer together; our window is longer by this much."""

TOKENS_PER_SEAT = 30_000
DAY_SECONDS = 86_400


class Plan(Struct, frozen=True):
    """What a plan allows: `burst` and `search` calls per window, `tokens` per day."""

    burst: int
    tokens: int
    search: int = 10


def plan_of(name: str, seats: int, daily_tokens: int | None, *, oauth: bool) -> Plan | None:
    """The limits of a plan by name; None for `unlimited`."""
    multipliers = {"lite": 1, "growth": 2, "premium": 5, "ultimate": 7}
    bursts = {"lite": 20, "growth": 40, "premium": 100, "ultimate": 120}
    if name == "unlimited":
        return None
    return Plan(
        burst=bursts[name] * (4 if oauth else 1),
        tokens=daily_tokens if daily_tokens is not None else TOKENS_PER_SEAT * multipliers[name] * seats,
    )


TAKE = """
local now, window, cost, search = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local burst_limit, search_limit, daily = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if now == 0 then local t = redis.call('TIME') now = tonumber(t[1]) + tonumber(t[2]) / 1000000 end
local function full(key, limit)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  if redis.call('ZCARD', key) < limit then return false end
  return tonumber(redis.call('ZRANGE', key, -limit, -limit, 'WITHSCORES')[2]) + window
end
local spent = tonumber(redis.call('GET', KEYS[3]) or '0')
if spent + cost > daily then return { 'budget', '0' } end
local free = full(KEYS[1], burst_limit)
local search_free = search and full(KEYS[2], search_limit)
if free or search_free then return { 'burst', tostring(math.max(free or 0, search_free or 0) - now) } end
redis.call('ZADD', KEYS[1], now, ARGV[8])
redis.call('PEXPIRE', KEYS[1], 5000)
if search then
  redis.call('ZADD', KEYS[2], now, ARGV[8])
  redis.call('PEXPIRE', KEYS[2], 5000)
end
redis.call('INCRBY', KEYS[3], cost)
redis.call('EXPIRE', KEYS[3], 172800)
redis.call('SET', KEYS[4], daily - spent - cost, 'EX', ARGV[9])
return { 'go', '0' }
"""


class Allowance:
    """Limits of the client (`worker.pipedrive.client.Limits`).

    `clock` returns Unix seconds, the same for all workers: it says which day's tokens are spent. It may raise `StoreUnavailable`.
    """

    def __init__(self, connection: redis.Redis, plan: Plan | None, clock: Callable[[], float]) -> None:
        self._redis = connection
        self._plan = plan
        self._clock = clock

    def before(self, call: Call) -> None:
        """Takes one call's share. Raises `OutOfAllowance` or `StoreUnavailable`: the call must not be sent."""
        if self._plan is None:
            return
        now = self._clock()
        try:
            verdict, wait = self._redis.eval(
                TAKE,
                4,
                keys.ALLOWANCE + "burst",
                keys.ALLOWANCE + "search",
                _day_key(now),
                keys.ALLOWANCE + "left",
                0,
                WINDOW_SECONDS + SPREAD_SECONDS,
                call.cost,
                int(call.search),
                self._plan.burst,
                self._plan.search,
                self._plan.tokens,
                secrets.token_hex(8),
                _next_day(now) - int(now),
            )
        except redis.RedisError as error:
            raise unavailable(error) from error
        if verdict == b"budget":
            raise OutOfAllowance(_next_day(now), budget=True)
        if verdict == b"burst":
            raise OutOfAllowance(now + max(0.05, float(wait)), budget=False)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        """Pipedrive's own count wins where it is lower: other integrations spend the same tokens."""
        left = headers.get("x-daily-ratelimit-token-remaining", "")
        if self._plan is None or not left.isascii() or not left.isdigit():
            return
        spent = max(0, self._plan.tokens - int(left))
        # The answer is more than this count: losing a correction must not lose it.
        with contextlib.suppress(redis.RedisError, StoreUnavailable):
            now = self._clock()
            self._redis.eval(RAISE_TO, 2, _day_key(now), keys.ALLOWANCE + "left", spent, int(left), _next_day(now) - int(now))


def _next_day(now: float) -> int:
    """When the day's tokens reset (Unix seconds): midnight UTC; the zone of the real reset is not documented."""
    return (int(now) // DAY_SECONDS + 1) * DAY_SECONDS


def _day_key(now: float) -> str:
    return keys.ALLOWANCE + "day:" + datetime.fromtimestamp(now, UTC).date().isoformat()


RAISE_TO = """
local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > spent then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', 172800)
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
end
return 1
"""
