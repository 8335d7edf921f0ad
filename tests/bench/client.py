"""Keeps a server busy: each connection posts its next form as soon as the last one is answered.

    python -m tests.bench.client PORT CONNECTIONS SECONDS

prints {"answers", "refused", "seconds", "p50_ms", "p99_ms"}. It speaks just enough HTTP/1.1 itself,
so that the client takes as small a share of the machine as possible.
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
RESPONSE_TIMEOUT_SECONDS = 10.0


@dataclass
class Tally:
    """Latencies in seconds, and how many responses were not 202."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0


def build_request(connection: int, number: int) -> bytes:
    body = (
        f"name=Ada+Lovelace&email=ada{connection}.{number}%40example.com"
        "&phone=%2B4930123456&company=Analytical+Engines&message=Please+call+me+back&utm_source=google&utm_campaign=spring"
    )
    return (HEAD.format(length=len(body)) + body).encode()


async def post_until(port: int, connection: int, until: float, tally: Tally) -> None:
    """Post over one connection until this time (monotonic seconds)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    with contextlib.closing(writer):
        while time.monotonic() < until:
            number += 1
            began = time.monotonic()
            writer.write(build_request(connection, number))
            status = await asyncio.wait_for(read_response(reader), RESPONSE_TIMEOUT_SECONDS)
            tally.latencies.append(time.monotonic() - began)
            tally.refused += status != 202


async def read_response(reader: asyncio.StreamReader) -> int:
    """Read a response that has a Content-Length; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(
        int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")
    )
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def run(port: int, connections: int, seconds: float) -> Tally:
    tally = Tally()
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for connection in range(connections):
            group.create_task(post_until(port, connection, until, tally))
    return tally


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    began = time.monotonic()
    tally = asyncio.run(run(port, connections, seconds))
    summary = {
        "answers": len(tally.latencies),
        "refused": tally.refused,
        "seconds": time.monotonic() - began,
        "p50_ms": percentile(tally.latencies, 0.5) * 1000,
        "p99_ms": percentile(tally.latencies, 0.99) * 1000,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
