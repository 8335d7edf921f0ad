"""The embedded Redis: it keeps what it acknowledged, is alone in its folder, never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.redis import (
    MAX_SOCKET_PATH_BYTES,
    AlreadyRunning,
    EmbeddedRedis,
    EmbeddedRedisError,
    find_binary,
    find_running_url,
    machine_memory,
    max_memory,
    responds,
)
from tests.polling import eventually
from worker.store.connection import connect


@pytest.fixture
def data_dir(tmp_path: Path, redis_url: str) -> Path:  # noqa: ARG001
    """A data directory of its own; `redis_url` skips the test where there is no server."""
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(data_dir) as running:
        yield running


def test_it_is_set_up_to_keep_everything(server: EmbeddedRedis) -> None:
    """Every write is on disk before its answer, nothing is evicted, and no port is open."""
    with connect(server.url) as client:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "maxmemory": str(max_memory(machine_memory())),
            "maxmemory-policy": "noeviction",
            "port": "0",
            "dir": str(server.folder),
        }
        assert {key: client.config_get(key)[key] for key in expected} == expected
    assert server.folder.stat().st_mode & 0o077 == 0
    assert server.socket.stat().st_mode & 0o077 == 0


def test_it_leaves_memory_to_others(tmp_path: Path) -> None:
    """It takes half of the machine, or of its container, and never more than 4 GiB."""
    gib = 1024**3
    assert [max_memory(size) for size in (gib, 8 * gib, 64 * gib)] == [gib // 2, 4 * gib, 4 * gib]
    container, unlimited = tmp_path / "memory.max", tmp_path / "limit"
    container.write_text("1048576\n")
    unlimited.write_text("max\n")
    assert machine_memory([unlimited, tmp_path / "missing"]) > gib // 8
    assert machine_memory([unlimited, container]) == 1024**2


def test_data_survive_a_stop(data_dir: Path) -> None:
    """What was written is there at the next start."""
    for number in range(3):
        with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
            assert client.incr("starts") == number + 1
    assert find_running_url(data_dir) is None


def test_data_survive_a_kill(server: EmbeddedRedis) -> None:
    """After kill -9 the server is started again by itself and has every acknowledged write."""
    with connect(server.url) as client:
        for number in range(200):
            client.rpush("written", number)
        first = server.pid
        assert first
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: server.pid not in (None, first) and responds(server.url))
        assert client.llen("written") == 200


def test_a_cut_tail_is_repaired(data_dir: Path) -> None:
    """Of a write that a crash cut in two, only that write is lost."""
    with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
        client.set("whole", "kept")
        client.set("last", "x" * 1000)
    (tail,) = (data_dir / "redis" / "appendonlydir").glob("*.incr.aof")
    os.truncate(tail, tail.stat().st_size - 500)
    with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
        assert client.get("whole") == b"kept"
        assert client.get("last") is None


def test_damaged_data_are_reported(data_dir: Path) -> None:
    """Data that cannot be loaded stop the start with the server's words; nothing is thrown away."""
    with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
        for number in range(50):
            client.set(f"key{number}", "x" * 100)
    (tail,) = (data_dir / "redis" / "appendonlydir").glob("*.incr.aof")
    damaged = tail.read_bytes().replace(b"$5\r\nkey10", b"!5\r\nkey10", 1)
    tail.write_bytes(damaged)
    with pytest.raises(EmbeddedRedisError, match="AOF"):
        EmbeddedRedis(data_dir).start()
    assert tail.read_bytes() == damaged
    assert find_running_url(data_dir) is None


def test_a_second_one_is_refused(server: EmbeddedRedis, data_dir: Path) -> None:
    """Two on one data directory: the second learns who is there, and the first goes on."""
    with pytest.raises(AlreadyRunning, match=rf"in use by process {os.getpid()}\b"):
        EmbeddedRedis(data_dir, lock_wait=0.1).start()
    assert find_running_url(data_dir) == server.url
    assert responds(server.url)


def test_it_dies_with_a_killed_parent(data_dir: Path) -> None:
    """When the process that started it is killed, the server ends; the next start finds the data."""
    program = """
        import sys
        from service.local.redis import EmbeddedRedis
        from worker.store.connection import connect
        with EmbeddedRedis(sys.argv[1]) as server:
            connect(server.url).set("left", "behind")
            print(server.pid, flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(data_dir)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        assert int(parent.stdout.readline())
        url = find_running_url(data_dir)
        assert url
        parent.kill()
    assert eventually(lambda: not responds(url))
    with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
        assert client.get("left") == b"behind"


def test_a_long_path(tmp_path: Path, redis_url: str) -> None:  # noqa: ARG001
    """Where the path is too long for a socket, the socket is elsewhere and the address says where."""
    data_dir = tmp_path / ("long " * 30) / 'with "quotes" and \\'
    with EmbeddedRedis(data_dir) as server, connect(server.url) as client:
        assert client.ping()
        assert len(os.fsencode(server.socket)) <= MAX_SOCKET_PATH_BYTES
        assert server.folder not in server.socket.parents
        assert server.socket.parent.stat().st_mode & 0o077 == 0
        assert find_running_url(data_dir) == server.url


def test_a_planted_directory_is_refused(
    tmp_path: Path,
    redis_url: str,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link that somebody planted where the socket would go is not followed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    server = EmbeddedRedis(tmp_path / ("x" * 120))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t").mkdir()
    server.socket.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedRedisError, match="belongs to somebody else"):
        server.start()


def program(path: Path, version: str) -> Path:
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0:0 bits=64'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "taken"), [("6.2.14", True), ("8.0.0", True), ("6.0.16", False), ("rubbish", False)]
)
def test_which_binary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    """A recent server on the PATH comes first; an old one is passed over."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("service.local.redis._find_packaged_binary", lambda: Path("/packaged"))
    monkeypatch.setattr(
        "shutil.which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None
    )
    redis = program(tmp_path / "redis-server", version)
    assert find_binary() == (redis if taken else Path("/packaged"))
    valkey = program(tmp_path / "valkey-server", "9.0")
    assert find_binary() == valkey


def test_no_binary_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server the message names REDIS_URL."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("service.local.redis._find_packaged_binary", lambda: None)
    with pytest.raises(EmbeddedRedisError, match="REDIS_URL"):
        find_binary()
