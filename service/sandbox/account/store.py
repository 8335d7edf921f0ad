"""The records of the account: tables in memory, and the state file that keeps them between starts.

Operations change the tables; `commit` then writes every change in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from service.sandbox.api_errors import not_found

Record = dict[str, Any]
# Table, id, and the record as it is now (None: deleted).
Change = tuple[str, str, Record | None]


class StateFile:
    """An SQLite file with one row for each record. Without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._database = _open_database(path) if path else None

    def read(self) -> Iterator[tuple[str, Record]]:
        """Every record with the name of its table, in the order of creation."""
        if self._database is None:
            return
        for table, body in self._database.execute("SELECT kind, body FROM record ORDER BY rowid"):
            yield table, msgspec.json.decode(body)

    def write(self, changes: list[Change]) -> None:
        """Write all changes or none. On return they survive a kill, but perhaps not a power cut."""
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
        """Delete every record."""
        if self._database is not None:
            with self._database:
                self._database.execute("DELETE FROM record")

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _open_database(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One event loop uses it, but a test's client may run that loop in a thread other than the one
    # that opened the file.
    # The account holds people's data, and SQLite would make a file that everybody may read.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS record (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))"
    )
    database.commit()
    return database


class RecordTable:
    """Records of one kind by id, in the order of creation, with an index on some fields."""

    def __init__(self, name: str, changes: list[Change], indexed: tuple[str, ...] = ()) -> None:
        self.name = name
        self._changes = changes
        self._records: dict[Any, Record] = {}
        self._order: dict[Any, int] = {}
        self._index: dict[str, dict[Any, dict[Any, None]]] = {field: {} for field in indexed}

    def get(self, key: Any) -> Record | None:
        return self._records.get(key)

    def require(self, key: Any, label: str) -> Record:
        """The record; raises `ApiError` (404, "<label> not found") if there is none."""
        record = self._records.get(key)
        if record is None:
            raise not_found(label)
        return record

    def put(self, record: Record) -> Record:
        """Add or replace the record by its `id`."""
        self.load(record)
        self._changes.append((self.name, str(record["id"]), record))
        return record

    def load(self, record: Record) -> None:
        """Take over a record that is on disk already."""
        key = record["id"]
        self._unindex(key)
        self._records[key] = record
        self._order.setdefault(key, len(self._order))
        for field, keys in self._index.items():
            keys.setdefault(record.get(field), {})[key] = None

    def remove(self, key: Any) -> None:
        """Delete the record if there is one."""
        self._unindex(key)
        if self._records.pop(key, None) is not None:
            self._changes.append((self.name, str(key), None))

    def find_by(self, field: str, value: Any) -> list[Record]:
        """Records whose indexed field has this value, in the order of creation."""
        keys = sorted(self._index[field].get(value, {}), key=self._order.__getitem__)
        return [self._records[key] for key in keys]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def _unindex(self, key: Any) -> None:
        old = self._records.get(key)
        if old is None:
            return
        for field, keys in self._index.items():
            bucket = keys.get(old.get(field), {})
            bucket.pop(key, None)
            if not bucket:
                keys.pop(old.get(field), None)


class RecordStore:
    """All tables. Not thread-safe: one event loop owns it."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._changes: list[Change] = []
        self.labels = RecordTable("label", self._changes)
        self.leads = RecordTable("lead", self._changes, ("person_id", "organization_id"))
        self.persons = RecordTable("person", self._changes, ("org_id",))
        self.organizations = RecordTable("organization", self._changes)
        self.notes = RecordTable("note", self._changes, ("lead_id", "person_id"))
        self.files = RecordTable("file", self._changes)
        self.deals = RecordTable("deal", self._changes, ("person_id", "org_id"))
        self.conversions = RecordTable("conversion", self._changes)
        # Single values that survive a restart: sequences, refresh tokens, the day's tokens.
        self.values = RecordTable("value", self._changes)
        self.tables = {
            table.name: table
            for table in (
                self.labels, self.leads, self.persons, self.organizations, self.notes, self.files,
                self.deals, self.conversions, self.values
            )
        }  # fmt: skip

    def load(self) -> bool:
        """Read the state file; False if it holds nothing."""
        is_filled = False
        for kind, record in self._file.read():
            is_filled = True
            if (table := self.tables.get(kind)) is not None:
                table.load(record)
        return is_filled

    def next_number(self, kind: str) -> int:
        """1, 2, 3, … for each kind; no number is used twice, not even after a deletion."""
        number = int(self.get_value(f"sequence:{kind}") or 0) + 1
        self.set_value(f"sequence:{kind}", number)
        return number

    def get_value(self, name: str) -> Any:
        """A single value, or None."""
        record = self.values.get(name)
        return record["value"] if record else None

    def set_value(self, name: str, value: Any) -> None:
        self.values.put({"id": name, "value": value})

    def commit(self) -> None:
        """Write everything that has changed since the last commit, in one transaction."""
        self._file.write(self._changes)
        self._changes.clear()
