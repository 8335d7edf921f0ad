"""The loops of a service process: counters to Redis, alerts, bulk actions."""

from __future__ import annotations

import asyncio

import structlog

from service.alerts.monitor import BEAT_SECONDS, Watch
from service.alerts.webhook import Webhook, build_http
from service.context import Dependencies
from service.intake.endpoint import IntakeEndpoint
from worker.errors import StoreUnavailable
from worker.ledger import bulk

FLUSH_SECONDS = 1.0


async def flush_for_ever(deps: Dependencies, door: IntakeEndpoint) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await asyncio.to_thread(deps.sources.poll)
            await flush(deps, door)
        except Exception as error:
            structlog.get_logger().error("flush failed", exc_info=error)


async def watch_for_ever(deps: Dependencies, url: str) -> None:
    with build_http() as http:
        webhook = Webhook(url, deps.settings.public_url, http)
        watch = Watch(
            deps.ledger, deps.settings.data_dir, webhook, deps.settings.alert_oldest, deps.clock
        )
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await asyncio.to_thread(watch.beat)
            except Exception as error:
                structlog.get_logger().error("watch failed", error=type(error).__name__)


async def advance_for_ever(deps: Dependencies) -> None:
    """Bulk actions go on in the service too: a discard needs no worker."""
    while True:
        await asyncio.sleep(bulk.BEAT_SECONDS)
        if not deps.acceptor.breaker.closed:
            continue
        try:
            await asyncio.to_thread(deps.actions.bulks.beat)
        except StoreUnavailable as error:
            structlog.get_logger().info("bulk actions wait for Redis", error=str(error))
        except Exception as error:
            structlog.get_logger().error("bulk actions failed", exc_info=error)


async def flush(deps: Dependencies, door: IntakeEndpoint) -> bool:
    """Whether the counters reached Redis."""
    flushed = await deps.meter.aflush(deps.aredis)
    await door.refusals.aflush(deps.aredis)
    return flushed
