"""What monitors ask: does the process live, can it accept, and what has everybody done so far."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from litestar import Response, get, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from redis.exceptions import RedisError

from service.context import ServiceContext
from service.web import pages
from worker.accept.breaker import writable
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import State
from worker.drift import drift
from worker.metrics import Gauges, expose
from worker.store import keys

READINESS_CACHE_SECONDS = 1.0
"""How long an answer of Redis holds, so that probes cost the accepting path nothing."""

WORKER_TIMEOUT_SECONDS = 60.0
METRICS_TYPE = "text/plain; version=0.0.4"


class Readiness(Struct, frozen=True):
    """`ready`: a submission can be stored durably. `degraded` names the parts that fail, whether or
    not others stand in.
    """

    ready: bool
    degraded: list[str]


class Health:
    """One per process. `measure` is a clock in seconds that never goes back."""

    def __init__(
        self, context: ServiceContext, measure: Callable[[], float] = time.monotonic
    ) -> None:
        self.context = context
        self._measure = measure
        self._checked_at = -READINESS_CACHE_SECONDS
        self._readiness = Readiness(False, [])
        self._last_counters: Mapping[bytes, bytes] = {}

    async def readiness(self) -> Readiness:
        if self._measure() - self._checked_at >= READINESS_CACHE_SECONDS:
            parts = {
                "redis": await writable(self.context.aredis),
                "spool": await self._spool_usable(),
            }
            self._readiness = Readiness(
                any(parts.values()), [name for name, works in parts.items() if not works]
            )
            self._checked_at = self._measure()
        return self._readiness

    async def _spool_usable(self) -> bool:
        spool = self.context.acceptor.spool
        return spool is not None and await asyncio.to_thread(spool.usable)

    async def metrics(self) -> bytes:
        """All counters; while Redis is away those it last showed, and what this process has counted
        since.
        """
        await self.context.meter.aflush(self.context.aredis)
        try:
            self._last_counters, gauges = await self._scrape()
        except (RedisError, OSError):
            gauges = Gauges(redis_up=False)
        gauges = replace(
            gauges,
            spool=await asyncio.to_thread(
                count_spooled, self.context.settings.data_dir / SPOOL_FOLDER
            ),
        )
        return expose(
            self._last_counters,
            gauges,
            sources=self.context.sources.sources,
            pending=self.context.meter.pending(),
        )

    async def _scrape(self) -> tuple[Mapping[bytes, bytes], Gauges]:
        async with self.context.aredis.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.METRICS)
            pipe.hvals(keys.WORKERS)
            pipe.get(keys.DEFAULT_ACCOUNT.allowance("left"))
            pipe.hlen(keys.DUPLICATES)
            pipe.get(keys.DEFAULT_ACCOUNT.drift)
            for state in State:
                pipe.zcard(keys.state(state))
                pipe.zrange(keys.state(state), 0, 0, withscores=True)
            counters, beats, left, doubles, report, *rest = await pipe.execute()
        now = self.context.clock()
        return counters, Gauges(
            redis_up=True,
            duplicates=doubles,
            states=dict(zip(State, rest[::2], strict=True)),
            oldest_seconds={
                state: max(0.0, now - first[0][1])
                for state, first in zip(State, rest[1::2], strict=True)
                if first
            },
            workers=sum(_is_alive(beat, now) for beat in beats),
            tokens_left=float(left) if left is not None else None,
            account_lacks=_lacking(report),
        )


def _lacking(stored: bytes | None) -> Mapping[bool, int] | None:
    report = drift.decode_report(stored)
    return Counter(each.needed for each in report.found) if report is not None else None


def _is_alive(beat: bytes, now: float) -> bool:
    try:
        return now - float(msgspec.json.decode(beat)["seen"]) < WORKER_TIMEOUT_SECONDS
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return False


def health_routes(health: Health) -> list[HTTPRouteHandler]:
    """`/healthz`, `/readyz` and `/metrics`."""

    @route("/healthz", http_method=["GET", "HEAD"], status_code=200, include_in_schema=False)
    async def healthz() -> Response[bytes]:
        return _json({"alive": True})

    @route("/readyz", http_method=["GET", "HEAD"], status_code=200, include_in_schema=False)
    async def readyz() -> Response[bytes]:
        condition = await health.readiness()
        return _json(
            {"ready": condition.ready, "degraded": condition.degraded},
            200 if condition.ready else 503,
        )

    @get("/metrics", include_in_schema=False)
    async def metrics() -> Response[bytes]:
        return Response(await health.metrics(), media_type=METRICS_TYPE, headers=pages.BARE_HEADERS)

    return [healthz, readyz, metrics]


def _json(body: Mapping[str, Any], status: int = 200) -> Response[bytes]:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers=pages.BARE_HEADERS,
    )
