"""Every stored submission, the newest change first, in bounded memory however many there are.

For commands that look at all of them. A page of ids is held at a time, and of their contents a few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar, cast

from msgspec import Struct

from worker.contract import State
from worker.ledger import Ledger, Record
from worker.ledger.record import decode_record
from worker.store import keys
from worker.store.connection import translate_errors

T = TypeVar("T")
PAGE = 500
"""Ids that are asked for at a time."""
TOGETHER = 10
"""Records that are held at a time: one may be as large as a request."""
LIGHT = 100
"""The same without the requests."""
SKEW = 3_600.0
"""Seconds that the clocks of the service, which received it, and of Redis may differ."""
WITHOUT_RAW = [name for name in Record.__struct_fields__ if name not in ("id", "raw", "sealed")]


class Head(Struct, frozen=True):
    """What is known of a submission without its content. Times in Unix seconds."""

    id: str
    source: str
    state: State
    received_at: float


def heads(
    ledger: Ledger,
    *,
    since: float = 0.0,
    states: Iterable[State] = State,
    source: str | None = None,
) -> Iterator[Head]:
    """The submissions received at `since` (Unix seconds) or later. Those that change meanwhile come
    once or not at all.

    Raises `StoreUnavailable`.
    """
    streams = [_ids(ledger, state, since) for state in states]
    newest_first = (found for _, found in merge(*streams, key=lambda item: -item[0]))
    for page in _in_pages(newest_first, PAGE):
        for one, (of, state, at) in zip(page, _fields(ledger, page), strict=True):
            if (
                of is None
                or at is None
                or (source is not None and of.decode() != source)
                or float(at) < since
            ):
                continue
            yield Head(one, of.decode(), State(state.decode()), float(at))


def records(ledger: Ledger, wanted: Iterable[Head], *, raw: bool) -> Iterator[Record]:
    """Their records; without the request itself unless `raw`. Those that are gone meanwhile are
    left out.
    """
    for page in _in_pages(wanted, TOGETHER if raw else LIGHT):
        yield from (
            record
            for record in _contents(ledger, [head.id for head in page], raw=raw)
            if record is not None
        )


def _ids(ledger: Ledger, state: State, since: float) -> Iterator[tuple[float, str]]:
    """`(time of the change, id)`, the newest first. A submission enters a state when it is received
    or later.
    """
    top, at_top = float("inf"), set[bytes]()
    while fresh := [
        (raw, score)
        for raw, score in _page(ledger, state, top, since - SKEW, len(at_top))
        if raw not in at_top
    ]:
        yield from ((score, raw.decode()) for raw, score in fresh)
        last = fresh[-1][1]
        at_top = {raw for raw, score in fresh if score == last} | (at_top if last == top else set())
        top = last


def _page(
    ledger: Ledger, state: State, top: float, since: float, more: int
) -> list[tuple[bytes, float]]:
    with translate_errors():
        found = ledger.redis.zrange(
            keys.state(state),
            top,
            since,
            desc=True,
            byscore=True,
            withscores=True,
            offset=0,
            num=PAGE + more,
        )
    return cast("list[tuple[bytes, float]]", found)


def _fields(ledger: Ledger, ids: Sequence[str]) -> list[list[Any]]:
    with translate_errors(), ledger.redis.pipeline(transaction=False) as pipe:
        for one in ids:
            pipe.hmget(keys.submission(one), "source", "state", "received_at")
        return pipe.execute()


def _contents(ledger: Ledger, ids: Sequence[str], *, raw: bool) -> list[Record | None]:
    with translate_errors(), ledger.redis.pipeline(transaction=False) as pipe:
        for one in ids:
            if raw:
                pipe.hgetall(keys.submission(one))
            else:
                pipe.hmget(keys.submission(one), WITHOUT_RAW)
        found: list[Any] = pipe.execute()
    fields = [answer if raw else _named(answer) for answer in found]
    return [
        decode_record(one, each, ledger.cipher) if b"state" in each else None
        for one, each in zip(ids, fields, strict=True)
    ]


def _named(values: list[bytes | None]) -> dict[bytes, bytes]:
    return {
        name.encode(): value
        for name, value in zip(WITHOUT_RAW, values, strict=True)
        if value is not None
    }


def _in_pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while page := list(islice(left, size)):
        yield page
