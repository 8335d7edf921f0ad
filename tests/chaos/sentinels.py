"""A primary, its replica and three sentinels on loopback: what a failover costs, while posts come
in.

    primary  <- replica         both write an append-only file
       \\ watched by three sentinels, two of which must agree

`kill_primary` and `fail_over` end with the replica being the primary; `come_back` starts the former
one again, as a supervisor would, and the sentinels make it a replica.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from service.local.processes import Child, Supervisor
from service.local.redis import find_binary
from tests.polling import eventually
from worker.store.connection import connect

MASTER = "leads"
DOWN_MILLISECONDS = 2000
"""How long a server is silent before a sentinel takes it for dead."""

SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {master} {down}
sentinel failover-timeout {master} 6000
sentinel parallel-syncs {master} 1
"""


class Trio:
    """The servers by name, `primary` and `replica` being what they were at the start; `url` goes
    through the sentinels.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._binary = str(find_binary())
        self._ports = _free_ports(5)
        self._running: dict[str, Supervisor] = {}
        watchers = ",".join(f"127.0.0.1:{port}" for port in self._ports[2:])
        self.url = f"redis+sentinel://{watchers}/{MASTER}/0"

    def start(self) -> None:
        """Returns once each sentinel knows the replica and the two others. Raises AssertionError
        where that takes too long.
        """
        self._start("primary", self._server("primary"))
        self._start(
            "replica", self._server("replica", "--replicaof", "127.0.0.1", str(self._ports[0]))
        )
        assert eventually(
            lambda: self._info("replica", "replication").get("master_link_status") == "up"
        ), "no replication"
        for port in self._ports[2:]:
            folder = self._folder / f"sentinel-{port}"
            folder.mkdir()
            conf = folder / "sentinel.conf"
            text = SENTINEL.format(
                port=port,
                folder=folder,
                master=MASTER,
                primary=self._ports[0],
                down=DOWN_MILLISECONDS,
            )
            conf.write_text(text, encoding="utf-8")
            self._start(folder.name, [self._binary, str(conf), "--sentinel"])
        assert eventually(lambda: all(map(_agreed, self._ports[2:]))), (
            "the sentinels do not know each other"
        )

    def blind_replica(self) -> None:
        """From here the replica learns nothing of what the primary is told: it is stopped, and its
        connection closed.
        """
        os.kill(self._pid("replica"), signal.SIGSTOP)
        with self._client("primary") as client:
            client.client_kill_filter(_type="replica")

    def kill_primary(self) -> None:
        """SIGKILL, and it is not started again."""
        os.kill(self._pid("primary"), signal.SIGKILL)
        self._running["primary"].stop()

    def fail_over(self) -> None:
        """Lets the replica go on if it was stopped, and returns once the sentinels have made it the
        primary.
        """
        os.kill(self._pid("replica"), signal.SIGCONT)
        assert eventually(self._changed, 90), "no failover"

    def come_back(self) -> None:
        """The former primary again, with its data; the sentinels make it a replica of the new
        one.
        """
        self._start("primary", self._server("primary"))
        assert eventually(
            lambda: self._info("primary", "replication").get("master_link_status") == "up", 60
        ), "no replica"

    def _changed(self) -> bool:
        now = {_named(port) for port in self._ports[2:]}
        return (
            now == {self._ports[1]} and self._info("replica", "replication").get("role") == "master"
        )

    def _server(self, name: str, *more: str) -> list[str]:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        port = self._ports[("primary", "replica").index(name)]
        keep = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--repl-diskless-sync-delay",
            "0",
        ]
        return [
            self._binary,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            *keep,
            *more,
        ]

    def _start(self, name: str, argv: list[str]) -> None:
        supervisor = Supervisor([Child(name, argv, log=self._folder / f"{name}.log")])
        self._running[name] = self._stack.enter_context(supervisor)

    def _pid(self, name: str) -> int:
        return self._running[name].pids[name]

    def _client(self, name: str) -> redis.Redis:
        return connect(
            f"redis://127.0.0.1:{self._ports[('primary', 'replica').index(name)]}/0", timeout=2.0
        )

    def _info(self, name: str, section: str) -> dict[str, Any]:
        with suppress(redis.RedisError), self._client(name) as client:
            return dict(client.info(section))
        return {}


@contextmanager
def trio(folder: Path) -> Iterator[Trio]:
    """All five, in a folder of their own."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        servers = Trio(folder, stack)
        servers.start()
        yield servers


def _ask(port: int, *words: str) -> Any:
    with connect(f"redis://127.0.0.1:{port}/0", timeout=2.0) as client:
        return client.execute_command("SENTINEL", *words)


def _agreed(port: int) -> bool:
    with suppress(redis.RedisError):
        flat = _ask(port, "MASTER", MASTER)
        state = dict(zip(flat[::2], flat[1::2], strict=True))
        return int(state[b"num-slaves"]) == 1 and int(state[b"num-other-sentinels"]) == 2
    return False


def _named(port: int) -> int | None:
    """The port of the primary that a sentinel names."""
    with suppress(redis.RedisError):
        return int(_ask(port, "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
    return None


def _free_ports(count: int) -> list[int]:
    """Held together until all are found, so that none comes twice."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
