"""The records of the account, in memory; changes are handed to the journal in one go by
`commit`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

# Keeps the account on disk: one SQLite row per record, one transaction per answered request.

Change = tuple[str, str, dict[str, Any] | None]
"""Table, id, and the record as it is now (None: gone)."""


class Journal:
    """A file of records. Without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._database = _open(path) if path else None

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every record with its table, in the order of creation."""
        if self._database is None:
            return
        for table, body in self._database.execute("SELECT kind, body FROM record ORDER BY rowid"):
            yield table, msgspec.json.decode(body)

    def write(self, changes: list[Change]) -> None:
        """All changes or none; on disk (but for a power cut) when it returns."""
        if self._database is None or not changes:
            return
        with self._database:
            for table, key, record in changes:
                if record is None:
                    self._database.execute(
                        "DELETE FROM record WHERE kind = ? AND id = ?", (table, key)
                    )
                else:
                    self._database.execute(
                        "INSERT INTO record (kind, id, body) VALUES (?, ?, ?)"
                        " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                        (table, key, msgspec.json.encode(record)),
                    )

    def clear(self) -> None:
        """Forgets everything."""
        if self._database is not None:
            with self._database:
                self._database.execute("DELETE FROM record")

    def close(self) -> None:
        """Closes the file."""
        if self._database is not None:
            self._database.close()
            self._database = None


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One event loop uses it, but a test's client may run that loop in a thread other than the one
    # that opened the file.
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS record (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))"
    )
    database.commit()
    return database


Record = dict[str, Any]


class Table:
    """Records of one kind by id, in order of creation, with an index over the fields named."""

    def __init__(self, name: str, changes: list[Change], indexed: tuple[str, ...] = ()) -> None:
        self.name = name
        self._changes = changes
        self._records: dict[Any, Record] = {}
        self._order: dict[Any, int] = {}
        self._index: dict[str, dict[Any, dict[Any, None]]] = {field: {} for field in indexed}

    def get(self, key: Any) -> Record | None:
        return self._records.get(key)

    def put(self, record: Record) -> Record:
        """Adds or replaces by `id`."""
        self.load(record)
        self._changes.append((self.name, str(record["id"]), record))
        return record

    def load(self, record: Record) -> None:
        """Takes a record that is on disk already."""
        key = record["id"]
        self._forget(key)
        self._records[key] = record
        self._order.setdefault(key, len(self._order))
        for field, keys in self._index.items():
            keys.setdefault(record.get(field), {})[key] = None

    def remove(self, key: Any) -> None:
        self._forget(key)
        if self._records.pop(key, None) is not None:
            self._changes.append((self.name, str(key), None))

    def where(self, field: str, value: Any) -> list[Record]:
        """Records whose indexed field has this value, in order of creation."""
        keys = sorted(self._index[field].get(value, {}), key=self._order.__getitem__)
        return [self._records[key] for key in keys]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def _forget(self, key: Any) -> None:
        old = self._records.get(key)
        if old is None:
            return
        for field, keys in self._index.items():
            bucket = keys.get(old.get(field), {})
            bucket.pop(key, None)
            if not bucket:
                keys.pop(old.get(field), None)


class Store:
    """All tables. Not thread-safe: one event loop owns it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changes: list[Change] = []
        self.labels = Table("label", self._changes)
        self.leads = Table("lead", self._changes, ("person_id", "organization_id"))
        self.persons = Table("person", self._changes, ("org_id",))
        self.organizations = Table("organization", self._changes)
        self.notes = Table("note", self._changes, ("lead_id", "person_id"))
        self.deals = Table("deal", self._changes, ("person_id", "org_id"))
        self.conversions = Table("conversion", self._changes)
        self.marks = Table("mark", self._changes)
        """Single values that outlive a restart: sequences, refresh tokens, the day's tokens."""

    def load(self) -> bool:
        """Reads what the journal kept; False if it kept nothing."""
        found, tables = False, self._tables
        for kind, record in self._journal.read():
            found = True
            if (table := tables.get(kind)) is not None:
                table.load(record)
        return found

    def next_number(self, kind: str) -> int:
        """1, 2, 3, … for each kind; a number is never given twice, not even after a deletion."""
        mark = self.marks.get(f"sequence:{kind}")
        number = (mark["value"] if mark else 0) + 1
        self.marks.put({"id": f"sequence:{kind}", "value": number})
        return number

    def mark(self, name: str) -> Any:
        """A single kept value, or None."""
        record = self.marks.get(name)
        return record["value"] if record else None

    def set_mark(self, name: str, value: Any) -> None:
        self.marks.put({"id": name, "value": value})

    def commit(self) -> None:
        """Puts everything changed since the last commit on disk, in one transaction."""
        self._journal.write(self._changes)
        self._changes.clear()

    @property
    def _tables(self) -> dict[str, Table]:
        tables = (
            self.labels, self.leads, self.persons, self.organizations, self.notes, self.deals,
            self.conversions, self.marks
        )  # fmt: skip
        return {table.name: table for table in tables}
