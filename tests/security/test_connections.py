"""What a stranger's connections may hold: places, time, memory; and how requests are framed."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as redis_py

from service.local.redis import EmbeddedRedis
from tests.polling import eventually
from tests.serve_process import (
    BODY,
    CLOSE,
    HOST,
    ServeProcess,
    get,
    post,
    read_to_end,
    statuses,
)
from worker.contract import State
from worker.store import keys

SOURCES = """
[sources.contact]
rate_limit = "off"
"""
PER_ADDRESS = 32
CUT_SECONDS = 10
PROXY = "127.0.0.99"


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    """Two processes, one of whose clients is a trusted proxy."""
    running = ServeProcess(
        tmp_path_factory.mktemp("connections"),
        redis_server.url,
        SOURCES,
        LEADLINE_SERVICE_PROCESSES="2",
        LEADLINE_TRUSTED_PROXIES=PROXY,
    )
    yield running
    running.stop()


def is_open(connection: socket.socket) -> bool:
    """Whether the server has neither closed nor answered."""
    readable, _, _ = select.select([connection], [], [], 0)
    return not readable


def count_open(connections: list[socket.socket]) -> int:
    return sum(map(is_open, connections))


def test_one_address_has_only_so_many_connections(server: ServeProcess) -> None:
    """Of 100 connections from one address 32 stay, over all processes; others are served."""
    with ExitStack() as stack:
        greedy = [stack.enter_context(server.connect("127.0.1.1")) for _ in range(100)]
        assert eventually(lambda: count_open(greedy) == PER_ADDRESS)
        refused = next(connection for connection in greedy if not is_open(connection))
        assert statuses(read_to_end(refused)) == [429]
        assert server.get(b"/healthz", source="127.0.1.2") == [200]
        for connection in greedy[: PER_ADDRESS // 2]:
            connection.close()
        assert eventually(lambda: server.get(b"/healthz", source="127.0.1.1") == [200])


def test_a_trusted_proxy_may_have_any_number(server: ServeProcess) -> None:
    """The visitors behind a proxy that the settings name share its address."""
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect(PROXY)) for _ in range(100)]
        for connection in connections:
            connection.sendall(get(b"/healthz"))
        assert [statuses(read_to_end(each)) for each in connections] == [[200]] * 100


def test_places_come_back_when_a_process_dies(redis_url: str, tmp_path: Path) -> None:
    """A killed process is replaced, and what it had counted is forgotten."""
    running = ServeProcess(tmp_path, redis_url, SOURCES, LEADLINE_CONNECTIONS_PER_ADDRESS="4")
    try:
        with ExitStack() as stack:
            taken = [stack.enter_context(running.connect("127.0.1.3")) for _ in range(4)]
            assert eventually(lambda: running.get(b"/healthz", source="127.0.1.3") == [429])
            killed = _children(running.process.pid)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            assert eventually(lambda: count_open(taken) == 0)
            assert eventually(lambda: running.get(b"/healthz", source="127.0.1.3") == [200])
    finally:
        running.stop()


def test_an_answer_that_nobody_reads_is_cut_off(server: ServeProcess) -> None:
    """Ten seconds after the last byte was taken, the connection is reset, and its place is free."""
    with server.connect("127.0.1.4", SO_RCVBUF=4096) as deaf:
        request = get(b"/docs/openapi.json").replace(CLOSE, b"")
        began = time.monotonic()
        deaf.settimeout(0.2)
        sent = 0
        while time.monotonic() - began < 3 * CUT_SECONDS + 30:  # until the server has cut
            try:
                sent += deaf.send(request)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail(f"after {sent} bytes of requests the connection is still open")
        assert time.monotonic() - began > CUT_SECONDS - 1


def test_a_slow_reader_is_left_alone(server: ServeProcess) -> None:
    """Whoever takes an answer slowly, but takes it, gets all of it."""
    whole = server.talk(get(b"/docs/openapi.json"))
    with server.connect("127.0.1.5", SO_RCVBUF=4096) as slow:
        slow.sendall(get(b"/docs/openapi.json"))
        taken = b""
        while part := slow.recv(2048):
            taken += part
    assert len(taken) == len(whole)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a", id="half a head"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(post().replace(CLOSE, b"") + b"GET /hea", id="half of a second head"),
    ],
)
def test_who_sends_no_whole_head_is_cut_off(server: ServeProcess, start: bytes) -> None:
    """A head that drips in does not hold its place for more than ten seconds."""
    with server.connect("127.0.1.6") as slow:
        slow.sendall(start)
        began = time.monotonic()
        slow.settimeout(0.5)
        closed = False
        while not closed and time.monotonic() - began < 3 * CUT_SECONDS:
            try:
                closed = slow.recv(65_536) == b""
            except TimeoutError:
                if start:
                    slow.sendall(b"a")
            except ConnectionError:
                closed = True
        assert closed
        assert time.monotonic() - began < 2 * CUT_SECONDS


def test_a_body_that_nobody_wants_is_not_waited_for(server: ServeProcess) -> None:
    """After the answer to half a body, the connection closes; the answer arrives whole."""
    head = b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n"
    with server.connect("127.0.1.7") as sender:
        sender.sendall(head + b"a" * 1000)
        began = time.monotonic()
        assert statuses(read_to_end(sender)) == [404]
        assert time.monotonic() - began < CUT_SECONDS


def test_many_requests_in_a_row_are_bounded(server: ServeProcess) -> None:
    """Of 1,000 requests sent at once on one connection only the first few are answered."""
    request = get(b"/healthz").replace(CLOSE, b"")
    answers = statuses(server.talk(request * 1000, "127.0.1.8"))
    assert answers[:-1] == [200] * (len(answers) - 1)
    assert answers[-1] == 400
    assert len(answers) < 50


def framed(*lines: bytes, body: bytes = b"", target: bytes = b"POST /in/contact") -> bytes:
    """A request of just these lines, and behind it one that must not be read on its own."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    return b"\r\n".join([target + b" HTTP/1.1", *lines, b"", b""]) + body + smuggled


