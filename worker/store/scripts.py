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

REMEMBER_SECONDS = 7 * 24 * 3600
"""How long a duplicate key is remembered after the final state."""

PROBE_SECONDS = 30
"""How long after a try without a decision the gate is tried again."""

BACKFILL_TURNS = 10**10
"""Above it are the turns of replays and backfill, below it those of everybody else: `turn` in
`prelude.lua`.
"""

NEWER_SECONDS = 1
"""How long what an older worker left for a newer one rests before it is tried again."""

CHANGES_KEPT = 100_000
"""Entries of the stream of changes; who follows it and falls further behind reads everything anew.
"""

AUDIT_KEPT = 100_000
AUDIT_LONGEST = 500
"""Entries of the audit trail, and bytes of a text in one."""

_TABLE = {
    "submission": keys.submission(""),
    "state": keys.state(""),
    "due": keys.DUE,
    "newer": keys.NEWER,
    "leases": keys.LEASES,
    "pause": keys.PAUSE,
    "gate": keys.GATE,
    "probe": keys.PROBE,
    "outage": keys.OUTAGE,
    "metrics": keys.METRICS,
    "changes": keys.CHANGES,
    "tide": keys.TIDE,
    "tide_marks": keys.TIDE_MARKS,
    "tide_roll": keys.TIDE_ROLL,
    "tide_absent": keys.TIDE_ABSENT,
    "audit": keys.AUDIT,
    "bulk": keys.BULK,
    "bulk_lock": keys.BULK_LOCK,
    "bulk_claims": keys.BULK_CLAIMS,
    "bulks": keys.BULKS,
    "bulks_running": keys.BULKS_RUNNING,
}

_NUMBERS = {
    "version": VERSION,
    "remember": REMEMBER_SECONDS,
    "probe_seconds": PROBE_SECONDS,
    "backfill_turns": BACKFILL_TURNS,
    "newer_seconds": NEWER_SECONDS,
    "changes_kept": CHANGES_KEPT,
    "audit_kept": AUDIT_KEPT,
    "audit_longest": AUDIT_LONGEST,
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
def source(name: str) -> str:
    """The whole text of a script of the ledger: keys and numbers, the prelude, and the file
    `name`.
    """
    table = {key: f"'{value}'" for key, value in _TABLE.items()} | _NUMBERS
    return head(table) + text("prelude") + text(name)


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

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] | None) -> None:
        self.redis = connection
        self._clock = clock

    def run(self, name: str, *args: Any) -> Any:
        """Raises `StoreUnavailable`."""
        return ask(lambda: run(self.redis, source(name), self._time(), *args))

    def add(self, pipe: Any, name: str, *args: Any) -> None:
        """Adds it to a transaction."""
        pipe.eval(source(name), 0, self._time(), *args)

    def now(self) -> float:
        """Unix seconds. Raises `StoreUnavailable`."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = ask(self.redis.time)
        return int(seconds) + int(micros) / 1e6

    def _time(self) -> float | str:
        return "" if self._clock is None else self._clock()
