"""Lua scripts: assembled from the files in `lua/`, with the keys and numbers shared with Python.

K = { keys, numbers, moves }     from Python, so that nothing is defined twice
arguments.lua                    the time, and the arguments of the call by name
prelude.lua                      functions that the scripts share
ledger/claim.lua                 the script itself
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec
import redis
from redis.exceptions import NoScriptError

from worker.contract import ARRIVALS, FLOOD, MOVES, RECEIPT_RANK, STATES, VERSION, Precedence, State
from worker.store import keys
from worker.store.connection import call_redis

# How long a duplicate key is kept after the final state.
DUPLICATE_KEY_SECONDS = 7 * 24 * 3600

# How long after a probe without a decision the gate is tried again.
PROBE_RETRY_SECONDS = 30

# How long a probe may run; by then its worker has ended it, or died.
PROBE_SECONDS = 60

# Due scores of replays and backfill are above this, all others below it: see `due_score` in
# `prelude.lua`.
BACKFILL_SCORE = 10**10

# How long a submission that an older worker left for a newer one rests before it is tried again.
NEWER_REST_SECONDS = 1

# How long a submission waits in a person queue before it tries again by itself; normally the one
# ahead of it wakes it.
PERSON_QUEUE_SECONDS = 60

# Entries in a timeline and in a list of attempts.
MAX_HISTORY = 200

# Entries in the stream of changes; a reader that falls further behind reads everything again.
MAX_CHANGES = 100_000

# Entries in the audit trail, and bytes of a text in an entry.
MAX_AUDIT_ENTRIES = 100_000
MAX_AUDIT_TEXT_BYTES = 500

# The error of the accepting script on a server that has been restarted.
ANOTHER_RUN = "ANOTHERRUN the server was restarted"
# What a record takes of Redis's memory besides its content, as an erased one does.
RECORD_BYTES = 1_536

# The most submissions that are evicted to make room for one request.
MAX_EVICTIONS = 500

# Between the ranks in the order of eviction: more than any time in Unix seconds.
EVICTION_RANK_STEP = 10**11

_CONSTANTS: dict[str, object] = {
    "submission": keys.submission(""),
    "raw": keys.RAW,
    "state": keys.state(""),
    "unverified": keys.UNVERIFIED,
    "evictable": keys.EVICTABLE,
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
    "bounds": keys.BOUNDS,
    "flood": FLOOD,
    "bulk": keys.BULK,
    "bulk_lock": keys.BULK_LOCK,
    "bulk_claims": keys.BULK_CLAIMS,
    "bulk_actions": keys.BULK_ACTIONS,
    "bulk_running": keys.BULK_RUNNING,
    "duplicates": keys.DUPLICATES,
    "forgotten": keys.FORGOTTEN,
    "version": VERSION,
    "another_run": ANOTHER_RUN,
    "duplicate_key_seconds": DUPLICATE_KEY_SECONDS,
    "probe_retry_seconds": PROBE_RETRY_SECONDS,
    "probe_seconds": PROBE_SECONDS,
    "backfill": int(Precedence.BACKFILL),
    "backfill_score": BACKFILL_SCORE,
    "newer_rest_seconds": NEWER_REST_SECONDS,
    "person_queue_seconds": PERSON_QUEUE_SECONDS,
    "max_history": MAX_HISTORY,
    "max_changes": MAX_CHANGES,
    "max_audit_entries": MAX_AUDIT_ENTRIES,
    "max_audit_text_bytes": MAX_AUDIT_TEXT_BYTES,
    "record_bytes": RECORD_BYTES,
    "max_evictions": MAX_EVICTIONS,
    "eviction_rank_step": EVICTION_RANK_STEP,
    "receipt_rank": RECEIPT_RANK,
    "eviction_ranks": {
        state.value: facts.eviction_rank
        for state, facts in STATES.items()
        if facts.eviction_rank is not None
    },
    "moves": {
        "": {state.value: True for state in sorted(ARRIVALS)},
        **{
            state.value: {to.value: True for to in State if to in moves}
            for state, moves in MOVES.items()
        },
    },
}


@functools.cache
def source(name: str, account: keys.Account = keys.DEFAULT_ACCOUNT) -> str:
    """The full text of a script of the ledger, such as `ledger/claim`."""
    of_account = {
        "gate": account.gate,
        "probe": account.probe,
        "outage": account.outage,
        "attribution": account.attribution,
        "outcomes": account.outcomes,
        "outcomes_next": account.outcomes_next,
    }
    return build(name, "prelude", {**_CONSTANTS, **of_account})


def build(name: str, prelude: str, constants: Mapping[str, object]) -> str:
    """The full text of a script: `constants` as the Lua table `K`, the prelude and the script."""
    head = f"local K = {_literal(constants)}\n"
    return head + "".join(map(read_source, ("arguments", prelude, name)))


def read_source(name: str) -> str:
    return (resources.files("worker.store") / "lua" / f"{name}.lua").read_text("utf-8")


def _literal(value: object) -> str:
    """Writes a Lua literal. All texts are ours and need no escapes."""
    if isinstance(value, Mapping):
        fields = (f"['{name}'] = {_literal(item)}" for name, item in value.items())
        return "{ " + ", ".join(fields) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else repr(value)


def pack(args: Mapping[str, Any]) -> bytes:
    """Packs arguments as `arguments.lua` reads them; None becomes nil there."""
    return msgspec.msgpack.encode(_as_text(args))


def _as_text(value: Any) -> Any:
    """Marks bytes as text, because Redis's decoder knows no other kind of bytes."""
    if isinstance(value, bytes):
        return msgspec.Raw(b"\xdb" + len(value).to_bytes(4) + value)
    if isinstance(value, dict):
        return {name: _as_text(item) for name, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], bytes | list):
        return [_as_text(item) for item in value]
    return value


@functools.cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def run(connection: redis.Redis, text: str, now: float | str, args: Mapping[str, Any]) -> Any:
    """Runs a script by its digest, because its text is long; an unknown script is sent in full.

    `now` is Unix seconds, or empty for the server's time. Not for pipelines: a transaction with a
    digest that the server does not know would be executed in part.
    """
    packed = pack(args)
    try:
        return connection.evalsha(_digest(text), 0, now, packed)
    except NoScriptError:
        return connection.eval(text, 0, now, packed)


class Scripts:
    """The scripts on one connection. `clock` returns Unix seconds; None means Redis's clock."""

    def __init__(
        self,
        connection: redis.Redis,
        clock: Callable[[], float] | None,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self.redis = connection
        self.account = account
        self._clock = clock

    def run(self, name: str, **args: Any) -> Any:
        """Runs a script. Raises `StoreUnavailable`."""
        return call_redis(lambda: run(self.redis, source(name, self.account), self._time(), args))

    def add(self, pipe: Any, name: str, **args: Any) -> None:
        """Adds a script to a transaction."""
        pipe.eval(source(name, self.account), 0, self._time(), pack(args))

    def now(self) -> float:
        """Unix seconds. Raises `StoreUnavailable`."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = call_redis(self.redis.time)
        return int(seconds) + int(micros) / 1e6

    def _time(self) -> float | str:
        return "" if self._clock is None else self._clock()


def add_accept(pipe: Any, submissions: Iterable[bytes], **args: Any) -> None:
    """Adds the accepting script to a transaction; `submissions` are packed by `pack` beforehand.

    `args` are those of the batch; with `server`, another run of the server than that accepts
    nothing, and its error contains `ANOTHER_RUN`. `pipe` may be asynchronous. The script uses
    Redis's clock.
    """
    pipe.eval(source("ledger/accept"), 0, "", pack(args), *submissions)
