"""Serves the sandbox, in one process and one event loop, so that the account is consistent.

`run` is for a command, `serve_in_thread` for tests. Any ASGI server can serve it, too:
`uvicorn --factory service.sandbox.serve:application`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import uvicorn
from litestar import Litestar, asgi
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from service.sandbox.account.company import Clocks, Company
from service.sandbox.account.store import StateFile
from service.sandbox.account_page import page_routes
from service.sandbox.control import control_routes
from service.sandbox.credentials import refuse_other_sites
from service.sandbox.gateway import Gateway
from service.sandbox.resources.lead_handlers import index_lead
from service.sandbox.resources.organization_handlers import index_organization
from service.sandbox.resources.person_handlers import index_person
from service.sandbox.settings import SandboxSettings

API_PATHS = ["/v1", "/api", "/oauth"]
# The environment variable that holds the settings as JSON.
SETTINGS_VARIABLE = "LEADLINE_SANDBOX"
START_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 2


def create_app(
    settings: SandboxSettings,
    *,
    wall: Callable[[], float] = time.time,
    ticks: Callable[[], float] = time.monotonic,
) -> Litestar:
    """The sandbox as a Litestar application.

    `wall` gives Unix seconds, `ticks` monotonic seconds. The state file is opened at once and
    closed on shutdown.
    """
    company = Company(
        settings,
        StateFile(Path(settings.state_file) if settings.state_file else None),
        Clocks(wall, ticks),
    )
    _index_all(company)
    gateway = Gateway(company)
    for name in settings.faults:
        gateway.faults.add_preset(name)

    @asgi(API_PATHS, is_mount=True, copy_scope=False)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await gateway(scope, receive, send)

    async def close() -> None:
        await gateway.close()
        company.close()

    return Litestar(
        route_handlers=[api, *control_routes(), *page_routes()],
        middleware=[refuse_other_sites],
        on_shutdown=[close],
        state=State({"gateway": gateway}),
        openapi_config=None,
        logging_config=None,
    )


def _index_all(company: Company) -> None:
    """Index the records of a state file without lag: they are old enough to be found."""
    for organization in company.store.organizations:
        index_organization(organization, company, immediately=True)
    for person in company.store.persons:
        index_person(person, company, immediately=True)
    for lead in company.store.leads:
        index_lead(lead, company, immediately=True)


def application() -> Litestar:
    """A factory for any ASGI server; the settings are the JSON in `LEADLINE_SANDBOX`, if set."""
    return create_app(settings_from_environment())


def settings_from_environment() -> SandboxSettings:
    """Raises `msgspec.DecodeError` if `LEADLINE_SANDBOX` is not the JSON of `SandboxSettings`."""
    return msgspec.json.decode(os.environ.get(SETTINGS_VARIABLE, "{}"), type=SandboxSettings)


def run(settings: SandboxSettings) -> None:
    """Serve until SIGINT or SIGTERM; raises `OSError` if the address cannot be bound."""
    _build_server(_with_port(settings)).run()


@contextmanager
def serve_in_thread(settings: SandboxSettings) -> Iterator[str]:
    """Serve in a thread, on a free port if `port` is 0; yields the base URL.

    Raises `OSError` if the sandbox does not start.
    """
    settings = _with_port(settings)
    server = _build_server(settings)
    thread = threading.Thread(target=server.run, name="pipedrive-sandbox", daemon=True)
    thread.start()
    try:
        _wait_for_start(settings, thread)
        yield f"http://{settings.host}:{settings.port}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_SECONDS)


class SandboxServer(uvicorn.Server):
    """Stops at a signal and ends with 0, where uvicorn's own ends by the signal."""

    def handle_exit(self, *_: object) -> None:
        self.should_exit = True


def _build_server(settings: SandboxSettings) -> SandboxServer:
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http="httptools",
        ws="none",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        log_level=logging.CRITICAL,
        timeout_graceful_shutdown=STOP_TIMEOUT_SECONDS,
    )
    return SandboxServer(config)


def _with_port(settings: SandboxSettings) -> SandboxSettings:
    """The settings with a free port instead of 0; raises `OSError` if it cannot be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((settings.host, settings.port))
        return msgspec.structs.replace(settings, port=probe.getsockname()[1])


def _wait_for_start(settings: SandboxSettings, thread: threading.Thread) -> None:
    until = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < until and thread.is_alive():
        with suppress(OSError), socket.create_connection((settings.host, settings.port), timeout=1):
            return
        time.sleep(0.02)
    raise OSError(f"the sandbox did not start on {settings.host}:{settings.port}")
