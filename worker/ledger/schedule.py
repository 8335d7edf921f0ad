"""What is to be delivered next, and what was left lying: the sweeper's part of the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Container
from typing import Any, cast

import msgspec

from worker.contract import Cause, State
from worker.metrics import series
from worker.store import keys
from worker.store.connection import ask, translate_errors
from worker.store.scripts import BACKFILL_SCORE, Scripts

CRASHES_ALLOWED = 3

POISON = Cause(
    step="worker",
    code="poison",
    detail=f"{CRASHES_ALLOWED} workers died while they delivered it",
    hint="look at the worker's log for what it does to the process, then retry it alone",
)

INDEX_PAGE_SIZE = 5_000
"""Ids of the index that are read at a time."""


class Schedule:
    """Every method may raise `StoreUnavailable`. What needs a worker of a newer version than
    `version` waits for one.
    """

    def __init__(self, scripts: Scripts, version: int) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._version = version

    def due(self, now: float, limit: int) -> list[str]:
        """Waiting submissions whose turn has come, in order: all but replays and backfill."""
        ids = ask(
            lambda: self._redis.zrange(keys.DUE, "-inf", now, byscore=True, offset=0, num=limit)
        )
        return [raw.decode() for raw in ids]

    def backfill(self, limit: int) -> list[str]:
        """Replays, and what came late out of a spool, as far as it waits for room; in order."""
        ids = ask(
            lambda: self._redis.zrange(
                keys.DUE, BACKFILL_SCORE, "+inf", byscore=True, offset=0, num=limit
            )
        )
        return [raw.decode() for raw in ids]

    def understood(self, now: float, limit: int) -> list[str]:
        """What workers left that did not know its version, and that this one does."""
        ids = ask(
            lambda: self._redis.zrange(
                keys.NEWER, "-inf", self._version, byscore=True, offset=0, num=limit
            )
        )
        names = [raw.decode() for raw in ids]
        with translate_errors():
            rests = [self._redis.hget(keys.submission(name), "next_at") for name in names]
        return [name for name, until in zip(names, rests, strict=True) if float(until or 0) <= now]

    def newer(self) -> int:
        """How many wait for a worker of a newer version than this one's."""
        return int(ask(lambda: self._redis.zcount(keys.NEWER, f"({self._version}", "+inf")))

    def lost(self, before: float, present: Container[str], limit: int) -> list[str]:
        """Submissions queued `before` that stand neither among those `present` nor in the ledger
        for their turn.
        """
        found: list[str] = []
        for start in itertools.count(0, INDEX_PAGE_SIZE):
            with translate_errors():
                page = self._redis.zrange(
                    keys.state(State.QUEUED),
                    "-inf",
                    before,
                    byscore=True,
                    offset=start,
                    num=INDEX_PAGE_SIZE,
                )
                ids = cast("list[Any]", page)
                turns = self._redis.zmscore(keys.DUE, ids) if ids else []
            alone = [raw.decode() for raw, turn in zip(ids, turns, strict=True) if turn is None]
            found += [name for name in alone if name not in present]
            if len(ids) < INDEX_PAGE_SIZE or len(found) >= limit:
                break
        return found[:limit]

    def abandoned(self, now: float, limit: int) -> list[str]:
        """Submissions in delivery whose lease ran out."""
        ids = ask(
            lambda: self._redis.zrange(keys.LEASES, "-inf", now, byscore=True, offset=0, num=limit)
        )
        return [raw.decode() for raw in ids]

    def dispatch_call(self, pipe: Any, submission_id: str) -> None:
        """Adds to a transaction: back into the queue, if it is due there."""
        self._scripts.add(
            pipe,
            "ledger/dispatch",
            id=submission_id,
            crashes_allowed=CRASHES_ALLOWED,
            cause=msgspec.json.encode(POISON),
            counter=series("leadline_deliveries_total", source="@", result="dead"),
        )
