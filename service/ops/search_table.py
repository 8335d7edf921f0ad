"""The table behind lists, searches and counts: SQLite in memory, a row for each submission.

A row takes about half a kilobyte with its indexes, 50 MB for 100,000 submissions. Deleted rows are
overwritten.
"""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from service.ops.filters import (
    END,
    EXACT_KEYS,
    PERSONAL_KEYS,
    TAGS,
    Filter,
    Term,
    fold,
    parse_states,
    parse_terms,
    text_variants,
)
from worker.causes import cause_id, title
from worker.contract import Cause, State
from worker.ledger import Record

SCHEMA = """
pragma secure_delete = on;
pragma temp_store = memory;
create table submission (
    n integer primary key, id text unique not null, source text not null, state text not null,
    cause text, at real not null, received real not null, who text not null, campaign text,
    result text, attempts integer not null, next_at real
);
create table text (n integer primary key, words text not null, personal text not null);
create index by_time on submission (at, id);
create index by_state on submission (state, at, id);
create index by_source on submission (source, at, id);
create index by_receipt on submission (source, received);
create index by_cause on submission (cause, at, id) where cause is not null;
"""

# A search with at most this many matches keeps them all. Where there are more, a page is soon found
# along the index by time.
MAX_CACHED_MATCHES = 10_000
# Answers kept until the next change, so that a list is counted once for all its pages.
MAX_CACHED_ANSWERS = 16
# Characters of a value that are searched; nobody may fill the memory with a name of a megabyte.
MAX_VALUE_CHARS = 256
ALWAYS_TRUE = "1"

# Where a row stands in the order: the time of its last change, then its id.
Place = tuple[float, str]


class SubmissionRow(Struct, frozen=True, array_like=True):
    """In the order of the columns. Only dead letters have a `cause`; `who` is masked."""

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
    personal: str = ""


def build_row(record: Record, who: str) -> SubmissionRow:
    """Make a record's row; where its content is gone or encrypted, the rest can be searched."""
    cause = cause_id(record.cause) if record.state is State.DEAD else None
    campaign = record.lead.utm.campaign if record.lead else None
    return SubmissionRow(
        record.id, record.source, record.state.value, cause, record.updated_at, record.received_at,
        who,
        campaign[:MAX_VALUE_CHARS] if campaign else None, record.result, record.attempts,
        record.next_at, *build_search_texts(record),
    )  # fmt: skip


def build_search_texts(record: Record) -> tuple[str, str]:
    """The texts that are searched: each value after the tag of its kind.

    The second has what a viewer sees masked.
    """
    values: list[tuple[str, str | None]] = [("id", record.id), ("lead", record.lead_id)]
    if lead := record.lead:
        digits = "".join(char for char in lead.phone or "" if char.isdigit())
        utm = lead.utm
        values += [
            ("name", lead.full_name), ("email", lead.email), ("phone", lead.phone),
            ("phone", digits), ("company", lead.company),
            ("utm_campaign", utm.campaign), ("utm_source", utm.source), ("utm_medium", utm.medium),
            ("form", lead.form_name),
        ]  # fmt: skip
    tagged = [(kind, TAGS[kind] + fold(text[:MAX_VALUE_CHARS])) for kind, text in values if text]
    return (
        "".join(text for kind, text in tagged if kind not in PERSONAL_KEYS),
        "".join(text + END for kind, text in tagged if kind in PERSONAL_KEYS),
    )


# SQL and its values.
Condition = tuple[str, tuple[str, ...]]


class SqlFilter(Struct, frozen=True):
    """A condition in SQL, and the `narrow` part of it that an index answers.

    `scans`: the rest of it reads the text of each row.
    """

    sql: str
    values: tuple[str, ...]
    narrow: str
    narrow_values: tuple[str, ...]
    scans: bool


COLUMNS = SubmissionRow.__struct_fields__[:-2]
# A row without the texts that are searched, which nobody sees.
ROW_COLUMNS = f"{', '.join(COLUMNS)}, '', ''"

