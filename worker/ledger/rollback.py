"""Detects that Redis has gone back in time: a restored backup, or a promoted replica that lagged.

Such a Redis lists submissions as not delivered that were delivered since, and a create whose
announcement is lost would be repeated blindly. So each worker process counts the creates that it
announces: in Redis together with the announcement (`announce.lua`), in its memory, and in a file in
its data directory. It also remembers the total over all processes as of its last report, so that it
can vouch for processes that have left since.

    DATA/rollback/NAME     create count, server, time, total: locked while its process lives, taken
                           over by the next process that starts here

After every restart or failover of Redis (its run id or replication id changes), no create is
announced until every process on the roll in the store has reported: living processes with their
next heartbeat, dead ones through the process that finds their file. Redis applies writes in order,
so if the newest announcement of each process is there, nothing is missing. A count higher than the
store's, or a process that nobody can report for, sets `restored_at`: the moment at which everything
that may still be on its way has settled. Older submissions wait until then and are looked up in
Pipedrive before anything is created for them (`worker.delivery.unknown_outcome`).

The same exchange detects a clock that was set ahead: an announced create then settles from that
moment, however old the clock makes it look. A copied file, as from a backup of the whole data
directory, was changed later than the time written in it and counts as missing. All this costs a
delivery no token and one exchange with Redis; only a submission in doubt pays for a look-up, once.
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

log = structlog.get_logger("leadline.rollback")

# The folder inside the data directory.
FOLDER = "rollback"

# How long to wait for the processes on the roll after a restart of Redis: three heartbeats, or the
# start of a process.
ROLL_CALL_SECONDS = 15.0

# Nobody waits for a process that had been silent for longer when the store was last written.
SILENT_PROCESS_SECONDS = 60.0

# A file that was changed this much later than the time written in it was copied there.
MAX_FILE_AGE_DIFFERENCE_SECONDS = 10.0

# A file always has this size, so that each write replaces the whole content.
FILE_BYTES = 200


class StoreStatus(Struct, frozen=True):
    """What the store says about its own past; until it is `agreed`, ask again.

    `restored_at` is Unix seconds as text, empty if the store never went back. `needs_lookup`: the
    record in question is older than that and has not been looked up since. `clock_jump_at` (Unix
    seconds) is when the store's clock was last found to be set ahead, 0 if it never was; the clock
    cannot tell how long ago anything before that happened.
    """

    agreed: bool = True
    restored_at: str = ""
    needs_lookup: bool = False
    clock_jump_at: float = 0.0

    @property
    def lookup_before(self) -> float | None:
        """The moment (Unix seconds) before which this record may have been delivered already."""
        return float(self.restored_at) if self.needs_lookup else None


NEVER_RESTORED = StoreStatus()


class ProcessReport(Struct, frozen=True):
    """How many creates a process announced, on which run of the server, and the total it saw."""

    name: str
    create_count: int
    server: str
    total_create_count: int


class RollbackDetector:
    """One process's create count and what it knows of others; any thread may use it.

    With `folder` None, all of it stays in memory only. `wall` returns Unix seconds by the clock of
    the files. Nothing is opened before the first `reports`.
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

    def record_create_count(self, create_count: int) -> None:
        """Notes the count that the store has for us, before the create is sent."""
        with self._lock:
            self.create_count = max(self.create_count, create_count)
            self._write()

    def record_total(self, total_create_count: int) -> None:
        """Notes how many creates the store says all processes have announced together."""
        with self._lock:
            if total_create_count > self.total_create_count:
                self.total_create_count = total_create_count
                self._write()

    def reports(self) -> list[ProcessReport]:
        """Our own report, then those of processes that died here and are not reported yet."""
        with self._lock:
            self._open()
            own_report = ProcessReport(
                self.name, self.create_count, self.server, self.total_create_count
            )
            dead = [_read_report(name, file) for name, file in self._dead.items()]
            return [own_report, *(report for report in dead if report is not None)]

    def confirm_server(self, server: str) -> None:
        """Notes the run of the server that all agreed on; removes the files of dead processes."""
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
        """Closes the file; `keep` leaves it on disk, as the store still waits for our report."""
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
                "the create count cannot be kept on disk",
                folder=str(self._folder),
                error=type(error).__name__,
            )

    def _write(self) -> None:
        """Writes without a sync: the file must survive the process, not the machine.

        After a crash of the machine the count is older or missing, and either is noticed.
        """
        if self._file is None:
            return
        text = (
            f"{self.create_count} {self.server or '-'} {self._wall():.3f}"
            f" {self.total_create_count}\n"
        )
        with suppress(OSError):
            os.pwrite(self._file, text.encode().ljust(FILE_BYTES), 0)


def _read_report(name: str, file: int) -> ProcessReport | None:
    """The last report of a dead process; None if the file is unreadable or a copy."""
    try:
        create_count, server, at, total = os.pread(file, FILE_BYTES, 0).decode().split()
        if os.fstat(file).st_ctime - float(at) > MAX_FILE_AGE_DIFFERENCE_SECONDS:
            return None
        return ProcessReport(name, int(create_count), "" if server == "-" else server, int(total))
    except (OSError, ValueError):
        return None


def _lock_file(path: Path, flags: int = 0) -> int | None:
    """Opens and locks the file; None while its process lives."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
