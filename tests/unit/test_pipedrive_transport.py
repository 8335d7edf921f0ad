"""The client over real sockets: servers that drip, stall, break off and talk without end."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from tests.certificates import write_certificate
from worker.errors import Invalid, NotSent, OutcomeUnknown, PipedriveError, Unavailable
from worker.pipedrive.auth import ApiToken
from worker.pipedrive.client import Pipedrive, Unlimited, build_http
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.transport import MAX_RESPONSE_BYTES, exchange

# Seconds a call may take here.
LIMIT = 1.0
# Seconds more that a busy machine may take to notice.
SLACK = 15.0
BODY = b'{"success":true,"data":{"id":"5"}}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Server:
    """A loopback server; `play(connection, number)` serves each connection until it returns."""

    def __init__(
        self, play: Callable[[Server, socket.socket, int], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.over = Event()
        self.requests: list[bytes] = []
        self._play, self._tls = play, tls
        self._connections: list[socket.socket] = []
        self._threads = [Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        number = 0
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                number += 1
                thread = Thread(target=self._one, args=(connection, number))
                self._threads.append(thread)
                thread.start()

    def _one(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._play(self, connection, number)

    def hear(self, connection: socket.socket) -> bytes:
        """Reads one request, with the body its length announces."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def drip(self, connection: socket.socket, data: bytes) -> None:
        """One byte at a time, each soon enough for any time-out between two bytes, none of them in
        time together.
        """
        for byte in data:
            connection.sendall(bytes([byte]))
            if self.over.wait(0.05):
                return

    def close(self) -> None:
        self.over.set()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        self._listener.close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and stops them at the end."""
    servers: list[Server] = []

    def start(
        play: Callable[[Server, socket.socket, int], None], tls: ssl.SSLContext | None = None
    ) -> Server:
        servers.append(Server(play, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    return write_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    with build_http() as client:
        yield client


def client_of(http: httpx.Client, url: str, timeout: float = LIMIT) -> Pipedrive:
    return Pipedrive(http, url, ApiToken("secret-token"), Unlimited(), timeout=timeout)


def fails(
    client: Pipedrive, expected: type[PipedriveError], *, create: bool = True
) -> PipedriveError:
    """Returns the error of a call, which must come in time."""
    begun = time.monotonic()
    with pytest.raises(PipedriveError) as caught:
        client.leads.add(title="T", person_id=1) if create else client.users.me()
    assert time.monotonic() - begun < LIMIT + SLACK
    assert type(caught.value) is expected, caught.value
    return caught.value


def drip_headers(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    server.drip(connection, OK)


def drip_body(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(OK[: -len(BODY)])
    server.drip(connection, BODY)


def say_nothing(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    server.over.wait(20)


def never_ready(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    while not server.over.is_set():
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        server.over.wait(0.01)


def break_off(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(OK[:-5])


def hang_up(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)


def reset(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def talk_rubbish(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def large(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
    while not server.over.is_set():
        connection.sendall(b" " * 65536)


def endless_headers(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.over.is_set():
        connection.sendall(b"x-a: " + b"a" * 4000 + b"\r\n")


def bomb(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    packed = gzip.compress(b" " * (5 * MAX_RESPONSE_BYTES))
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s"
        % (len(packed), packed)
    )


def strange_coding(server: Server, connection: socket.socket, _: int) -> None:
    server.hear(connection)
    connection.sendall(OK.replace(b"content-type: application/json", b"content-encoding: br"))


@pytest.mark.parametrize(
    "play",
    [
        drip_headers, drip_body, say_nothing, never_ready, break_off, hang_up, reset, talk_rubbish,
        large, endless_headers, bomb,
        strange_coding,
    ],
)  # fmt: skip
def test_no_usable_answer(
    play: Callable[[Server, socket.socket, int], None], serve: Serve, http: httpx.Client
) -> None:
    """However a server fails to respond, the call ends in time, with the right error."""
    server = serve(play)
    fails(client_of(http, server.url), OutcomeUnknown)
    fails(client_of(http, server.url), Unavailable, create=False)


@pytest.mark.parametrize("play", [large, bomb])
def test_large_answers(
    play: Callable[[Server, socket.socket, int], None], serve: Serve, http: httpx.Client
) -> None:
    """A response, compressed or not, is cut at its limit long before the deadline."""
    with pytest.raises(Unavailable, match=f"larger than {MAX_RESPONSE_BYTES} bytes"):
        client_of(http, serve(play).url, 20.0).users.me()


def test_drip_over_tls(serve: Serve, certificate: Path) -> None:
    """The time limit holds through TLS."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    server = serve(drip_body, ours)
    with build_http(ssl.create_default_context(cafile=str(certificate))) as http:
        fails(client_of(http, server.url), OutcomeUnknown)


def test_tls(serve: Serve, certificate: Path) -> None:
    """With a trusted certificate, TLS works and the connection is reused."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)

    def answer(server: Server, connection: socket.socket, _: int) -> None:
        while server.hear(connection):
            connection.sendall(OK)

    server = serve(answer, ours)
    with build_http(ssl.create_default_context(cafile=str(certificate))) as http:
        client = client_of(http, server.url, 20.0)
        assert [client.leads.get("5").id, client.leads.add(title="T").id] == ["5", "5"]


def test_untrusted_certificate(serve: Serve, certificate: Path, http: httpx.Client) -> None:
    """With an untrusted certificate, the request was certainly not sent."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    server = serve(hang_up, ours)
    assert "certificate" in str(fails(client_of(http, server.url), NotSent)).lower()
    assert server.requests == []


