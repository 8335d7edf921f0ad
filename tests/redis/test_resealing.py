"""Bringing everything that is stored under the first encryption key."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner
from msgspec import structs

from service.cli.main import main
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Attempt, Cause, State
from worker.encryption import Cipher, parse_key
from worker.ledger import Ledger
from worker.ledger.bulk import BulkActions
from worker.ledger.resealing import Resealing
from worker.store import keys

Client = Callable[[], AbstractAsyncContextManager[Any]]
OLD, NEW = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (3, 60))
CAUSE = Cause(step="lead", code="invalid", detail="“ada@example.com” is no e-mail")
CALL = Attempt(at=1.0, step="leads.add", outcome="invalid", detail="ada@example.com")


def fill(redis: redis_py.Redis, aredis: Client, cipher: Cipher) -> str:
    """A dead letter with everything that quotes its sender, and a bulk edit."""
    item = structs.replace(
        submission(), lead=submission().lead, why="ada@example.com", fetch={"id": "ada"}
    )
    ledger = Ledger(redis, cipher)
    asyncio.run(accept(aredis, redis, [item], cipher=cipher))
    ledger.claim(item.id, "t", 30)
    ledger.finish(
        item.id, "t", State.DEAD, why="ada@example.com", cause=CAUSE, attempts=[CALL],
        facts={"fetch": b'{"id": "ada"}'},
    )  # fmt: skip
    BulkActions(ledger).create("retry", [item.id], 1, "kim", edit={"name": "ada"})
    row = cipher.seal(b'["contact", "ada", null, 1.0, false, false]')
    redis.hset(keys.DEFAULT_ACCOUNT.attribution, item.id, row)
    return item.id


def read(redis: redis_py.Redis, cipher: Cipher, submission_id: str) -> Any:
    return structs.asdict(_history(redis, cipher, submission_id))


def _history(redis: redis_py.Redis, cipher: Cipher, submission_id: str) -> Any:
    history = Ledger(redis, cipher).find_history(submission_id)
    assert history is not None
    return history


def stored(redis: redis_py.Redis) -> bytes:
    redis.config_set("rdbcompression", "no")
    return b"".join(redis.dump(key) or b"" for key in redis.scan_iter("leadline:*"))


@pytest.mark.parametrize("before", [(), (OLD,)], ids=["plain", "another key"])
def test_everything_comes_under_the_first_key(
    redis: redis_py.Redis, aredis: Client, before: tuple[str, ...]
) -> None:
    """Afterwards the new key alone reads everything, and nothing is under the old one."""
    mine = fill(redis, aredis, Cipher(before))
    as_it_was = read(redis, Cipher(before), mine)
    resealing = Resealing(Ledger(redis, Cipher([NEW, *before])))
    resealing.rewrite()
    assert (resealing.unreadable, resealing.remaining) == (0, [])
    assert resealing.submissions == {mine}
    assert read(redis, Cipher([NEW]), mine) == as_it_was
    assert b"ada" not in stored(redis)
    assert Cipher([OLD]).encrypt(b"")[:5] not in stored(redis)
    edit = redis.hget(keys.BULK + BulkActions(Ledger(redis, Cipher())).list_newest()[0].id, "edit")
    assert isinstance(edit, bytes)
    assert Cipher([NEW]).decrypt(edit)


def test_a_repeated_run_does_only_what_is_left(redis: redis_py.Redis, aredis: Client) -> None:
    """What is under the first key is passed over, so an interrupted run can be repeated."""
    fill(redis, aredis, Cipher([OLD]))
    ledger = Ledger(redis, Cipher([NEW, OLD]))
    Resealing(ledger).rewrite()
    late = fill(redis, aredis, Cipher([OLD]))
    again = Resealing(ledger)
    again.rewrite()
    assert again.submissions == {late}


def test_what_no_listed_key_opens_is_said(redis: redis_py.Redis, aredis: Client) -> None:
    """It stays as it is, and is counted."""
    mine = fill(redis, aredis, Cipher([OLD]))
    before = stored(redis)
    resealing = Resealing(Ledger(redis, Cipher([NEW])))
    resealing.rewrite()
    assert resealing.unreadable > 5
    assert stored(redis) == before
    assert _history(redis, Cipher([NEW]), mine).record.unreadable


def test_the_commands(
    redis: redis_py.Redis, aredis: Client, redis_url: str, tmp_path: Path
) -> None:
    """`keys new` prints a key; `keys rotate` says what it did, and fails while a key is missing."""
    fill(redis, aredis, Cipher([OLD]))

    def go(*arguments: str, listed: str = "") -> Any:
        env = {"REDIS_URL": redis_url, "LEADLINE_DATA_DIR": str(tmp_path)}
        return CliRunner().invoke(
            main, ["keys", *arguments], env=env | {"LEADLINE_ENCRYPTION_KEYS": listed}
        )

    assert parse_key(go("new").output)
    assert go("rotate").exit_code == 1
    blind = go("rotate", "--json", listed=NEW)
    assert (blind.exit_code, "not listed" in blind.output) == (1, True)
    done = go("rotate", "--json", listed=f"{NEW},{OLD}")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"submissions": 1, "entries": 2, "left": []}
    assert "rotate keys" in str(redis.xrange(keys.AUDIT))
