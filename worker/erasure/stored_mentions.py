"""Replaces an address by `[erased]` wherever else it stands in Redis, in any type of key.

A lead of somebody else that mentions the person stays, without the address. So do entries of the
audit trail, reasons, causes, bulk edits and alerts.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from worker.encryption import ENCRYPTED, PLAIN, DecryptionError
from worker.ledger import Ledger
from worker.ledger.email_search import EmailPattern
from worker.ledger.reader import batches
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.scripts import Scripts

# Keys, and elements of a large key, that are read at a time.
PAGE_SIZE = 500
STREAM_PAGE_SIZE = 1_000
# How often an element that changes meanwhile is read again.
MAX_TRIES = 5

# What an element says, and where it stands: a field, an index, the id of a stream's entry.
Element = tuple[bytes, bytes | int]

# What `replace.lua` takes: the old text, the new one, and where it stands.
Replacement = list[bytes | int]

_SIZES = {
    "string": "STRLEN", "hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD",
    "stream": "XLEN",
}  # fmt: skip


class StoredMentions:
    """Redacts one address in Redis. Every method may raise `StoreUnavailable`.

    `submissions` are those of others in which it stood, `entries` counts other places, `unreadable`
    what cannot be decrypted, and `remaining` names the keys in which it is still.
    """

    def __init__(self, ledger: Ledger, pattern: EmailPattern) -> None:
        self._redis = ledger.redis
        self._cipher = ledger.cipher
        self._pattern = pattern
        self._scripts = Scripts(ledger.redis, None, ledger.account)
        self.submissions: set[str] = set()
        self.entries = 0
        self.unreadable = 0
        self.remaining: list[str] = []

    def redact_submission(self, submission_id: str) -> None:
        """Redacts the record of somebody else's submission."""
        with translate_errors():
            self._redact_key(keys.submission(submission_id), "hash")

    def redact_elsewhere(self, report: Callable[[int], object] = lambda _: None) -> None:
        """Redacts every key but the records themselves; `report` gets the number of keys read."""
        count = 0
        with translate_errors():
            names = cast("Iterator[bytes]", self._redis.scan_iter(count=PAGE_SIZE))
            for page in batches(names, PAGE_SIZE):
                self._redact_page([name for name in page if not _is_skipped(name)])
                count += len(page)
                report(count)

    def _redact_page(self, names: Sequence[bytes]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.type(name)
            types = [kind.decode() for kind in pipe.execute()]
            for name, kind in zip(names, types, strict=True):
                pipe.execute_command(_SIZES.get(kind, "EXISTS"), name)  # type: ignore[no-untyped-call]
            sizes = pipe.execute()
            small = [
                (name, kind)
                for name, kind, size in zip(names, types, sizes, strict=True)
                if kind in ("string", "list", "hash") and (kind == "string" or size <= PAGE_SIZE)
            ]
            for name, kind in small:
                _add_read(pipe, name, kind)
            replies = pipe.execute()
        for (name, kind), reply in zip(small, replies, strict=True):
            if any(self._has_mention(each) for each, _ in _elements(kind, reply)):
                self._redact_key(name, kind)
        for name, kind in zip(names, types, strict=True):
            if kind in _SIZES and (name, kind) not in small:
                self._redact_key(name, kind)

    # -- one key

    def _redact_key(self, key: bytes | str, kind: str) -> None:
        name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        submission_id = _submission_of(name)
        if kind == "stream":
            self._redact_stream(name)
            return
        for _ in range(MAX_TRIES):
            all_replaced = True
            for page in batches(self._each_element(key, kind), PAGE_SIZE):
                items = [item for item in map(self._replacement, page) if item]
                if not items:
                    continue
                if name.startswith("rq:"):
                    self.remaining.append(name)
                    return
                all_replaced &= self._replace(key, kind, items, submission_id)
            if all_replaced:
                return
        self.remaining.append(name)

    def _replace(
        self, key: bytes | str, kind: str, items: Sequence[Replacement], submission_id: str | None
    ) -> bool:
        """Returns whether all of it was still as it was read."""
        count = self._scripts.run(
            "erasure/replace", key=key, kind=kind, id=submission_id, items=list(items)
        )
        if submission_id:
            self.submissions.add(submission_id)
        else:
            self.entries += count
        return bool(count == len(items))

    def _each_element(self, key: bytes | str, kind: str) -> Iterator[Element]:
        store: Any = self._redis
        if kind == "hash":
            for field, value in store.hscan_iter(key, count=PAGE_SIZE):
                yield value, field
        elif kind == "set":
            yield from ((member, 0) for member in store.sscan_iter(key, count=PAGE_SIZE))
        elif kind == "zset":
            yield from ((member, 0) for member, _ in store.zscan_iter(key, count=PAGE_SIZE))
        elif kind == "list":
            start = 0
            while page := store.lrange(key, start, start + PAGE_SIZE - 1):
                yield from ((text, start + place) for place, text in enumerate(page))
                start += len(page)
        elif (text := store.get(key)) is not None:
            yield text, 0

    def _replacement(self, element: Element) -> Replacement | None:
        text, place = element
        new = self._redact(text)
        return None if new is None else [text, new, place]

    # -- streams

    def _redact_stream(self, name: str) -> None:
        """An entry of a stream cannot be changed, so the stream is written anew."""
        texts: dict[str, list[bytes]] = {}
        last = "-"
        while rows := self._read_stream(name, last):
            for entry, fields in rows:
                redacted = {field: self._redact(text) for field, text in fields.items()}
                if any(redacted.values()):
                    texts[entry.decode()] = [
                        part
                        for field, text in fields.items()
                        for part in (field, redacted[field] or text)
                    ]
            last = f"({rows[-1][0].decode()}"
        if not texts:
            return
        done, begin = False, True
        while not done:
            done = bool(
                self._scripts.run(
                    "erasure/rewrite",
                    key=name,
                    copy=keys.AUDIT_COPY,
                    begin=begin,
                    limit=STREAM_PAGE_SIZE,
                    texts=texts,
                )
            )
            begin = False
        self.entries += len(texts)

    def _read_stream(self, name: str, last: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        store: Any = self._redis
        rows: list[tuple[bytes, dict[bytes, bytes]]] = store.xrange(
            name, min=last, count=STREAM_PAGE_SIZE
        )
        return rows

    # -- one element

    def _has_mention(self, text: bytes) -> bool:
        return self._redact(text) is not None

    def _redact(self, text: bytes) -> bytes | None:
        """The element without the address; None where it does not stand in it."""
        if text[:1] not in (ENCRYPTED, PLAIN):
            plain = _decompress(text)
            return self._pattern.redact(text) if self._pattern.occurs_in(plain) else None
        try:
            content = self._cipher.decrypt(text)
        except DecryptionError:
            self.unreadable += 1
            return None
        tree = _decode(content)
        if not self._pattern.occurs_in(tree):
            return None
        redacted = self._pattern.redact(tree)
        return self._cipher.encrypt(
            redacted if isinstance(redacted, bytes) else msgspec.msgpack.encode(redacted)
        )


def _decode(content: bytes) -> object:
    """The tree that was stored, else the bytes as they are."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        tree = msgspec.msgpack.decode(content)
        if isinstance(tree, dict | list):
            return tree
    return content


def _decompress(text: bytes) -> bytes:
    """RQ compresses what it stores of a job."""
    if text[:1] != b"\x78":
        return text
    try:
        return zlib.decompressobj().decompress(text, 1_000_000)
    except zlib.error:
        return text


def _add_read(pipe: Any, name: bytes, kind: str) -> None:
    if kind == "string":
        pipe.get(name)
    elif kind == "list":
        pipe.lrange(name, 0, -1)
    else:
        pipe.hgetall(name)


def _elements(kind: str, reply: Any) -> Iterable[Element]:
    if kind == "list":
        return ((text, place) for place, text in enumerate(reply))
    if kind == "hash":
        fields: Mapping[bytes, bytes] = reply
        return ((value, field) for field, value in fields.items())
    return [] if reply is None else [(reply, 0)]


def _submission_of(name: str) -> str | None:
    """The id of the submission that a key belongs to."""
    prefix = keys.submission("")
    return name.removeprefix(prefix).partition(":")[0] if name.startswith(prefix) else None


def _is_skipped(name: bytes) -> bool:
    """Whether the key holds only ids, or is a record, which the caller has read."""
    text = name.decode("utf-8", "replace")
    if text.startswith(keys.submission("")):
        return ":" not in text.removeprefix(keys.submission(""))
    return text.startswith(keys.IDS_ONLY)
