"""The audit trail: who did what to which submission. It never holds personal data.

The script that changes a state also writes the entry about it (`audit` in `prelude.lua`), so that
neither exists without the other; all other entries are written here.
"""

from __future__ import annotations

import re
from typing import Any, cast

import redis
from msgspec import Struct

from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.scripts import MAX_AUDIT_ENTRIES, MAX_AUDIT_TEXT_BYTES

_CURSOR = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)


class AuditEntry(Struct, frozen=True):
    """One action of a person or of Leadline. `at` is in Unix seconds.

    `target` is the id of a submission, a cause or a bulk action, or names what was paused or read.
    """

    at: float
    who: str
    action: str
    target: str
    detail: str | None


class AuditTrail:
    """Writes and reads the trail. Every method may raise `StoreUnavailable`."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def record(self, who: str, action: str, target: str, detail: str | None = None) -> None:
        with translate_errors():
            add_entry(self._redis, who, action, target, detail)

    def read_page(
        self, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[AuditEntry], str | None, int]:
        """The newest entries before `cursor`, the cursor of the next page, and the total.

        Raises ValueError for a cursor that no page returned.
        """
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError("expected the cursor returned with the previous page")
        with translate_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.xrevrange(keys.AUDIT, f"({cursor}" if cursor else "+", "-", count=limit + 1)
            pipe.xlen(keys.AUDIT)
            try:
                rows, total = cast(
                    "tuple[list[tuple[bytes, dict[bytes, bytes]]], int]", tuple(pipe.execute())
                )
            except redis.ResponseError:
                raise ValueError("expected the cursor returned with the previous page") from None
        next_cursor = rows[limit - 1][0].decode() if len(rows) > limit else None
        return [_read(stamp, fields) for stamp, fields in rows[:limit]], next_cursor, total


def add_entry(
    connection: Any, who: str, action: str, target: str, detail: str | None = None
) -> None:
    """Adds an entry; `connection` may also be a pipeline."""
    entry = {"who": who, "action": action, "target": target} | (
        {"detail": detail} if detail else {}
    )
    texts = {
        name: text[:MAX_AUDIT_TEXT_BYTES].encode("utf-8", "replace") for name, text in entry.items()
    }
    connection.xadd(keys.AUDIT, texts, maxlen=MAX_AUDIT_ENTRIES, approximate=True)


def _read(stamp: bytes, fields: dict[bytes, bytes]) -> AuditEntry:
    text = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
    at = int(stamp.partition(b"-")[0]) / 1000
    return AuditEntry(
        at, text.get("who", ""), text.get("action", ""), text.get("target", ""), text.get("detail")
    )


# Causes that people chose to ignore, and since when. Later deaths of the same cause count again.


def ignore_cause(connection: redis.Redis, cause_id: str, now: float) -> None:
    """Ignores deaths of this cause up to `now` (Unix seconds). Raises `StoreUnavailable`."""
    call_redis(lambda: connection.hset(keys.CAUSES_IGNORED, cause_id, repr(now)))


def unignore_cause(connection: redis.Redis, cause_id: str) -> None:
    """Stops ignoring a cause. Raises `StoreUnavailable`."""
    call_redis(lambda: connection.hdel(keys.CAUSES_IGNORED, cause_id))


def ignored_causes(connection: redis.Redis) -> dict[str, float]:
    """Cause id -> when it was ignored (Unix seconds). Raises `StoreUnavailable`."""
    rows = call_redis(lambda: cast("dict[bytes, bytes]", connection.hgetall(keys.CAUSES_IGNORED)))
    return {name.decode(): float(at) for name, at in rows.items()}