def test_silent_handshake(serve: Serve, http: httpx.Client) -> None:
    """If the handshake never ends, the request was certainly not sent, and fails in time."""
    server = serve(lambda server, _, __: server.over.wait(20) and None)
    fails(client_of(http, server.url.replace("http:", "https:")), NotSent)


def test_refused_connection(http: httpx.Client) -> None:
    """If nobody listens, the request was certainly not sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    fails(client_of(http, f"http://127.0.0.1:{port}"), NotSent)


def test_unknown_host(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the name does not resolve, the request was certainly not sent."""

    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    fails(client_of(http, "http://nowhere.invalid"), NotSent)


def test_slow_look_up(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs cannot hold a call beyond its deadline."""
    over = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    fails(client_of(http, "http://slow.invalid"), NotSent)
    over.set()


def test_second_address(serve: Serve, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a name has several addresses, one that refuses is skipped."""

    def answer(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(OK)

    server = serve(answer)
    real = socket.getaddrinfo

    def two(host: str, port: int, *args: Any, **more: Any) -> Any:
        if host != "two.invalid":
            return real(host, port, *args, **more)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    assert client_of(http, f"http://two.invalid:{server.port}", 20.0).leads.get("5").id == "5"


def test_refusal_with_endless_reasons(serve: Serve, http: httpx.Client) -> None:
    """The status is enough for a refusal; its body need not arrive."""

    def play(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5000\r\n\r\n")
        server.drip(connection, b" " * 5000)

    fails(client_of(http, serve(play).url), Invalid)


def test_reader_that_stops(serve: Serve, http: httpx.Client) -> None:
    """A server that stops reading cannot hold a call beyond its deadline."""
    server = serve(lambda server, _, __: server.over.wait(20) and None)
    client = client_of(http, server.url)
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        client.notes.add(content="x" * 20_000_000)
    assert time.monotonic() - begun < LIMIT + SLACK


def test_idle_connection_closed(serve: Serve, http: httpx.Client) -> None:
    """A pooled connection that the server has closed is not used for the next request."""
    closed = Event()

    def play(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(OK)
        connection.close()
        closed.set()

    client = client_of(http, serve(play).url, 20.0)
    assert client.leads.get("5").id == "5"
    assert closed.wait(10)
    assert client.leads.add(title="T").id == "5"


def test_reused_connection_reset(serve: Serve, http: httpx.Client) -> None:
    """If a pooled connection breaks after the request was sent, the outcome is unknown."""

    def play(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(OK)
        server.hear(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = serve(play)
    assert client_of(http, server.url, 20.0).leads.get("5").id == "5"
    fails(client_of(http, server.url), OutcomeUnknown)
    assert len(server.requests) == 2


class DeadSocket:
    """A socket whose peer is known to be gone."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def send(self, _: bytes) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def recv(self, _: int) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_provably_unsent(serve: Serve, http: httpx.Client) -> None:
    """If the kernel took no byte of the request, a create was certainly not sent."""

    def play(server: Server, connection: socket.socket, _: int) -> None:
        while server.hear(connection):
            connection.sendall(OK)

    server = serve(play)
    client = client_of(http, server.url, 20.0)
    assert client.leads.get("5").id == "5"
    pool = http._transport._pool  # type: ignore[attr-defined]
    (pooled,) = [each for each in pool.connections if f":{server.port}" in repr(each)]
    inner = pooled._connection._network_stream._inner
    inner._sock = DeadSocket(inner._sock)
    fails(client_of(http, server.url), NotSent)
    assert len(server.requests) == 1


def test_bytes_are_counted(serve: Serve, http: httpx.Client) -> None:
    """The number of bytes that the kernel took is known after a request."""

    def play(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(OK)

    server = serve(play)
    deadline = Deadline(20.0)
    assert deadline.sent_bytes is None
    assert (
        exchange(http, httpx.Request("POST", server.url, content=b"x" * 1000), deadline).status
        == 200
    )
    assert deadline.sent_bytes == len(server.requests[0])


@pytest.mark.parametrize("coding", [b"gzip", b"x-gzip", b"identity"])
def test_compressed_responses(coding: bytes, serve: Serve, http: httpx.Client) -> None:
    """Compressed responses are decompressed, chunked or not."""
    body = gzip.compress(BODY) if b"gzip" in coding else BODY

    def play(server: Server, connection: socket.socket, _: int) -> None:
        server.hear(connection)
        connection.sendall(
            b"HTTP/1.1 201 Created\r\ncontent-encoding: "
            + coding
            + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for byte in body:
            connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    assert client_of(http, serve(play).url, 20.0).leads.add(title="T").id == "5"


def test_nothing_is_carried_over(
    serve: Serve, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """No cookies or credentials of the environment are sent, and no search term is logged."""

    def play(server: Server, connection: socket.socket, _: int) -> None:
        while server.hear(connection):
            body = b'{"success":true,"data":{"items":[]}}'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nset-cookie: __cf_bm=abc; Path=/\r\ncontent-length:"
                b" %d\r\n\r\n%s" % (len(body), body)
            )

    server = serve(play)
    client = client_of(http, server.url, 20.0)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            client.persons.search(term="ann.lee@acme.example", fields="email", exact_match=True)
    assert len(server.requests) == 2
    assert all(b"cookie" not in request.lower() for request in server.requests)
    assert list(http.cookies.jar) == []
    assert "ann.lee" not in caplog.text


def test_deadline_is_a_time_out() -> None:
    """A deadline can be used as a timeout anywhere, and gives the remaining seconds."""
    now = [100.0]
    deadline = Deadline(20.0, lambda: now[0])
    assert (float(deadline), deadline.remaining()) == (20.0, 20.0)
    now[0] = 125.0
    assert deadline.remaining() == -5.0
