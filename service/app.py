"""The HTTP service: its parts put together, and the server that runs them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from service.alerts.watch import BEAT_SECONDS, Watch
from service.alerts.webhook import Webhook, build_http
from service.dependencies import Dependencies, build
from service.docs import docs_routes
from service.health import Health, health_routes
from service.ids import put_request_id
from service.intake.door import Door
from service.intake.receipts import Receipts
from service.intake.routes import intake_routes
from service.ops.access import Access
from service.ops.acting_routes import acting_routes
from service.ops.console.routes import console_routes
from service.ops.reading_routes import reading_routes
from service.problems import HttpProblem, handle_http, handle_problem, handle_surprise
from service.wake import Wake
from worker import bulk, logs
from worker.ending import ended
from worker.errors import StoreUnavailable
from worker.settings import Settings

__all__ = ["Dependencies", "application", "build", "create_app", "serve"]

FLUSH_SECONDS = 1.0
LAST_FLUSHES = 3
"""Tries on the way out: afterwards what was counted is gone."""
STOP_SECONDS = 12
"""Requests in hand at SIGTERM get this long; a slow body is cut after ten seconds of it."""

HEAD_SECONDS = 10
HEAD_BYTES = 64 * 1024
CONNECTIONS = 4096
"""Connections at a time in each process: a thousand that dawdle leave room for the others."""


def create_app(deps: Dependencies, more_routes: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """The application. `more_routes` are those of other windows."""
    door = Door(deps)
    return Litestar(
        route_handlers=[
            *intake_routes(door, Receipts(deps)),
            *health_routes(Health(deps)),
            *docs_routes,
            *_windows(deps),
            *more_routes,
        ],
        exception_handlers={HttpProblem: handle_problem, HTTPException: handle_http, Exception: handle_surprise},
        before_send=[put_request_id],
        lifespan=[partial(_running, deps, door)],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _windows(deps: Dependencies) -> list[HTTPRouteHandler]:
    """What operators see and do. Without a token to get in by there is nothing there, whatever is asked."""
    if not deps.settings.ops_tokens:
        return []
    access = Access(deps)
    return [*reading_routes(access, deps), *acting_routes(access, deps.actions), *console_routes(deps, access)]


@contextlib.asynccontextmanager
async def _running(deps: Dependencies, door: Door, _: Litestar) -> AsyncIterator[None]:
    """The acceptor and the counters' way to Redis, for as long as the application lives."""
    await deps.acceptor.start()
    tasks = [
        asyncio.create_task(_flush_for_ever(deps, door), name="flush"),
        asyncio.create_task(_advance_for_ever(deps), name="bulk"),
    ]
    if deps.settings.alert_webhook:
        tasks.append(asyncio.create_task(_watch_for_ever(deps, deps.settings.alert_webhook), name="alerts"))
    try:
        yield
    finally:
        await ended(tasks)
        await deps.acceptor.stop()
        for _try in range(LAST_FLUSHES):
            if await _flush(deps, door):
                break
        await deps.aredis.aclose()
        deps.redis.close()


async def _flush_for_ever(deps: Dependencies, door: Door) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await asyncio.to_thread(deps.sources.poll)
            await _flush(deps, door)
        except Exception as error:
            structlog.get_logger().error("flush failed", exc_info=error)


async def _watch_for_ever(deps: Dependencies, url: str) -> None:
    with build_http() as http:
        webhook = Webhook(url, deps.settings.public_url, http)
        watch = Watch(deps.ledger, deps.settings.data_dir, webhook, deps.settings.alert_oldest, deps.clock)
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await asyncio.to_thread(watch.beat)
            except Exception as error:
                structlog.get_logger().error("watch failed", error=type(error).__name__)


async def _advance_for_ever(deps: Dependencies) -> None:
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


async def _flush(deps: Dependencies, door: Door) -> bool:
    """Whether the counters reached Redis."""
    flushed = await deps.meter.aflush(deps.aredis)
    await door.refusals.aflush(deps.aredis)
    return flushed


def application() -> Litestar:
    """Factory for a server that is started by other means: `granian --interface asgi --factory service.app:application`.

    Reads the environment. Raises SettingsError or ConfigError with every fault at once.
    """
    return _load(Settings.for_service(os.environ))


def _load(settings: Settings, make: Callable[[Dependencies], Litestar] = create_app) -> Litestar:
    """What each server process runs first."""
    logs.configure(settings.log_format, "service")
    return make(build(settings))


def _load_in_child(settings: Settings, make: Callable[[Dependencies], Litestar], parent: int) -> Litestar:
    """`_load`, in a process that must not outlive the one that started it."""
    threading.Thread(target=_stop_with, args=(parent,), name="parent", daemon=True).start()
    return _load(settings, make)


def _stop_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings, make: Callable[[Dependencies], Litestar] = create_app) -> None:
    """Serves until SIGTERM or SIGINT, then stops within 15 s. `make` builds the application in each process.

    Raises SettingsError or ConfigError before anything listens, SystemExit where a process would not start.
    """
    logs.configure(settings.log_format, "service")
    build(settings)
    _raise_open_files()
    port = settings.port or _free_port(settings.host)
    settings = dataclasses.replace(settings, port=port)
    structlog.get_logger().info("listening", url=f"http://{settings.host}:{port}", processes=settings.service_processes)
    server = _server(settings, port)
    server.main_loop_interrupt = Wake()
    server.serve(target_loader=partial(_load_in_child, settings, make, os.getpid()), wrap_loader=False)


def _server(settings: Settings, port: int) -> Any:
    """HTTP/1.1 only: proxies speak it to us, and what is not spoken cannot be abused."""
    return Granian(
        "service.app:application",
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.service_processes,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        websockets=False,
        backlog=2048,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        log_enabled=False,
        workers_kill_timeout=STOP_SECONDS,
        respawn_failed_workers=True,
    )


def _free_port(host: str) -> int:
    """A port that was free a moment ago, so that several processes can share it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _raise_open_files() -> None:
    """Room for every connection, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
