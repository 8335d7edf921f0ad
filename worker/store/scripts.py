"""The ledger's Lua scripts: read from `lua/`, with the key table and the prelude in front of
each.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import redis
from redis.exceptions import NoScriptError

from worker.contract import VERSION
from worker.store import keys
from worker.store.connection import ask

DUPLICATE_KEY_SECONDS = 7 * 24 * 3600
"""How long a duplicate key is remembered after the final state."""

PROBE_RETRY_SECONDS = 30
"""How long after a try without a decision the gate is tried again."""

BACKFILL_SCORE = 10**10
"""Above it are the turns of replays and backfill, below it those of everybody else: `turn` in
`prelude.lua`.
"""

NEWER_REST_SECONDS = 1
"""How long what an older worker left for a newer one rests before it is tried again."""

MAX_CHANGES = 100_000
"""Entries of the stream of changes; who follows it and falls further behind reads everything anew.
"""

MAX_AUDIT_ENTRIES = 100_000
MAX_AUDIT_TEXT_BYTES = 500
"""Entries of the audit trail, and bytes of a text in one."""

_KEYS = {
    "submission": keys.submission(""),
    "state": keys.state(""),
    "due": keys.DUE,
    "newer": keys.NEWER,
    "leases": keys.LEASES,
    "pause": keys.PAUSE,
    "metrics": keys.METRICS,
    "changes": keys.CHANGES,
    "rollback": keys.ROLLBACK,
    "rollback_create_counts": keys.ROLLBACK_CREATE_COUNTS,
    "rollback_processes": keys.ROLLBACK_PROCESSES,
    "rollback_missing": keys.ROLLBACK_MISSING,
    "audit": keys.AUDIT,
    "bulk": keys.BULK,
    "bulk_lock": keys.BULK_LOCK,
    "bulk_claims": keys.BULK_CLAIMS,
    "bulk_actions": keys.BULK_ACTIONS,
    "bulk_running": keys.BULK_RUNNING,
    "duplicates": keys.DUPLICATES,
    "forgotten": keys.FORGOTTEN,
}

_NUMBERS = {
    "version": VERSION,
    "duplicate_key_seconds": DUPLICATE_KEY_SECONDS,
    "probe_retry_seconds": PROBE_RETRY_SECONDS,
    "backfill_score": BACKFILL_SCORE,
    "newer_rest_seconds": NEWER_REST_SECONDS,
    "max_changes": MAX_CHANGES,
    "max_audit_entries": MAX_AUDIT_ENTRIES,
    "max_audit_text_bytes": MAX_AUDIT_TEXT_BYTES,
}


@functools.cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def run(connection: redis.Redis, text: str, *args: Any) -> Any:
    """Runs a script by its digest, for its text is long; a server that does not know it (restarted,
    flushed) gets the text.

    Not for pipelines: a transaction with an unknown digest in it would be done in part.
    """
    try:
        return connection.evalsha(_digest(text), 0, *args)
    except NoScriptError:
        return connection.eval(text, 0, *args)


@functools.cache
def source(name: str, account: keys.Account = keys.DEFAULT_ACCOUNT) -> str:
    """The whole text of a ledger script: keys and numbers, the prelude, and the file `name`."""
    of_account = {"gate": account.gate, "probe": account.probe, "outage": account.outage}
    quoted = {key: f"'{value}'" for key, value in (_KEYS | of_account).items()}
    return head({**quoted, **_NUMBERS}) + text("prelude") + text(name)


def head(table: Mapping[str, object]) -> str:
    """The Lua table `K` of a script's keys and numbers."""
    return "local K = { " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }\n"


def text(name: str) -> str:
    """The Lua file `name` of the folder `lua/`, such as `ledger/claim`."""
    return (resources.files("worker.store") / "lua" / f"{name}.lua").read_text("utf-8")


class Scripts:
    """The scripts on one connection. `clock` returns Unix seconds; None lets Redis tell the
    time.
    """

    def __init__(
        self,
        connection: redis.Redis,
        clock: Callable[[], float] | None,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self.redis = connection
        self.account = account
        self._clock = clock

    def run(self, name: str, *args: Any) -> Any:
        """Raises `StoreUnavailable`."""
        return ask(lambda: run(self.redis, source(name, self.account), self._time(), *args))

    def add(self, pipe: Any, name: str, *args: Any) -> None:
        """Adds it to a transaction."""
        pipe.eval(source(name, self.account), 0, self._time(), *args)

    def now(self) -> float:
        """Unix seconds. Raises `StoreUnavailable`."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = ask(self.redis.time)
        return int(seconds) + int(micros) / 1e6

    def _time(self) -> float | str:
        return "" if self._clock is None else self._clock()
