"""The caller's connection: answering over it, and cutting it.

ASGI has no way to hang up. The server and we share a process, so the socket is among our own file
descriptors: found by the caller's address, it can be shut down under the server's hands. Without
one (a test client that calls the application directly) a cut raises `ConnectionResetError` instead.
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

DESCRIPTORS = (Path("/proc/self/fd"), Path("/dev/fd"))
Headers = list[tuple[str, str]]


class Connection:
    """One request's way back to its caller."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        self._peer = (str(client[0]), str(client[1])) if client else None
        self._receive = receive
        self._send = send

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        await self._start(status, headers, len(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def stream(
        self, status: int, headers: Headers, length: int, parts: AsyncIterator[bytes]
    ) -> None:
        """An answer of `length` bytes in parts; stops early when the caller has gone."""
        await self._start(status, headers, length)
        with suppress(OSError):
            async for part in parts:
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def part_then_reset(self, status: int, headers: Headers, body: bytes, sent: int) -> None:
        """The head and the first `sent` bytes of an answer, then a reset."""
        await self._start(status, headers, len(body) + 1)
        await self._send({"type": "http.response.body", "body": body[:sent], "more_body": True})
        # The server writes from a thread of its own: give it time to put the bytes on the wire
        # before the cut.
        await asyncio.sleep(0.05)
        await self.cut(reset=True)

    async def hold(self, seconds: float) -> None:
        """Waits, but no longer than the caller does."""
        waiting = asyncio.ensure_future(self._gone())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()

    async def cut(self, *, reset: bool = False) -> None:
        """Ends the connection without another byte: orderly, or with a TCP reset."""
        if self._peer is None or not _shut(self._peer, reset):
            raise ConnectionResetError("the connection is cut")
        await asyncio.sleep(0.02)

    async def _start(self, status: int, headers: Headers, length: int) -> None:
        given = {name for name, _ in headers}
        content = (
            [] if "content-type" in given else [("content-type", "application/json; charset=utf-8")]
        )
        raw = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in [*content, *headers]
        ]
        raw.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _gone(self) -> None:
        message: Any = await self._receive()
        while message["type"] != "http.disconnect":
            message = await self._receive()


def _shut(peer: tuple[str, str], reset: bool) -> bool:
    for descriptor in _descriptors():
        if (found := _duplicate(descriptor)) is None:
            continue
        with found:
            if _peer_of(found) == peer:
                _end(found, reset)
                return True
    return False


def _end(connection: socket.socket, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            # Lingering for 0 s turns the server's own close into a reset; it closes because it now
            # reads the end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)
        else:
            connection.shutdown(socket.SHUT_RDWR)


def _descriptors() -> list[int]:
    folder = next((path for path in DESCRIPTORS if path.is_dir()), None)
    return [int(name) for name in os.listdir(folder) if name.isdecimal()] if folder else []


def _duplicate(descriptor: int) -> socket.socket | None:
    copy = -1
    try:
        copy = os.dup(descriptor)
        return socket.socket(fileno=copy)
    except OSError:
        if copy >= 0:
            os.close(copy)
        return None


def _peer_of(connection: socket.socket) -> tuple[str, str] | None:
    name: Callable[[], Any] = connection.getpeername
    try:
        address = name()
    except OSError:
        return None
    return (str(address[0]), str(address[1])) if isinstance(address, tuple) else None
