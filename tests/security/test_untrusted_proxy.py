"""A proxy that nobody named: it is told, no lead is refused for it, and no stranger can abuse that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis as redis_py

from service.checks.environment import check_store
from service.web.untrusted_proxies import (
    MAX_PEERS,
    MIN_PRIVATE_REQUESTS,
    MIN_PUBLIC_CLIENTS,
    REMEMBER_SECONDS,
    UntrustedProxies,
)
from tests.polling import eventually
from tests.serve_process import ServeProcess
from worker.accept.promise import Terms
from worker.settings.types import parse_networks

LOOPBACK, INNER, VISITOR = "127.0.0.1", "10.1.2.3", "203.0.113.9"


def forwarded(client: str, name: str = "x-forwarded-for") -> list[tuple[str, str]]:
    return [(name, client)]


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def proxies(clock: list[float]) -> UntrustedProxies:
    return UntrustedProxies(parse_networks("192.168.7.7"), lambda: clock[0])


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip"])
@pytest.mark.parametrize("peer", [LOOPBACK, INNER, "::1", "fd00::7"])
def test_a_private_peer_that_forwards_is_a_proxy(
    proxies: UntrustedProxies, peer: str, name: str
) -> None:
    """After a few requests, whichever header names another client."""
    text = f"for={VISITOR};proto=https" if name == "forwarded" else VISITOR
    for number in range(MIN_PRIVATE_REQUESTS):
        assert not proxies.are_present, number
        assert not proxies.is_shared(peer)
        proxies.observe(peer, forwarded(text, name))
    assert proxies.are_present
    assert proxies.is_shared(peer)
    assert not proxies.is_shared("10.1.2.4")


def test_one_stranger_raises_nothing(proxies: UntrustedProxies) -> None:
    """A public sender with a forged header is nothing, however often he sends it."""
    for _ in range(1000):
        proxies.observe(VISITOR, forwarded("198.51.100.1"))
    assert not proxies.are_present


def test_a_public_proxy_is_told_and_keeps_its_limit(proxies: UntrustedProxies) -> None:
    """One that names many clients may be a proxy; but nobody lifts a rate limit by forging."""
    for number in range(MIN_PUBLIC_CLIENTS):
        proxies.observe(VISITOR, forwarded(f"198.51.100.{number}"))
    assert proxies.are_present
    assert not proxies.is_shared(VISITOR)


def test_strangers_push_nobody_out(proxies: UntrustedProxies) -> None:
    """Thousands of public peers neither fill the memory nor make a private proxy forgotten."""
    for _ in range(MIN_PRIVATE_REQUESTS):
        proxies.observe(INNER, forwarded(VISITOR))
    for number in range(2 * MAX_PEERS):
        proxies.observe(f"2001:db8::{number:x}", forwarded("198.51.100.1"))
    assert proxies.is_shared(INNER)
    assert len(proxies._public) <= MAX_PEERS


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (VISITOR, forwarded(VISITOR)),
        (VISITOR, [*forwarded(f"{VISITOR}, 192.168.7.7"), *forwarded(VISITOR, "x-real-ip")]),
        (INNER, forwarded(INNER)),
        (INNER, forwarded(f'for="{INNER}:4711"', "forwarded")),
        (INNER, forwarded(f"{INNER}, 192.168.7.7")),
        (INNER, []),
        ("192.168.7.7", forwarded("unknown")),
        ("unknown", forwarded(VISITOR)),
    ],
    ids=str,
)
def test_a_named_proxy_is_nothing_new(
    proxies: UntrustedProxies, client: str, headers: list[tuple[str, str]]
) -> None:
    """Headers that name only the client, as trusted proxies write them, are no sign."""
    for _ in range(100):
        proxies.observe(client, headers)
    assert not proxies.are_present
    assert not proxies.is_shared(client)


def test_a_proxy_behind_a_named_one(proxies: UntrustedProxies) -> None:
    """Where only the nearer of two proxies is named, the farther one's address is all visitors'."""
    for number in range(MIN_PRIVATE_REQUESTS):
        proxies.observe(INNER, forwarded(f"203.0.113.{number}, {INNER}"))
    assert proxies.is_shared(INNER)


def test_it_is_over_an_hour_later(proxies: UntrustedProxies, clock: list[float]) -> None:
    """Once the proxy is named, or gone, it is told no more."""
    for _ in range(MIN_PRIVATE_REQUESTS):
        proxies.observe(INNER, forwarded(VISITOR))
    clock[0] += REMEMBER_SECONDS + 1
    assert not proxies.are_present
    assert not proxies.is_shared(INNER)
    proxies.observe(INNER, forwarded(VISITOR))
    assert not proxies.are_present


def test_an_endless_header_costs_little(proxies: UntrustedProxies) -> None:
    """A header of 64 KB, from a stranger, is read in part."""
    before = time.process_time()
    for _ in range(100):
        proxies.observe(VISITOR, forwarded("1," * 32_000))
    assert time.process_time() - before < 2.0


def test_private_names_all_private_ranges() -> None:
    """`private` stands for loopback and private ranges, beside others."""
    networks = parse_networks("private, 203.0.113.0/24")
    proxies = UntrustedProxies(networks)
    for peer in (LOOPBACK, INNER, "192.168.1.1", "172.20.0.5", "fd00::7", VISITOR):
        for _ in range(100):
            proxies.observe(peer, forwarded("198.51.100.1"))
    assert not proxies.are_present


@pytest.fixture
def server(
    redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[ServeProcess]:
    running = ServeProcess(
        tmp_path,
        redis_url,
        '[sources.contact]\nrate_limit = "60/m"\n',
        LEADLINE_TRUSTED_PROXIES=getattr(request, "param", ""),
        LEADLINE_CONNECTIONS_PER_ADDRESS="400",
    )
    yield running
    running.stop()


def post(server: ServeProcess, count: int) -> list[int]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60.0) as client:
        return [
            client.post(
                "/in/contact",
                data={"email": f"ada{number}@acme.example"},
                headers={"X-Forwarded-For": f"203.0.113.{number % 250}"},
            ).status_code
            for number in range(count)
        ]


def degraded(server: ServeProcess) -> list[str]:
    return list(httpx.get(f"http://127.0.0.1:{server.port}/readyz").json()["degraded"])


def test_no_lead_is_refused_for_it(server: ServeProcess, redis: redis_py.Redis) -> None:
    """Seventy visitors behind a proxy on loopback that nobody named are seventy leads; it is told."""
    assert set(post(server, 70)) == {202}
    assert eventually(lambda: degraded(server) == ["untrusted_proxy"])
    metrics = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    assert 'leadline_unsafe{what="untrusted_proxy"} 1.0' in metrics
    lines = [line for line in server.lines if "untrusted_proxy" in line]
    assert len(lines) == 1
    assert "LEADLINE_TRUSTED_PROXIES" in lines[0]
    findings = check_store(redis, "redis://h", Terms(accepts=True))
    assert [each.level for each in findings if "TRUSTED_PROXIES" in each.message] == ["fail"]


@pytest.mark.parametrize("server", ["private"], indirect=True)
def test_a_named_proxy_limits_each_visitor(server: ServeProcess) -> None:
    """With the proxy named, each visitor has a limit of his own, and nothing is told."""
    assert set(post(server, 70)) == {202}
    assert degraded(server) == []
