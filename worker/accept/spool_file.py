"""One file of the local spool: an SQLite database, locked by the process that has it open."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import structlog
from msgspec import structs

from worker.contract import EMPTY_RAW, Raw, Receipt, State, Submission
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
    body blob not null,
    raw text,
    journaled integer not null default 0
);
create index if not exists submission_key on submission (key) where key is not null;
create table if not exists raw (id text primary key, body blob not null);
"""

# What files of older versions lack.
ADDED_COLUMNS = ("raw text", "journaled integer not null default 0")

# Whether Redis took the journaled rows of a dead process, nobody knows: they wait again.
PREPARE = """
update submission set journaled = 0 where journaled;
create index if not exists submission_raw on submission (raw) where raw is not null;
"""

INSERT = (
    "insert or ignore into submission (id, key, fingerprint, kind, until, body, raw, journaled)"
    " values (?, ?, ?, ?, ?, ?, ?, ?)"
)

OVER = "it was over before Redis lost its memory"

SELECT_UNTIL = (
    "select until, submission.body, submission.raw, raw.body from submission"
    " left join raw on raw.id = submission.raw"
)
SELECT = (
    "select submission.body, submission.raw, raw.body from submission"
    " left join raw on raw.id = submission.raw"
)


class Row(NamedTuple):
    """A row of the table. Its duplicate key expires at `until` (Unix seconds); None means never.

    `raw` names the row of the request's raw body where several submissions share it; `body` is then
    without it.
    """

    id: str
    key: str | None
    fingerprint: str | None
    kind: str | None
    until: float | None
    body: bytes
    raw: str | None = None


# Stand for the run of the server: nobody has looked at it yet, or the reply is still awaited.
UNSEEN = "unseen"
ON_ITS_WAY = ""