UPSERT_ROW = (
    f"insert into submission ({', '.join(COLUMNS)}) values ({', '.join('?' * len(COLUMNS))}) on"
    " conflict (id) do update set " + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
)
UPSERT_TEXT = "insert or replace into text select n, ?, ? from submission where id = ?"


class SearchTable:
    """Safe for any thread. Rows are ordered by their last change, the latest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None, cached_statements=64
        )
        self._db.executescript(SCHEMA)
        self._causes: dict[str, tuple[float, Cause]] = {}
        self._version = 0
        self._cached_count = lru_cache(maxsize=MAX_CACHED_ANSWERS)(self._count)
        self._cached_matches = lru_cache(maxsize=MAX_CACHED_ANSWERS)(self._find_matches)

    def put(
        self,
        rows: Iterable[SubmissionRow],
        causes: Iterable[tuple[float, Cause]] = (),
        gone: Iterable[str] = (),
    ) -> None:
        """Add or replace rows, and delete those whose records are `gone`.

        `causes` come with the time they were met, in Unix seconds.
        """
        added = [
            tuple(getattr(each, name) for name in SubmissionRow.__struct_fields__) for each in rows
        ]
        with self._lock:
            self._db.execute("begin")
            self._db.executemany(UPSERT_ROW, [values[:-2] for values in added])
            self._db.executemany(UPSERT_TEXT, [(*values[-2:], values[0]) for values in added])
            for name in gone:
                self._db.execute(
                    "delete from text where n = (select n from submission where id = ?)", (name,)
                )
                self._db.execute("delete from submission where id = ?", (name,))
            self._db.execute("commit")
            self._version += 1
            for at, cause in causes:
                name = cause_id(cause)
                if name not in self._causes or self._causes[name][0] <= at:
                    self._causes[name] = (at, cause)

    def forget(self, gone: Collection[str]) -> None:
        """Delete rows whose records turned out to be gone."""
        if gone:
            self.put((), gone=gone)

    def __len__(self) -> int:
        return int(self.query("select count(*) from submission")[0][0])

    @property
    def version(self) -> int:
        """A number that grows with each change."""
        return self._version

    def cause(self, name: str | None) -> Cause | None:
        """The cause of this id, as it was met last."""
        _, cause = self._causes.get(name or "", (0.0, None))
        return cause

    def count(self, filter: Filter) -> int:
        matches = self._cached_matches(self._version, filter)
        return self._cached_count(self._version, filter) if matches is None else len(matches)

    def page(self, filter: Filter, after: Place | None, limit: int) -> list[SubmissionRow]:
        """At most `limit` rows after the place `after`."""
        matches = self._cached_matches(self._version, filter)
        if matches is not None:
            start = bisect_right(matches, 0, key=lambda place: int(place < after)) if after else 0
            return self._find_rows(matches[start : start + limit])
        where = self.build_sql_filter(filter)
        values: list[Any] = [*where.values]
        behind = ""
        if after is not None:
            behind = " and (at, id) < (?, ?)"
            values += after
        walked = (
            "submission indexed by by_time cross join text using (n)"
            if where.scans
            else "submission"
        )
        sql = (
            f"select {ROW_COLUMNS} from {walked} where {where.sql}{behind}"
            " order by at desc, id desc limit ?"
        )
        return [SubmissionRow(*each) for each in self.query(sql, [*values, limit])]

    def ids(self, filter: Filter) -> list[str]:
        where = self.build_sql_filter(filter)
        tables = self._tables_to_scan(where)
        sql = f"select id from {tables} where {where.sql} order by at desc, id desc"
        return [row[0] for row in self.query(sql, where.values)]

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def build_sql_filter(self, filter: Filter) -> SqlFilter:
        """The filter as a condition. Raises `FilterError`."""
        terms = parse_terms(filter.q)
        exact = [_is_one_of("state", parse_states(filter.state))] if filter.state else []
        exact += [_is_one_of("source", [filter.source])] if filter.source else []
        exact += (
            [_is_one_of("cause", self._find_causes(filter.cause, filter))] if filter.cause else []
        )
        exact += [self._match_exactly(term, filter) for term in terms if term.key in EXACT_KEYS]
        texts = [_contains(term, filter) for term in terms if term.key not in EXACT_KEYS]
        return SqlFilter(*_conjunction(exact + texts), *_conjunction(exact), scans=bool(texts))

    def _match_exactly(self, term: Term, filter: Filter) -> Condition:
        if term.key == "state":
            return _is_one_of("state", parse_states(term.text, "q"))
        return _is_one_of(
            term.key, [term.text] if term.key == "source" else self._find_causes(term.text, filter)
        )

    def _find_causes(self, text: str, filter: Filter) -> list[str]:
        """The ids of the causes that a text means.

        The one with this id, else those of this code, step or field, else those with this text.
        """
        if text in self._causes:
            return [text]
        folded = text.casefold()
        causes = [(name, cause) for name, (_, cause) in self._causes.items()]
        exact = [name for name, cause in causes if folded in (cause.code, cause.step, cause.field)]
        return exact or [name for name, cause in causes if folded in _cause_text(cause, filter)]

    def _find_matches(self, _version: int, filter: Filter) -> list[Place] | None:
        """All matches of a search in their order if they are few, else None; in one scan."""
        where = self.build_sql_filter(filter)
        if not where.scans:
            return None
        sql = f"select at, id from {self._tables_to_scan(where)} where {where.sql} limit ?"
        matches = self.query(sql, [*where.values, MAX_CACHED_MATCHES + 1])
        if len(matches) > MAX_CACHED_MATCHES:
            return None
        return sorted(((at, each) for at, each in matches), reverse=True)

    def _count(self, _version: int, filter: Filter) -> int:
        where = self.build_sql_filter(filter)
        sql = f"select count(*) from {self._tables_to_scan(where)} where {where.sql}"
        return int(self.query(sql, where.values)[0][0])

    def _tables_to_scan(self, where: SqlFilter) -> str:
        """What is scanned first: the texts, or the rows where an index leaves few of them."""
        if not where.scans:
            return "submission"
        if where.narrow != ALWAYS_TRUE:
            [(narrowed,)] = self.query(
                f"select count(*) from submission where {where.narrow}", where.narrow_values
            )
            if narrowed <= len(self) // 4:
                return "submission cross join text using (n)"
        return "text cross join submission using (n)"

    def _find_rows(self, places: Sequence[Place]) -> list[SubmissionRow]:
        marks = ", ".join("?" * len(places))
        rows = self.query(
            f"select {ROW_COLUMNS} from submission where id in ({marks})",
            [name for _, name in places],
        )
        by_id = {row[0]: SubmissionRow(*row) for row in rows}
        return [by_id[name] for _, name in places if name in by_id]


def _is_one_of(column: str, values: Sequence[str]) -> Condition:
    return f"{column} in ({', '.join('?' * len(values))})", tuple(values)


def _cause_text(cause: Cause, filter: Filter) -> str:
    """What a cause says; its detail may quote the sender."""
    detail = None if filter.whole else cause.detail
    return "\n".join(
        text for text in (title(cause), detail, cause.hint, cause.setting) if text
    ).casefold()


def _contains(term: Term, filter: Filter) -> Condition:
    """A free word may stand anywhere in the text, one with a key where such a value begins.

    Where the filter takes personal data as a whole only, nothing may precede or follow it there.
    """
    texts = [TAGS[term.key] + fold(term.text)] if term.key else text_variants(term.text)
    personal = texts
    if filter.whole:
        tags = [TAGS[key] for key in ([term.key] if term.key else PERSONAL_KEYS)]
        personal = [f"{tag}{text}{END}" for tag in tags for text in text_variants(term.text)]
    conditions = ["instr(words, ?) > 0"] * len(texts) + ["instr(personal, ?) > 0"] * len(personal)
    return " or ".join(conditions) or ALWAYS_TRUE, (*texts, *personal)


def _conjunction(conditions: Sequence[Condition]) -> Condition:
    sql = " and ".join(f"({condition})" for condition, _ in conditions) or ALWAYS_TRUE
    return sql, tuple(value for _, values in conditions for value in values)
