"""The table that lists, searches and counts are answered from: SQLite in memory, a row for each submission.

A row takes about half a kilobyte with its indexes: 50 MB for 100,000 submissions. What is deleted is overwritten.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from service.ops.find import TAGS, Filter, folded, readings, states, terms
from worker.causes import cause_id
from worker.contract import Cause, State
from worker.ledger import Record

SCHEMA = """
pragma secure_delete = on;
pragma temp_store = memory;
create table submission (
    id text primary key, source text not null, state text not null, cause text, at real not null, received real not null,
    who text not null, campaign text, result text, attempts integer not null, next_at real, words text not null
);
create index by_time on submission (at, id);
create index by_state on submission (state, at, id);
create index by_source on submission (source, at, id);
create index by_cause on submission (cause, at, id) where cause is not null;
"""

FEW = 3_000
"""Of so few matches the page is sorted out; of more it is looked up along the index by time, where it is found at once."""

KEPT_COUNTS = 200

Place = tuple[float, str]
"""Where a row stands in the order: the time of its last change, then its id."""


class Row(Struct, frozen=True, array_like=True):
    """In the order of the table's columns. `cause` is set for dead letters alone; `who` is masked."""

    id: str
    source: str
    state: str
    cause: str | None
    at: float
    received: float
    who: str
    campaign: str | None
    result: str | None
    attempts: int
    next_at: float | None
    words: str


def row(record: Record, who: str) -> Row:
    """The row of a record; of one without content (erased, sealed) only what is no content is searched."""
    cause = cause_id(record.cause) if record.state is State.DEAD else None
    return Row(
        record.id, record.source, record.state.value, cause, record.updated_at, record.received_at, who,
        record.lead.utm.campaign if record.lead else None, record.result, record.attempts, record.next_at, words(record),
    )  # fmt: skip


def words(record: Record) -> str:
    """What is searched, each value behind the tag of its kind."""
    found: list[tuple[str, str | None]] = [("id", record.id), ("lead", record.lead_id)]
    if lead := record.lead:
        digits = "".join(sign for sign in lead.phone or "" if sign.isdigit())
        utm = lead.utm
        found += [
            ("name", lead.full_name), ("email", lead.email), ("phone", lead.phone), ("phone", digits), ("company", lead.company),
            ("utm_campaign", utm.campaign), ("utm_source", utm.source), ("utm_medium", utm.medium), ("form", lead.form_name),
        ]  # fmt: skip
    return "".join(TAGS[kind] + folded(text) for kind, text in found if text)


class Where(Struct, frozen=True):
    """A condition in SQL. `scans`: it looks into the text of each row."""

    sql: str
    values: tuple[str, ...]
    scans: bool


class Table:
    """Safe for any thread. Rows come newest first, by the time of the last change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None, cached_statements=64)
        self._db.executescript(SCHEMA)
        self._causes: dict[str, tuple[float, Cause]] = {}
        self._version = 0
        self._count = lru_cache(maxsize=KEPT_COUNTS)(self._counted)

    # -- changing --------------------------------------------------------------------------------------------------

    def put(self, rows: Iterable[Row], causes: Iterable[tuple[float, Cause]] = (), gone: Iterable[str] = ()) -> None:
        """Adds or replaces rows, takes out those whose records are `gone`. `causes` with the time they were met."""
        values = [tuple(getattr(each, name) for name in Row.__struct_fields__) for each in rows]
        marks = ", ".join("?" * len(Row.__struct_fields__))
        with self._lock:
            self._db.execute("begin")
            self._db.executemany(f"insert or replace into submission values ({marks})", values)
            self._db.executemany("delete from submission where id = ?", [(each,) for each in gone])
            self._db.execute("commit")
            self._version += 1
            for at, cause in causes:
                name = cause_id(cause)
                if name not in self._causes or self._causes[name][0] <= at:
                    self._causes[name] = (at, cause)

    # -- asking ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.ask("select count(*) from submission")[0][0])

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._version

    def cause(self, name: str | None) -> Cause | None:
        """The cause of this id as it was met last."""
        found = self._causes.get(name or "")
        return found[1] if found else None

    def count(self, wanted: Filter) -> int:
        return self._count(self._version, wanted)

    def page(self, wanted: Filter, after: Place | None, limit: int) -> list[Row]:
        """The rows behind `after`, at most `limit`."""
        where = self.where(wanted)
        values: list[Any] = [*where.values]
        behind = ""
        if after is not None:
            behind = " and (at, id) < (?, ?)"
            values += after
        source = "submission"
        if where.scans:
            source += " not indexed" if self.count(wanted) <= FEW else " indexed by by_time"
        sql = f"select * from {source} where {where.sql}{behind} order by at desc, id desc limit ?"
        return [Row(*each) for each in self.ask(sql, [*values, limit])]

    def ids(self, wanted: Filter) -> list[str]:
        where = self.where(wanted)
        found = self.ask(f"select id from submission where {where.sql} order by at desc, id desc", where.values)
        return [each[0] for each in found]

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def where(self, wanted: Filter) -> Where:
        """The filter as a condition. Raises `FilterError`."""
        parts: list[tuple[str, tuple[str, ...]]] = []
        scans = False
        if wanted.state:
            parts.append(_among("state", states(wanted.state)))
        if wanted.source:
            parts.append(_among("source", [wanted.source]))
        if wanted.cause:
            parts.append(_among("cause", self._causes_like(wanted.cause)))
        for term in terms(wanted.q):
            if term.key == "state":
                parts.append(_among("state", states(term.text, "q")))
            elif term.key == "source":
                parts.append(_among("source", [term.text]))
            elif term.key == "cause":
                parts.append(_among("cause", self._causes_like(term.text)))
            else:
                scans = True
                texts = [TAGS[term.key] + folded(term.text)] if term.key else readings(term.text)
                parts.append((" or ".join(["instr(words, ?) > 0"] * len(texts)) or "1", tuple(texts)))
        sql = " and ".join(f"({part})" for part, _ in parts) or "1"
        return Where(sql, tuple(value for _, values in parts for value in values), scans)

    def _causes_like(self, text: str) -> list[str]:
        """The ids of the causes meant: the one of this id, else those of this code, step or field."""
        if text in self._causes:
            return [text]
        wanted = text.casefold()
        return [name for name, (_, cause) in self._causes.items() if wanted in (cause.code, cause.step, cause.field)]

    def _counted(self, _version: int, wanted: Filter) -> int:
        where = self.where(wanted)
        return int(self.ask(f"select count(*) from submission where {where.sql}", where.values)[0][0])


def _among(column: str, values: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    return f"{column} in ({', '.join('?' * len(values))})", tuple(values)
