"""An erased person stands nowhere: the store of `tests.tools.erasure` in small, and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis as redis_py

from tests.tools import erasure as tool
from worker.encryption import Cipher
from worker.erasure.erasure import OUT_OF_REACH, erase
from worker.ledger import Ledger

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
@pytest.mark.timeout(300)
def test_the_person_is_nowhere_any_more(tmp_path: Path, key: str) -> None:
    """From sixteen places, in Redis and in a spool, the address goes; other people's leads stay."""
    assert tool.run(tmp_path, 120, key) == []


def test_a_file_that_still_holds_the_address_is_said(redis: redis_py.Redis, tmp_path: Path) -> None:
    """The search at the end covers the data directory, and names each file with the address."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "leads.csv").write_bytes(b"x" * (1 << 20) + b"a;Ada@Example.com;b")
    (tmp_path / "other.csv").write_text("nada@example.com")
    done = erase(Ledger(redis, Cipher(())), ("email", "ada@example.com"), "kim", data_dir=tmp_path)
    [fault] = done.unfinished
    assert "leads.csv" in fault
    assert done.left == [fault, *OUT_OF_REACH]
