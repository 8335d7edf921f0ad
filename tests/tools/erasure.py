"""Erase one person from a store of many: `python -m tests.tools.erasure --submissions 10000`.

The person stands in sixteen places. Afterwards every value of Redis and every byte of its files,
the spools and the data directory are searched by means of this tool's own, which share nothing with
the code under test. Ends with 1 if the address is anywhere, or if a lead of somebody else is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import msgspec
import redis as redis_py

from service.local.redis import EmbeddedRedis
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Attempt, Cause, Lead, Raw, State, Submission
from worker.encryption import PLAIN, Cipher
from worker.ledger import Ledger
from worker.ledger.audit import AuditTrail
from worker.ledger.bulk import BulkActions
from worker.queue.rq_queue import open_queue
from worker.store import keys
from worker.store.connection import connect, connect_async

PERSON = "canary.person8462@example.com"
FORM = "application/x-www-form-urlencoded"
GROUP = 50


def places() -> dict[str, Submission]:
    """One submission for each place in which the person may stand."""
    who, bob = PERSON, "bob@example.org"
    encoded = base64.b64encode(f"from {who}, thanks".encode()).decode()
    escaped = who.replace("@", "\\u0040")
    quoted = who.replace("@", "=40").replace("8462", "84=\r\n62")
    mime = (
        "--b0\r\nContent-Disposition: form-data; name=m\r\nContent-Transfer-Encoding:"
        f" quoted-printable\r\n\r\nask {quoted}\r\n--b0--"
    )
    return {
        "the e-mail": _item(1, Lead(email=who), urlencode({"email": who})),
        "an answer": _item(2, Lead(name="A", answers={"Second": who.title()}), ""),
        "a sentence": _item(3, Lead(email=bob, message=f"ask {who}."), urlencode({"m": f"ask {who}."})),
        "a name before it": _item(4, Lead(email=bob, answers={"To": f"Ms P <{who}>"}), ""),
        "a list": _item(5, Lead(email=bob, answers={"Cc": ["x@example.org", who]}), ""),
        "nested JSON": _item(6, Lead(email=bob), f'{{"a": [{{"b": "by {escaped}"}}]}}', kind="application/json"),
        "JSON in a field": _item(7, Lead(email=bob), urlencode({"d": json.dumps({"by": f"x {who}"})})),
        "the page": _item(8, Lead(email=bob, page_url=f"https://x.example/?e={who.replace('@', '%40')}&a"), ""),
        "the referrer": _item(9, Lead(email=bob, referrer=f"https://y.example/?r=%2F%3Fe%3D{who.replace('@', '%2540')}"), ""),
        "a header": _item(10, Lead(email=bob), "", headers=[("x-user", who.upper())]),
        "a cookie": _item(11, Lead(email=bob), "", headers=[("cookie", f"u={who.replace('@', '%40')}; t={encoded}")]),
        "the name of a field": _item(12, Lead(email=bob, answers={who: "on"}), urlencode({who: "on"})),
        "quoted-printable": _item(13, Lead(email=bob), mime, kind='multipart/form-data; boundary="b0"'),
        "UTF-16": _item(14, Lead(email=bob), "\ufeffask " + who, charset="utf-16-le", kind="text/plain"),
        "a cause and a reason": _item(15, Lead(email=bob), ""),
        "what people wrote": _item(16, Lead(email=bob), ""),
    }  # fmt: skip


def _item(
    number: int,
    lead: Lead,
    body: str,
    *,
    kind: str = FORM,
    headers: list[tuple[str, str]] | None = None,
    charset: str = "utf-8",
) -> Submission:
    return Submission(
        id=f"01PERS{number:020d}",
        source="contact",
        state=State.QUEUED,
        received_at=time.time(),
        lead=lead,
        raw=Raw("POST", "", kind, headers or [], body.encode(charset)),
    )


def crowd(count: int) -> Iterator[Submission]:
    """Other people, with addresses that resemble the person's."""
    for number in range(count):
        email = f"{number}{PERSON}" if number % 100 == 0 else f"guest{number}@example.net"
        body = urlencode(
            {"name": f"Guest {number}", "email": email, "message": "Please call. " * 20}
        )
        yield Submission(
            id=f"01CROWD{number:019d}",
            source="contact",
            state=State.QUARANTINED if number % 3 else State.IGNORED,
            received_at=time.time(),
            lead=Lead(name=f"Guest {number}", email=email, message="Please call. " * 20),
            raw=Raw("POST", "", FORM, [("user-agent", "Mozilla/5.0"), ("cookie", "_ga=GA1.2.3.4")], body.encode()),
        )  # fmt: skip


async def _store(url: str, client: redis_py.Redis, cipher: Cipher, count: int) -> None:
    async with connect_async(url, timeout=10.0) as connection:
        acceptor = Acceptor(connection, open_queue(client), cipher)
        await acceptor.start()
        await acceptor.accept(list(places().values()))
        items = list(crowd(count))
        for start in range(0, count, GROUP):
            await acceptor.accept(items[start : start + GROUP])
        await acceptor.stop()


