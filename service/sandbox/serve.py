"""Serves the sandbox: one process, one event loop, so that everything it answers is one consistent account.

`run` is for a command, `served` for tests and programs that want one beside them. Any ASGI server can serve it too:
`granian --interface asgi --factory service.sandbox.serve:application`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar

from service.sandbox.app import create_app
from service.sandbox.settings import SandboxSettings

SETTINGS_VARIABLE = "LEADLINE_SANDBOX"
LONGEST_START_SECONDS = 15.0


def application() -> Litestar:
    """A factory for any ASGI server; the settings are the JSON in `LEADLINE_SANDBOX`, if set."""
    return create_app(settings_from_environment())


def settings_from_environment() -> SandboxSettings:
    """Raises `msgspec.DecodeError` where `LEADLINE_SANDBOX` is not the JSON of `SandboxSettings`."""
    return msgspec.json.decode(os.environ.get(SETTINGS_VARIABLE, "{}"), type=SandboxSettings)


def run(settings: SandboxSettings) -> None:
    """Serves until SIGINT or SIGTERM. Raises `OSError` if the address cannot be bound."""
    asyncio.run(_serve_until_signal(settings))


@contextmanager
def served(settings: SandboxSettings) -> Iterator[str]:
    """Serves in a thread, on a free port if `port` is 0; yields the base URL. Raises `OSError` if it does not start."""
    settings = _with_port(settings)
    loop = asyncio.new_event_loop()
    server = _server(settings)
    thread = threading.Thread(target=_serve_in, args=(loop, server), name="pipedrive-sandbox", daemon=True)
    thread.start()
    try:
        _await_start(settings, thread)
        yield f"http://{settings.host}:{settings.port}"
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(server.stop)
        thread.join(LONGEST_START_SECONDS)


def _serve_in(loop: asyncio.AbstractEventLoop, server: Server) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(server.serve())
    finally:
        loop.close()


async def _serve_until_signal(settings: SandboxSettings) -> None:
    server = _server(_with_port(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


def _server(settings: SandboxSettings) -> Server:
    app = create_app(settings)
    return Server(app, address=settings.host, port=settings.port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)


def _with_port(settings: SandboxSettings) -> SandboxSettings:
    """The settings with a free port in place of 0. Raises `OSError` if the address cannot be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((settings.host, settings.port))
        return msgspec.structs.replace(settings, port=probe.getsockname()[1])


def _await_start(settings: SandboxSettings, thread: threading.Thread) -> None:
    until = time.monotonic() + LONGEST_START_SECONDS
    while time.monotonic() < until and thread.is_alive():
        with suppress(OSError), socket.create_connection((settings.host, settings.port), timeout=1):
            return
        time.sleep(0.02)
    raise OSError(f"the sandbox did not start on {settings.host}:{settings.port}")