H = b"Host: a"
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"1d\r\n" + BODY + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(framed(), 400, id="no host"),
        pytest.param(framed(H, b"Host: b"), 400, id="two hosts"),
        pytest.param(framed(H, H), 400, id="one host twice"),
        pytest.param(framed(b"Host: a b"), 400, id="a host with a blank"),
        pytest.param(framed(b"Host: a/../b"), 400, id="a host with a path"),
        pytest.param(framed(b"Host: user@a"), 400, id="a host with a user"),
        pytest.param(framed(b"Host:"), 400, id="an empty host"),
        pytest.param(
            framed(H, CHUNKED, b"Content-Length: 5", body=CHUNKS), 400, id="length and chunks"
        ),
        pytest.param(
            framed(H, b"Content-Length: 5", CHUNKED, body=CHUNKS), 400, id="chunks and length"
        ),
        pytest.param(
            framed(H, b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 400, id="gzip, chunked"
        ),
        pytest.param(
            framed(H, b"Transfer-Encoding: chunked, identity", body=CHUNKS), 400, id="identity last"
        ),
        pytest.param(framed(H, b"Transfer-Encoding: identity"), 400, id="identity"),
        pytest.param(framed(H, b"Transfer-Encoding: xchunked"), 400, id="an unknown coding"),
        pytest.param(
            framed(H, b"Transfer-Encoding: \x0bchunked", body=CHUNKS), 400, id="a control character"
        ),
        pytest.param(framed(H, CHUNKED, CHUNKED, body=CHUNKS), 400, id="chunked twice"),
        pytest.param(
            framed(H, b"Content-Length: 4", b"Content-Length: 5", body=b"abcde"),
            400,
            id="two lengths",
        ),
        pytest.param(framed(H, b"Content-Length: 4, 4", body=b"abcd"), 400, id="a list of lengths"),
        pytest.param(framed(H, b"Content-Length: +4", body=b"abcd"), 400, id="a signed length"),
        pytest.param(framed(H, b"Content-Length : 4", body=b"abcd"), 400, id="blank before colon"),
        pytest.param(framed(H, b"X-Folded: a\r\n b"), 400, id="a folded header"),
        pytest.param(framed(H, b"X-Bare: a\rb"), 400, id="a bare CR"),
        pytest.param(framed(H, b"X-Null: a\0b"), 400, id="a null"),
        pytest.param(
            b"POST /in/contact HTTP/1.1\nHost: a\nContent-Length: 0\n\n", 400, id="bare LF"
        ),
        pytest.param(framed(H, CHUNKED, body=b"1 \r\na\r\n0\r\n\r\n"), 400, id="blank in a size"),
        pytest.param(framed(H, CHUNKED, body=b"0x1\r\na\r\n0\r\n\r\n"), 400, id="hex with prefix"),
        pytest.param(framed(H, CHUNKED, body=b"1\na\n0\n\n"), 400, id="bare LF in chunks"),
        pytest.param(framed(H, target=b"CONNECT a:443"), 400, id="an authority"),
        pytest.param(framed(H, target=b"OPTIONS *"), 400, id="an asterisk"),
        pytest.param(
            framed(H, target=b"GET http://b/healthz"), 400, id="another host in the target"
        ),
        pytest.param(framed(H, target=b"GET healthz"), 400, id="no slash"),
        pytest.param(framed(H, *[b"X: y"] * 300), 431, id="many headers"),
        pytest.param(framed(H, b"X-Long: " + b"a" * 70_000), 431, id="a head of 70 KB"),
        pytest.param(framed(H, *[b"X-%d: " % n + b"a" * 700 for n in range(99)]), 431, id="summed"),
        pytest.param(framed(H, target=b"GET /" + b"a" * 70_000), 431, id="a long target"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(
    server: ServeProcess, redis: redis_py.Redis, data: bytes, status: int
) -> None:
    """One refusal, the connection closes, and nothing behind it is read; nothing is stored."""
    assert statuses(server.talk(data, "127.0.1.9")) == [status]
    assert sum(redis.zcard(keys.state(state)) for state in State) == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(framed(H, CLOSE.strip(), CHUNKED, body=CHUNKS), id="chunks"),
        pytest.param(
            framed(H, CLOSE.strip(), b"Transfer-Encoding: Chunked", body=CHUNKS), id="case"
        ),
        pytest.param(
            framed(H, CLOSE.strip(), CHUNKED, body=CHUNKS[:-2] + b"Host: b\r\n\r\n"), id="a trailer"
        ),
        pytest.param(
            framed(b"Host: [::1]:8000", CLOSE.strip(), CHUNKED, body=CHUNKS), id="an IPv6 host"
        ),
        pytest.param(
            framed(H, CLOSE.strip(), CHUNKED, body=CHUNKS, target=b"POST http://a/in/contact"),
            id="the same host in the target",
        ),
    ],
)
def test_what_is_unusual_but_clear_is_accepted(server: ServeProcess, data: bytes) -> None:
    """Whatever HTTP allows in one reading is taken."""
    assert statuses(server.talk(data, "127.0.1.10")) == [202]


def test_another_protocol_is_not_spoken(server: ServeProcess) -> None:
    """Who proposes one is answered in HTTP/1.1, once; with a body behind the proposal, refused."""
    proposal = [H, b"Connection: Upgrade", b"Upgrade: h2c"]
    data = framed(*proposal, target=b"GET /healthz")
    assert statuses(server.talk(data, "127.0.1.12")) == [200]
    data = framed(*proposal, CHUNKED, body=CHUNKS)
    assert statuses(server.talk(data, "127.0.1.12")) == [400]


def test_chunks_far_smaller_than_their_frames_are_refused(server: ServeProcess) -> None:
    """Extensions and trailers without end are not read to the body's deadline."""
    head = b"POST /in/contact HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n\r\n"
    began = time.monotonic()
    answer = server.talk(head + b"1;" + b"x" * 3_000_000, "127.0.1.11")
    assert statuses(answer) == [400]
    assert time.monotonic() - began < CUT_SECONDS


def _children(pid: int) -> list[int]:
    """The server processes that a parent started, not multiprocessing's own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
