"""The files of `deploy/proxy/` with the real programs, before a real `serve`.

The proxies run as the files say, but for names, ports, places, and who is inside: 127.0.0.1 alone
is, and the rest of the loopback network is the outside.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from service.local.redis import EmbeddedRedis
from tests.certificates import write_certificate
from tests.polling import eventually
from tests.redis.test_connection import free_port
from tests.security.stand_in import PATIENCE, StandIn, reply
from tests.serve_process import ServeProcess
from tests.tools.proxies import find_proxy

FOLDER = Path(__file__).parents[2] / "deploy" / "proxy"
SITE = "leads.example.com"
INSIDE, STRANGER, VISITOR = "127.0.0.1", "127.0.0.66", "127.0.0.5"
OPS_TOKEN = "an-operator-token-of-the-test"
SOURCES = """
[sources.contact]
rate_limit = "off"
max_body = "2MB"
[sources.limited]
rate_limit = "2/h"
"""
# A slow client is cut after 10 s, by the proxy or, in its body, by Leadline.
CUT_WITHIN_SECONDS = 50.0
SLOW_CLIENTS = 1000
# In the second one, IPv4 addresses are the end of those of IPv6.
KERNEL_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Proxy:
    """A running proxy before `upstream`, a port; its certificate is for `SITE`."""

    def __init__(self, name: str, folder: Path, upstream: int) -> None:
        self.name = name
        self._folder, self._upstream = folder, upstream
        self._certificate = write_certificate(folder, SITE)
        self._tls = ssl.create_default_context(cafile=str(self._certificate))
        self._log = folder / "log"
        # A port that was free a moment ago may be a client's by now.
        assert any(self._start() for _ in range(5)), self._log.read_text()

    def _start(self) -> bool:
        self.port, plain = free_port(), free_port()
        prepare = {"nginx": _prepare_nginx, "caddy": _prepare_caddy}[self.name]
        command, env = prepare(self._folder, self._certificate, self._upstream, self.port, plain)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | env, cwd=self._folder, stdout=log, stderr=log
            )
        return eventually(lambda: self._process.poll() is not None or self._listens()) and (
            self._process.poll() is None
        )

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), self.open(INSIDE):
            return True
        return False

    def open(self, source: str, buffer: int | None = None) -> socket.socket:
        """A TCP connection from the address `source`, on which nothing was sent yet.

        `buffer`: bytes that the kernel takes for us before we read them.
        """
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            connection.bind((source, 0))
            connection.connect((INSIDE, self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def connect(
        self, source: str = STRANGER, name: str = SITE, buffer: int | None = None
    ) -> ssl.SSLSocket:
        return self._tls.wrap_socket(self.open(source, buffer), server_hostname=name)

    def talk(self, data: bytes, source: str = STRANGER) -> bytes:
        """Send, and read until the proxy closes the connection."""
        answer = b""
        with contextlib.suppress(OSError), self.connect(source) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
            while part := connection.recv(65_536):
                answer += part
        return answer

    def status(self, data: bytes, source: str = STRANGER) -> int:
        """The status of the answer; 0 where there is none."""
        answer = self.talk(data, source)
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    def count_connections(self, source: str) -> int:
        """Connections from this address that the proxy has not closed, as the kernel lists them."""
        rows = [
            line.split()[1:4]
            for table in KERNEL_TABLES
            for line in (table.read_text().splitlines()[1:] if table.exists() else [])
        ]
        return sum(
            here.endswith(f"{_hex(INSIDE)}:{self.port:04X}")
            and there.partition(":")[0].endswith(_hex(source))
            and state == "01"  # established
            for here, there, state in rows
        )

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _hex(address: str) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}"


def replace(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


Command = tuple[list[str], dict[str, str]]


def _prepare_nginx(
    folder: Path, certificate: Path, upstream: int, port: int, plain: int
) -> Command:
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = "\n".join(
        line
        for line in (FOLDER / "nginx.conf").read_text().splitlines()
        if "listen [::]" not in line
    )
    text = replace(
        text,
        ("user www-data;", "user root;" if os.geteuid() == 0 else ""),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;"),
        ("/var/log/nginx/leadline.log", f"{folder}/access.log"),
        ("/etc/ssl/leadline/fullchain.pem", str(certificate)),
        ("/etc/ssl/leadline/privkey.pem", str(certificate)),
        ("http {", "http {\n" + places),
        ("listen 80", f"listen {INSIDE}:{plain}"),
        ("listen 443", f"listen {INSIDE}:{port}"),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};"),
        ("allow 127.0.0.0/8;", f"allow {INSIDE};"),
    )
    (folder / "nginx.conf").write_text(text)
    command = [
        str(find_proxy("nginx")), "-p", str(folder), "-e", "stderr", "-c",
        str(folder / "nginx.conf"), "-g", "daemon off;",
    ]  # fmt: skip
    return command, {}


def _prepare_caddy(
    folder: Path, certificate: Path, upstream: int, port: int, plain: int
) -> Command:
    # The one limit that a test cannot wait for.
    text = replace((FOLDER / "Caddyfile").read_text(), ("write 60s", "write 10s"))
    (folder / "Caddyfile").write_text(text)
    command = [
        str(find_proxy("caddy")), "run", "--adapter", "caddyfile", "--config",
        str(folder / "Caddyfile"),
    ]  # fmt: skip
    return command, {
        "LEADLINE_SITE": SITE,
        "LEADLINE_UPSTREAM": f"127.0.0.1:{upstream}",
        "LEADLINE_INSIDE": f"{INSIDE}/32",
        "LEADLINE_TLS": f"tls {certificate} {certificate}",
        "LEADLINE_HTTP_PORT": str(plain),
        "LEADLINE_HTTPS_PORT": str(port),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "HOME": str(folder),
    }


Start = Callable[[str, int], Proxy]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a proxy by its name before a port. Where the program is missing: skipped."""
    proxies: list[Proxy] = []

    def run(name: str, upstream: int) -> Proxy:
        if find_proxy(name) is None:
            pytest.skip(f"{name} is neither on the PATH nor in .proxies/: run `make proxies`")
        proxies.append(Proxy(name, tmp_path_factory.mktemp(name), upstream))
        return proxies[-1]

    yield run
    for proxy in proxies:
        proxy.stop()


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    running = ServeProcess(
        tmp_path_factory.mktemp("behind"),
        redis_server.url,
        SOURCES,
        LEADLINE_TRUSTED_PROXIES="127.0.0.1",
        LEADLINE_OPS_TOKENS=f"ann:operator:{OPS_TOKEN}",
        LEADLINE_PUBLIC_URL=f"https://{SITE}",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, start: Start, server: ServeProcess) -> Proxy:
    return start(request.param, server.port)


