"""The local spool: where submissions are kept when Redis cannot take them. A row in it is on disk
before its sender hears 2xx.

    DATA/spool/NAME.sqlite   one file per process and life: WAL, synchronous FULL
    DATA/spool/NAME.lock     held by its owner; a file whose lock is free belongs to whoever takes it (`adopt`)

What cannot be opened (its key is missing, its version is newer) holds up nothing and is left for a
process that can. Rows leave when Redis has them, bytes and all: what is deleted is overwritten, and
the log of changes is cut. Bounded: full means refused, never dropped. A file that cannot be read is
set aside under another name and said so; a file on which a write failed is never written again.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
import structlog
from ulid import ULID

from worker.contract import Receipt, Submission
from worker.encryption import Cipher, DecryptionError
from worker.errors import LeadlineError

log = structlog.get_logger("leadline.spool")

SPOOL_FOLDER = "spool"
"""The folder inside the data directory."""

BUSY_SECONDS = 2.0
"""How long another writer of the file is waited for."""

SCHEMA = """
create table if not exists submission (
    number integer primary key, id text not null unique, key text, fingerprint text, kind text, until real, body blob not null
);
create index if not exists submission_key on submission (key) where key is not null;
"""


INSERT = (
    "insert or ignore into submission (id, key, fingerprint, kind, until, body) values (?, ?, ?, ?,"
    " ?, ?)"
)
Row = tuple[str, str | None, str | None, str | None, float | None, bytes]


class SpoolFull(LeadlineError):
    """The spool holds as much as it may."""

    code = "spool-full"


class SpoolBroken(LeadlineError):
    """The disk refused: nothing of what was handed over counts as stored."""

    code = "spool-broken"


class Spool:
    """One process's spool. Its methods block for a disk sync and may be called from any thread, one
    at a time.

    `most` is the bound in bytes of stored submissions. Nothing is opened before the first `put`.
    """

    def __init__(self, folder: Path, max_bytes: int, cipher: Cipher) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._cipher = cipher
        self._mutex = threading.RLock()
        self._file: _SpoolFile | None = None
        self._adopted: list[_SpoolFile] = []
        self._foreign: set[Path] = set()

    def put(self, submissions: Sequence[Submission], now: float) -> list[Receipt]:
        """Stores what is new, in one transaction, and answers for each. Raises `SpoolFull`,
        `SpoolBroken`: nothing is stored.
        """
        with self._mutex:
            file = self._own()
            rows = [self._row(submission, now) for submission in submissions]
            if file.bytes + sum(len(row[5]) for row in rows) > self._max_bytes:
                raise SpoolFull("the local spool is full")
            try:
                return file.put(submissions, rows, now)
            except (sqlite3.Error, OSError) as error:
                # After a failed sync nobody knows what the system has dropped, so this file gets no
                # further rows.
                self._file = None
                self._adopted.append(file)
                raise SpoolBroken(
                    f"the local spool cannot be written: {type(error).__name__}"
                ) from error

    def oldest(self, limit: int) -> list[Submission]:
        """The next to hand over, oldest first, of ours or of an adopted file; empty when there is
        none.
        """
        with self._mutex:
            for file in self._files():
                try:
                    found = file.oldest(limit, self._cipher)
                except sqlite3.OperationalError as error:
                    log.warning(
                        "a spool file cannot be read just now",
                        file=file.path.name,
                        error=str(error),
                    )
                    continue
                if found:
                    return found
                file.tidy()
                if file is not self._file and not file.handed_over:
                    self._adopted.remove(file)
                    self._leave_behind(file) if file.count else file.remove()
            return []

    def _leave_behind(self, file: _SpoolFile) -> None:
        if file.damage:
            file.close()
            _set_aside(file.path, file.damage)
            return
        log.error(
            "a spool file is left for a process that can open it",
            file=file.path.name,
            submissions=file.count,
        )
        self._foreign.add(file.path)
        file.tidy()
        file.close()

    def find(self, submission_id: str) -> Submission | None:
        """A submission that waits here for Redis."""
        with self._mutex:
            return next(
                (
                    found
                    for file in self._files()
                    if (found := file.find(submission_id, self._cipher))
                ),
                None,
            )

    def take_out(self, ids: Sequence[str]) -> None:
        """Removes what Redis has."""
        with self._mutex:
            for file in self._files():
                with suppress(sqlite3.Error):
                    file.take_out(ids)

    def adopt(self) -> int:
        """Takes over the files of processes that are gone. Returns how many submissions they
        hold.
        """
        with self._mutex:
            mine = self._foreign | {file.path for file in self._files()}
            for path in sorted(self._folder.glob("*.sqlite")) if self._folder.is_dir() else []:
                if path not in mine and (file := _open(path)) is not None:
                    self._adopted.append(file)
            return sum(file.count for file in self._adopted)

    @property
    def count(self) -> int:
        """Submissions that wait for Redis."""
        with self._mutex:
            return sum(file.count for file in self._files())

    def usable(self) -> bool:
        """Whether a submission could be stored now: a trial write."""
        with self._mutex:
            try:
                file = self._own()
                file.touch()
            except (SpoolBroken, sqlite3.Error, OSError):
                return False
            return file.bytes < self._max_bytes

    def close(self) -> None:
        """Leaves what is stored for the next process; removes an empty file."""
        with self._mutex:
            for file in self._files():
                file.remove() if file.count == 0 else file.close()
            self._file, self._adopted = None, []

    def _own(self) -> _SpoolFile:
        if self._file is None:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = (
                    self._folder / f"{int(time.time())}-{os.getpid()}-{secrets.token_hex(4)}.sqlite"
                )
                self._file = _SpoolFile(path, _lock(path))
            except (sqlite3.Error, OSError) as error:
                raise SpoolBroken(
                    f"the local spool cannot be opened: {type(error).__name__}"
                ) from error
        return self._file

    def _files(self) -> list[_SpoolFile]:
        return [*self._adopted, *([self._file] if self._file else [])]

    def _row(self, submission: Submission, now: float) -> Row:
        key = submission.duplicate_key
        body = self._cipher.encrypt(msgspec.msgpack.encode(submission))
        if key is None:
            return submission.id, None, None, None, None, body
        until = None if key.window is None else now + key.window
        return (
            submission.id,
            f"{submission.source}\x1f{key.kind}\x1f{key.value}",
            key.fingerprint,
            key.kind,
            until,
            body,
        )


class _SpoolFile:
    """One SQLite file, open and locked."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock
        self._db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.execute("pragma secure_delete = on")
        self._db.executescript(SCHEMA)
        count, size = self._db.execute(
            "select count(*), coalesce(sum(length(body)), 0) from submission"
        ).fetchone()
        self.count, self.bytes = int(count), int(size)
        self._unreadable: set[str] = set()
        self.handed_over: set[str] = set()
        """Redis has them, and the file took no writes since to delete them."""
        self.damage = ""

    def put(
        self, submissions: Sequence[Submission], rows: Sequence[Row], now: float
    ) -> list[Receipt]:
        receipts, added, size = [], 0, 0
        with self._transaction() as db:
            for submission, row in zip(submissions, rows, strict=True):
                first = db.execute(
                    "select id, fingerprint from submission where key = ? and (until is null or"
                    " until > ?)",
                    (row[1], now),
                ).fetchone()
                if first is None or first[0] == submission.id:
                    db.execute(INSERT, row)
                    added, size = added + 1, size + len(row[5])
                    receipts.append(Receipt(submission.id, submission.state, duplicate=False))
                else:
                    other_body = row[3] == "key" and first[1] != row[2]
                    receipts.append(
                        Receipt(
                            first[0],
                            submission.state,
                            duplicate=not other_body,
                            conflict=other_body,
                        )
                    )
        self.count, self.bytes = self.count + added, self.bytes + size
        return receipts

    def find(self, submission_id: str, cipher: Cipher) -> Submission | None:
        row = self._db.execute(
            "select body from submission where id = ?", (submission_id,)
        ).fetchone()
        return self._decode(submission_id, row[0], cipher) if row else None

    def oldest(self, limit: int, cipher: Cipher) -> list[Submission]:
        """The oldest of those that can be opened; what is damaged keeps no other from it. Raises
        `sqlite3.OperationalError`.
        """
        found: list[Submission] = []
        with (
            self._note_damage(),
            closing(self._db.execute("select number, id from submission order by number")) as rows,
        ):
            while len(found) < limit and (row := rows.fetchone()):
                passed_over = row[1] in self._unreadable or row[1] in self.handed_over
                if not passed_over and (submission := self._read(row[0], row[1], cipher)):
                    found.append(submission)
        return found

    def _read(self, number: int, submission_id: str, cipher: Cipher) -> Submission | None:
        with self._note_damage():
            [body] = self._db.execute(
                "select body from submission where number = ?", (number,)
            ).fetchone()
            return self._decode(submission_id, body, cipher)
        self._unreadable.add(submission_id)
        return None

    @contextmanager
    def _note_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.damage = str(error)

    def _decode(self, submission_id: str, body: bytes, cipher: Cipher) -> Submission | None:
        try:
            return msgspec.msgpack.decode(cipher.decrypt(body), type=Submission)
        except (DecryptionError, msgspec.MsgspecError) as error:
            if submission_id not in self._unreadable:
                log.error(
                    "a spooled submission cannot be opened; it stays",
                    id=submission_id,
                    error=type(error).__name__,
                )
            self._unreadable.add(submission_id)
            return None

    def take_out(self, ids: Sequence[str]) -> None:
        """What cannot be deleted just now is passed over from here on, and deleted as soon as it
        can be.
        """
        self.handed_over.update(ids)
        sizes = []
        with self._transaction() as db:
            for submission_id in self.handed_over:
                sizes += db.execute(
                    "delete from submission where id = ? returning length(body)", (submission_id,)
                ).fetchall()
        self.count, self.bytes = (
            self.count - len(sizes),
            self.bytes - sum(size for (size,) in sizes),
        )
        self.handed_over.clear()
        self._cut()

    def tidy(self) -> None:
        """Deletes what it could not before, and cuts the log of changes; where that cannot be done
        just now, the next time.
        """
        if self.handed_over:
            with suppress(sqlite3.Error):
                self.take_out(())
        self._cut()

    def _cut(self) -> None:
        """Deleted rows still stand in the log of changes, until nobody reads it."""
        if _file_size(self.path.with_name(f"{self.path.name}-wal")):
            with suppress(sqlite3.Error):
                self._db.execute("pragma wal_checkpoint(truncate)").fetchone()

    def touch(self) -> None:
        """A write that is synced, and changes nothing."""
        with self._transaction() as db:
            db.execute("pragma user_version = 1")

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.close()

    def remove(self) -> None:
        """Removes the file, which is empty, with all that belongs to it."""
        with suppress(sqlite3.Error):
            self._db.close()
        for name in (
            self.path.name,
            f"{self.path.name}-wal",
            f"{self.path.name}-shm",
            f"{self.path.stem}.lock",
        ):
            (self.path.parent / name).unlink(missing_ok=True)
        self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("begin immediate")
        try:
            yield self._db
            self._db.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("rollback")
            raise


