"""Assembles the HTTP application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from service import background
from service.context import ServiceContext
from service.docs.routes import docs_routes
from service.health import Health, health_routes
from service.intake.endpoint import IntakeEndpoint, intake_routes
from service.intake.receipts import Receipts
from service.ops.actions import Actions
from service.ops.api.app import api_router
from service.ops.auth import OpsAuth
from service.ops.console.app import console_routes
from service.ops.queries import SubmissionQueries
from service.web.authorization import TokenGuard
from service.web.lockout import Lockout
from service.web.pages import add_default_headers
from service.web.problems import HttpProblem, handle_http, handle_problem, handle_unexpected
from service.web.request_id import add_request_id
from worker.accept.acceptor import cancel_and_wait
from worker.ledger.bulk import BulkActions

# Attempts to hand the counters to Redis on the way out; after these the counts are lost.
FINAL_FLUSH_ATTEMPTS = 3


def create_app(
    context: ServiceContext,
    more_routes: Sequence[ControllerRouterHandler] = (),
    *,
    queries: SubmissionQueries | None = None,
) -> Litestar:
    """Build the application.

    `more_routes` are added to the service's own. `queries` holds the search index; give one to
    share it with code outside the application, otherwise the application makes its own.
    """
    queries = queries or SubmissionQueries(
        context.ledger, context.sources, context.settings.data_dir
    )
    actions = Actions(context.ledger, queries, context.settings.data_dir)
    guard = TokenGuard(
        context.settings.ops_tokens or (), Lockout(context.aredis, context.acceptor.breaker)
    )
    auth = OpsAuth(context, guard)
    api = api_router(auth, queries, actions)
    # Without a token configured, none of the operators' paths exist; they are documented anyway.
    is_ops_open = bool(context.settings.ops_tokens)
    console = console_routes(context, auth, queries, actions)
    ops: list[ControllerRouterHandler] = [api, *console] if is_ops_open else []
    intake = IntakeEndpoint(context)
    return Litestar(
        route_handlers=[
            *intake_routes(intake, Receipts(context, guard)),
            *health_routes(Health(context)),
            *docs_routes(context, api),
            *ops,
            *more_routes,
        ],
        exception_handlers={
            HttpProblem: handle_problem,
            HTTPException: handle_http,
            Exception: handle_unexpected,
        },
        before_send=[add_request_id, add_default_headers],
        lifespan=[partial(_lifespan, context, intake, actions.bulks)],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


@contextlib.asynccontextmanager
async def _lifespan(
    context: ServiceContext, intake: IntakeEndpoint, bulks: BulkActions, _: Litestar
) -> AsyncIterator[None]:
    """Run the acceptor and the background loops for as long as the application lives."""
    await asyncio.to_thread(intake.warm_up)
    await asyncio.to_thread(context.promise.look)
    await context.acceptor.start()
    tasks = [
        asyncio.create_task(background.watch_promise(context), name="promise"),
        asyncio.create_task(background.flush_counters(context, intake), name="flush"),
        asyncio.create_task(background.run_bulk_actions(context, bulks), name="bulk"),
    ]
    if context.settings.alert_webhook:
        tasks.append(
            asyncio.create_task(
                background.send_alerts(context, context.settings.alert_webhook), name="alerts"
            )
        )
    try:
        yield
    finally:
        await cancel_and_wait(tasks)
        await context.acceptor.stop()
        await asyncio.to_thread(context.promise.close)
        for _attempt in range(FINAL_FLUSH_ATTEMPTS):
            if await background.flush(context, intake):
                break
        await context.aredis.aclose()
        context.redis.close()
