"""Keeps the processes of one machine running: starts, restarts and stops them together.

start       each child in a process group of its own, so that Ctrl-C reaches only us
death       started again after 1, 2, 4, 8, 10, 10 ... seconds, from 1 again once it lived for 30
stop        SIGTERM to every child, SIGKILL to the groups left after the grace or a second signal
our death   SIGTERM by `service.local.parent_death`
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import structlog

from service.local import parent_death

# Seconds from SIGTERM to SIGKILL: every process promises to stop within 15.
GRACE_SECONDS = 13.0
# The wait before the first restart, and the longest wait.
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 10.0
# How long a child must live to count as healthy.
HEALTHY_AFTER_SECONDS = 30.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Child:
    """A process to keep running.

    `env` is its whole environment (None: ours), `log` takes its output (None: goes to ours).
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    log: Path | None = None
    cwd: Path | None = None
    inherited_fds: Sequence[int] = ()


class Supervisor:
    """Keeps its children running from `start` to `stop`; a context manager that does both."""

    def __init__(
        self, children: Sequence[Child], *, first_delay: float = FIRST_DELAY_SECONDS
    ) -> None:
        self._keepers = [_Keeper(child, first_delay) for child in children]

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts all children. If one cannot be started, stops the others and raises OSError."""
        for keeper in self._keepers:
            keeper.start()
        faults = [fault for fault in (keeper.wait_started() for keeper in self._keepers) if fault]
        if faults:
            self.stop()
            raise faults[0]

    @property
    def pids(self) -> dict[str, int]:
        """Name -> process id of the children that are alive."""
        return {keeper.child.name: keeper.pid for keeper in self._keepers if keeper.pid is not None}

    @property
    def deaths(self) -> dict[str, int]:
        """Name -> how often the child has ended by itself."""
        return {keeper.child.name: keeper.deaths for keeper in self._keepers}

    def run_until_signal(self) -> int:
        """Waits for SIGTERM or SIGINT, stops the children, returns the signal's number.

        Works in the main thread only. A second signal ends the grace at once.
        """
        received: list[int] = []

        def note(number: int, _: FrameType | None) -> None:
            received.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not received:
                time.sleep(0.2)
            self.stop(hurry=lambda: len(received) > 1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return received[0]

    def stop(self, grace: float = GRACE_SECONDS, hurry: Callable[[], bool] = lambda: False) -> None:
        """SIGTERM to all, SIGKILL after `grace` seconds or once `hurry` is true."""
        for keeper in self._keepers:
            keeper.request_stop()
        deadline = time.monotonic() + grace
        while (
            any(keeper.is_running for keeper in self._keepers)
            and time.monotonic() < deadline
            and not hurry()
        ):
            time.sleep(0.02)
        for keeper in self._keepers:
            keeper.kill()


class _Keeper:
    """One child, and the thread that starts it, waits for it and restarts it."""

    def __init__(self, child: Child, first_delay: float) -> None:
        self.child = child
        self.deaths = 0
        self._first_delay = first_delay
        self._process: subprocess.Popen[bytes] | None = None
        self._fault: OSError | None = None
        self._lock = threading.Lock()
        self._tried = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{child.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def wait_started(self) -> OSError | None:
        """Waits for the first start; returns its fault, if any."""
        self._tried.wait()
        return self._fault

    def request_stop(self) -> None:
        with self._lock:
            self._stopping.set()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the child and all that it started."""
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                _kill_group(self._process.pid)
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _keep(self) -> None:
        delay = self._first_delay
        while (process := self._spawn()) is not None:
            started_at = time.monotonic()
            process.wait()
            parent_death.release(process.pid)
            _kill_group(process.pid)  # what a child leaves behind would hold its port
            if self._stopping.is_set():
                return
            lived_seconds = time.monotonic() - started_at
            delay = (
                self._first_delay
                if lived_seconds >= HEALTHY_AFTER_SECONDS or not self.deaths
                else min(delay * 2, MAX_DELAY_SECONDS)
            )
            self.deaths += 1
            log.warning(
                "process died",
                process=self.child.name,
                status=process.returncode,
                restart_in_seconds=delay,
            )
            self._stopping.wait(delay)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Starts the child under the lock, so that a stop comes first or finds the process."""
        with self._lock:
            if self._stopping.is_set():
                return None
            try:
                self._process = _start(self.child)
            except OSError as fault:
                self._fault = fault
                return None
            finally:
                self._tried.set()
            return self._process


def _start(child: Child) -> subprocess.Popen[bytes]:
    if child.log is None:
        return parent_death.spawn(
            child.argv, env=child.env, cwd=child.cwd, inherited_fds=child.inherited_fds
        )
    child.log.parent.mkdir(parents=True, exist_ok=True)
    with _append(child.log) as output:
        return parent_death.spawn(
            child.argv,
            env=child.env,
            cwd=child.cwd,
            inherited_fds=child.inherited_fds,
            output=output,
        )


def _append(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
