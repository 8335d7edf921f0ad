"""How workers notice that Redis has gone back in time: a snapshot or backup restored, a replica
promoted that lagged.

What was delivered since then stands there as not delivered, and a create whose announcement is gone
would be repeated blindly. So each worker process counts the creates it announces, in Redis together
with the announcement (`announce.lua`), in its memory, and in a file of its data directory. It also
remembers the total over all processes when it last reported, so that it can vouch for those that
have left since.

    DATA/rollback/NAME     create count, server, time, total: locked while its process lives, taken
                           over by the next process that starts here

After every restart or failover of Redis (its run id or replication id changes) nothing is announced
until every process on the roll that the store holds has reported: the living ones with their tick,
the dead ones through whoever finds their file. Redis applies writes in order, so if the newest
announcement of each process is there, nothing is missing. A count higher than the store's, or a
process that nobody can report for, sets `restored_at`: the moment at which everything that may
still be on its way has settled. What came before it waits until then and is looked up in Pipedrive
before anything is created for it (`worker.delivery.unknown_outcome`).

The same exchange finds a clock that was set ahead: a create settles from then on, however old the
clock makes it look. A file that was copied, as with a backup of the whole data directory, was
changed later than the time written in it, and counts as missing. All this costs a delivery no token
and one exchange with Redis; a submission in doubt pays for the look-up, once.
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

# Inside the data directory.
FOLDER = "rollback"

# How long after a restart of Redis the processes on the roll are waited for: three ticks, or the
# start of a process.
ROLL_CALL_SECONDS = 15.0

# A process that had been silent for longer when the store was last written is not waited for.
SILENT_PROCESS_SECONDS = 60.0

# A file that was changed so much later than the time written in it was put there by somebody else.
MAX_FILE_AGE_DIFFERENCE_SECONDS = 10.0

# A file is always written whole.
FILE_BYTES = 200


class StoreStatus(Struct, frozen=True):
    """What the store says of its own past; until `agreed`, ask again.

    `restored_at` is Unix seconds as text, empty when the store never went back. `needs_lookup`: the
    record in question came before that and has not been looked up since. `clock_jump_at` (Unix
    seconds) is when the store's clock was last found set ahead, 0 when it never was: by it nobody
    can tell how long ago anything before that was.
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
    """How many creates a process announced, on which life of the server, and the total it heard."""

    name: str
    create_count: int
    server: str
    total_create_count: int


class RollbackDetector:
    """What one process knows of the past; any thread may use it.

    `folder` None keeps it in memory only. `wall` returns Unix seconds, the time that files have.
    Nothing is opened before the first `reports`.
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
        """Notes the count that the store has of us, before anything is created."""
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
        """Our own report, then those of processes that died here and were not reported yet."""
        with self._lock:
            self._open()
            own_report = ProcessReport(
                self.name, self.create_count, self.server, self.total_create_count
            )
            dead = [_read_report(name, file) for name, file in self._dead.items()]
            return [own_report, *(report for report in dead if report is not None)]

    def confirm_server(self, server: str) -> None:
        """Takes `server` as the life that all agreed on: nobody asks for the dead any more."""
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
        """Ends with the process. `keep` leaves its file: the store still waits for its report."""
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
        """Writes without a sync: the file must outlive the process, not the machine.

        After the machine's death there is an older count, or none, and either is noticed.
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
    """The last report of a dead process; None where the file says nothing or was copied here."""
    try:
        create_count, server, at, total = os.pread(file, FILE_BYTES, 0).decode().split()
        if os.fstat(file).st_ctime - float(at) > MAX_FILE_AGE_DIFFERENCE_SECONDS:
            return None
        return ProcessReport(name, int(create_count), "" if server == "-" else server, int(total))
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
