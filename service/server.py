"""Starts and stops the server: one or several processes of the application."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from litestar import Litestar

from service.app import create_app
from service.context import ServiceContext, build
from service.ports import bind_error, find_free_port
from worker import logs
from worker.settings.table import Settings

POLL_SECONDS = 0.1
# How long a thread that works on a large body may keep the event loop waiting, each time that the
# loop has something to do: several times for each request. Python's default is ten times as long.
SWITCH_SECONDS = 0.0005


class SignalSafeEvent:
    """Replaces a `threading.Event` that signal handlers set.

    An event's lock cannot be taken twice by one thread, so a second signal that arrives while the
    first one's handler sets it would block the process for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self) -> None:
        while not self._is_set:
            time.sleep(POLL_SECONDS)


# The children of a server that was killed let go of its port within a second.
PORT_PATIENCE_SECONDS = 3.0

# Requests in progress at SIGTERM get this long; a slow body is cut off after ten seconds.
STOP_TIMEOUT_SECONDS = 12
HEAD_TIMEOUT_SECONDS = 10
MAX_HEAD_BYTES = 64 * 1024
# Connections at a time in each process: a thousand slow ones leave room for the others.
MAX_CONNECTIONS = 4096


def application() -> Litestar:
    """Builds the application for a server that is started by other means.

    For example, `granian --interface asgi --factory service.server:application`. Reads the
    environment. Raises SettingsError or ConfigError with every fault at once.
    """
    return _load(Settings.for_service(os.environ))


def _load(settings: Settings, make: Callable[[ServiceContext], Litestar] = create_app) -> Litestar:
    """What each server process runs first."""
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.configure(settings.log_format, "service")
    return make(build(settings))


def _load_in_child(
    settings: Settings, make: Callable[[ServiceContext], Litestar], parent: int
) -> Litestar:
    """`_load`, in a process that must not outlive the one that started it."""
    threading.Thread(target=_stop_with_parent, args=(parent,), name="parent", daemon=True).start()
    return _load(settings, make)


def _stop_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings, make: Callable[[ServiceContext], Litestar] = create_app) -> None:
    """Serves until SIGTERM or SIGINT, then stops within 15 s.

    `make` builds the application in each process. Raises SettingsError or ConfigError before
    anything listens, SystemExit if a process does not start.
    """
    logs.configure(settings.log_format, "service")
    build(settings)
    _raise_file_limit()
    port = settings.port or find_free_port(settings.host)
    _require_port(settings.host, port)
    settings = dataclasses.replace(settings, port=port)
    structlog.get_logger().info(
        "listening", url=f"http://{settings.host}:{port}", processes=settings.service_processes
    )
    server = _server(settings, port)
    server.main_loop_interrupt = SignalSafeEvent()
    server.serve(
        target_loader=partial(_load_in_child, settings, make, os.getpid()), wrap_loader=False
    )


def _server(settings: Settings, port: int) -> Any:
    """Serves HTTP/1.1 only: proxies speak it to us, and a protocol that is off cannot be abused."""
    return Granian(
        "service.server:application",
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.service_processes,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        websockets=False,
        backlog=2048,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEAD_TIMEOUT_SECONDS * 1000, max_buffer_size=MAX_HEAD_BYTES
        ),
        log_enabled=False,
        workers_kill_timeout=STOP_TIMEOUT_SECONDS,
        respawn_failed_workers=True,
    )


def _require_port(host: str, port: int) -> None:
    """Exit with one line if the port is taken or not ours to listen on.

    Another `leadline` there counts too. What a killed one left behind is given a moment to end.
    """
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while error := bind_error(host, port):
        if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            raise SystemExit(
                f"leadline: cannot listen on {host}:{port}: {error.strerror or error};"
                " stop what listens there, or set LEADLINE_HOST and LEADLINE_PORT"
            )
        time.sleep(0.1)


def _raise_file_limit() -> None:
    """Makes room for every connection, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = (
        2 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * MAX_CONNECTIONS, hard)
    )
    if soft != resource.RLIM_INFINITY and soft < target:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
