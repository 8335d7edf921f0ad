"""Starts the parts of a machine by forking one process that has imported everything once.

    test process ── fork server (python -m tests.chaos.fork_server) ── service, worker, sandbox

To import what it needs costs a part a second of CPU, and tests that kill parts start many. Otherwise
they are what `leadline serve` and the like are: each has a process id, a process group, an
environment and an output of its own, gets SIGTERM when its parent dies, and stays a zombie until
its end was noticed. What must be there before the imports (LD_PRELOAD, another release) is started
in the usual way, and so is everything where there are no pidfds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from msgspec import Struct

from service.local import processes
from service.local.processes import Child
from tests.chaos.faults import SHIM, SHIMMED

ROOT = Path(__file__).resolve().parents[2]
MARK = {"CHAOS_MACHINE": "1"}
"""In the environment of the parts that may be forked."""

COMMAND = ["-m", "service.cli.main"]
MODULES = ("service.cli.run", "service.server", "service.sandbox.serve", "worker.main")
MAX_REQUEST_BYTES = 128 * 1024
PR_SET_PDEATHSIG = 1


class Request(Struct, frozen=True):
    """What to start; its output and the socket for its pid and status come along with it."""

    arguments: list[str]
    env: dict[str, str]
    core_limit: tuple[int, int]


# -- in the test process
# --------------------------------------------------------------------------------------------------


class ForkedProcess:
    """As much of `subprocess.Popen` as a supervisor uses."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid = int(status.recv(32))

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._status.recv(32) or -signal.SIGKILL)
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)


class ForkServer:
    """Started by the first part that is to be forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, child: Child, output: int) -> ForkedProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = Request(
            list(child.argv[3:]), dict(child.env or {}), resource.getrlimit(resource.RLIMIT_CORE)
        )
        with theirs:
            socket.send_fds(
                self._connection(), [msgspec.json.encode(request)], [output, theirs.fileno()]
            )
        return ForkedProcess(ours)

    def close(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(30)

    def _connection(self) -> socket.socket:
        with self._lock:
            if self._control is None:
                self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "tests.chaos.fork_server", str(theirs.fileno())],
                        stdin=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        cwd=ROOT,
                        process_group=0,
                    )
            return self._control


@contextmanager
def forked_starts() -> Iterator[None]:
    """From here on supervisors of this process fork the parts that may be."""
    if not hasattr(os, "pidfd_open"):
        yield
        return
    usual, server = processes._start, ForkServer()

    def start(child: Child) -> Any:
        if child.log is None or not _may_be_forked(child):
            return usual(child)
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with processes._append(child.log) as output:
            return server.start(child, output.fileno())

    with mock.patch.object(processes, "_start", start):
        yield
    server.close()


def _may_be_forked(child: Child) -> bool:
    env = child.env or {}
    return (
        MARK.items() <= env.items()
        and list(child.argv[1:3]) == COMMAND
        and env.get("LD_PRELOAD") == os.environ.get("LD_PRELOAD")
        and env.get("PYTHONPATH") in (os.environ.get("PYTHONPATH"), SHIMMED)
        and "CHAOS_VERSION" not in env  # is for before anything is imported
    )


# -- in the server, and in the parts
# --------------------------------------------------------------------------------------------------


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._pid = os.getpid()
        self.shim: dict[str, Any] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self) -> Request | None:
        """Fork and reap until the test process is gone. In a part: returns what it is to do."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._follow(key)
                    continue
                data, fds, _, _ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, 2)
                if not data:
                    return None
                request = msgspec.json.decode(data, type=Request)
                if self._fork(request, fds[0], socket.socket(fileno=fds[1])):
                    return request

    def _fork(self, request: Request, output: int, status: socket.socket) -> bool:
        """Returns whether this is the part."""
        pid = os.fork()
        if pid == 0:
            self._become_part(request, output, status)
            return True
        os.close(output)
        with suppress(OSError):
            os.setpgid(pid, pid)
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
        status.send(str(pid).encode())
        return False

    def _follow(self, key: selectors.SelectorKey) -> None:
        """A part has ended and its status is told, or that was noticed and it can be forgotten."""
        self._selector.unregister(key.fileobj)
        pid, status = key.data
        if isinstance(key.fileobj, int):
            os.close(key.fileobj)
            end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert end is not None
            code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            with suppress(OSError):
                status.send(str(code).encode())
            self._selector.register(status, selectors.EVENT_READ, (pid, status))
        else:
            status.close()
            os.waitpid(pid, 0)

    def _become_part(self, request: Request, output: int, status: socket.socket) -> None:
        with suppress(OSError):
            os.setpgid(0, 0)
        self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._pid:  # it died before we asked
            os._exit(0)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
            if key.data:
                key.data[1].close()
        self._selector.close()
        self._control.close()
        status.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        resource.setrlimit(resource.RLIMIT_CORE, request.core_limit)
        os.environ.clear()
        os.environ.update(request.env)
        sys.argv = ["leadline", *request.arguments]
        if request.env.get("PYTHONPATH") == SHIMMED:
            self.shim = runpy.run_path(str(SHIM / "sitecustomize.py"))  # what it holds, holds


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
    from service.cli.main import main as leadline

    gc.collect()
    gc.freeze()
    server = _Server(socket.socket(fileno=int(sys.argv[1])))
    if server.run() is not None:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
        leadline()


if __name__ == "__main__":
    main()
