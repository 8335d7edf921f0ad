from __future__ import annotations

import base64
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from ulid import ULID

from tests.redis.store import one_request, submission
from worker.accept.spool import Spool, SpoolBroken, SpoolFull, count_spooled, spools_holding_before
from worker.contract import State, Submission
from worker.encryption import Cipher

ROOM = 1_000_000
NOW = 1_800_000_000.0


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", ROOM, Cipher(()))


def test_what_is_put_comes_out_in_order_until_taken_out(spool: Spool) -> None:
    """Submissions come back whole, oldest first, and leave only when they are taken out."""
    items = [submission(email=f"{n}@example.com") for n in range(5)]
    receipts = spool.put(items, NOW)
    assert [(receipt.id, receipt.duplicate) for receipt in receipts] == [
        (item.id, False) for item in items
    ]
    assert spool.oldest(3) == items[:3]
    spool.take_out([item.id for item in items[:3]])
    assert spool.oldest(10) == items[3:]
    assert spool.count == 2


def test_what_waits_can_be_found_by_its_id(spool: Spool) -> None:
    """A submission is found by its id as long as it waits here."""
    mine = submission()
    spool.put([mine], NOW)
    assert spool.find(mine.id) == mine
    spool.take_out([mine.id])
    assert spool.find(mine.id) is None


def newer_row(folder: Path, *readable: Submission) -> Submission:
    """A file from a newer version: a submission of unknown shape before the `readable` one."""
    mine = submission()
    left = Spool(folder, ROOM, Cipher(()))
    left.put([mine, *readable], NOW)
    left.close()
    [path] = folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        body = Cipher(()).encrypt(
            msgspec.msgpack.encode({"type": "v2", "id": mine.id, "what": ["nobody", "knows"]})
        )
        db.execute("update submission set body = ? where id = ?", (body, mine.id))
    return mine


def test_what_a_newer_version_spooled_is_left_for_one_that_knows_it(
    tmp_path: Path, spool: Spool
) -> None:
    """An older process hands over what it can read and leaves the rest for a newer one."""
    readable = submission()
    mine = newer_row(tmp_path / "spool", readable)
    assert spool.adopt() == 2
    assert spool.oldest(1) == [readable]
    spool.take_out([readable.id])
    assert spool.oldest(1) == []
    assert (spool.adopt(), count_spooled(tmp_path / "spool")) == (0, 1)
    newer = Spool(tmp_path / "spool", ROOM, Cipher(()))
    assert newer.adopt() == 1
    [path] = (tmp_path / "spool").glob("*.sqlite")
    with sqlite3.connect(path) as db:
        assert db.execute("select id from submission").fetchall() == [(mine.id,)]


def test_the_same_event_is_recognised(spool: Spool) -> None:
    """A second delivery of an event gets the first one's id; an Idempotency-Key with another body
    is a conflict.
    """
    first = submission(key="e1")
    spool.put([first], NOW)
    [again] = spool.put([submission(key="e1", body=b"other")], NOW)
    assert (again.id, again.duplicate) == (first.id, True)
    keyed = submission(key="k", kind="key", body=b"a")
    [_, same, other] = spool.put(
        [
            keyed,
            submission(key="k", kind="key", body=b"a"),
            submission(key="k", kind="key", body=b"b"),
        ],
        NOW,
    )
    assert (same.duplicate, same.conflict, same.id) == (True, False, keyed.id)
    assert (other.duplicate, other.conflict) == (False, True)
    assert spool.count == 2


