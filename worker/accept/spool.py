"""The local spool: keeps submissions on disk while Redis cannot take them, or may lose them.

    DATA/spool/NAME.sqlite   one file per process and life: WAL, synchronous FULL
    DATA/spool/NAME.lock     held by its owner; any process may adopt a file whose lock is free

The same files are the journal for a Redis that does not sync each write: a submission is written
here first and stays until Redis has it for certain (`worker.accept.journal`).

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import structlog
from msgspec import structs
from ulid import ULID

from worker.accept.spool_file import (
    ON_ITS_WAY,
    Row,
    SpoolFile,
    Stored,
    file_size,
    lock_file,
    lock_path,
    open_orphan,
    set_aside,
)
from worker.contract import EMPTY_RAW, Receipt, Submission
from worker.encryption import Cipher
from worker.errors import LeadlineError
from worker.store.scripts import DUPLICATE_KEY_SECONDS

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
            no_room = self._find_without_room(self._own_file(), submissions)
            fitting = [each for each in submissions if each.id not in no_room]
            with self._write(fitting, now) as (file, rows, raws):
                receipts = iter(file.put(fitting, rows, raws, now))
                for row in rows:
                    file.in_redis.pop(row.id, None)
                if no_room:  # they may have been journaled a moment ago
                    file.take_out(list(no_room))
            return [
                Receipt(each.id, each.state, duplicate=False, no_room=True)
                if each.id in no_room
                else next(receipts)
                for each in submissions
            ]

    def journal(self, submissions: Sequence[Submission], now: float) -> None:
        """Stores submissions that Redis is given next. Raises `SpoolFull` or `SpoolBroken`."""
        with self._mutex, self._write(submissions, now) as (file, rows, raws):
            file.journal(rows, raws)
            file.in_redis |= {row.id: Stored(ON_ITS_WAY, 0.0) for row in rows}

    @contextmanager
    def _write(
        self, submissions: Sequence[Submission], now: float
    ) -> Iterator[tuple[SpoolFile, list[Row], dict[str, bytes]]]:
        """Our file and the encoded rows, with the raw bodies that several of them share."""
        file = self._own_file()
        rows = [self._encode_row(each, now) for each in submissions]
        first_of = {each.raw_of: each.raw for each in reversed(submissions) if each.raw_of}
        bodies = {
            raw_id: self._cipher.encrypt(msgspec.msgpack.encode(raw))
            for raw_id, raw in first_of.items()
        }
        # What was journaled a moment ago is in the file already.
        new = [row for row in rows if row.id not in file.in_redis]
        size = sum(len(row.body) for row in new) + sum(map(len, bodies.values() if new else ()))
        if new and file.bytes + size > self._max_bytes:
            raise SpoolFull("the local spool is full")
        try:
            yield file, rows, bodies
        except (sqlite3.Error, OSError) as error:
            # After a failed sync nobody knows what the kernel dropped: write no more rows here.
            self._file = None
            self._adopted.append(file)
            raise SpoolBroken(
                f"the local spool cannot be written: {type(error).__name__}"
            ) from error

    def keep_stored(self, ids: Iterable[str], stored: Stored) -> None:
        """Notes which run of the server took these, and when; they stay for now."""
        ids = list(ids)
        with self._mutex:
            for file in self._files():
                with suppress(sqlite3.Error):
                    file.keep_stored(file.holding(ids), stored)

    def forget_stored(self, server: str) -> int:
        """Hands over again what another run of the server took; returns how many submissions."""
        with self._mutex:
            return sum(file.forget_stored(server) for file in self._files())

    def hand_over_again(self, ids: Iterable[str]) -> None:
        """Lets submissions wait for Redis that it took and lost."""
        ids = list(ids)
        with self._mutex:
            for file in self._files():
                file.hand_over_again(ids)

    def stored(self) -> dict[str, Stored]:
        """The submissions that Redis took and may still lose, oldest first in each file."""
        with self._mutex:
            return {
                each: stored
                for file in self._files()
                for each, stored in file.in_redis.items()
                if stored.server != ON_ITS_WAY and each not in file.receipts
            }

    def keep_receipts(self, ids: Iterable[str], now: float) -> None:
        """Drops the content of submissions that are over, but not what recognises a duplicate."""
        ids = list(ids)
        with self._mutex:
            for file in self._files():
                file.keep_receipts(file.holding(ids), self._cipher, now, DUPLICATE_KEY_SECONDS)

    def keep_pointers(self, first_ids: Mapping[str, str]) -> None:
        """Drops all but two ids of duplicates: their own, and that of the first one."""
        with self._mutex:
            for file in self._files():
                with suppress(sqlite3.Error):
                    held = {each: first_ids[each] for each in file.holding(first_ids)}
                    file.keep_pointers(held, self._cipher)

    def confirm(self, server: str) -> None:
        """Tells the other processes that all was handed over again that an earlier run took."""
        with self._mutex:
            for file in self._files():
                file.confirm(server)

    def others_behind(self, server: str) -> bool:
        """Whether another process of this machine still has to hand over again to this run."""
        with self._mutex:
            ours = {file.path for file in self._files()} | self._undecryptable
        return any(
            path not in ours and _read_confirmed(path) != server and _count_rows(path)
            for path in self._folder.glob("*.sqlite")
        )

    def in_use(self) -> bool:
        """Whether there is any spool file on this machine."""
        return self._folder.is_dir() and any(self._folder.glob("*.sqlite"))

    def oldest(self, limit: int, *, again: bool = False) -> list[Submission]:
        """The next submissions to hand over, oldest first, all from one file; may be empty.

        With `again`, only those that an earlier run of the server took.
        """
        with self._mutex:
            for file in self._files():
                try:
                    submissions = file.oldest(limit, self._cipher, again=again)
                except sqlite3.OperationalError as error:
                    log.warning(
                        "a spool file cannot be read now",
                        file=file.path.name,
                        error=str(error),
                    )
                    continue
                if submissions:
                    return submissions
                if again:
                    continue
                file.tidy()
                if file is not self._file and not file.handed_over and not file.in_redis:
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
            return sum(file.count - len(file.in_redis) for file in self._files())

    @property
    def half_full(self) -> bool:
        """Whether our file has used half of its bound."""
        with self._mutex:
            return self._file is not None and 2 * self._file.bytes > self._max_bytes

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

    def _find_without_room(self, file: SpoolFile, submissions: Sequence[Submission]) -> set[str]:
        """The ids of strangers' submissions that do not fit; all events of a request, or none."""
        requests: dict[str, list[Submission]] = {}
        for each in submissions:
            if not each.verified:
                requests.setdefault(each.raw_of or each.id, []).append(each)
        room, without_room = self._max_bytes * STRANGERS_SHARE - file.bytes, set[str]()
        for request, events in requests.items():
            size = sum(len(msgspec.msgpack.encode(each.lead)) for each in events)
            size += len(events[0].raw.body)
            if size > room and request not in file.in_redis:
                without_room |= {each.id for each in events}
            else:
                room -= size
        return without_room

    def _files(self) -> list[SpoolFile]:
        return [*self._adopted, *([self._file] if self._file else [])]

    def _encode_row(self, submission: Submission, now: float) -> Row:
        key, raw_id = submission.duplicate_key, submission.raw_of
        stored = structs.replace(submission, raw=EMPTY_RAW) if raw_id else submission
        body = self._cipher.encrypt(msgspec.msgpack.encode(stored))
        if key is None:
            return Row(submission.id, None, None, None, None, body, raw_id)
        return Row(
            submission.id,
            f"{submission.source}\x1f{key.kind}\x1f{key.value}",
            key.fingerprint,
            key.kind,
            None if key.window is None else now + key.window,
            body,
            raw_id,
        )


