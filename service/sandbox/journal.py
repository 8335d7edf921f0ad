"""Keeps the account on disk: one SQLite row per record, one transaction per answered request."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

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
                    self._database.execute("DELETE FROM record WHERE kind = ? AND id = ?", (table, key))
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
    # One event loop uses it, but a test's client may run that loop in a thread other than the one that opened the file.
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("CREATE TABLE IF NOT EXISTS record (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))")
    database.commit()
    return database
