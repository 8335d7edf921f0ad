"""Those who read what we say, logs and numbers, stop reading or go away: nobody else notices."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from service.local.processes import Child
from service.local.stack import LocalStack
from tests.chaos.faults import SHIMMED, linux
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually

pytestmark = [pytest.mark.timeout(600), linux]

SMALLEST_PIPE = 4096
LINES = 5
"""How many lines a process keeps here for a reader that does not come; otherwise ten thousand."""


class Muted(LocalStack):
    """Service and worker write to pipes; `readers` are the other ends, which nobody reads."""

    readers: dict[str, int]

    def _children(self, sandbox: int | None) -> list[Child]:
        self.readers = {}
        return [
            self._piped(child) if child.name in ("serve", "work") else child
            for child in super()._children(sandbox)
        ]

    def _piped(self, child: Child) -> Child:
        assert child.log is not None
        pipe = child.log.with_suffix(".pipe")
        pipe.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(pipe)
        self.readers[child.name] = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.readers[child.name], fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        return replace(child, log=pipe)


def posted(running: RunningStack, name: str, count: int) -> None:
    for number in range(count):
        assert running.post(f"{name}-{number}", f"{name}{number % 7}@example.com")
    running.wait_until_idle(60)
    running.check()


def read(reader: int) -> bytes:
    output = b""
    with suppress(BlockingIOError):
        while piece := os.read(reader, 65_536):
            output += piece
    return output


def test_readers_that_stop_or_go_disturb_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pipes that nobody reads, then pipes nobody holds: all is served, what was lost is counted, a
    stop stays orderly.
    """
    # Started by command: how a process ends that cannot write is what is looked at.
    settings = {"CHAOS_LOG_LINES": str(LINES), "PYTHONPATH": SHIMMED, "CHAOS_MACHINE": "no"}
    with run_stack(tmp_path, make=Muted, **settings) as running:
        assert isinstance(running.stack, Muted)
        readers, output = running.stack.readers, dict.fromkeys(running.stack.readers, b"")
        posted(running, "unread", 3 * LINES + 40)
        for part, reader in readers.items():

            def has_logged(part: str = part, reader: int = reader) -> bool:
                running.post(f"listen-{len(running.acknowledged)}", "listen@example.com")
                output[part] += read(reader)
                return (
                    b'"event":"log lines dropped"' in output[part]
                    or b'"event": "log lines dropped"' in output[part]
                )

            assert eventually(has_logged), output[part][-300:]
        posted(running, "unread-again", 3 * LINES + 40)
        pids = dict(running.stack.pids)
        for part in readers:
            os.kill(pids[part], signal.SIGTERM)
        assert eventually(
            lambda: all(running.stack.pids.get(part) not in (None, pids[part]) for part in readers)
        )
        assert capsys.readouterr().out.count("status=0") == 2, (
            "a stop while nobody reads is no orderly one"
        )
        assert eventually(lambda: running.post("again", "again@example.com"))
        pids = dict(running.stack.pids)
        for reader in readers.values():
            os.close(reader)
        posted(running, "gone", 10)
        _scrapers_that_go(running)
        posted(running, "still", 5)
        assert running.stack.pids == pids


def _scrapers_that_go(running: RunningStack) -> None:
    at = int(running.stack.endpoints.service_url.rpartition(":")[2])
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", at), timeout=10) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
