"""The local spool: keeps submissions on disk while Redis cannot take them.

    DATA/spool/NAME.sqlite   one file per process and life: WAL, synchronous FULL
    DATA/spool/NAME.lock     held by its owner; any process may adopt a file whose lock is free

A submission gets its 2xx only once it is on disk. One that cannot be decrypted (its key is missing,
its version is newer) blocks nothing and is left for a process that can. A row is deleted when Redis
has it, bytes and all: deleted rows are overwritten, and the write-ahead log is truncated. A full
spool refuses new submissions and never drops old ones. A file that cannot be read is set aside
under another name and logged; a file on which a write failed is never written again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import structlog
from ulid import ULID

from worker.accept.spool_file import Row, SpoolFile, file_size, lock_file, open_orphan, set_aside
from worker.contract import Receipt, Submission
from worker.encryption import Cipher
from worker.errors import LeadlineError

log = structlog.get_logger("leadline.spool")

# The folder inside the data directory.
SPOOL_FOLDER = "spool"


# The rest is for verified submissions: they have room whatever strangers post.
STRANGERS_SHARE = 0.5


class SpoolFull(LeadlineError):
    """The spool has reached its size limit."""

    code = "spool-full"


class SpoolBroken(LeadlineError):
    """The disk failed: nothing that was handed over counts as stored."""

    code = "spool-broken"


class Spool:
    """The spool of one process. Its methods block for a disk sync; any thread may call them.

    `max_bytes` bounds the stored submissions. Nothing is opened before the first `put`.
    """

    def __init__(self, folder: Path, max_bytes: int, cipher: Cipher) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._cipher = cipher
        self._mutex = threading.RLock()
        self._file: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._undecryptable: set[Path] = set()

    def put(self, submissions: Sequence[Submission], now: float) -> list[Receipt]:
        """Stores new submissions in one transaction; returns a receipt for each one given.

        Strangers get no more room once `STRANGERS_SHARE` of the spool is used. Raises `SpoolFull`
        or `SpoolBroken`: then nothing is stored.
        """
        with self._mutex:
            file = self._own_file()
            rows = [self._encode_row(submission, now) for submission in submissions]
            no_room = self._find_without_room(file, submissions, rows)
            fitting = [
                (submission, row)
                for submission, row in zip(submissions, rows, strict=True)
                if submission.id not in no_room
            ]
            if file.bytes + sum(len(row.body) for _, row in fitting) > self._max_bytes:
                raise SpoolFull("the local spool is full")
            try:
                receipts = iter(
                    file.put([each for each, _ in fitting], [row for _, row in fitting], now)
                )
                return [
                    Receipt(each.id, each.state, duplicate=False, no_room=True)
                    if each.id in no_room
                    else next(receipts)
                    for each in submissions
                ]
            except (sqlite3.Error, OSError) as error:
                # After a failed sync nobody knows what the kernel dropped: write no more rows here.
                self._file = None
                self._adopted.append(file)
                raise SpoolBroken(
                    f"the local spool cannot be written: {type(error).__name__}"
                ) from error

    def oldest(self, limit: int) -> list[Submission]:
        """The next submissions to hand over, oldest first, all from one file; may be empty."""
        with self._mutex:
            for file in self._files():
                try:
                    submissions = file.oldest(limit, self._cipher)
                except sqlite3.OperationalError as error:
                    log.warning(
                        "a spool file cannot be read now",
                        file=file.path.name,
                        error=str(error),
                    )
                    continue
                if submissions:
                    return submissions
                file.tidy()
                if file is not self._file and not file.handed_over:
                    self._adopted.remove(file)
                    self._leave_behind(file) if file.count else file.remove()
            return []

    def _leave_behind(self, file: SpoolFile) -> None:
        if file.damage:
            file.close()
            set_aside(file.path, file.damage)
            return
        log.error(
            "a spool file is left for a process that can decrypt it",
            file=file.path.name,
            submissions=file.count,
        )
        self._undecryptable.add(file.path)
        file.tidy()
        file.close()

    def find(self, submission_id: str) -> Submission | None:
        """The submission with this id if it waits here for Redis, else None."""
        with self._mutex:
            for file in self._files():
                if (submission := file.find(submission_id, self._cipher)) is not None:
                    return submission
            return None

    def take_out(self, ids: Sequence[str]) -> None:
        """Removes the submissions that Redis has taken."""
        with self._mutex:
            for file in self._files():
                with suppress(sqlite3.Error):
                    file.take_out(ids)

    def adopt(self) -> int:
        """Takes over files of dead processes; returns how many submissions adopted files hold."""
        with self._mutex:
            open_or_left = self._undecryptable | {file.path for file in self._files()}
            for path in sorted(self._folder.glob("*.sqlite")) if self._folder.is_dir() else []:
                if path not in open_or_left and (file := open_orphan(path)) is not None:
                    self._adopted.append(file)
            return sum(file.count for file in self._adopted)

    @property
    def count(self) -> int:
        """How many submissions wait for Redis."""
        with self._mutex:
            return sum(file.count for file in self._files())

    def usable(self) -> bool:
        """Whether a submission could be stored now; makes a trial write."""
        with self._mutex:
            try:
                file = self._own_file()
                file.touch()
            except (SpoolBroken, sqlite3.Error, OSError):
                return False
            return file.bytes < self._max_bytes

    def close(self) -> None:
        """Closes the files; empty ones are removed, the others stay for the next process."""
        with self._mutex:
            for file in self._files():
                file.remove() if file.count == 0 else file.close()
            self._file, self._adopted = None, []

    def _own_file(self) -> SpoolFile:
        if self._file is None:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = (
                    self._folder / f"{int(time.time())}-{os.getpid()}-{secrets.token_hex(4)}.sqlite"
                )
                self._file = SpoolFile(path, lock_file(path))
            except (sqlite3.Error, OSError) as error:
                raise SpoolBroken(
                    f"the local spool cannot be opened: {type(error).__name__}"
                ) from error
        return self._file

    def _find_without_room(
        self, file: SpoolFile, submissions: Sequence[Submission], rows: Sequence[Row]
    ) -> set[str]:
        """The ids of strangers' submissions that do not fit; all events of a request, or none."""
        requests: dict[str, list[tuple[str, int]]] = {}
        for submission, row in zip(submissions, rows, strict=True):
            if not submission.verified:
                request = requests.setdefault(submission.raw_of or submission.id, [])
                request.append((submission.id, len(row.body)))
        room, without_room = self._max_bytes * STRANGERS_SHARE - file.bytes, set[str]()
        for events in requests.values():
            size = sum(size for _, size in events)
            if size > room:
                without_room |= {submission_id for submission_id, _ in events}
            else:
                room -= size
        return without_room

    def _files(self) -> list[SpoolFile]:
        return [*self._adopted, *([self._file] if self._file else [])]

    def _encode_row(self, submission: Submission, now: float) -> Row:
        key = submission.duplicate_key
        body = self._cipher.encrypt(msgspec.msgpack.encode(submission))
        if key is None:
            return Row(submission.id, None, None, None, None, body)
        return Row(
            submission.id,
            f"{submission.source}\x1f{key.kind}\x1f{key.value}",
            key.fingerprint,
            key.kind,
            None if key.window is None else now + key.window,
            body,
        )


def count_spooled(folder: Path) -> int:
    """How many submissions the spools in this folder hold; an unreadable file counts as none."""
    total = 0
    for path in folder.glob("*.sqlite") if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            total += int(db.execute("select count(*) from submission").fetchone()[0])
    return total


def spools_holding_before(folder: Path, before: float) -> list[str]:
    """The spool files that hold submissions older than `before` (Unix seconds), or their bytes."""
    names = []
    for path in sorted(folder.glob("*.sqlite")) if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            first, newer = db.execute("select min(id), count(*) from submission").fetchone()
            if (first is not None and first <= _max_id(before)) or (
                not newer and file_size(path.with_name(f"{path.name}-wal"))
            ):
                names.append(path.name)
    return names


def damaged_spools(folder: Path) -> list[str]:
    """The names of files that were set aside because they could not be read."""
    return sorted(path.name for path in folder.glob("*.damaged*")) if folder.is_dir() else []


def _max_id(at: float) -> str:
    """A text that sorts after every id (a ULID) issued up to `at`."""
    return str(ULID.from_timestamp(at))[:10] + "~"
