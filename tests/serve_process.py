"""A real `serve` process, and raw sockets to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.polling import eventually

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    "import os; from service.server import serve; from worker.settings.table import Settings;"
    " serve(Settings.for_service(os.environ))"
)
PATIENCE = 60.0
HOST = b"Host: leads.example\r\n"
CLOSE = b"Connection: close\r\n"
BODY = b'{"email": "ada@acme.example"}'
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class ServeProcess:
    """`serve` with a source file, as a child; `settings` are environment variables."""

    def __init__(self, folder: Path, redis_url: str, sources: str, **settings: str) -> None:
        config = folder / "leadline.toml"
        config.write_text(sources)
        env = os.environ | {
            "REDIS_URL": redis_url,
            "LEADLINE_PORT": "0",
            "LEADLINE_CONFIG": str(config),
            "LEADLINE_DATA_DIR": str(folder),
            "LEADLINE_LOG_FORMAT": "json",
            **settings,
        }
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._collect, daemon=True).start()
        assert eventually(lambda: bool(self.lines), PATIENCE), "no line that names the port"
        self.port = int(json.loads(self.lines[0])["url"].rpartition(":")[2])
        assert eventually(lambda: self.get(b"/readyz") == [200], PATIENCE), self.lines

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def connect(self, source: str = "127.0.0.1", **options: int) -> socket.socket:
        """Connect from `source`, any address of the loopback network."""
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        for name, value in options.items():
            connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", self.port))
        return connection

    def talk(self, data: bytes, source: str = "127.0.0.1") -> bytes:
        """Send, and read until the server closes the connection."""
        answer = b""
        with contextlib.suppress(OSError), self.connect(source) as connection:
            connection.sendall(data)
            while part := connection.recv(65_536):
                answer += part
        return answer

    def get(self, target: bytes, *headers: bytes, source: str = "127.0.0.1") -> list[int]:
        return statuses(self.talk(get(target, *headers), source))

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def submissions(self) -> list[dict[str, Any]]:
        """The lines of its log about submissions."""
        return [line for line in self.log() if line["event"] == "submission"]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def get(target: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + lines + b"\r\n"


def post(*headers: bytes, body: bytes = BODY, path: bytes = b"/in/contact") -> bytes:
    """A whole post of JSON, after which the server closes."""
    lines = b"".join(header + b"\r\n" for header in headers)
    length = b"Content-Length: %d\r\nContent-Type: application/json\r\n" % len(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + length + lines + b"\r\n" + body


def statuses(answer: bytes) -> list[int]:
    """The statuses of all responses on one connection."""
    return [int(match[1]) for match in _STATUS.finditer(answer)]


def read_to_end(connection: socket.socket) -> bytes:
    """What still comes until the server closes; a reset counts as the end."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)
