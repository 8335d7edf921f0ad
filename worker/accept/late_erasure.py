"""Erases people from what is handed over late: from a spool or journal that they were in."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis.asyncio
from msgspec import structs

from worker.accept.encoding import EncodedSubmission, encode_submissions
from worker.contract import EMPTY_RAW, Submission
from worker.encryption import Cipher
from worker.ledger.email_search import EmailPattern
from worker.ledger.identifiers import (
    erasure_marks,
    event_raw,
    has_other_contact,
    mentioned_addresses,
    raw_texts,
)
from worker.ledger.reader import batches
from worker.store import keys, scripts

# Erasure marks per query to Redis: one submission can hold tens of thousands of phone numbers.
MARKS_PER_QUERY = 2_000


async def drop_erased(
    connection: redis.asyncio.Redis,
    pipe: Any,
    submissions: Sequence[EncodedSubmission],
    cipher: Cipher,
) -> tuple[dict[str, str], Sequence[EncodedSubmission]]:
    """Drops what is spooled of people who were erased since, so that it gets nowhere in Redis.

    Returns the submissions that are erased (id -> mark), and all of them without that content.
    Events that only share a request with such a person lose its raw body, and others that
    mention the address have it redacted. A mark that is set after this look makes the
    transaction fail.
    """
    items = [each.submission for each in submissions]
    await pipe.watch(keys.ERASURES)
    is_any = bool(await connection.exists(keys.ERASURES))
    marks = await asyncio.to_thread(lambda: [_marks(each, mentions=is_any) for each in items])
    all_marks = {mark for each in marks for mark in (*each.event, *each.request, *each.mentions)}
    erased_at = await _read_marks(connection, pipe, all_marks)
    if not erased_at:
        return {}, submissions
    erased: dict[str, str] = {}
    tainted: set[str] = set()
    mentioned: dict[str, list[str]] = {}
    for item, each in zip(items, marks, strict=True):

        def reached(of_item: Iterable[str], received_at: float = item.received_at) -> list[str]:
            return [mark for mark in of_item if received_at <= erased_at.get(mark, -math.inf)]

        addresses = [each.mentions[mark] for mark in reached(each.mentions)]
        if its_marks := reached(each.event):
            erased[item.id] = its_marks[0]
        elif addresses and not has_other_contact(item.lead):
            erased[item.id] = keys.erased("email", addresses[0])
        elif addresses:
            mentioned[item.id] = addresses
        if item.raw_of and reached(each.request):
            tainted.add(item.raw_of)
    left = []
    for item in items:
        if item.id in erased:
            item = structs.replace(item, lead=None, raw=EMPTY_RAW, cause=None, why=None, fetch=None)
        elif item.raw_of in tainted:
            item = structs.replace(item, raw=EMPTY_RAW)
        left.append(_redact(item, mentioned.get(item.id, ())))
    return erased, encode_submissions(left, cipher)


async def _read_marks(
    connection: redis.asyncio.Redis, pipe: Any, marks: set[str]
) -> dict[str, float]:
    """When each of these marks was set (Unix seconds), and watches them."""
    erased_at: dict[str, float] = {}
    for part in batches(marks, MARKS_PER_QUERY):
        await pipe.watch(*part)
        args = scripts.pack({"marks": part})
        reply = await connection.eval(scripts.source("ledger/marked"), 0, "", args)
        erased_at |= {
            mark.decode(): float(at) for mark, at in zip(reply[::2], reply[1::2], strict=True)
        }
    return erased_at


class _Marks(NamedTuple):
    """Keys of erasure marks: of an event, of its whole request, of addresses that it mentions."""

    event: list[str]
    request: list[str]
    mentions: dict[str, str]


def _marks(item: Submission, *, mentions: bool) -> _Marks:
    event, request = erasure_marks(item)
    content = [
        msgspec.to_builtins([item.lead, item.cause, item.why, item.fetch]),
        raw_texts(event_raw(item)),
    ]
    return _Marks(event, request, mentioned_addresses(content) if mentions else {})


def _redact(item: Submission, addresses: Sequence[str]) -> Submission:
    """What somebody else's submission says of an erased person is redacted."""
    if not addresses:
        return item
    content = msgspec.to_builtins(item, builtin_types=(bytes,))
    key = content.pop("duplicate_key", None)
    for address in addresses:
        content = EmailPattern(address).redact(content)
    return msgspec.convert(content | {"duplicate_key": key}, Submission)
