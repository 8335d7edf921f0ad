"""Starts and stops the server: one or several processes of the application.

The parent listens and looks after its children; each child accepts connections from the same
socket, so that those which wait while a child is replaced are served by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import structlog
import uvicorn
from litestar import Litestar

from service.app import create_app
from service.context import ServiceContext, build, warn_of_short_secrets
from service.ports import listen
from service.web.bounded_protocol import (
    ADDRESS_SLOTS,
    MAX_CONNECTIONS,
    Admission,
    BoundedProtocol,
    ConnectionCounts,
)
from worker import logs
from worker.settings.table import Settings

POLL_SECONDS = 0.1
# How long a thread that works on a large body may keep the event loop waiting, each time that the
# loop has something to do: several times for each request. Python's default is ten times as long.
SWITCH_SECONDS = 0.0005
# The children of a server that was killed let go of its port within a second.
PORT_PATIENCE_SECONDS = 3.0
# Requests in progress at SIGTERM get this long; a slow body is cut off after ten seconds.
STOP_TIMEOUT_SECONDS = 12
# A child that is still there so long after is killed; all in all we stop within 15 s.
KILL_AFTER_SECONDS = STOP_TIMEOUT_SECONDS + 2
RESPAWN_SECONDS = 1.0
BACKLOG = 2048
# How often overdue connections are looked for, in ticks of uvicorn's loop of 0.1 s.
TICKS_BETWEEN_SWEEPS = 10

MakeApp = Callable[[ServiceContext], Litestar]


class Job(NamedTuple):
    """What a child is given: `row` is its own of `table`, see ConnectionCounts."""

    settings: Settings
    make: MakeApp
    parent: int
    listener: socket.socket
    table: Any
    key: bytes
    row: int


def serve(settings: Settings, make: MakeApp = create_app) -> None:
    """Serves until SIGTERM or SIGINT, then stops within 15 s.

    `make` builds the application in each process. Raises SettingsError or ConfigError before
    anything listens, SystemExit if a process does not start.
    """
    logs.configure(settings.log_format, "service")
    warn_of_short_secrets(build(settings).sources)
    _raise_file_limit()
    with _listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        settings = dataclasses.replace(settings, port=port)
        structlog.get_logger().info(
            "listening", url=f"http://{settings.host}:{port}", processes=settings.service_processes
        )
        spawn = multiprocessing.get_context("spawn")
        table = spawn.RawArray("H", settings.service_processes * ADDRESS_SLOTS)
        job = Job(settings, make, os.getpid(), listener, table, secrets.token_bytes(16), 0)
        _Processes(job, settings.service_processes).run()


class _Processes:
    """The children: kept running, and stopped together."""

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._is_stopping = False
        self._children: list[BaseProcess] = []
        self._count = count

    def run(self) -> None:
        """Run until a signal. Raises SystemExit if one of the first children does not start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        self._children = [self._start(row) for row in range(self._count)]
        first = set(self._children)
        try:
            while not self._is_stopping:
                time.sleep(POLL_SECONDS)
                for row, child in enumerate(self._children):
                    if child.exitcode is not None and not self._is_stopping:
                        if child.exitcode > 0 and child in first:
                            raise SystemExit(child.exitcode)
                        self._replace(row, child)
        finally:
            self._stop()

    def _request_stop(self, *_: object) -> None:
        self._is_stopping = True

    def _replace(self, row: int, child: BaseProcess) -> None:
        structlog.get_logger().warning("server process ended", exit_code=child.exitcode)
        time.sleep(RESPAWN_SECONDS)
        self._children[row] = self._start(row)

    def _start(self, row: int) -> BaseProcess:
        child = self._context.Process(
            target=_run_child, args=(self._job._replace(row=row),), name=f"server-{row}"
        )
        child.start()
        return child

    def _stop(self) -> None:
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + KILL_AFTER_SECONDS
        for child in self._children:
            child.join(max(0.0, deadline - time.monotonic()))
            if child.exitcode is None:
                child.kill()
                child.join()


def _run_child(job: Job) -> None:
    threading.Thread(
        target=_stop_with_parent, args=(job.parent,), name="parent", daemon=True
    ).start()
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.configure(job.settings.log_format, "service")
    app = job.make(build(job.settings))
    counts = ConnectionCounts(job.table, job.row, job.key)
    admission = Admission(
        counts, job.settings.connections_per_address, job.settings.trusted_proxies
    )
    _Server(app, admission).run(sockets=[job.listener])


def _stop_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


class _Server(uvicorn.Server):
    """Serves HTTP/1.1 only: proxies speak it to us, and a protocol that is off cannot be abused."""

    def __init__(self, app: Litestar, admission: Admission) -> None:
        config = uvicorn.Config(
            app,
            http=partial(BoundedProtocol, admission),  # type: ignore[arg-type]
            loop="uvloop",
            ws="none",
            lifespan="on",
            interface="asgi3",
            proxy_headers=False,  # who is trusted, service.web.client_address decides
            server_header=False,
            access_log=False,
            log_config=None,
            log_level=logging.CRITICAL,
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_TIMEOUT_SECONDS,
        )
        super().__init__(config)
        self._admission = admission

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_BETWEEN_SWEEPS == 0:
            self._admission.end_overdue()
        return await super().on_tick(counter)

    def handle_exit(self, *_: object) -> None:
        """Stop. Unlike uvicorn's own, the process then ends with 0, not by the signal."""
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    """Exit with one line if the port is taken or not ours to listen on.

    Another `leadline` there counts too. What a killed one left behind is given a moment to end.
    """
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while True:
        try:
            return listen(host, port, BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise SystemExit(
                    f"leadline: cannot listen on {host}:{port}: {error.strerror or error};"
                    " stop what listens there, or set LEADLINE_HOST and LEADLINE_PORT"
                ) from None
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
