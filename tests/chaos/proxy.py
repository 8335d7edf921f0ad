"""A relay on loopback between two parts, that can be slow, deaf or break off. What it does may
change while connections stand.

client -> Proxy -> a port of 127.0.0.1, or a unix socket
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PIECE = 65_536


class Proxy:
    """A context manager; `url("redis")` is where it listens. Runs in a thread of its own.

    `delay`      seconds that each piece is under way, in either direction; pieces do not wait for each other
    `deaf`       what arrives is taken and thrown away, and new connections are left alone: a black hole
    `cut_after`  bytes of the answers on a connection after which it is reset; None: never
    """

    def __init__(self, to: int | Path) -> None:
        self._to = to
        self.delay = 0.0
        self.deaf = False
        self.cut_after: int | None = None
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._listening.wait(10), "the proxy does not listen"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._over.wait()
        server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.deaf and not self._over.is_set():
                await asyncio.sleep(0.05)
            with suppress(OSError, asyncio.CancelledError):
                far_reader, far_writer = await self._far()
                try:
                    directions = [
                        self._pass(reader, far_writer, None),
                        self._pass(far_reader, writer, [0]),
                    ]
                    tasks = [asyncio.create_task(way) for way in directions]
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                finally:
                    far_writer.transport.abort()
        finally:
            writer.transport.abort()

    async def _far(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._to, Path):
            return await asyncio.open_unix_connection(self._to)
        return await asyncio.open_connection("127.0.0.1", self._to)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: list[int] | None
    ) -> None:
        """One way, until either side is gone. `answered` counts the bytes of an answer."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(reader, under_way))
        try:
            while (piece := await under_way.get())[1]:
                due, data = piece
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if self.deaf:
                    continue
                left = (
                    len(data)
                    if answered is None or self.cut_after is None
                    else self.cut_after - answered[0]
                )
                writer.write(data[:left])
                await writer.drain()
                if answered is not None:
                    answered[0] += len(data)
                if left < len(data):
                    return
        finally:
            arriving.cancel()

    async def _arrive(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                under_way.put_nowait((self._loop.time() + self.delay, data))
        under_way.put_nowait((0.0, b""))
