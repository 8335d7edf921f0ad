"""A Redis that does not sync each write, and what a power cut leaves of its file.

SIGKILL alone loses nothing that Redis has written: the kernel has it. So the file is cut back to
its length of a moment ago, as if nothing written since had reached the disk.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from unittest import mock

from service.local import redis as local_redis

# Redis begins a sync a second after a write at the latest; what is younger is not on the disk.
UNSYNCED_SECONDS = 1.5
LOOK_SECONDS = 0.02


class Persistence(StrEnum):
    """How the stack's Redis keeps its data."""

    EACH_WRITE = "each-write"
    EVERY_SECOND = "everysec"
    NO_FILE = "no-file"


@contextmanager
def persistence(kind: Persistence) -> Iterator[None]:
    """Start embedded servers that persist this way."""
    text = local_redis._CONFIG
    if kind is Persistence.EVERY_SECOND:
        text = text.replace("appendfsync always", "appendfsync everysec")
    if kind is Persistence.NO_FILE:
        text = text.replace("appendonly yes", "appendonly no")
    assert kind is Persistence.EACH_WRITE or text != local_redis._CONFIG
    with mock.patch.object(local_redis, "_CONFIG", text):
        yield


class PowerCut:
    """Watches the append-only file of a data directory, and kills its server as the power does."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "redis" / "appendonlydir"
        self._sizes: dict[Path, deque[tuple[float, int]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="power", daemon=True)
        self.cut_bytes = 0

    def __enter__(self) -> PowerCut:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for path in list(self._folder.glob("*.incr.aof")):
                with suppress(OSError):
                    sizes = self._sizes.setdefault(path, deque(maxlen=500))
                    sizes.append((time.monotonic(), path.stat().st_size))

    def kill(self, pid: int) -> None:
        """End a server, and what it wrote last. Raises ProcessLookupError."""
        os.kill(pid, signal.SIGSTOP)
        cut_at = time.monotonic() - UNSYNCED_SECONDS
        try:
            for path, sizes in list(self._sizes.items()):
                synced = max((size for at, size in list(sizes) if at <= cut_at), default=None)
                if synced is not None and path.exists():
                    self.cut_bytes += max(0, path.stat().st_size - synced)
                    os.truncate(path, min(synced, path.stat().st_size))
                    sizes.clear()
        finally:
            os.kill(pid, signal.SIGKILL)
