"""Connections: every form of REDIS_URL, quick to give up, never repeating a command."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager as AsyncContext
from pathlib import Path
from unittest import mock

import pytest
import redis.asyncio
import redis.exceptions

from service.local.processes import Child, Supervisor
from service.local.redis import find_binary, responds
from tests.polling import eventually
from worker.store.connection import connect, connect_async, parse_sentinel_url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Deaf:
    """Takes connections and bytes and never answers; counts both."""

    def __init__(self) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self._held.append(self._listener.accept()[0])
            except OSError:
                return
            self.connections += 1

    def close(self) -> None:
        self._listener.close()
        for each in self._held:
            each.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    server = Deaf()
    yield server
    server.close()


def test_a_silent_server_is_given_up_once(deaf: Deaf) -> None:
    """A command that gets no answer fails after its time and is not sent again."""
    with connect(deaf.url, timeout=0.2) as client, pytest.raises(redis.exceptions.TimeoutError):
        client.ping()
    assert deaf.connections == 1


def test_a_silent_server_is_given_up_once_async(deaf: Deaf) -> None:
    """The same in an event loop."""

    async def ask() -> None:
        async with connect_async(deaf.url, timeout=0.2) as client:
            await client.ping()

    with pytest.raises(redis.exceptions.TimeoutError):
        asyncio.run(ask())
    assert deaf.connections == 1


def test_an_absent_server_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there is an error now, not after ten tries."""
    tries = mock.Mock(side_effect=redis.Connection._connect)
    monkeypatch.setattr(redis.Connection, "_connect", lambda connection: tries(connection))
    with (
        connect(f"redis://127.0.0.1:{free_port()}/0") as client,
        pytest.raises(redis.exceptions.ConnectionError),
    ):
        client.ping()
    assert tries.call_count == 1


def test_a_restart_between_commands_is_not_noticed(redis_url: str) -> None:
    """A pooled connection that the server closed is replaced before it is used."""
    with connect(redis_url, timeout=5) as client:
        client.set("a", "b")
        with connect(redis_url, timeout=5) as other:
            other.client_kill_filter(_type="normal", skipme=True)
        assert client.get("a") == b"b"


def test_both_kinds_of_client(
    redis_url: str, aredis: Callable[[], AsyncContext[redis.asyncio.Redis]]
) -> None:
    """Both clients speak to one server, in bytes."""

    async def ask() -> object:
        async with aredis() as client:
            await client.set("k", "v")
            return await client.get("k")

    assert asyncio.run(ask()) == b"v"
    with connect(redis_url, name="leadline-test") as client:
        assert client.get("k") == b"v"
        assert client.client_getname() == "leadline-test"


@pytest.mark.parametrize(
    ("url", "sentinels", "master", "db"),
    [
        (
            "redis+sentinel://h1:26379,h2:26380/mymaster/0",
            [("h1", 26379), ("h2", 26380)],
            "mymaster",
            0,
        ),
        ("redis+sentinel://h1,[::1]:7/m/3", [("h1", 26379), ("::1", 7)], "m", 3),
        ("redis+sentinel://h1/m", [("h1", 26379)], "m", 0),
    ],
)
def test_sentinel_urls(url: str, sentinels: list[tuple[str, int]], master: str, db: int) -> None:
    """Sentinels, the master's name and the database are read; ports have Sentinel's default."""
    address = parse_sentinel_url(url)
    assert (address.sentinels, address.master, address.db) == (sentinels, master, db)


def test_sentinel_credentials() -> None:
    """A login is the master's; the sentinels' own stands in the query."""
    address = parse_sentinel_url("redis+sentinel://ann:p%40ss@h/m/0?sentinel_password=q")
    assert address.credentials == {"username": "ann", "password": "p@ss"}
    assert address.sentinel_credentials == {"password": "q"}


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1:26379",
        "redis+sentinel:///m/0",
        "redis+sentinel://h:x/m/0",
        "redis+sentinel://h/m/x",
    ],
)
def test_no_sentinel_urls(url: str) -> None:
    """What names no host, no master or no number is refused."""
    with pytest.raises(ValueError, match=r"expected|invalid literal|Port"):
        parse_sentinel_url(url)


@pytest.fixture
def sentinel_url(tmp_path: Path, redis_url: str) -> Iterator[str]:  # noqa: ARG001
    """A master that a real sentinel watches."""
    port, watcher = free_port(), free_port()
    master = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port {watcher}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1"
        f" {port} 1\n"
    )
    binary = str(find_binary())
    children = [
        Child("master", [binary, *master], log=tmp_path / "master.log"),
        Child("sentinel", [binary, str(conf), "--sentinel"], log=tmp_path / "sentinel.log"),
    ]
    with Supervisor(children):
        assert eventually(
            lambda: (
                responds(f"redis://127.0.0.1:{port}/0")
                and responds(f"redis://127.0.0.1:{watcher}/0")
            )
        )
        yield f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watcher}/main/2"


def test_through_sentinel(sentinel_url: str) -> None:
    """The master is found through the sentinels, also when one of them is away."""
    with connect(sentinel_url, timeout=5) as client:
        client.set("k", "v")
        assert client.get("k") == b"v"
        assert client.client_info()["db"] == 2

    async def ask() -> object:
        async with connect_async(sentinel_url, timeout=5) as client:
            return await client.get("k")

    assert asyncio.run(ask()) == b"v"