def _write_elsewhere(client: redis_py.Redis, cipher: Cipher) -> None:
    """What deliveries and people say of the person, in another's submission and beside it."""
    ledger, submissions = Ledger(client, cipher), places()
    quoting = submissions["a cause and a reason"].id
    ledger.claim(quoting, "t", 30)
    ledger.finish(
        quoting, "t", State.DEAD, why=f"“{PERSON}” is refused",
        cause=Cause(step="person", code="invalid", detail=f"“{PERSON}” is no e-mail"),
        attempts=[Attempt(at=time.time(), step="persons.add", outcome="invalid", detail=PERSON)],
    )  # fmt: skip
    AuditTrail(client).record("kim", "note", quoting, f"{PERSON} asked by phone")
    edit = {"message": f"was {PERSON}"}
    BulkActions(ledger).create("retry", [quoting], 1, "kim", edit=edit)
    ledger.gate.pause(f"until {PERSON} calls", "kim")
    client.set(keys.ALERTS, json.dumps({"active": {"x": PERSON}}))


# -- a search of its own


def plain_texts(data: bytes) -> Iterator[bytes]:
    """The data, and what it says once every encoding that we know of is undone."""
    text = data.decode("utf-8", "replace")
    texts = [text, data.replace(b"\x00", b"").decode("latin-1")]
    texts += [unquote(unquote(text)), re.sub(r"\\+u0040", "@", text)]
    joined = re.sub(r"=\r?\n", "", text)
    texts.append(re.sub("=40", "@", joined))
    for each in texts:
        yield each.lower().encode("utf-8", "replace")
    for token in re.findall(rb"[A-Za-z0-9+/]{24,}", data):
        for skip in range(4):
            part = token[skip:]
            try:
                yield base64.b64decode(part[: len(part) // 4 * 4]).lower()
            except (binascii.Error, ValueError):
                continue


def holds_person(data: bytes) -> bool:
    pattern = re.compile(rb"(?<![0-9a-z])" + re.escape(PERSON.encode()))
    return any(pattern.search(text) for text in plain_texts(data))


def search_redis(client: redis_py.Redis, cipher: Cipher) -> list[str]:
    """Where the person is in Redis, all encryption undone."""
    places_left = []
    for name in client.scan_iter(count=1_000):
        for value in _values(client, name):
            plain = cipher.decrypt(value) if value[:1] in (PLAIN, b"\x01") else value
            if holds_person(plain):
                places_left.append(name.decode())
    return places_left


def _values(client: Any, name: bytes) -> Iterator[bytes]:
    yield name
    match client.type(name):
        case b"string":
            yield client.get(name) or b""
        case b"list":
            yield from client.lrange(name, 0, -1)
        case b"hash":
            for pair in client.hgetall(name).items():
                yield from pair
        case b"stream":
            for _, fields in client.xrange(name):
                yield from fields.values()
        case b"zset":
            yield from client.zrange(name, 0, -1)
        case b"set":
            yield from client.smembers(name)


def search_files(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and holds_person(path.read_bytes())
    ]


def run(folder: Path, count: int, key: str = "") -> list[str]:
    """Fills a store, erases the person with the command, searches; returns what is wrong."""
    cipher = Cipher([key] if key else [])
    with EmbeddedRedis(folder) as server, connect(server.url, timeout=30.0) as client:
        client.config_set("rdbcompression", "no")
        asyncio.run(_store(server.url, client, cipher, count))
        _write_elsewhere(client, cipher)
        spool = Spool(folder / SPOOL_FOLDER, 10_000_000, cipher)
        spool.put(
            [msgspec.structs.replace(each, id=f"01SP{each.id[4:]}") for each in places().values()],
            0.0,
        )
        spool.close()  # fmt: skip
        print(f"{count + 2 * len(places()):,} submissions; the person is in {len(places())} places")
        before = search_redis(client, cipher)
        print(f"before: in {len(before)} values of Redis and in {search_files(folder)}")
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "service.cli.main", "erase", "--email", PERSON, "--yes", "--json"],
            env={**os.environ, "LEADLINE_DATA_DIR": str(folder), "REDIS_URL": server.url, "LEADLINE_ENCRYPTION_KEYS": key},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        print(f"leadline erase: exit code {done.returncode} after {time.monotonic() - began:.1f} s")
        print(done.stdout)
        wrong = [f"in Redis: {name}" for name in search_redis(client, cipher)]
        wrong += [f"in the file {name}" for name in search_files(folder)]
        if done.returncode:
            wrong.append(f"exit code {done.returncode}")
        ledger = Ledger(client, cipher)
        missing = [
            item.id
            for item in crowd(count)
            if (record := ledger.get(item.id)) is None or record.lead != item.lead
        ]
        wrong += [f"changed, though it is another's: {each}" for each in missing]  # fmt: skip
        if len(before) < len(places()):
            wrong.append("the search found less than was there")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument(
        "--key", default="", help="an encryption key, to have the content encrypted"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leadline-erasure-") as name:
        wrong = run(Path(name), arguments.submissions, arguments.key)
    print("\n".join(wrong) or "the person is nowhere any more, and nobody else is missing")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
