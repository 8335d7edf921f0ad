"""Where calls to configured URLs go, and how much of an answer they take."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.alerts.state import AlertMessage
from service.alerts.webhook import MAX_ANSWER_BYTES, AlertWebhook, WebhookError
from service.sources.schema import ConfigError
from service.sources.source_file.loader import load_sources
from tests.certificates import write_certificate
from tests.security.stand_in import PATIENCE, Play, StandIn, reply
from worker.causes import cause_of
from worker.delivery.fetch import MAX_RECORD_BYTES, Fetcher, RecordRequest
from worker.errors import FetchError, FetchFailed, FetchNotAllowed
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.guarded_http import AddressNotAllowed, build_guarded_http
from worker.pipedrive.transport import build_http, exchange
from worker.settings.public_url import find_url_fault, is_public_address
from worker.settings.table import Settings, SettingsError

TOKEN = "bearer-of-the-source"
HOST = "records.example"
PUBLIC = "93.184.216.34"
ALLOWED = {"LEADLINE_ALLOW_PRIVATE_URLS": "yes"}


class Detour(httpcore.SyncBackend):
    """Notes the address of each connection, and connects to the stand-in instead."""

    def __init__(self, stand_in: StandIn) -> None:
        self._port = stand_in.port
        self.addresses: list[str] = []

    def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> Any:
        self.addresses.append(f"{host}:{port}")
        return super().connect_tcp("127.0.0.1", self._port, *more, **named)


Start = Callable[..., StandIn]


@pytest.fixture
def start() -> Iterator[Start]:
    stand_ins: list[StandIn] = []

    def run(play: Play, tls: ssl.SSLContext | None = None) -> StandIn:
        stand_ins.append(StandIn(play, tls))
        return stand_ins[-1]

    yield run
    for each in stand_ins:
        each.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture(scope="module")
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context


def resolve_to(*answers: list[str]) -> Callable[[str, int], list[str]]:
    """A resolver that gives each of the answers in turn, and the last one for ever."""
    left = list(answers)
    return lambda _host, _port: left.pop(0) if len(left) > 1 else left[0]


def get(http: httpx.Client, url: str, seconds: float = PATIENCE) -> int:
    request = httpx.Request("GET", url, headers={"authorization": f"Bearer {TOKEN}"})
    return exchange(http, request, Deadline(seconds)).status


class Records:
    """Asks for one record at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def build_request(self, source: str, fetch: Any) -> RecordRequest:  # noqa: ARG002
        return RecordRequest(
            source=source, base_url=self._base_url, targets=["/7"], token=TOKEN, token_env="T"
        )

    def parse(self, source: str, fetch: Any, body: bytes) -> Any:  # noqa: ARG002
        return body


PRIVATE_ADDRESSES = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::5db8:d822", "100::1",
    "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "3fff::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "2606:4700::1%lo", "", "localhost", "93.184.216.34.5",
]  # fmt: skip
PUBLIC_ADDRESSES = [
    PUBLIC, "1.1.1.1", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
    "192.167.255.255", "192.169.0.1", "198.20.0.1", "223.255.255.255", "168.63.129.17",
    "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::5db8:d822",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_private_addresses(address: str) -> None:
    """An address that isn't one of the public internet is never taken for one."""
    assert not is_public_address(address)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses(address: str) -> None:
    """What is beside a private range, and public IPv4 behind NAT64, is public."""
    assert is_public_address(address)


@given(address=st.ip_addresses())
def test_what_python_calls_private_is_not_public(address: Any) -> None:
    """Nothing that Python's own table calls private, reserved or multicast is let through."""
    if is_public_address(str(address)):
        assert not address.is_multicast
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_unspecified
        assert not address.is_private
        assert not (address.version == 4 and address.is_reserved)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_name_that_resolves_to_a_private_address(
    start: Start, trusting: ssl.SSLContext, address: str
) -> None:
    """Wherever a name resolves to, nothing but a public address is connected to."""
    stand_in = start(reply("200 OK"))
    detour = Detour(stand_in)
    with (
        build_guarded_http(
            trusting, allow_private=False, look_up=resolve_to([address]), inner=detour
        ) as http,
        pytest.raises(AddressNotAllowed),
    ):
        get(http, f"https://{HOST}/")
    assert (detour.addresses, stand_in.connections) == ([], 0)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1",
     "127。0。0。1", "localhost", "LOCALHOST."],
)  # fmt: skip
def test_loopback_in_any_notation(start: Start, host: str) -> None:
    """The system's own resolver and its odd notations do not lead to this machine."""
    stand_in = start(reply("200 OK"))
    with (
        build_guarded_http(allow_private=False) as http,
        pytest.raises((AddressNotAllowed, httpx.ConnectError, httpx.InvalidURL)),
    ):
        get(http, f"https://{host}:{stand_in.port}/")
    assert stand_in.connections == 0
    assert find_url_fault(f"https://{host}/") == "a private host"


