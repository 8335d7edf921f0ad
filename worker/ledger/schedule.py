"""What the sweeper looks for: submissions to deliver next, and lost or abandoned ones."""

from __future__ import annotations

import itertools
from collections.abc import Container
from typing import Any, cast

import msgspec

from worker.contract import Cause, State
from worker.metrics import series
from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.scripts import BACKFILL_SCORE, Scripts

CRASHES_ALLOWED = 3

POISON = Cause(
    step="worker",
    code="poison",
    detail=f"{CRASHES_ALLOWED} workers died while delivering it",
    hint="find out from the worker's log why this lead crashes it, then retry the lead alone",
)

# Ids that are read from a state's index at a time.
INDEX_PAGE_SIZE = 5_000


class Schedule:
    """The ids that are due, by reason. Every method may raise `StoreUnavailable`.

    Submissions of a newer version than `version` wait for a worker that knows it.
    """

    def __init__(self, scripts: Scripts, version: int) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._version = version

    def due(self, now: float, limit: int) -> list[str]:
        """Waiting submissions that are due, in order; without replays and backfill."""
        ids = call_redis(
            lambda: self._redis.zrange(keys.DUE, "-inf", now, byscore=True, offset=0, num=limit)
        )
        return [raw.decode() for raw in ids]

    def backfill(self, limit: int) -> list[str]:
        """Replays and late submissions from a spool that wait for room, in order."""
        ids = call_redis(
            lambda: self._redis.zrange(
                keys.DUE, BACKFILL_SCORE, "+inf", byscore=True, offset=0, num=limit
            )
        )
        return [raw.decode() for raw in ids]

    def readable(self, now: float, limit: int) -> list[str]:
        """Submissions that older workers left because of their version, and this one knows."""
        ids = call_redis(
            lambda: self._redis.zrange(
                keys.NEWER, "-inf", self._version, byscore=True, offset=0, num=limit
            )
        )
        names = [raw.decode() for raw in ids]
        with translate_errors():
            rests = [self._redis.hget(keys.submission(name), "next_at") for name in names]
        return [name for name, until in zip(names, rests, strict=True) if float(until or 0) <= now]

    def count_newer(self) -> int:
        """How many submissions wait for a worker of a newer version."""
        return int(call_redis(lambda: self._redis.zcount(keys.NEWER, f"({self._version}", "+inf")))

    def lost(self, before: float, present: Container[str], limit: int) -> list[str]:
        """Submissions queued at `before` or earlier that are neither in `present` nor due."""
        lost: list[str] = []
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
                scores = self._redis.zmscore(keys.DUE, ids) if ids else []
            names = [raw.decode() for raw, score in zip(ids, scores, strict=True) if score is None]
            lost += [name for name in names if name not in present]
            if len(ids) < INDEX_PAGE_SIZE or len(lost) >= limit:
                break
        return lost[:limit]

    def abandoned(self, now: float, limit: int) -> list[str]:
        """Submissions in delivery whose lease has expired."""
        ids = call_redis(
            lambda: self._redis.zrange(keys.LEASES, "-inf", now, byscore=True, offset=0, num=limit)
        )
        return [raw.decode() for raw in ids]

    def dispatch_call(self, pipe: Any, submission_id: str) -> None:
        """Adds to a transaction: puts the submission back into the queue if it is due there."""
        self._scripts.add(
            pipe,
            "ledger/dispatch",
            id=submission_id,
            crashes_allowed=CRASHES_ALLOWED,
            cause=msgspec.json.encode(POISON),
            counter=series("leadline_deliveries_total", source="@", result="dead"),
        )
