"""Reads records: one, many, or all in bounded memory. Also reads the stream of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar, cast

import msgspec
import redis
from msgspec import Struct

from worker.causes import UNRECORDED
from worker.contract import VERSION, Attempt, Cause, Moment, State
from worker.encryption import Cipher, DecryptionError
from worker.ledger.record import Record, decode_attempt, decode_moment, decode_record
from worker.ledger.status import LedgerStatus, add_status_commands, read_status
from worker.store import keys
from worker.store.connection import call_redis, translate_errors

T = TypeVar("T")
Fields = dict[bytes, bytes]

# Ids that a scan reads at a time.
SCAN_PAGE_SIZE = 2_000

# Records that `each_record` holds at a time; with raw bytes, one may be as large as a request.
RAW_BATCH_SIZE = 10
LIGHT_BATCH_SIZE = 100

# By how much the clocks of the service, which receives submissions, and of Redis may differ.
MAX_CLOCK_DIFFERENCE_SECONDS = 3_600.0

FIELDS_WITHOUT_RAW = [
    name for name in Record.__struct_fields__ if name not in ("id", "raw", "unreadable")
]


class RecordHead(Struct, frozen=True):
    """A submission without its content. Times in Unix seconds."""

    id: str
    source: str
    state: State
    received_at: float


class SubmissionHistory(Struct, frozen=True):
    """Everything that is stored about one submission, read at one moment."""

    record: Record
    attempts: list[Attempt]
    timeline: list[Moment]


class RecordReader:
    """The reading half of `worker.ledger.Ledger`; every method may raise `StoreUnavailable`."""

    def __init__(
        self,
        connection: redis.Redis,
        cipher: Cipher,
        version: int = VERSION,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self.redis = connection
        self.cipher = cipher
        self.version = version
        self.account = account

    # -- one

    def get(self, submission_id: str) -> Record | None:
        return self.find_many([submission_id])[0]

    def find_history(self, submission_id: str) -> SubmissionHistory | None:
        with translate_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.submission(submission_id))
            pipe.lrange(keys.attempts(submission_id), 0, -1)
            pipe.lrange(keys.timeline(submission_id), 0, -1)
            fields, attempts, timeline = pipe.execute()
        [fields] = self._with_shared_raws([fields])
        record = self._decode(submission_id, fields)
        if record is None:
            return None
        return SubmissionHistory(
            record,
            [decode_attempt(item, self.cipher) for item in attempts],
            [decode_moment(item, self.cipher) for item in timeline],
        )

    def timeline(self, submission_id: str) -> list[Moment]:
        """The submission's changes of state, oldest first."""
        return self.timelines([submission_id])[0]

    def attempts(self, submission_id: str) -> list[Attempt]:
        """The calls and decisions of the submission's deliveries, oldest first."""
        items = call_redis(lambda: self.redis.lrange(keys.attempts(submission_id), 0, -1))
        return [decode_attempt(item, self.cipher) for item in items]

    # -- many

    def find_many(self, ids: Sequence[str], *, raw: bool = True) -> list[Record | None]:
        """The records with these ids, in order; None for an id without a record.

        Without `raw`, `Record.raw` is None: the raw bytes may be large.
        """
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for submission_id in ids:
                if raw:
                    pipe.hgetall(keys.submission(submission_id))
                else:
                    pipe.hmget(keys.submission(submission_id), FIELDS_WITHOUT_RAW)
            replies: list[Any] = pipe.execute()
        each_fields = self._with_shared_raws(replies) if raw else map(_name_fields, replies)
        return [
            self._decode(submission_id, fields)
            for submission_id, fields in zip(ids, each_fields, strict=True)
        ]

    def each_record(
        self, ids: Iterable[str], *, raw: bool, batch_size: int | None = None
    ) -> Iterator[Record]:
        """The records with these ids, read in batches; ids without a record are left out."""
        for batch in batches(ids, batch_size or (RAW_BATCH_SIZE if raw else LIGHT_BATCH_SIZE)):
            for record in self.find_many(batch, raw=raw):
                if record is not None:
                    yield record

    def timelines(self, ids: Sequence[str]) -> list[list[Moment]]:
        """The timelines of these submissions, in order; each starts with its oldest moment."""
        return [
            [decode_moment(item, self.cipher) for item in items] for items in self._lists(ids, 0)
        ]

    def last_moments(self, ids: Sequence[str]) -> list[Moment | None]:
        """The last change of state of each of these submissions."""
        return [
            decode_moment(items[0], self.cipher) if items else None
            for items in self._lists(ids, -1)
        ]

    # -- all

    def scan(self, states: Iterable[State] = State, *, since: float = 0.0) -> Iterator[str]:
        """The ids in these states, latest change first, back to `since` (Unix seconds).

        Only one page per state is in memory. A submission that changes during the scan comes once
        or not at all.
        """
        streams = [self._scan_state(state, since) for state in states]
        for _, submission_id in merge(*streams, key=lambda entry: -entry[0]):
            yield submission_id

    def scan_heads(
        self,
        states: Iterable[State] = State,
        *,
        since: float = 0.0,
        source: str | None = None,
    ) -> Iterator[RecordHead]:
        """Like `scan`, for submissions received at `since` or later, of one source if given.

        A submission enters a state after it is received, as far as the clocks agree.
        """
        ids = self.scan(states, since=since - MAX_CLOCK_DIFFERENCE_SECONDS)
        for page in batches(ids, SCAN_PAGE_SIZE):
            for head in self._heads(page):
                if source in (None, head.source) and head.received_at >= since:
                    yield head

    def each_in(self, state: State) -> Iterator[Record]:
        """Every record in `state`, newest first; records that leave it meanwhile are skipped."""
        for record in self.each_record(self.scan([state]), raw=True):
            if record.state is state:
                yield record

    def in_state(self, state: State, limit: int = 100) -> list[Record]:
        """The newest records in `state`."""
        return list(islice(self.each_in(state), limit))

    def each_id(self) -> Iterator[str]:
        """The id of every record that exists throughout, in no order, possibly more than once.

        This iterates over Redis's keys: a scan through the states would miss a record that moves
        from one state to another.
        """
        prefix = keys.submission("")
        names = cast("Iterator[bytes]", self.redis.scan_iter(match=f"{prefix}*", count=500))
        while page := call_redis(lambda: list(islice(names, 500))):
            for name in page:
                submission_id = name.decode()[len(prefix) :]
                if ":" not in submission_id:
                    yield submission_id

    def ids_until(self, state: State, until: float, limit: int) -> list[str]:
        """The ids that entered `state` by `until` (Unix seconds), oldest first."""
        names = call_redis(
            lambda: self.redis.zrange(
                keys.state(state), "-inf", until, byscore=True, offset=0, num=limit
            )
        )
        return [raw.decode() for raw in names]

    def dead_causes(self, limit: int | None = None) -> list[tuple[Cause, float]]:
        """The cause of each dead letter and when it died (Unix seconds): the newest `limit`."""
        with translate_errors():
            last = -1 if limit is None else limit - 1
            dead = cast(
                "list[tuple[bytes, float]]",
                self.redis.zrange(keys.state(State.DEAD), 0, last, desc=True, withscores=True),
            )
            with self.redis.pipeline(transaction=False) as pipe:
                for raw, _ in dead:
                    pipe.hget(keys.submission(raw.decode()), "cause")
                causes = pipe.execute()
        return [
            (self._decode_cause(text) if text else UNRECORDED, since)
            for (_, since), text in zip(dead, causes, strict=True)
        ]

    # -- figures and changes

    def status(self) -> LedgerStatus:
        """The figures of the store, all of one moment."""
        with translate_errors(), self.redis.pipeline(transaction=True) as pipe:
            add_status_commands(pipe, self.account)
            return read_status(pipe.execute())

    def counts(self) -> dict[State, int]:
        """How many submissions were ever accepted, by their current state."""
        return self.status().counts

    def oldest(self, state: State) -> float | None:
        """When the submission that has been in `state` longest entered it (Unix seconds)."""
        return self.status().oldest_at.get(state)

    def count_in(self, state: State) -> int:
        return int(call_redis(lambda: self.redis.zcard(keys.state(state))))

    def last_change(self) -> str | None:
        """The position of the newest entry in the stream of changes; None if it is empty."""
        newest: Any = call_redis(lambda: self.redis.xrevrange(keys.CHANGES, count=1))
        return newest[0][0].decode() if newest else None

    def changes_after(self, place: str, limit: int) -> tuple[list[tuple[str, str]], bool]:
        """Up to `limit` entries after `place` as (place, id), and whether `place` is still there.

        If it is, no entry in between is missing.
        """
        with translate_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.xrange(keys.CHANGES, place, place)
            pipe.xrange(keys.CHANGES, f"({place}", "+", count=limit)
            anchor, entries = pipe.execute()
        changes = [(at.decode(), fields.get(b"id", b"").decode()) for at, fields in entries]
        return changes, bool(anchor)

    # -- helpers

    def _decode_cause(self, text: bytes) -> Cause:
        try:
            return msgspec.json.decode(self.cipher.unseal(text), type=Cause)
        except DecryptionError:
            return UNRECORDED

    def _decode(self, submission_id: str, fields: Fields) -> Record | None:
        if b"state" not in fields:
            return None
        return decode_record(submission_id, fields, self.cipher, self.version)

    def _with_shared_raws(self, records: Sequence[Fields]) -> list[Fields]:
        """Adds to the events of one request the raw body that they share, while it is stored."""
        firsts = list({first for fields in records if (first := fields.get(b"raw_of"))})
        if not firsts:
            return list(records)
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for first in firsts:
                pipe.hget(keys.raw(first.decode()), "raw")
            raws = dict(zip(firsts, pipe.execute(), strict=True))
        return [
            fields | {b"raw": raws.get(fields.get(b"raw_of", b"")) or fields.get(b"raw", b"")}
            for fields in records
        ]

    def _lists(self, ids: Sequence[str], start: int) -> list[list[bytes]]:
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for submission_id in ids:
                pipe.lrange(keys.timeline(submission_id), start, -1)
            return pipe.execute()

    def _heads(self, ids: Sequence[str]) -> Iterator[RecordHead]:
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for submission_id in ids:
                pipe.hmget(keys.submission(submission_id), "source", "state", "received_at")
            replies: list[list[bytes | None]] = pipe.execute()
        for submission_id, (source, state, at) in zip(ids, replies, strict=True):
            if source is not None and state is not None and at is not None:
                yield RecordHead(submission_id, source.decode(), State(state.decode()), float(at))

    def _scan_state(self, state: State, since: float) -> Iterator[tuple[float, str]]:
        """Yields `(time of the change, id)`, newest first.

        Each page starts again at the last time of the previous one, because more ids may share that
        time; ids that came already are left out.
        """
        top, came_at_top = float("inf"), set[bytes]()
        while page := [
            (raw, score)
            for raw, score in self._scan_page(state, top, since, SCAN_PAGE_SIZE + len(came_at_top))
            if raw not in came_at_top
        ]:
            yield from ((score, raw.decode()) for raw, score in page)
            last = page[-1][1]
            came = {raw for raw, score in page if score == last}
            came_at_top = came | (came_at_top if last == top else set())
            top = last

    def _scan_page(
        self, state: State, top: float, since: float, size: int
    ) -> list[tuple[bytes, float]]:
        rows = call_redis(
            lambda: self.redis.zrange(
                keys.state(state),
                top,
                since,
                desc=True,
                byscore=True,
                withscores=True,
                offset=0,
                num=size,
            )
        )
        return cast("list[tuple[bytes, float]]", rows)


def _name_fields(values: Sequence[bytes | None]) -> Fields:
    return {
        name.encode(): value
        for name, value in zip(FIELDS_WITHOUT_RAW, values, strict=True)
        if value is not None
    }


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields `items` in lists of `size`; the last list may be shorter."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
