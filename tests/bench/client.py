"""A client that keeps a server busy: so many connections, each posting its next form as soon as the
last one is answered.

    python -m tests.bench.client PORT CONNECTIONS SECONDS      prints {"answers", "refused", "seconds", "p50_ms", "p99_ms"}

Speaks just enough HTTP/1.1 itself, so that a share of the machine as small as possible goes into
asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field

from tests.bench.load import percentile

HEAD = (
    "POST /in/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
)
ANSWER_SECONDS = 10.0


@dataclass
class Seen:
    """Seconds of each answer, and how many were no 202."""

    took: list[float] = field(default_factory=list)
    refused: int = 0


def request(connection: int, number: int) -> bytes:
    body = (
        f"name=Ada+Lovelace&email=ada{connection}.{number}%40example.com&phone=%2B4930123456&company=Analytical+Engines"
        "&message=Please+call+me+back&utm_source=google&utm_campaign=spring"
    )
    return (HEAD.format(length=len(body)) + body).encode()


async def ask(port: int, connection: int, until: float, seen: Seen) -> None:
    """One connection, until the time (monotonic seconds) is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    with contextlib.closing(writer):
        while time.monotonic() < until:
            number += 1
            began = time.monotonic()
            writer.write(request(connection, number))
            status = await asyncio.wait_for(answer(reader), ANSWER_SECONDS)
            seen.took.append(time.monotonic() - began)
            seen.refused += status != 202


async def answer(reader: asyncio.StreamReader) -> int:
    """Reads one answer with a stated length; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(
        int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")
    )
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def run(port: int, connections: int, seconds: float) -> Seen:
    seen = Seen()
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for connection in range(connections):
            group.create_task(ask(port, connection, until, seen))
    return seen


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    began = time.monotonic()
    seen = asyncio.run(run(port, connections, seconds))
    found = {
        "answers": len(seen.took),
        "refused": seen.refused,
        "seconds": time.monotonic() - began,
        "p50_ms": percentile(seen.took, 0.5) * 1000,
        "p99_ms": percentile(seen.took, 0.99) * 1000,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