class Stored(NamedTuple):
    """When (monotonic seconds) which run of the server took a journaled submission."""

    server: str
    at: float


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
        for column in ADDED_COLUMNS:
            with suppress(sqlite3.OperationalError):  # it is there already
                self._db.execute(f"alter table submission add column {column}")
        # An earlier run of the server may have taken these, and lost them: they go first.
        self.again = {
            each for (each,) in self._db.execute("select id from submission where journaled")
        }
        with suppress(sqlite3.OperationalError):  # the disk is full
            self._db.executescript(PREPARE)
        count, size = self._db.execute(
            "select count(*), coalesce(sum(length(body)), 0)"
            " + (select coalesce(sum(length(body)), 0) from raw) from submission"
        ).fetchone()
        self.count, self.bytes = int(count), int(size)
        self._unreadable: set[str] = set()
        # Redis has these, but they could not be deleted from the file yet.
        self.handed_over: set[str] = set()
        # Redis took these, but may still lose them.
        self.in_redis: dict[str, Stored] = {}
        # Those of them that are over: what is left is only what recognises a duplicate, until then
        # (Unix seconds).
        self.receipts: dict[str, float] = {}
        self.damage = ""

    def put(
        self,
        submissions: Sequence[Submission],
        rows: Sequence[Row],
        raws: Mapping[str, bytes],
        now: float,
    ) -> list[Receipt]:
        """Stores the rows, except duplicates of others here; returns a receipt for each one.

        One that was journaled before is found again.
        """
        receipts, added, size = [], 0, 0
        with self._transaction() as db:
            for submission, row in zip(submissions, rows, strict=True):
                first = db.execute(
                    "select id, fingerprint from submission where key = ? and (until is null or"
                    " until > ?) order by number limit 1",
                    (row.key, now),
                ).fetchone()
                if first is None or first[0] == submission.id:
                    if db.execute(INSERT, (*row, 0)).rowcount:
                        added, size = added + 1, size + len(row.body)
                    receipts.append(Receipt(submission.id, submission.state, duplicate=False))
                else:
                    removed = _delete(db, submission.id)
                    added, size = added - len(removed), size - sum(removed)
                    other_body = row.kind == "key" and first[1] != row.fingerprint
                    receipts.append(
                        Receipt(
                            first[0],
                            submission.state,
                            duplicate=not other_body,
                            conflict=other_body,
                        )
                    )
            db.executemany(
                "update submission set journaled = 0 where id = ?", [(row.id,) for row in rows]
            )
            size += _insert_raws(db, raws) - _delete_unused_raws(db)
        self.count, self.bytes = self.count + added, self.bytes + size
        return receipts

    def journal(self, rows: Sequence[Row], raws: Mapping[str, bytes]) -> None:
        """Stores the rows, duplicates or not: Redis decides that, in a moment."""
        with self._transaction() as db:
            db.executemany(INSERT, [(*row, 1) for row in rows])
            size = _insert_raws(db, raws)
        self.count += len(rows)
        self.bytes += size + sum(len(row.body) for row in rows)

    def holding(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that have a row here."""
        return [
            each
            for each in ids
            if each in self.in_redis
            or self._db.execute("select 1 from submission where id = ?", (each,)).fetchone()
        ]

    def keep_stored(self, ids: Iterable[str], stored: Stored) -> None:
        """Notes that Redis took these, and that they stay until it has them for certain.

        The mark on disk tells other processes that they are not waiting for Redis.
        """
        ids = list(ids)
        new = [(each,) for each in ids if each not in self.in_redis]
        self.in_redis |= dict.fromkeys(ids, stored)
        self.again.difference_update(ids)
        if any(self._is_waiting(each) for (each,) in new):
            with self._transaction() as db:
                db.executemany("update submission set journaled = 1 where id = ?", new)

    def _is_waiting(self, submission_id: str) -> bool:
        row = self._db.execute(
            "select journaled from submission where id = ?", (submission_id,)
        ).fetchone()
        return row is not None and not row[0]

    def forget_stored(self, server: str) -> int:
        """Hands over again what another run of the server than this took, or one nobody saw.

        Returns how many the former are.
        """
        others = {
            each: stored.server
            for each, stored in self.in_redis.items()
            if stored.server not in (ON_ITS_WAY, server)
        }
        self.hand_over_again(others)
        return sum(other != UNSEEN for other in others.values())

    def hand_over_again(self, ids: Iterable[str]) -> None:
        """Lets these wait for Redis, which does not have them any more."""
        lost = [each for each in ids if self.in_redis.pop(each, None)]
        self.again.update(lost)
        if lost:
            with self._transaction() as db:
                db.executemany(
                    "update submission set journaled = 0 where id = ?", [(each,) for each in lost]
                )

    def find(self, submission_id: str, cipher: Cipher) -> Submission | None:
        if submission_id in self.in_redis:
            return None
        row = self._db.execute(SELECT + " where submission.id = ?", (submission_id,)).fetchone()
        return self._decode(submission_id, row, cipher, {}) if row else None

    def keep_receipts(self, ids: Iterable[str], cipher: Cipher, now: float, seconds: float) -> None:
        """Drops the content of submissions that are over; id and duplicate key stay.

        That is for `seconds`, or for the window of its content; a row that cannot be read goes.
        """
        ids, gone = list(ids), [each for each, until in self.receipts.items() if until < now]
        if ids:
            with self._transaction() as db:
                gone += [each for each in ids if not self._strip(db, each, cipher, now + seconds)]
                self.bytes -= _delete_unused_raws(db)
        if gone:
            self.take_out(gone)

    def keep_pointers(self, first_ids: Mapping[str, str], cipher: Cipher) -> None:
        """Drops content and duplicate key of submissions that Redis found to be duplicates.

        What stays is the id of the first one, so that they cannot take its place, whichever is
        handed over again first. `first_ids` has it for each of them.
        """
        if first_ids:
            with self._transaction() as db:
                for each, first_id in first_ids.items():
                    self._strip(db, each, cipher, None, first_id)
                self.bytes -= _delete_unused_raws(db)

    def _strip(
        self,
        db: sqlite3.Connection,
        submission_id: str,
        cipher: Cipher,
        end: float | None,
        first_id: str | None = None,
    ) -> bool:
        """Drops a row's content, if it can be read: what is left is a receipt until `end`.

        With `first_id` it is a pointer to that submission, and without its duplicate key.
        """
        until, body, raw_id, raw = db.execute(
            SELECT_UNTIL + " where submission.id = ?", (submission_id,)
        ).fetchone()
        submission = self._decode(submission_id, (body, raw_id, raw), cipher, {})
        if submission is None:
            return False
        stripped = structs.replace(
            submission,
            state=State.IGNORED,
            lead=None,
            raw=EMPTY_RAW,
            cause=None,
            fetch=None,
            why=OVER,
        )
        if first_id is not None:
            stripped = structs.replace(stripped, duplicate_key=None, duplicate_of=first_id)
            db.execute("update submission set key = null where id = ?", (submission_id,))
        elif end is not None:
            until = self.receipts[submission_id] = end if until is None else until
        new_body = cipher.encrypt(msgspec.msgpack.encode(stripped))
        self.bytes += len(new_body) - len(body)
        db.execute(
            "update submission set body = ?, raw = null, until = ? where id = ?",
            (new_body, until, submission_id),
        )
        return True

    def confirm(self, server: str) -> None:
        """Tells other processes that nothing here still waits that an earlier run took."""
        text = server.encode()
        os.ftruncate(self._lock.fileno(), 0)
        os.pwrite(self._lock.fileno(), text, 0)

    def oldest(self, limit: int, cipher: Cipher, *, again: bool = False) -> list[Submission]:
        """The oldest submissions that can be decrypted; a damaged one does not block the others.

        With `again`, only those that an earlier run of the server took.
        Raises `sqlite3.OperationalError`.
        """
        submissions: list[Submission] = []
        raws: dict[str, Raw] = {}
        with (
            self._note_damage(),
            closing(self._db.execute("select number, id from submission order by number")) as rows,
        ):
            while len(submissions) < limit and (row := rows.fetchone()):
                number, submission_id = row
                passed_over = (
                    submission_id in self._unreadable
                    or submission_id in self.handed_over
                    or submission_id in self.in_redis
                    or (again and submission_id not in self.again)
                )
                if not passed_over and (
                    submission := self._read(number, submission_id, cipher, raws)
                ):
                    submissions.append(submission)
        return submissions

    def _read(
        self, number: int, submission_id: str, cipher: Cipher, raws: dict[str, Raw]
    ) -> Submission | None:
        with self._note_damage():
            row = self._db.execute(SELECT + " where number = ?", (number,)).fetchone()
            return self._decode(submission_id, row, cipher, raws)
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

    def _decode(
        self, submission_id: str, row: tuple[Any, ...], cipher: Cipher, raws: dict[str, Raw]
    ) -> Submission | None:
        """Decodes a row of `SELECT`; `raws` holds the shared raw bodies decoded before."""
        body, raw_id, raw = row
        try:
            submission = msgspec.msgpack.decode(cipher.decrypt(body), type=Submission)
            if raw_id is None:
                return submission
            if raw_id not in raws:
                raws[raw_id] = msgspec.msgpack.decode(cipher.decrypt(raw), type=Raw)
            return structs.replace(submission, raw=raws[raw_id])
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
        sizes: list[int] = []
        with self._transaction() as db:
            for submission_id in self.handed_over:
                sizes += _delete(db, submission_id)
            raw_bytes = _delete_unused_raws(db)
        self.count, self.bytes = self.count - len(sizes), self.bytes - sum(sizes) - raw_bytes
        for submission_id in self.handed_over:
            self.in_redis.pop(submission_id, None)
            self.receipts.pop(submission_id, None)
            self.again.discard(submission_id)
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


def _delete(db: sqlite3.Connection, submission_id: str) -> list[int]:
    """Deletes a row; returns the size of its body, in a list that is empty if there is none."""
    deleted = db.execute(
        "delete from submission where id = ? returning length(body)", (submission_id,)
    )
    return [int(size) for (size,) in deleted.fetchall()]


def _insert_raws(db: sqlite3.Connection, raws: Mapping[str, bytes]) -> int:
    """Stores raw bodies; returns the bytes of those that were not there yet."""
    return sum(
        len(body)
        for raw_id, body in raws.items()
        if db.execute("insert or ignore into raw (id, body) values (?, ?)", (raw_id, body)).rowcount
    )


def _delete_unused_raws(db: sqlite3.Connection) -> int:
    """Deletes the raw bodies whose submissions are gone; returns their bytes."""
    if db.execute("select 1 from raw limit 1").fetchone() is None:
        return 0
    deleted = db.execute(
        "delete from raw where id not in (select raw from submission where raw is not null)"
        " returning length(body)"
    )
    return sum(int(size) for (size,) in deleted.fetchall())


def lock_file(path: Path) -> IO[bytes]:
    """Takes the lock of a spool file; raises BlockingIOError while its owner lives."""
    lock = lock_path(path).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def lock_path(path: Path) -> Path:
    return path.parent / f"{path.stem}.lock"


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
