"""How workers notice that Redis has gone back in time: an old snapshot or backup restored, a
replica promoted that lagged.

What was delivered since stands there as not delivered, and a create whose announcement is gone
would be repeated blindly. So each worker process counts the creates that it announces, in Redis
with the announcement itself (`announce.lua`), in its memory and in a file of its data directory:
its mark. It also remembers how many all of them had announced when it last asked, so that it can
tell of those that have left since.

    DATA/tide/NAME     mark, server, time, all; locked while its process lives, taken over by the next one that starts here

After every restart or failover of Redis (its run id or replication id is another) nothing is
announced before everybody on the roll that the store holds has spoken: the living by their beat,
the dead by whoever finds their file. Redis applies writes in order, so if the newest announcement
of each is there, nothing is missing. A mark that is higher than what the store says, or a process
that nobody can speak for, sets the *horizon*: the moment at which everything that may still be on
its way has settled. What came before it waits until then and is looked for in Pipedrive before
anything of it is made (`worker.delivery.unknown_outcome`). The same exchange finds a clock that was
set ahead: a create settles from then on, however old the clock makes it look. A file that was
copied, as with a backup of the whole data directory, was changed later than the time written in it,
and counts as missing. Costs a delivery no token and an exchange with Redis; one in doubt pays for
the look, once.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec import Struct

log = structlog.get_logger("leadline.tide")

FOLDER = "tide"
"""Inside the data directory."""

ROLL_CALL_SECONDS = 15.0
"""How long after a restart of Redis those on the roll are waited for: three beats, or the start of
a process.
"""

SILENT_PROCESS_SECONDS = 60.0
"""Who was silent for longer when the store was last written is not waited for."""

MAX_FILE_AGE_DIFFERENCE_SECONDS = 10.0
"""A file that was changed so much later than it says was put here by somebody else."""

FILE_BYTES = 200
"""Bytes of a file, always written whole."""


class StoreStatus(Struct, frozen=True):
    """What the store says of itself. Until `agreed`, ask again. `horizon` is Unix seconds as text,
    empty when there never was one; `doubt`: the record asked for came before it and has not been
    looked for since. `leap` (Unix seconds): when its clock was last found to be set ahead, 0 when
    it never was; how long ago something before it was cannot be told by it.
    """

    agreed: bool
    restored_at: str
    needs_lookup: bool
    clock_jump_at: float = 0.0


class ProcessReport(Struct, frozen=True):
    """A process by its name, how many creates it announced, on which life of the server, and how
    many all had when it asked.
    """

    name: str
    create_count: int
    server: str
    total_create_count: int


class RollbackDetector:
    """What one process knows of the past. `folder` None: only in memory. `wall` is Unix seconds, as
    files have them.

    Nothing is opened before the first `voices`; any thread may use it.
    """

    def __init__(
        self, folder: Path | None, settle_seconds: float, wall: Callable[[], float] = time.time
    ) -> None:
        self.name = secrets.token_hex(8)
        self.settle_seconds = settle_seconds
        self.create_count = 0
        self.total_create_count = 0
        self.server = ""
        self._folder = folder
        self._wall = wall
        self._file: int | None = None
        self._opened = False
        self._dead: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def report(self) -> ProcessReport:
        return ProcessReport(self.name, self.create_count, self.server, self.total_create_count)

    def record_create_count(self, mark: int) -> None:
        """The store has our mark at `mark`; written down before anything is created."""
        with self._lock:
            self.create_count = max(self.create_count, mark)
            self._write()

    def record_total(self, all_: int) -> None:
        """So many creates were announced by everybody together, as the store says."""
        with self._lock:
            if all_ > self.total_create_count:
                self.total_create_count = all_
                self._write()

    def reports(self) -> list[ProcessReport]:
        """Our own, and those of processes that died here and were not spoken for yet."""
        with self._lock:
            self._open()
            dead = [_read_report(name, file) for name, file in self._dead.items()]
            return [self.report, *(voice for voice in dead if voice is not None)]

    def confirm_server(self, server: str) -> None:
        """This life of the server is the one that all agreed on: nobody asks for the dead any
        more.
        """
        with self._lock:
            if server != self.server:
                self.server = server
                self._write()
            while self._dead:
                name, file = self._dead.popitem()
                if self._folder is not None:
                    (self._folder / name).unlink(missing_ok=True)
                os.close(file)

    def close(self, *, keep: bool) -> None:
        """At the end of the process. Its file is kept while the store still counts on somebody who
        speaks for it.
        """
        with self._lock:
            if self._file is not None and self._folder is not None:
                if not keep:
                    (self._folder / self.name).unlink(missing_ok=True)
                os.close(self._file)
                self._file = None

    def _open(self) -> None:
        if self._opened or self._folder is None:
            return
        self._opened = True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._dead = {
                path.name: file
                for path in sorted(self._folder.iterdir())
                if (file := _lock_file(path)) is not None
            }
            self._file = _lock_file(self._folder / self.name, os.O_CREAT)
            self._write()
        except OSError as error:
            log.warning(
                "no mark can be kept on disk", folder=str(self._folder), error=type(error).__name__
            )

    def _write(self) -> None:
        """No sync: it must outlive the process. After the machine's death an older mark is there,
        or none.
        """
        if self._file is None:
            return
        text = f"{self.create_count} {self.server or '-'} {self._wall():.3f} {self.total_create_count}\n"
        with suppress(OSError):
            os.pwrite(self._file, text.encode().ljust(FILE_BYTES), 0)


def _read_report(name: str, file: int) -> ProcessReport | None:
    """None for a file that says nothing, or was put here by somebody else: nobody can speak for
    that process.
    """
    try:
        mark, server, at, all_ = os.pread(file, FILE_BYTES, 0).decode().split()
        if os.fstat(file).st_ctime - float(at) > MAX_FILE_AGE_DIFFERENCE_SECONDS:
            return None
        return ProcessReport(name, int(mark), "" if server == "-" else server, int(all_))
    except (OSError, ValueError):
        return None


def _lock_file(path: Path, flags: int = 0) -> int | None:
    """The file, locked for us; None while its process lives."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