def get(path: str, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"GET {path} HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n{lines}\r\n".encode()


def post(number: int, *headers: str, source: str = "contact", host: str = SITE) -> bytes:
    body = f"email=ada{number}@acme.example"
    lines = "".join(f"{line}\r\n" for line in headers)
    return (
        f"POST /in/{source} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_each_sender_counts_by_the_real_address(proxy: Proxy) -> None:
    """A post arrives, and the rate limit counts the sender, whatever address the sender claims."""
    stranger, visitor = (
        ("127.1.0.1", "127.1.0.2") if proxy.name == "nginx" else ("127.2.0.1", "127.2.0.2")
    )

    def send(number: int, source: str) -> int:
        forged = f"X-Forwarded-For: 203.0.113.{number}"
        real_ip = f"X-Real-IP: 203.0.113.{number}"
        forwarded = f"Forwarded: for=203.0.113.{number}"
        return proxy.status(
            post(number, forged, real_ip, forwarded, source="limited"), source=source
        )

    assert [send(number, stranger) for number in range(4)] == [202, 202, 429, 429]
    assert send(5, visitor) == 202


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_nothing_forged_reaches_leadline(name: str, start: Start) -> None:
    """Headers that say who somebody is are the proxy's or nobody's."""
    upstream = StandIn(reply("204 No Content"))
    try:
        forged = [
            f"{header}: forged"
            for header in (
                "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP",
                "Forwarded", "X-Forwarded-User", "X-Forwarded-Groups", "X-Forwarded-Email",
                "X-Auth-Request-User", "X-Auth-Request-Groups", "X-Auth-Request-Email",
                "Remote-User", "Remote-Groups", "Remote-Email", "remote-user",
            )
        ]  # fmt: skip
        assert start(name, upstream.port).status(get("/in/contact", *forged)) == 204
        [request] = upstream.requests
    finally:
        upstream.close()
    lines = request.decode().lower().splitlines()
    assert "forged" not in request.decode()
    assert lines[0] == "get /in/contact http/1.1"
    assert f"x-forwarded-for: {STRANGER}" in lines
    assert "x-forwarded-proto: https" in lines
    assert f"host: {SITE}" in lines


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_the_path_that_was_judged_is_the_one_that_is_passed_on(name: str, start: Start) -> None:
    """Leadline never sees a path that it could read otherwise than the proxy did."""
    upstream = StandIn(reply("204 No Content"))
    try:
        before = start(name, upstream.port)
        odd = ["/ops/../in/contact", "//in//contact", "/in/%2e/contact", "/ops/%2e%2e/in/contact",
               "/%69n/contact", "/in/./contact", "/metrics/..%2fin/contact", "/in/contact"]  # fmt: skip
        assert {before.status(get(path)) for path in odd} <= {204, 404}
        lines = [request.split(b"\r\n")[0].decode() for request in upstream.requests]
    finally:
        upstream.close()
    assert "GET /in/contact HTTP/1.1" in lines
    assert {unquote(line) for line in lines} == {"GET /in/contact HTTP/1.1"}


INSIDE_PATHS = [
    "/metrics", "//metrics", "///metrics", "/./metrics", "/metrics/", "/metrics?x=/in/contact",
    "/%6detrics", "/%2fmetrics", "/METRICS", "/metrics;x", "/metrics%00", "/metrics%20",
    "/in/../metrics", "/in/%2e%2e/metrics", "/in/..%2fmetrics", "/in/%2E%2E%2Fmetrics",
    "/in/contact/../../metrics", "/in//../metrics", "/form-x/../metrics", "/docs/../metrics",
    "/docs/..%2f..%2fmetrics", "/in/%252e%252e/metrics", "/in/..;/metrics", "/in/..\\metrics",
    "/readyz", "//readyz", "/ops", "/ops/", "//ops", "/%2fops", "/%6fps", "/ops/sign-in", "/OPS",
    "/in/../ops", "/in/..%2fops", "/in/x/..;/../../ops", "/healthz/../ops", "/ops#/in/contact",
    "/ops/../in/../ops", "/ops/api/overview", "//ops/api/overview", "/ops/api/../api/overview",
    "/submissions/../ops/api/overview", "/in/./../ops/api/overview", "/", "/schema",
    f"https://{SITE}/metrics", f"https://{SITE}//ops", "/.", "/..", "/../ops", "*",
]  # fmt: skip


@pytest.mark.parametrize("path", INSIDE_PATHS)
def test_the_inside_is_not_there_for_strangers(proxy: Proxy, path: str) -> None:
    """However its path is written, what is for operators does not exist outside."""
    answer = proxy.talk(
        get(path, f"Authorization: Bearer {OPS_TOKEN}", f"X-Forwarded-For: {INSIDE}")
    )
    status = answer.split(b" ", 2)[1] if answer else b"none"
    assert status in (b"none", b"400", b"404"), answer[:200]
    for content in (b"leadline_", b"degraded", b"oldest_seconds", b"sign in", b"Sign in"):
        assert content not in answer


@pytest.mark.parametrize(
    ("path", "inside", "outside"),
    [
        ("/metrics", 200, 404),
        ("/readyz", 200, 404),
        ("/ops/api/overview", 200, 404),
        ("/ops", 401, 404),
        ("/healthz", 200, 200),
        ("/docs", 200, 200),
        ("/docs/style.css", 200, 200),
        ("/docs/openapi.json", 200, 200),
        ("/in/contact", 405, 405),
        ("/in/nobody", 404, 404),
    ],
)
def test_who_reaches_what(proxy: Proxy, path: str, inside: int, outside: int) -> None:
    """Operators reach everything, the world what it needs."""
    request = get(path, f"Authorization: Bearer {OPS_TOKEN}" if "api" in path else "X-None: 1")
    assert (proxy.status(request, INSIDE), proxy.status(request)) == (inside, outside)


def test_bodies_and_heads_are_bounded(proxy: Proxy) -> None:
    """Too much is refused by the proxy: a stated length at once, a head, a body in chunks."""
    head = f"POST /in/contact HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n"
    assert proxy.status(f"{head}Content-Length: 1500000\r\n\r\n".encode()) == 413
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    chunks = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 24 + b"0\r\n\r\n"
    assert proxy.status(chunks) in (413, 502), "Caddy cannot tell why its upstream got no body"
    assert proxy.status(get("/in/contact", "X-Long: " + "x" * 60_000)) in (400, 431)
    assert proxy.status(get("/in/contact", *(f"X-{n}: {'x' * 900}" for n in range(60)))) in (
        400,
        431,
    )
    assert proxy.status(get("/in/" + "x" * 60_000)) in (400, 414, 431)


def test_other_names_are_refused(proxy: Proxy) -> None:
    """A handshake for another name fails, and another name in Host is not served."""
    assert proxy.status(post(1, host="evil.example")) in (0, 421)
    with pytest.raises(ssl.SSLError):
        proxy.connect(name="evil.example")


def test_two_lengths_and_both_framings_are_refused(proxy: Proxy) -> None:
    """No request is passed on that two programs could read differently."""
    head = f"POST /in/contact HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n"
    smuggled = "GET /ops HTTP/1.1\r\nHost: x\r\n\r\n"
    for framing in (
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: x\r\n",
    ):
        assert proxy.status(f"{head}{framing}\r\n0\r\n\r\n{smuggled}".encode()) in (0, 400, 501)


def test_connections_of_one_address_are_bounded(start: Start, server: ServeProcess) -> None:
    """nginx takes 32 requests at a time of an address, and goes on serving the others."""
    proxy = start("nginx", server.port)
    unfinished = f"POST /in/contact HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 9\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(proxy.connect()) for _ in range(40)]
        for connection in connections:
            connection.sendall(unfinished)
        refused: set[ssl.SSLSocket] = set()

        def eight_are_refused() -> bool:
            waiting = [each for each in connections if each not in refused]
            for each in select.select(waiting, [], [], 0.1)[0]:
                assert b" 429 " in each.recv(64)
                refused.add(each)
            return len(refused) >= 8

        assert eventually(eight_are_refused, CUT_WITHIN_SECONDS)
        assert proxy.status(post(1)) == 429
        assert proxy.status(post(2), VISITOR) == 202
        assert len(refused) == 8


class SlowClients:
    """Connections that cost a server as much as they can, in four ways.

    Of twenty, six send nothing, seven a head byte by byte, six a body, and one asks for one large
    answer after the other and reads none.
    """

    def __init__(self, proxy: Proxy, count: int) -> None:
        self._proxy, self._count = proxy, count
        self._sockets: list[socket.socket] = []
        self._drips: list[ssl.SSLSocket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.opened = threading.Event()
        self._thread.start()

    def _run(self) -> None:
        for number in range(self._count):
            with contextlib.suppress(OSError):
                self._open(number % 20)
            if number % 50 == 0:
                self._go_on()
        self.opened.set()
        while not self._over.wait(0.5):
            self._go_on()
        for each in self._sockets:
            each.close()

    def _open(self, kind: int) -> None:
        if kind < 6:
            self._sockets.append(self._proxy.open(STRANGER))
            return
        connection = self._proxy.connect(STRANGER, buffer=4096)
        self._sockets.append(connection)
        head = f"POST /in/contact HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 900000\r\n"
        if kind < 19:
            connection.sendall((head + ("X-Slow: " if kind < 13 else "\r\n")).encode())
            connection.setblocking(False)
            self._drips.append(connection)
        else:
            connection.sendall(
                f"GET /docs/openapi.json HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode() * 100
            )

    def _go_on(self) -> None:
        for each in self._drips:
            with contextlib.suppress(OSError):
                each.send(b"x")

    def close(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE)


@pytest.mark.skipif(not KERNEL_TABLES[0].exists(), reason="the kernel lists no connections")
def test_slow_clients_are_cut_and_others_are_served(proxy: Proxy) -> None:
    """A thousand slow senders and readers of one address are gone in time; a visitor notices nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    assert eventually(lambda: proxy.count_connections(STRANGER) == 0)
    slow = SlowClients(proxy, SLOW_CLIENTS)
    statuses: list[int] = []
    peak = 0

    def serves_the_visitor(done: Callable[[], bool]) -> bool:
        nonlocal peak
        statuses.append(proxy.status(post(len(statuses)), VISITOR))
        peak = max(peak, proxy.count_connections(STRANGER))
        return done()

    try:
        assert eventually(lambda: serves_the_visitor(slow.opened.is_set))
        assert eventually(
            lambda: serves_the_visitor(lambda: proxy.count_connections(STRANGER) == 0),
            CUT_WITHIN_SECONDS,
        ), proxy.count_connections(STRANGER)
    finally:
        slow.close()
    assert peak > SLOW_CLIENTS / 4
    assert set(statuses) == {202}
