"""What a server says about how it keeps what it acknowledged."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_py

from tests.redis.servers import (
    CLUSTER,
    EACH_WRITE,
    EVERY_SECOND,
    EVICTING,
    MANAGED,
    NO_FILE,
    redis_with,
)
from worker.errors import StoreUnavailable
from worker.store.connection import connect, connect_async
from worker.store.durability import MIN_VERSION, Durability, Sync, aread_durability, read_durability

NOT_WHILE_REWRITING = {"no-appendfsync-on-rewrite": "yes"}


async def read_with_loop(url: str) -> Durability:
    async with connect_async(url, timeout=60) as client:
        return await aread_durability(client)


@pytest.mark.parametrize(
    ("options", "sync"),
    [
        (EACH_WRITE, Sync.EACH_WRITE),
        (EVERY_SECOND, Sync.EVERY_SECOND),
        (NO_FILE, Sync.NO_FILE),
        (EACH_WRITE | {"appendfsync": "no"}, Sync.NO_FILE),
        (EACH_WRITE | NOT_WHILE_REWRITING, Sync.NO_FILE),
        (EVERY_SECOND | NOT_WHILE_REWRITING, Sync.NO_FILE),
        (NO_FILE | MANAGED, Sync.NO_FILE),
        (EACH_WRITE | MANAGED, Sync.UNKNOWN),
    ],
    ids=str,
)
def test_sync(redis_url: str, options: dict[str, str], sync: Sync) -> None:  # noqa: ARG001
    """When a write is on disk is read from CONFIG, or from INFO where CONFIG is refused."""
    with redis_with(options) as url, connect(url, timeout=60) as client:
        durability = read_durability(client)
        assert durability.sync is sync
        assert asyncio.run(read_with_loop(url)).sync is sync
        assert durability.version >= MIN_VERSION
        assert not durability.is_outdated
        assert not durability.is_cluster
        assert not durability.evicts


@pytest.mark.parametrize("refusing", [{}, MANAGED], ids=["CONFIG", "INFO"])
def test_policy_and_cluster(redis_url: str, refusing: dict[str, str]) -> None:  # noqa: ARG001
    """Evicting policy, bound of memory and cluster mode are seen with CONFIG and without it."""
    with redis_with(EVICTING | refusing) as url, connect(url, timeout=60) as client:
        durability = read_durability(client)
        assert durability.evicts
        assert durability.max_memory == 100 * 1024 * 1024
    with redis_with(CLUSTER | refusing) as url, connect(url, timeout=60) as client:
        assert read_durability(client).is_cluster


def test_nothing_said(redis: redis_py.Redis) -> None:
    """A server that refuses CONFIG and INFO is one of which nothing is known."""
    redis.acl_setuser(
        "shy",
        enabled=True,
        passwords=["+word"],
        keys=["*"],
        categories=["+@all"],
        commands=["-info", "-config"],
    )
    path = redis.connection_pool.connection_kwargs["path"]
    try:
        with connect(f"unix://shy:word@{path}", timeout=60) as client:
            assert read_durability(client) == Durability()
            assert Durability().sync is Sync.UNKNOWN
    finally:
        redis.acl_deluser("shy")


def test_the_run_of_the_server(redis: redis_py.Redis) -> None:
    """The server's identity is the text that the scripts use for it."""
    info = redis.info()
    assert read_durability(redis).server == info["run_id"] + info["master_replid"]


def test_away() -> None:
    """A server that is away is an error, not one that does not say."""
    with connect("unix:///nowhere/redis.sock") as client, pytest.raises(StoreUnavailable):
        read_durability(client)