def test_equal_content_is_the_same_only_within_its_window(spool: Spool) -> None:
    """After its window, equal content is a new submission."""
    spool.put([submission(key="c", kind="content", window=600)], NOW)
    [within] = spool.put([submission(key="c", kind="content", window=600)], NOW + 599)
    [after] = spool.put([submission(key="c", kind="content", window=600)], NOW + 601)
    assert (within.duplicate, after.duplicate) == (True, False)


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Beyond its bound nothing is taken; taking out makes room."""
    spool = Spool(tmp_path, 3_000, Cipher(()))
    first, *others = [
        structs.replace(submission(body=b"x" * 2_000), verified=True) for _ in range(3)
    ]
    spool.put([first], NOW)
    with pytest.raises(SpoolFull):
        spool.put(others[:1], NOW)
    assert spool.oldest(10) == [first]
    spool.take_out([first.id])
    spool.put(others[1:], NOW)


def test_half_of_the_spool_is_for_what_is_verified(tmp_path: Path) -> None:
    """A stranger is told that there is no room, with all events of his request; a partner, whose
    submission comes in the same batch, is stored.
    """
    spool = Spool(tmp_path, 10_000, Cipher(()))
    stranger = submission(body=b"x" * 2_000)
    batch = one_request("a@example.com", "b@example.com", body=b"y" * 3_500)
    partner = structs.replace(submission(body=b"z" * 2_000), verified=True)
    receipts = spool.put([stranger, *batch, partner], NOW)
    assert [receipt.no_room for receipt in receipts] == [False, True, True, False]
    assert spool.oldest(10) == [stranger, partner]


def test_a_killed_process_leaves_its_spool_to_the_next(tmp_path: Path) -> None:
    """What a process stored before kill -9 is found by another one, which adopts the file."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    mine = child.stdout.readline().strip()
    spool = Spool(tmp_path, ROOM, Cipher(()))
    assert spool.adopt() == 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait(60)
    child.stdout.close()
    assert spool.adopt() == 1
    assert [item.id for item in spool.oldest(10)] == [mine]
    spool.take_out([mine])
    assert spool.oldest(10) == []
    assert list(tmp_path.glob("*")) == []


CHILD = """
import sys, time
from pathlib import Path
from tests.redis.store import one_request, submission
from worker.accept.spool import Spool
from worker.encryption import Cipher
mine = submission()
spool = Spool(Path(sys.argv[1]), 10**6, Cipher(()))
spool.put([mine], 0.0)
print(mine.id, flush=True)
time.sleep(60)
"""


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """A file that is no database is renamed and does not stop the others."""
    (tmp_path / "1-1-a.sqlite").write_bytes(
        b"this is not a database, by any means, and it is long enough to tell" * 20
    )
    spool = Spool(tmp_path, ROOM, Cipher(()))
    assert spool.adopt() == 0
    assert [path.name for path in tmp_path.glob("*.damaged")] == ["1-1-a.damaged"]
    spool.put([submission()], NOW)


def test_a_damaged_row_keeps_no_other_back(tmp_path: Path) -> None:
    """Everything readable in a damaged file is handed over; then the file is set aside."""
    left = Spool(tmp_path, ROOM, Cipher(()))
    items = [submission(body=bytes([65 + n]) * 9_000) for n in range(6)]
    left.put(items, NOW)
    left.close()
    [path] = tmp_path.glob("*.sqlite")
    _break_a_page_of(path, b"C")
    spool = Spool(tmp_path, ROOM, Cipher(()))
    assert spool.adopt() == 6
    mine = submission()
    spool.put([mine], NOW)
    assert _drained(spool) == [item.id for item in items if item is not items[2]] + [mine.id]
    assert [file.name for file in tmp_path.glob("*.damaged")] == [f"{path.stem}.damaged"]
    assert spool.count == 0


def _break_a_page_of(path: Path, letter: bytes) -> None:
    """Gives a page that holds nothing but `letter` an impossible successor."""
    with closing(sqlite3.connect(path)) as db:
        [size] = db.execute("pragma page_size").fetchone()
    data = bytearray(path.read_bytes())
    at = next(
        at for at in range(0, len(data), size) if data[at + 4 : at + size] == letter * (size - 4)
    )
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)


def _drained(spool: Spool) -> list[str]:
    """What is handed over, in order, two at a time."""
    handed: list[str] = []
    for _ in range(50):
        batch = [item.id for item in spool.oldest(2)]
        if not batch:
            break
        handed += batch
        spool.take_out(batch)
    return handed


def test_a_file_that_takes_no_deletes_holds_nobody_back(spool: Spool, tmp_path: Path) -> None:
    """On a full disk the whole spool is handed over, each row once; rows go when there is room."""
    items = [submission(body=b"x" * 3_000) for _ in range(6)]
    spool.put(items, NOW)
    folder = tmp_path / "spool"
    with _full_disk(folder):
        assert _drained(spool) == [item.id for item in items]
        assert (spool.count, count_spooled(folder)) == (6, 6)
    assert spool.oldest(2) == []
    assert (spool.count, count_spooled(folder)) == (0, 0)
    assert spools_holding_before(folder, NOW * 2) == []