def _lock(path: Path) -> IO[bytes]:
    """The lock of a file; raises BlockingIOError while its owner lives."""
    lock = (path.parent / f"{path.stem}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def _open(path: Path) -> _SpoolFile | None:
    """A file whose owner is gone; None if the owner lives. One that is damaged is set aside, with
    its name in the log.
    """
    try:
        lock = _lock(path)
    except OSError:
        return None
    try:
        return _SpoolFile(path, lock)
    except sqlite3.OperationalError as error:
        log.warning("a spool file cannot be opened just now", file=path.name, error=str(error))
        lock.close()
        return None
    except sqlite3.Error as error:
        _set_aside(path, str(error))
        lock.close()
        return None


def _set_aside(path: Path, error: str) -> None:
    aside = path.with_suffix(".damaged")
    for end in ("", "-wal"):  # the newest rows may stand in the log of changes alone
        with suppress(OSError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    log.error("a spool file is damaged and was set aside", file=aside.name, error=error)


def count_spooled(folder: Path) -> int:
    """How many submissions all processes of this data directory hold in their spools; files that
    cannot be read count as none.
    """
    total = 0
    for path in folder.glob("*.sqlite") if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            total += int(db.execute("select count(*) from submission").fetchone()[0])
    return total


def spools_holding_before(folder: Path, before: float) -> list[str]:
    """The names of the spools that hold submissions taken before then (Unix seconds), or their
    bytes.
    """
    found = []
    for path in sorted(folder.glob("*.sqlite")) if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            first, newer = db.execute("select min(id), count(*) from submission").fetchone()
            if (first is not None and first <= _max_id(before)) or (
                not newer and _file_size(path.with_name(f"{path.name}-wal"))
            ):
                found.append(path.name)
    return found


def damaged_spools(folder: Path) -> list[str]:
    """The names of the files that were set aside because they cannot be read."""
    return sorted(path.name for path in folder.glob("*.damaged*")) if folder.is_dir() else []


def _max_id(at: float) -> str:
    """Above every id (a ULID) that was given until then."""
    return str(ULID.from_timestamp(at))[:10] + "~"


def _file_size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
