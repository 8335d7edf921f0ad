"""Rewrites values wherever they are in Redis, key by key, while others read and write them.

Each element is replaced only if it still is what was read; else it is read again. Memory is bounded
by a page of keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from worker.ledger.ledger import Ledger
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


class ValueRewriter(ABC):
    """Changes elements of keys. Every method may raise `StoreUnavailable`.

    `submissions` are those in which something changed, `entries` counts changes in other places,
    and `remaining` names the keys in which something could not be changed.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._redis = ledger.redis
        self._scripts = Scripts(ledger.redis, None, ledger.account)
        self.submissions: set[str] = set()
        self.entries = 0
        self.remaining: list[str] = []

    @abstractmethod
    def change(self, text: bytes, name: str, place: bytes | int) -> bytes | None:
        """The new text of an element of the key `name`; None to leave it."""

    @abstractmethod
    def skips(self, name: str) -> bool:
        """Whether to pass over this key."""

    def rewrite_submission(self, submission_id: str) -> None:
        """Rewrites the record of one submission."""
        with translate_errors():
            self._rewrite_key(keys.submission(submission_id), "hash")

    def rewrite(self, report: Callable[[int], object] = lambda _: None) -> None:
        """Rewrites every key that is not skipped; `report` gets the number of keys read."""
        count = 0
        with translate_errors():
            names = cast("Iterator[bytes]", self._redis.scan_iter(count=PAGE_SIZE))
            for page in batches(names, PAGE_SIZE):
                self._rewrite_page([name for name in page if not self.skips(_text(name))])
                count += len(page)
                report(count)

    def _rewrite_page(self, names: Sequence[bytes]) -> None:
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
            if any(
                self.change(text, _text(name), place) is not None
                for text, place in _elements(kind, reply)
            ):
                self._rewrite_key(name, kind)
        for name, kind in zip(names, types, strict=True):
            if kind in _SIZES and (name, kind) not in small:
                self._rewrite_key(name, kind)

    # -- one key

    def _rewrite_key(self, key: bytes | str, kind: str) -> None:
        name = _text(key)
        submission_id = _submission_of(name)
        if kind == "stream":
            self._rewrite_stream(name)
            return
        for _ in range(MAX_TRIES):
            all_replaced = True
            for page in batches(self._each_element(key, kind), PAGE_SIZE):
                items = [item for each in page if (item := self._replacement(name, each))]
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

    def _replacement(self, name: str, element: Element) -> Replacement | None:
        text, place = element
        new = self.change(text, name, place)
        return None if new is None else [text, new, place]

    # -- streams

    def _rewrite_stream(self, name: str) -> None:
        """An entry of a stream cannot be changed, so the stream is written anew."""
        texts: dict[str, list[bytes]] = {}
        last = "-"
        while rows := self._read_stream(name, last):
            for entry, fields in rows:
                changed = {field: self.change(text, name, field) for field, text in fields.items()}
                if any(changed.values()):
                    texts[entry.decode()] = [
                        part
                        for field, text in fields.items()
                        for part in (field, changed[field] or text)
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


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
