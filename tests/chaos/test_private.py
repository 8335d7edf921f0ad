from __future__ import annotations

import base64
import os
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from service.local.stack import LocalStack
from tests.chaos.conftest import SECRETS
from tests.chaos.running_stack import RunningStack, run_stack
from tests.chaos.senders import CHAOS_SOURCES
from tests.polling import eventually
from worker.contract import State
from worker.encryption import Cipher
from worker.erasure.erasure import erase
from worker.ledger import Ledger
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)

KEY = base64.b64encode(bytes(range(7, 39))).decode()
CANARY = "canary7351"


def test_personal_data_stands_in_the_sealed_record_alone(tmp_path: Path) -> None:
    """Names, addresses and messages are in no log, key, job, metric or answer; with a key set
    nowhere on disk.

    And nothing in Redis is pickled.
    """
    with run_stack(
        tmp_path, CHAOS_SOURCES, LocalStack, LEADLINE_ENCRYPTION_KEYS=KEY, **SECRETS
    ) as running:
        answers = [post(running, path, **fields) for path, fields in requests()]
        running.fault({"operation": "leads.add", "count": 2}, {"kind": "answer", "status": 503})
        answers.append(post(running, "site", email=f"{CANARY}-late@example.com"))
        running.wait_until_idle(90)
        assert running.counts()[State.DEAD] == 1
        answers.append(running.http.get(f"{running.stack.endpoints.service_url}/metrics").text)
        with connect(running.stack.endpoints.redis_url, timeout=5) as client:
            stored = list(everything(client))
    assert [answer for answer in answers if CANARY in answer] == []
    assert [name for name, value in stored if CANARY.encode() in name + value] == []
    assert [
        name for name, value in stored if value[:2] in (b"\x80\x04", b"\x80\x05", b"\x80\x03")
    ] == []
    files = [
        path
        for path in (tmp_path / "data").rglob("*")
        if path.is_file() and "sandbox" not in path.name
    ]
    logs = list((tmp_path / "logs").rglob("*.log"))
    assert len(logs) >= 3
    assert any(path.suffix == ".aof" for path in files)
    logs = [path for path in logs if path.name != "sandbox.log"]
    assert [path.name for path in [*files, *logs] if CANARY.encode() in path.read_bytes()] == []


def test_after_erasure_it_stands_nowhere(running: RunningStack) -> None:
    """Delivered, quarantined, dead or in the spool of a living service: once erasure has answered,
    no file and no key has it.

    Without a key, so that everything was readable before; and a repeat of an erased event brings
    nothing back.
    """
    before = running.counts()
    data = Path(running.stack.endpoints.env["LEADLINE_DATA_DIR"])
    for path, fields in list(requests())[:4]:
        post(running, path, **fields)
    running.wait_until_idle(90)
    redis = running.stack.pids["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        post(running, "site", email=f"{CANARY}@example.com", message="spooled")
        assert holding(data / "spool") != []
    finally:
        os.kill(redis, signal.SIGCONT)
    with connect(running.stack.endpoints.redis_url, timeout=5) as client:
        assert eventually(lambda: answers(client))
        assert any(name.endswith(".aof") for name in holding(data))
        done = erase(
            Ledger(client, Cipher(())),
            ("email", f"{CANARY}@example.com"),
            "kim",
            data_dir=data,
        )
        post(running, "site", **next(iter(requests()))[1])
        assert (done.erased, done.unfinished, len(done.persons)) == (5, [], 1)
        assert {lead["id"] for lead in running.sandbox()["leads"]} == set(done.leads)
        assert [name for name, value in everything(client) if CANARY.encode() in name + value] == []
        assert holding(data) == []
        after = running.counts()
        assert after[State.ERASED] - before[State.ERASED] == 5
        assert sum(after.values()) - sum(before.values()) == 5
    assert holding(data.parent / "logs") == []


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def holding(folder: Path) -> list[str]:
    """The files that hold the canary, save those of the stand-in for Pipedrive."""
    files = [path for path in folder.rglob("*") if path.is_file() and "sandbox" not in path.name]
    return [path.name for path in files if CANARY.encode() in path.read_bytes()]


def requests() -> Iterator[tuple[str, dict[str, str]]]:
    """One of each kind: delivered, labelled, spam, dead, refused for want of a contact, to no
    source at all.
    """
    lead = {
        "name": f"{CANARY} Lovelace",
        "email": f"{CANARY}@example.com",
        "phone": "+49 30 7351735",
        "message": f"{CANARY}?",
    }
    yield "site", lead
    yield "site", lead | {"message": f"{CANARY} again", "company": f"{CANARY} Ltd"}
    yield "trap", lead | {"website": "x", "message": f"{CANARY} spam"}
    yield "broken", lead | {"message": f"{CANARY} broken"}
    yield "site", {"message": f"{CANARY} without a contact"}
    yield f"{CANARY}", lead


def post(running: Any, source: str, **fields: str) -> str:
    answer = running.http.post(
        f"{running.stack.endpoints.service_url}/in/{source}?ref={CANARY}",
        data=fields,
        headers={"User-Agent": CANARY, "Accept": "application/json"},
    )
    return str(answer.text).replace(f"/in/{CANARY}", "")


def everything(client: Any) -> Iterator[tuple[bytes, bytes]]:
    """Every value in Redis with its key; compressed ones as they are and opened."""
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        values: list[Any]
        if kind == b"hash":
            values = [part for pair in client.hgetall(key).items() for part in pair]
        elif kind == b"list":
            values = client.lrange(key, 0, -1)
        elif kind in (b"set", b"zset"):
            values = list(client.smembers(key)) if kind == b"set" else client.zrange(key, 0, -1)
        elif kind == b"stream":
            values = [
                part for _, fields in client.xrange(key) for pair in fields.items() for part in pair
            ]
        else:
            values = [client.get(key)]
        for value in values:
            yield key, value
            try:
                yield key, zlib.decompress(value)
            except zlib.error:
                continue
