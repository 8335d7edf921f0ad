"""`/healthz`, `/readyz` and `/metrics`: is the process alive, can it accept, what has been done."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from redis.exceptions import RedisError

from service.context import ServiceContext
from service.web import pages
from worker.accept.breaker import writable
from worker.accept.promise import WHATS
from worker.accept.promise_watch import read_recorded
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.drift import drift
from worker.fate import GATE_REASONS
from worker.ledger import Pause
from worker.ledger.status import add_status_commands, read_status
from worker.metrics import Gauges, expose
from worker.store import keys

# How long an answer of Redis is reused, so that probes cost the accepting path nothing.
READINESS_CACHE_SECONDS = 1.0
# The reason of an operator's pause in the metrics.
OPERATOR = "operator"
METRICS_TYPE = "text/plain; version=0.0.4"


class Readiness(Struct, frozen=True):
    """`ready`: a submission can be stored durably.

    `degraded` names the parts that fail, even if others replace them.
    """

    ready: bool
    degraded: list[str]


class Health:
    """One per process. `monotonic` returns seconds and never goes back."""

    def __init__(
        self, context: ServiceContext, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.context = context
        self._monotonic = monotonic
        self._checked_at = -READINESS_CACHE_SECONDS
        self._readiness = Readiness(False, [])
        self._last_counters: Mapping[bytes, bytes] = {}

    async def readiness(self) -> Readiness:
        if self._monotonic() - self._checked_at >= READINESS_CACHE_SECONDS:
            parts = {
                "redis": await writable(self.context.aredis),
                "spool": await self._spool_usable(),
            }
            await self.context.acceptor.writer.look_at_storage()
            promise = self.context.promise
            degraded = [*(name for name, works in parts.items() if not works), *promise.names]
            if self.context.acceptor.writer.storage.is_low:
                degraded.append("storage")
            is_ready = any(parts.values()) and promise.refusal is None
            self._readiness = Readiness(is_ready, degraded)
            self._checked_at = self._monotonic()
        return self._readiness

    async def _spool_usable(self) -> bool:
        spool = self.context.acceptor.spool
        return spool is not None and await asyncio.to_thread(spool.usable)

    async def metrics(self) -> bytes:
        """All counters in Prometheus's text format.

        While Redis is down: the counters last read, plus what this process has counted since.
        """
        await self.context.meter.aflush(self.context.aredis)
        try:
            self._last_counters, gauges = await self._scrape()
        except (RedisError, OSError):
            gauges = Gauges(redis_up=False)
        breached = {breach.what for breach in self.context.promise.breaches} | {*gauges.unsafe}
        gauges = replace(
            gauges,
            unsafe={what: what in breached for what in WHATS},
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
            add_status_commands(pipe, self.context.ledger.account)
            pipe.hget(keys.UNVERIFIED, "bytes")
            pipe.hgetall(keys.METRICS)
            pipe.hgetall(keys.UNSAFE)
            *replies, unverified, counters, unsafe = await pipe.execute()
        status, now = read_status(replies), self.context.clock()
        return counters, Gauges(
            redis_up=True,
            duplicates=status.duplicates,
            states=status.stored,
            oldest_seconds=status.oldest_seconds(now),
            workers=status.workers(now),
            tokens_left=status.tokens_left,
            account_lacks=_count_findings(status.drift),
            paused=_paused_reasons(status.pauses(now)),
            unsafe={breach.what: True for breach in read_recorded(unsafe, now)},
            unverified_bytes=max(0, int(unverified or 0)),
            unverified_max=self.context.settings.unverified_max,
        )


def _count_findings(stored: bytes | None) -> Mapping[bool, int] | None:
    """What the account lacks, by whether deliveries need it; None before the first check."""
    report = drift.decode_report(stored)
    return Counter(finding.needed for finding in report.findings) if report is not None else None


def _paused_reasons(pauses: list[Pause]) -> Mapping[str, bool]:
    """Whether deliveries are stopped, by reason; an operator's own words are no label."""
    reasons = {OPERATOR if pause.until is None else pause.reason for pause in pauses}
    return {reason: reason in reasons for reason in (OPERATOR, *GATE_REASONS)}


def health_routes(health: Health) -> list[HTTPRouteHandler]:
    """`/healthz`, `/readyz` and `/metrics`."""

    @pages.get_or_head("/healthz")
    async def healthz() -> Response[bytes]:
        return _json({"alive": True})

    @pages.get_or_head("/readyz")
    async def readyz() -> Response[bytes]:
        condition = await health.readiness()
        return _json(
            {"ready": condition.ready, "degraded": condition.degraded},
            200 if condition.ready else 503,
        )

    @pages.get_or_head("/metrics")
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