def test_the_address_that_was_checked_is_the_one_that_is_called(
    start: Start, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A name that is public once and loopback ever after is called at the public address.

    TLS still proves the name: the certificate is for it alone.
    """
    detour = Detour(start(reply("204 No Content"), server_tls))
    rebinding = resolve_to([PUBLIC], ["127.0.0.1"])
    with build_guarded_http(trusting, allow_private=False, look_up=rebinding, inner=detour) as http:
        assert get(http, f"https://{HOST}/7") == 204
        assert detour.addresses == [f"{PUBLIC}:443"]
        with pytest.raises(AddressNotAllowed):
            get(http, f"https://{HOST}/7")
    assert detour.addresses == [f"{PUBLIC}:443"]


def test_private_addresses_beside_public_ones_are_left_out(
    start: Start, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Of several addresses, only the public ones are tried."""
    detour = Detour(start(reply("204 No Content"), server_tls))
    look_up = resolve_to(["127.0.0.1", "fd00::1", PUBLIC])
    with build_guarded_http(trusting, allow_private=False, look_up=look_up, inner=detour) as http:
        assert get(http, f"https://{HOST}/7") == 204
    assert detour.addresses == [f"{PUBLIC}:443"]


def test_another_certificate_than_the_name_s(
    start: Start, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A server at the right address with the certificate of another name hears nothing."""
    stand_in = start(reply("200 OK"), server_tls)
    with (
        build_guarded_http(
            trusting, allow_private=False, look_up=resolve_to([PUBLIC]), inner=Detour(stand_in)
        ) as http,
        pytest.raises(httpx.ConnectError, match="certificate"),
    ):
        get(http, "https://other.example/")
    assert stand_in.requests == []


def test_plain_http_never_carries_a_bearer(start: Start) -> None:
    """A URL that is not https is not called at all, whatever its host."""
    stand_in = start(reply("200 OK"))
    detour = Detour(stand_in)
    with build_guarded_http(
        allow_private=False, look_up=resolve_to([PUBLIC]), inner=detour
    ) as http:
        with pytest.raises(FetchNotAllowed) as caught:
            Fetcher(http, Records(f"http://{HOST}"))("meta", {})
        with pytest.raises(WebhookError, match="LEADLINE_ALLOW_PRIVATE_URLS"):
            AlertWebhook(f"http://{HOST}/hook", None, http).send([AlertMessage("x", "/ops")])
    assert (detour.addresses, stand_in.connections) == ([], 0)
    cause = cause_of(caught.value, step="fetch", source="meta")
    assert (cause.code, cause.setting) == ("fetch-not-allowed", "sources.meta.fetch.base_url")
    assert "LEADLINE_ALLOW_PRIVATE_URLS" in FetchNotAllowed.hint


def test_a_redirect_is_not_followed(
    start: Start, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A redirect to a metadata service, or to anywhere, ends the call."""
    stand_in = start(
        reply("307 Moved\r\nlocation: http://169.254.169.254/latest/meta-data/"), server_tls
    )
    detour = Detour(stand_in)
    with build_guarded_http(
        trusting, allow_private=False, look_up=resolve_to([PUBLIC]), inner=detour
    ) as http:
        with pytest.raises(FetchFailed, match="307"):
            Fetcher(http, Records(f"https://{HOST}"))("meta", {})
        with pytest.raises(WebhookError, match="307"):
            AlertWebhook(f"https://{HOST}/hook", None, http).send([AlertMessage("x", "/ops")])
    assert detour.addresses == [f"{PUBLIC}:443"] * 2


@pytest.fixture
def flood() -> Play:
    """An answer without end, until the client is gone."""

    def play(connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(64):  # MiB
            connection.sendall(b"x" * 1_048_576)

    return play


def test_an_answer_without_end(start: Start, flood: Play) -> None:
    """No more of an answer is read than its bound; a webhook that said 200 has taken the post."""
    stand_in = start(flood)
    url = f"http://127.0.0.1:{stand_in.port}"
    with build_guarded_http(allow_private=True) as http:
        with pytest.raises(FetchError, match=f"larger than {MAX_RECORD_BYTES} bytes"):
            Fetcher(http, Records(url))("meta", {})
        AlertWebhook(url, None, http).send([AlertMessage("x", "/ops")])
        received = exchange(
            http, httpx.Request("GET", url), Deadline(PATIENCE), limit=MAX_ANSWER_BYTES
        )
    assert received.body == b""
    assert f"larger than {MAX_ANSWER_BYTES} bytes" in str(received.fault)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_slow_answer(start: Start, head: bytes) -> None:
    """A server that stalls or drips its head ends the call when its time is up."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(round(PATIENCE / 0.02)):
            connection.sendall(b"x: y\r\n" if head else b"")
            if stand_in.over.wait(0.02):
                return

    stand_in = start(drip)
    with build_guarded_http(allow_private=True) as http:
        webhook = AlertWebhook(f"http://127.0.0.1:{stand_in.port}", None, http, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(WebhookError):
            webhook.send([AlertMessage("x", "/ops")])
    assert time.monotonic() - began < PATIENCE / 2


def test_no_proxy_of_the_environment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name a proxy change nothing, for configured URLs and for Pipedrive."""
    proxy, stand_in = start(reply("502 Bad Gateway")), start(reply("204 No Content"))
    for name in (
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://127.0.0.1:{stand_in.port}/"
    with build_guarded_http(allow_private=True) as guarded, build_http() as http:
        AlertWebhook(url, None, guarded).send([AlertMessage("x", "/ops")])
        assert get(http, url) == 204
    assert (proxy.connections, stand_in.connections) == (0, 2)


def test_credentials_in_the_webhook_s_url_are_sent_as_such(start: Start) -> None:
    """A webhook that asks for a name and a password gets them, and nobody else does."""
    stand_in = start(reply("204 No Content"))
    with build_guarded_http(allow_private=True) as http:
        AlertWebhook(f"http://ann:secret@127.0.0.1:{stand_in.port}/h", None, http).send(
            [AlertMessage("x", "/ops")]
        )
    assert b"authorization: basic yw5uonnly3jlda==" in stand_in.requests[0].lower()


WRONG_URLS = [
    "http://records.example/v1", "https://127.0.0.1/v1", "https://10.0.0.7/", "https://[::1]/",
    "https://[fd00:ec2::254]/", "https://169.254.169.254/latest", "https://localhost/",
    "https://api.localhost/", "https://metadata.google.internal/", "https://printer.local./",
    "https://router.home.arpa/", "https://2130706433/", "https://0x7f000001/", "https://127.1/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", WRONG_URLS)
def test_wrong_urls_are_named_before_anything_is_sent(url: str) -> None:
    """The source file and the settings are refused, with place, what was expected and what is there."""
    text = (
        '[sources.x]\nadapter = "meta-lead-ads"\nverify = { scheme = "none" }\n'
        f'fetch = {{ token_env = "T", base_url = "{url}" }}'
    )
    with pytest.raises(ConfigError) as caught:
        load_sources(text, {}, secrets=())
    [fault] = caught.value.faults
    assert "sources.x.fetch.base_url" in fault.where
    assert "an https URL of a public host" in fault.expected
    assert url in fault.got or "http" in fault.got
    assert load_sources(text, ALLOWED, secrets=()).sources["x"].fetch is not None

    with pytest.raises(SettingsError) as wrong:
        Settings.for_service({"LEADLINE_ALERT_WEBHOOK": url + "?hunter2"})
    [line] = wrong.value.faults
    assert line.startswith("LEADLINE_ALERT_WEBHOOK: expected an https URL of a public host")
    assert "hunter2" not in line
    assert Settings.for_service(ALLOWED | {"LEADLINE_ALERT_WEBHOOK": url}).alert_webhook == url


@pytest.mark.parametrize(
    "url", ["https://hooks.slack.com/services/T/B/X", "https://1.1.1.1/x", "https://[2606:4700::1]/",
            "https://10.example/", "https://internal.example/", "https://0xdata.example/"]
)  # fmt: skip
def test_right_urls(url: str) -> None:
    """Names and addresses that may be public are let through; what they resolve to is checked later."""
    assert find_url_fault(url) is None
