"""The connection to the caller: sending a response over it, and cutting it.

ASGI has no way to hang up. But the server runs in our process, so the socket is among our own file
descriptors: we find it by the caller's address and shut it down behind the server's back. Without a
socket (a test client that calls the application directly), a cut raises `ConnectionResetError`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from litestar.types import HTTPScope, Receive, Send

# Linux, macOS.
DESCRIPTOR_FOLDERS = (Path("/proc/self/fd"), Path("/dev/fd"))
Headers = list[tuple[str, str]]


class CallerConnection:
    """How one request is answered."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        self._peer = (str(client[0]), str(client[1])) if client else None
        self._receive = receive
        self._send = send

    async def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        await self._start(status, headers, len(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def stream(
        self, status: int, headers: Headers, length: int, parts: AsyncIterator[bytes]
    ) -> None:
        """Send `length` bytes of body in parts; stop early when the caller has left."""
        await self._start(status, headers, length)
        with suppress(OSError):
            async for part in parts:
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send_part_then_reset(
        self, status: int, headers: Headers, body: bytes, sent: int
    ) -> None:
        """Send the head and the first `sent` bytes of a response, then reset the connection."""
        await self._start(status, headers, len(body) + 1)
        await self._send({"type": "http.response.body", "body": body[:sent], "more_body": True})
        # The server writes from a thread of its own: give it time to put the bytes on the wire
        # before the cut.
        await asyncio.sleep(0.05)
        await self.cut(reset=True)

    async def wait(self, seconds: float) -> None:
        """Wait, but no longer than the caller does."""
        disconnect = asyncio.ensure_future(self._wait_for_disconnect())
        await asyncio.wait({disconnect}, timeout=seconds)
        disconnect.cancel()

    async def cut(self, *, reset: bool = False) -> None:
        """End the connection without another byte: orderly, or with a TCP reset."""
        if self._peer is None or not _shut_down(self._peer, reset):
            raise ConnectionResetError("the connection is cut")
        await asyncio.sleep(0.02)

    async def _start(self, status: int, headers: Headers, length: int) -> None:
        if "content-type" not in {name for name, _ in headers}:
            headers = [("content-type", "application/json; charset=utf-8"), *headers]
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        raw.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _wait_for_disconnect(self) -> None:
        message: Any = await self._receive()
        while message["type"] != "http.disconnect":
            message = await self._receive()


def _shut_down(peer: tuple[str, str], reset: bool) -> bool:
    for descriptor in _list_descriptors():
        if (connection := _duplicate_socket(descriptor)) is None:
            continue
        with connection:
            if _get_peer(connection) == peer:
                _shut_socket(connection, reset)
                return True
    return False


def _shut_socket(connection: socket.socket, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            # The server now reads the end of the stream and closes; lingering for 0 s turns that
            # close into a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)
        else:
            connection.shutdown(socket.SHUT_RDWR)


def _list_descriptors() -> list[int]:
    folder = next((path for path in DESCRIPTOR_FOLDERS if path.is_dir()), None)
    return [int(name) for name in os.listdir(folder) if name.isdecimal()] if folder else []


def _duplicate_socket(descriptor: int) -> socket.socket | None:
    copy = -1
    try:
        copy = os.dup(descriptor)
        return socket.socket(fileno=copy)
    except OSError:
        if copy >= 0:
            os.close(copy)
        return None


def _get_peer(connection: socket.socket) -> tuple[str, str] | None:
    name: Callable[[], Any] = connection.getpeername
    try:
        address = name()
    except OSError:
        return None
    return (str(address[0]), str(address[1])) if isinstance(address, tuple) else None
