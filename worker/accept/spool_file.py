"""One file of the local spool: an SQLite database, locked by the process that has it open."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
import structlog

from worker.contract import Receipt, Submission
from worker.encryption import Cipher, DecryptionError

log = structlog.get_logger("leadline.spool")

# How long to wait for another writer of the file.
BUSY_SECONDS = 2.0

SCHEMA = """
create table if not exists submission (
    number integer primary key,
    id text not null unique,
    key text,
    fingerprint text,
    kind text,
    until real,
    body blob not null
);
create index if not exists submission_key on submission (key) where key is not null;
"""


INSERT = (
    "insert or ignore into submission (id, key, fingerprint, kind, until, body) values (?, ?, ?, ?,"
    " ?, ?)"
)


class Row(NamedTuple):
    """A row of the table. Its duplicate key expires at `until` (Unix seconds); None means never."""

    id: str
    key: str | None
    fingerprint: str | None
    kind: str | None
    until: float | None
    body: bytes


class SpoolFile:
    """An SQLite file of the spool, open and locked."""

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
        # Redis has these, but they could not be deleted from the file yet.
        self.handed_over: set[str] = set()
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
                    (row.key, now),
                ).fetchone()
                if first is None or first[0] == submission.id:
                    db.execute(INSERT, row)
                    added, size = added + 1, size + len(row.body)
                    receipts.append(Receipt(submission.id, submission.state, duplicate=False))
                else:
                    other_body = row.kind == "key" and first[1] != row.fingerprint
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
        """The oldest submissions that can be decrypted; a damaged one does not block the others.

        Raises `sqlite3.OperationalError`.
        """
        submissions: list[Submission] = []
        with (
            self._note_damage(),
            closing(self._db.execute("select number, id from submission order by number")) as rows,
        ):
            while len(submissions) < limit and (row := rows.fetchone()):
                passed_over = row[1] in self._unreadable or row[1] in self.handed_over
                if not passed_over and (submission := self._read(row[0], row[1], cipher)):
                    submissions.append(submission)
        return submissions

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
                    "a spooled submission cannot be decrypted; it stays",
                    submission_id=submission_id,
                    error=type(error).__name__,
                )
            self._unreadable.add(submission_id)
            return None

    def take_out(self, ids: Sequence[str]) -> None:
        """Deletes these rows; if that fails now, they are skipped and deleted later."""
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
        self._truncate_log()

    def tidy(self) -> None:
        """Deletes rows that could not be deleted before and truncates the log, if possible now."""
        if self.handed_over:
            with suppress(sqlite3.Error):
                self.take_out(())
        self._truncate_log()

    def _truncate_log(self) -> None:
        """Removes deleted rows from the write-ahead log too; fails while somebody reads it."""
        if file_size(self.path.with_name(f"{self.path.name}-wal")):
            with suppress(sqlite3.Error):
                self._db.execute("pragma wal_checkpoint(truncate)").fetchone()

    def touch(self) -> None:
        """Makes a synced write that changes nothing."""
        with self._transaction() as db:
            db.execute("pragma user_version = 1")

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.close()

    def remove(self) -> None:
        """Closes and removes the file, with its log and lock."""
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


def lock_file(path: Path) -> IO[bytes]:
    """Takes the lock of a spool file; raises BlockingIOError while its owner lives."""
    lock = (path.parent / f"{path.stem}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def open_orphan(path: Path) -> SpoolFile | None:
    """Opens a file whose owner is gone, else returns None; sets a damaged file aside."""
    try:
        lock = lock_file(path)
    except OSError:
        return None
    try:
        return SpoolFile(path, lock)
    except sqlite3.OperationalError as error:
        log.warning("a spool file cannot be opened now", file=path.name, error=str(error))
        lock.close()
        return None
    except sqlite3.Error as error:
        set_aside(path, str(error))
        lock.close()
        return None


def set_aside(path: Path, error: str) -> None:
    """Renames a damaged file, so that nobody opens it again."""
    aside = path.with_suffix(".damaged")
    for end in ("", "-wal"):  # the newest rows may be in the write-ahead log alone
        with suppress(OSError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    log.error("a spool file is damaged and was set aside", file=aside.name, error=error)


def file_size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
