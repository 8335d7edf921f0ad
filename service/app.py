"""The HTTP application: its parts put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from service import background
from service.context import Dependencies
from service.docs import docs_routes
from service.health import Health, health_routes
from service.intake.endpoint import IntakeEndpoint, intake_routes
from service.intake.receipts import Receipts
from service.ops.acting_routes import acting_routes
from service.ops.auth import Access
from service.ops.console.app import console_routes
from service.ops.reading_routes import reading_routes
from service.web.problems import HttpProblem, handle_http, handle_problem, handle_surprise
from service.web.request_id import put_request_id
from worker.accept.acceptor import ended

LAST_FLUSHES = 3
"""Tries on the way out: afterwards what was counted is gone."""


def create_app(deps: Dependencies, more_routes: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """The application. `more_routes` are those of other windows."""
    door = IntakeEndpoint(deps)
    return Litestar(
        route_handlers=[
            *intake_routes(door, Receipts(deps)),
            *health_routes(Health(deps)),
            *docs_routes,
            *_windows(deps),
            *more_routes,
        ],
        exception_handlers={
            HttpProblem: handle_problem,
            HTTPException: handle_http,
            Exception: handle_surprise,
        },
        before_send=[put_request_id],
        lifespan=[partial(_running, deps, door)],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _windows(deps: Dependencies) -> list[HTTPRouteHandler]:
    """What operators see and do. Without a token to get in by there is nothing there, whatever is
    asked.
    """
    if not deps.settings.ops_tokens:
        return []
    access = Access(deps)
    return [
        *reading_routes(access, deps),
        *acting_routes(access, deps.actions),
        *console_routes(deps, access),
    ]


@contextlib.asynccontextmanager
async def _running(deps: Dependencies, door: IntakeEndpoint, _: Litestar) -> AsyncIterator[None]:
    """The acceptor and the counters' way to Redis, for as long as the application lives."""
    await deps.acceptor.start()
    tasks = [
        asyncio.create_task(background.flush_for_ever(deps, door), name="flush"),
        asyncio.create_task(background.advance_for_ever(deps), name="bulk"),
    ]
    if deps.settings.alert_webhook:
        tasks.append(
            asyncio.create_task(
                background.watch_for_ever(deps, deps.settings.alert_webhook), name="alerts"
            )
        )
    try:
        yield
    finally:
        await ended(tasks)
        await deps.acceptor.stop()
        for _try in range(LAST_FLUSHES):
            if await background.flush(deps, door):
                break
        await deps.aredis.aclose()
        deps.redis.close()
