"""How often one address may post, and who is counted as one address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_network

import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio

from service.sources.schema import Rate
from service.web.client_address import client_address, rate_limit_address
from service.web.rate_limit import MAX_LOCAL_ADDRESSES, AddressRateLimiter
from tests.settable_clock import SettableClock
from worker.accept.breaker import Breaker
from worker.store import keys
from worker.store.connection import connect_async

Clients = Callable[[], AbstractAsyncContextManager[redis_asyncio.Redis]]
PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_the_count_is_exact_when_many_ask_at_once(aredis: Clients) -> None:
    """Of fifty posts at once over two processes, exactly the allowed ten pass.

    The others are told to wait for one interval at most.
    """

    async def ask() -> list[float]:
        async with aredis() as one, aredis() as other:
            limiters = [
                AddressRateLimiter(one, Breaker(one)),
                AddressRateLimiter(other, Breaker(other)),
            ]
            rate = Rate(count=10, seconds=600.0)
            return await asyncio.gather(
                *(limiters[n % 2].wait_seconds("s", "1.2.3.4", rate) for n in range(50))
            )

    waits = asyncio.run(ask())
    assert waits.count(0.0) == 10
    assert all(0 < wait <= 60 for wait in waits if wait)


def test_addresses_and_sources_do_not_share(aredis: Clients, redis: redis_py.Redis) -> None:
    """Each source counts each address separately, under a key that expires and hides the address."""

    async def ask() -> list[float]:
        async with aredis() as store:
            limiter, rate = AddressRateLimiter(store, Breaker(store)), Rate(count=1, seconds=60.0)
            return [
                await limiter.wait_seconds(source, address, rate)
                for source, address in [("a", "1"), ("a", "2"), ("b", "1")]
            ]

    assert asyncio.run(ask()) == [0.0, 0.0, 0.0]
    names = redis.keys("leadline:limit:*")
    assert len(names) == 3
    assert keys.rate_limit("a", "1").encode() in names
    assert all(0 < redis.pttl(name) <= 60_001 for name in names)


def test_a_clock_set_back_locks_nobody_out(aredis: Clients, redis: redis_py.Redis) -> None:
    """After Redis's clock was set back, an address waits for one period at most."""
    redis.set(keys.rate_limit("s", "a"), "9999999999999")

    async def ask() -> float:
        async with aredis() as store:
            return await AddressRateLimiter(store, Breaker(store)).wait_seconds(
                "s", "a", Rate(count=2, seconds=10.0)
            )

    assert asyncio.run(ask()) == 5.0


def test_without_redis_each_process_counts_for_itself(tmp_path: object) -> None:
    """While Redis is down, the same rate holds within the process and refills with time.

    Redis is not asked each time.
    """
    clock = SettableClock(1000.0)

    async def ask() -> list[float]:
        async with connect_async(f"unix://{tmp_path}/none.sock") as store:
            limiter, rate = (
                AddressRateLimiter(store, Breaker(store), clock),
                Rate(count=2, seconds=10.0),
            )
            waits = [await limiter.wait_seconds("s", "a", rate) for _ in range(3)]
            clock.now += 5.0
            return [
                *waits,
                await limiter.wait_seconds("s", "a", rate),
                await limiter.wait_seconds("s", "a", rate),
            ]

    assert asyncio.run(ask()) == [0.0, 0.0, 5.0, 0.0, 5.0]


def test_redis_is_asked_again_once_it_is_back(
    aredis: Clients, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure Redis is left alone until the breaker finds that it takes writes again."""
    calls: list[int] = []

    async def ask() -> None:
        async with aredis() as store:
            breaker = Breaker(store)
            limiter, rate = AddressRateLimiter(store, breaker), Rate(count=100, seconds=10.0)

            async def fail(**_: object) -> int:
                calls.append(len(calls))
                raise redis_py.ConnectionError

            monkeypatch.setattr(limiter, "_script", fail)
            for _ in range(3):
                await limiter.wait_seconds("s", "a", rate)
            assert len(calls) == 1
            await asyncio.wait_for(breaker.close_when_writable(), 5)
            await limiter.wait_seconds("s", "a", rate)

    asyncio.run(ask())
    assert len(calls) == 2
    assert redis.keys("leadline:limit:*") == []


def test_what_a_process_remembers_is_bounded(tmp_path: object) -> None:
    """A flood of addresses pushes the oldest out instead of filling the memory."""

    async def ask() -> int:
        async with connect_async(f"unix://{tmp_path}/none.sock") as store:
            limiter, rate = (
                AddressRateLimiter(store, Breaker(store), SettableClock(1000.0)),
                Rate(count=1, seconds=10.0),
            )
            for n in range(MAX_LOCAL_ADDRESSES + 10):
                await limiter.wait_seconds("s", str(n), rate)
            return len(limiter._local)

    assert asyncio.run(ask()) == MAX_LOCAL_ADDRESSES


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ['"[2001:db8::7]:443"'], "2001:db8::7"),
        ("10.0.0.1", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["junk"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        (None, ["198.51.100.7"], "unknown"),
        ("", ["198.51.100.7"], "unknown"),
        ("10.0.0.1", ["1.1.1.1," * 5000 + "198.51.100.7"], "198.51.100.7"),
    ],
)
def test_only_trusted_proxies_are_believed(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    """The right-most hop that is not a trusted proxy is the client; hops left of it count nothing."""
    assert client_address(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_one_ipv6_customer_is_one_address(address: str, counted: str) -> None:
    """Somebody with 2^64 addresses does not get 2^64 allowances."""
    assert rate_limit_address(address) == counted
