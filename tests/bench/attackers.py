"""One kind of attacker on loopback, in a process of its own.

    python -m tests.bench.attackers KIND PORT SECONDS

prints `ready` once it is about to begin and, when the time is up, what became of its requests as
JSON: the count of each outcome. Attackers come from addresses of 127.0.0.0/8 other than 127.0.0.1,
so that whatever counts by address can tell them from the innocent client.

| kind          | what it does                                                                 |
|---------------|------------------------------------------------------------------------------|
| slow-senders  | 1,000 connections, each of which sends a byte of a post's body every second  |
| slow-readers  | 200 connections that ask for `/docs` again and again, and never read a byte  |
| one-address   | 64 connections from one address that are held open and say nothing           |
| worst-bodies  | 20 posts a second of the bodies of `tests.unit.sources` that take the longest |

A connection that the server closes or refuses is opened again after a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator

from service.sources.adapters.registry import ADAPTERS
from service.sources.fields.recognition import forget_plans
from service.sources.languages.words import split_words
from service.sources.normalize import process_request
from service.sources.request import InboundRequest
from service.sources.schema import Source
from tests.bench.client import read_response
from tests.unit.sources.hostile_bodies import hostile_bodies
from tests.unit.sources.hostile_families import family_bodies

# The source that takes any JSON and any form from anybody.
OPEN_SOURCE = "open"
SLOW_SENDERS, SLOW_READERS, HELD_CONNECTIONS = 1_000, 200, 64
# Addresses from which an attacker comes, where it has several.
ADDRESSES = 100
# How many answers a slow reader asks for: far more bytes than all buffers on the way hold.
PIPELINED_REQUESTS = 200
BODIES_PER_SECOND, DIFFERENT_BODIES = 20, 20
BYTE_INTERVAL_SECONDS = 1.0
REOPEN_SECONDS = 1.0
ANSWER_TIMEOUT_SECONDS = 30.0
NOW = 1_700_000_000.0

Outcomes = Counter[str]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_from(port: int, address: int, receive_buffer: int | None = None) -> Connection:
    """A connection from one of our addresses. Raises OSError."""
    client = socket.socket()
    try:
        client.setblocking(False)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.bind((f"127.0.{1 + address // 250}.{1 + address % 250}", 0))
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=client, limit=1024)
    except OSError:
        client.close()
        raise


async def again_and_again(
    port: int,
    address: int,
    until: float,
    outcomes: Outcomes,
    use: Callable[[Connection], Awaitable[None]],
    receive_buffer: int | None = None,
) -> None:
    """Open a connection and use it until the time is up; another one when it is closed."""
    while time.monotonic() < until:
        try:
            connection = await open_from(port, address, receive_buffer)
            outcomes["opened"] += 1
        except OSError:
            outcomes["not opened"] += 1
        else:
            try:
                await use(connection)
                outcomes["held to the end"] += 1
            except (OSError, EOFError):
                outcomes["closed by the server"] += 1
            finally:
                connection[1].transport.abort()
        await asyncio.sleep(min(REOPEN_SECONDS, max(0.0, until - time.monotonic())))


async def expect_nothing(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait; raises EOFError as soon as the server closes the connection."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            while await reader.read(1024):
                pass
            raise EOFError


async def send_slowly(port: int, until: float, outcomes: Outcomes) -> None:
    head = (
        f"POST /in/{OPEN_SOURCE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )

    async def use(connection: Connection) -> None:
        reader, writer = connection
        writer.write(head.encode())
        while time.monotonic() < until:
            writer.write(b"a")
            await writer.drain()
            await expect_nothing(reader, min(BYTE_INTERVAL_SECONDS, until - time.monotonic()))

    async with asyncio.TaskGroup() as group:
        for number in range(SLOW_SENDERS):
            group.create_task(again_and_again(port, number % ADDRESSES, until, outcomes, use))


async def read_slowly(port: int, until: float, outcomes: Outcomes) -> None:
    request = b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    async def use(connection: Connection) -> None:
        _, writer = connection
        # Nothing may be read, so the reader's transport is paused before anything can come.
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(PIPELINED_REQUESTS):
            writer.write(request)
        while time.monotonic() < until:
            # Whoever does not read sees only by writing that the connection is gone.
            writer.write(b"GET")
            await asyncio.sleep(min(5.0, max(0.0, until - time.monotonic())))
            if writer.transport.is_closing():
                raise EOFError

    async with asyncio.TaskGroup() as group:
        for number in range(SLOW_READERS):
            address = number % ADDRESSES
            group.create_task(again_and_again(port, address, until, outcomes, use, 2048))


async def hold_connections(port: int, until: float, outcomes: Outcomes) -> None:
    async def use(connection: Connection) -> None:
        await expect_nothing(connection[0], until - time.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(HELD_CONNECTIONS):
            group.create_task(again_and_again(port, 0, until, outcomes, use))


def find_worst_bodies() -> list[tuple[str, bytes]]:
    """Content type and body of those that take the longest to read here, the worst first."""
    source = Source(name=OPEN_SOURCE, adapter="json")
    assert ADAPTERS[source.adapter].reads_any_payload
    timed: list[tuple[float, str, bytes]] = []
    for _, kind, body in (*hostile_bodies(), *family_bodies()):
        request = InboundRequest(
            method="POST", query="", headers=[("content-type", kind)], body=body
        )
        split_words.cache_clear()
        forget_plans()
        began = time.thread_time()
        process_request(source, request, NOW)
        timed.append((time.thread_time() - began, kind, body))
    timed.sort(reverse=True)
    return [(kind, body) for _, kind, body in timed[:DIFFERENT_BODIES]]


def build_posts(bodies: list[tuple[str, bytes]]) -> Iterator[bytes]:
    for kind, body in bodies:
        yield (
            f"POST /in/{OPEN_SOURCE} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


async def post_worst_bodies(
    port: int, until: float, outcomes: Outcomes, posts: list[bytes]
) -> None:
    async def post(number: int) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                reader, writer = await open_from(port, number % ADDRESSES)
                with contextlib.closing(writer):
                    writer.write(posts[number % len(posts)])
                    outcomes[f"status {await read_response(reader)}"] += 1
        except TimeoutError:
            outcomes["no answer in time"] += 1
        except (OSError, EOFError):
            outcomes["closed by the server"] += 1

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int((until - began) * BODIES_PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / BODIES_PER_SECOND - time.monotonic()))
            group.create_task(post(number))


def main() -> None:
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    posts = list(build_posts(find_worst_bodies())) if kind == "worst-bodies" else []
    print("ready", flush=True)
    until, outcomes = time.monotonic() + seconds, Outcomes()
    attacks: dict[str, Callable[[], Coroutine[None, None, None]]] = {
        "slow-senders": lambda: send_slowly(port, until, outcomes),
        "slow-readers": lambda: read_slowly(port, until, outcomes),
        "one-address": lambda: hold_connections(port, until, outcomes),
        "worst-bodies": lambda: post_worst_bodies(port, until, outcomes, posts),
    }
    asyncio.run(attacks[kind]())
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
