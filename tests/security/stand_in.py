"""A server on loopback that does to its clients what a test says."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from threading import Event, Thread

PATIENCE = 60.0

Play = Callable[[socket.socket], None]


def reply(head: str) -> Play:
    def play(connection: socket.socket) -> None:
        connection.sendall(
            f"HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
        )

    return play


class StandIn:
    """A server on loopback that notes each request, then lets `play` answer."""

    def __init__(self, play: Play, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = Event()
        self._play, self._tls = play, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.over.is_set():
                connection.close()
                return
            self.connections += 1
            with contextlib.suppress(OSError):
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self.requests.append(_read_request(connection))
                self._play(connection)
            connection.close()

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        self._thread.join(PATIENCE)
        self._listener.close()


def _read_request(connection: socket.socket) -> bytes:
    """Read head and body: to close a connection with unread bytes would reset it."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := connection.recv(65_536)):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]) and (piece := connection.recv(65_536)):
        body += piece
    return head
