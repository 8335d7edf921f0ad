"""The background loops of a service process: counters to Redis, alerts, bulk actions."""

from __future__ import annotations

import asyncio

import structlog

from service.alerts.monitor import TICK_SECONDS, Monitor
from service.alerts.webhook import AlertWebhook
from service.context import ServiceContext
from service.intake.endpoint import IntakeEndpoint
from service.intake.submissions import hourly_bounds
from worker.errors import StoreUnavailable
from worker.ledger import bulk
from worker.ledger.bulk import BulkActions
from worker.pipedrive.guarded_http import build_guarded_http

FLUSH_SECONDS = 1.0
PROMISE_SECONDS = 1.0


async def flush_counters(context: ServiceContext, intake: IntakeEndpoint) -> None:
    """Flush the counters every second, and reload the source file when it has changed."""
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await asyncio.to_thread(context.sources.poll)
            await flush(context, intake)
        except Exception as error:
            structlog.get_logger().error("flush failed", exc_info=error)


async def watch_promise(context: ServiceContext) -> None:
    """Look every minute, and as soon as Redis is back, at what the promise of a 2xx stands on.

    While no submission may be acknowledged, spooled ones stay in the spool too: it is the safer.
    """
    was_closed = True
    while True:
        if context.acceptor.drain:
            context.acceptor.drain.is_held = context.promise.refusal is not None
        await asyncio.sleep(PROMISE_SECONDS)
        try:
            is_closed = context.acceptor.breaker.closed
            is_back, was_closed = is_closed and not was_closed, is_closed
            await asyncio.to_thread(context.promise.look if is_back else context.promise.tick)
        except Exception as error:
            structlog.get_logger().error("the promise is not watched", exc_info=error)


async def send_alerts(context: ServiceContext, url: str) -> None:
    """Look for alert conditions and post them to the alert webhook at `url`."""
    with build_guarded_http(allow_private=context.settings.allow_private_urls) as http:
        webhook = AlertWebhook(url, context.settings.public_url, http)
        monitor = Monitor(
            context.ledger,
            context.settings.data_dir,
            webhook,
            context.settings.alert_oldest,
            context.clock,
            lambda: hourly_bounds(context.sources.sources),
            lambda: context.promise.breaches,
        )
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await asyncio.to_thread(monitor.tick)
            except Exception as error:
                structlog.get_logger().error("alerts failed", error=type(error).__name__)


async def run_bulk_actions(context: ServiceContext, bulks: BulkActions) -> None:
    """Advance bulk actions. Workers do so too, but a discard must not have to wait for a worker."""
    while True:
        await asyncio.sleep(bulk.TICK_SECONDS)
        if not context.acceptor.breaker.closed:
            continue
        try:
            await asyncio.to_thread(bulks.tick)
        except StoreUnavailable as error:
            structlog.get_logger().info("bulk actions wait for Redis", error=str(error))
        except Exception as error:
            structlog.get_logger().error("bulk actions failed", exc_info=error)


async def flush(context: ServiceContext, intake: IntakeEndpoint) -> bool:
    """Hand the counters and refusals to Redis. Returns whether the counters got there."""
    flushed = await context.meter.aflush(context.aredis)
    await intake.refusals.aflush(context.aredis)
    await intake.bound_counts.aflush(context.aredis)
    return flushed