def test_a_file_that_takes_no_deletes_is_not_removed(spool: Spool, tmp_path: Path) -> None:
    """A stop on a full disk leaves what was not handed over to the next process."""
    items = [submission(body=b"x" * 3_000) for _ in range(4)]
    spool.put(items, NOW)
    with _full_disk(tmp_path / "spool"):
        for _ in range(2):
            spool.take_out([items[0].id, items[1].id])
        spool.close()
    again = Spool(tmp_path / "spool", ROOM, Cipher(()))
    assert again.adopt() == 4
    assert _drained(again) == [item.id for item in items]


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """No file of the folder can grow."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE,
        (min(path.stat().st_size for path in folder.glob("*.sqlite")), usual[1]),
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_disk_that_refuses_is_told_and_nothing_counts_as_stored(tmp_path: Path) -> None:
    """Where the folder cannot be created, there is no receipt."""
    (tmp_path / "spool").write_text("a file in the way")
    spool = Spool(tmp_path / "spool", ROOM, Cipher(()))
    with pytest.raises(SpoolBroken):
        spool.put([submission()], NOW)
    assert spool.usable() is False


def test_a_file_that_failed_gets_no_further_rows(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed write a new file is used, and the first file is still handed over."""
    first = submission()
    spool.put([first], NOW)
    [path] = (tmp_path / "spool").glob("*.sqlite")
    other = sqlite3.connect(path, isolation_level=None)
    monkeypatch.setattr("worker.accept.spool_file.BUSY_SECONDS", 0.0)
    other.execute("begin exclusive")
    spool_db = spool._file._db  # type: ignore[union-attr]
    spool_db.execute("pragma busy_timeout = 50")
    with pytest.raises(SpoolBroken):
        spool.put([submission()], NOW)
    second = submission(state=State.QUEUED)
    spool.put([second], NOW)
    other.execute("rollback")
    other.close()
    assert spool.oldest(10) == [first]
    spool.take_out([first.id])
    assert spool.oldest(10) == [second]


def test_sealed_rows_hold_nothing_readable(tmp_path: Path) -> None:
    """With a key set, the file holds no word of the submission."""
    key = base64.b64encode(bytes(range(32))).decode()
    spool = Spool(tmp_path, ROOM, Cipher((key,)))
    spool.put([submission(email="canary@example.com")], NOW)
    assert not any(b"canary@example.com" in path.read_bytes() for path in tmp_path.iterdir())
    assert spool.oldest(1)[0].lead is not None


def test_what_was_taken_out_is_on_no_disk(tmp_path: Path, spool: Spool) -> None:
    """A row that was handed over leaves no trace in the file or its log, even while it is open."""
    items = [submission(email=f"canary{n}@example.com", body=b"canary" * 2_000) for n in range(5)]
    spool.put(items, NOW)
    spool.take_out([item.id for item in items])
    files = list((tmp_path / "spool").iterdir())
    assert [path.name for path in files if b"canary" in path.read_bytes()] == []
    assert any(path.suffix == ".sqlite" for path in files)
    assert spools_holding_before(tmp_path / "spool", NOW * 2) == []


def test_while_somebody_reads_the_trace_goes_at_the_next_look(tmp_path: Path, spool: Spool) -> None:
    """While a reader keeps the log from being truncated, erasure learns that bytes are left."""
    mine = submission(email="canary@example.com")
    spool.put([mine], NOW)
    [path] = (tmp_path / "spool").glob("*.sqlite")
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from submission").fetchone()
        spool.take_out([mine.id])
        assert spools_holding_before(tmp_path / "spool", NOW * 2) == [path.name]
    spool.oldest(1)
    assert spools_holding_before(tmp_path / "spool", NOW * 2) == []


def test_only_what_came_before_lies_there_since(tmp_path: Path, spool: Spool) -> None:
    """Rows of later submissions do not concern an erasure."""
    spool.put([submission(id=str(ULID.from_timestamp(NOW)))], NOW)
    assert [
        bool(spools_holding_before(tmp_path / "spool", NOW + seconds)) for seconds in (-1, 1)
    ] == [
        False,
        True,
    ]


def test_rows_under_a_lost_key_stay(tmp_path: Path) -> None:
    """A file whose key is missing is kept, and handed over once the key is there."""
    key = base64.b64encode(os.urandom(32)).decode()
    left = Spool(tmp_path / "spool", ROOM, Cipher([key]))
    mine = submission()
    left.put([mine], NOW)
    left.close()
    without = Spool(tmp_path / "spool", ROOM, Cipher(()))
    assert (without.adopt(), without.oldest(10), without.oldest(10)) == (1, [], [])
    without.close()
    again = Spool(tmp_path / "spool", ROOM, Cipher([key]))
    assert (again.adopt(), again.oldest(10)) == (1, [mine])
    again.close()