def _read_confirmed(path: Path) -> str:
    """The run of the server that the process with this file has confirmed last."""
    with suppress(OSError):
        return lock_path(path).read_text("utf-8", "replace")
    return ""


def _count_rows(path: Path) -> int:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
    ):
        return int(db.execute("select count(*) from submission").fetchone()[0])
    return 0


def count_spooled(folder: Path) -> int:
    """How many submissions in this folder wait for Redis; an unreadable file counts as none."""
    total = 0
    for path in folder.glob("*.sqlite") if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            total += int(
                db.execute("select count(*) from submission where not journaled").fetchone()[0]
            )
    return total


def spools_holding_before(folder: Path, before: float) -> list[str]:
    """The spool files that hold submissions older than `before` (Unix seconds), or their bytes."""
    names = []
    for path in sorted(folder.glob("*.sqlite")) if folder.is_dir() else []:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db,
        ):
            first, count = db.execute(
                "select min(id) filter (where not journaled), count(*) from submission"
            ).fetchone()
            if (first is not None and first <= _max_id(before)) or (
                not count and file_size(path.with_name(f"{path.name}-wal"))
            ):
                names.append(path.name)
    return names


def damaged_spools(folder: Path) -> list[str]:
    """The names of files that were set aside because they could not be read."""
    return sorted(path.name for path in folder.glob("*.damaged*")) if folder.is_dir() else []


def _max_id(at: float) -> str:
    """A text that sorts after every id (a ULID) issued up to `at`."""
    return str(ULID.from_timestamp(at))[:10] + "~"
