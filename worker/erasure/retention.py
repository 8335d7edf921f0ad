"""Erases what has been kept for as long as `LEADLINE_RETENTION` says, and later the receipts that
stay of it.

    final state ── kept ──> erased ── the duplicate window ──> gone, but for a number

An erased submission takes about 1.5 KB of Redis's memory, however large it was: what a receipt
tells and what makes a redelivery known. When the duplicate window is over it goes altogether, and
only the count of such submissions stays, so that the books balance for ever and nothing grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import redis
import structlog

from worker.contract import State
from worker.erasure.persistence import start_rewrite
from worker.ledger import Ledger
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.scripts import DUPLICATE_KEY_SECONDS

log = structlog.get_logger("leadline.retention")

TICK_SECONDS = 30.0
MAX_PER_TICK = 200
"""Submissions a turn: after a long time without a worker, or with a shorter retention, there may be
millions.
"""

PIPELINE_SIZE = 10
"""Submissions that Redis is asked about at once: others come in between."""

LOCK_MILLISECONDS = 1_500
RECEIPT_SECONDS = DUPLICATE_KEY_SECONDS + 3600
"""A receipt outlives the duplicate keys that point to it."""

REWRITE_SECONDS = 24 * 3600
REWRITE_RETRY_SECONDS = 300
"""After Redis refused, as it does while it writes its file anew already: that may have begun before
the last erasure.
"""

BY = "retention"


class Retention:
    """For one worker process; they take turns. `kept` is seconds by state, None for ever; times are
    the ledger's.

    What is erased never comes back, so it goes by two clocks: if Redis's was set ahead, by this
    process's own, `clock`.
    """

    def __init__(
        self,
        ledger: Ledger,
        retention_seconds: Mapping[State, float | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._retention_seconds = {
            state: seconds for state, seconds in retention_seconds.items() if seconds is not None
        }
        self._next = 0.0

    def tick(self) -> int:
        """One turn, if it is ours and time. Returns how many went. May raise `StoreUnavailable`."""
        now = min(self._ledger.now(), self._clock())
        if now < self._next:
            return 0
        with translate_errors():
            if not self._ledger.redis.set(keys.RETENTION_LOCK, b"1", nx=True, px=LOCK_MILLISECONDS):
                return 0
            went = self.run(now)
            self._next = now if went >= MAX_PER_TICK else now + TICK_SECONDS
            return went

    def run(self, now: float) -> int:
        """A portion of what is over its time, whoever else does it: doing it twice is harmless."""
        erased = 0
        for state, seconds in self._retention_seconds.items():
            erased += self._erase(state, now - seconds, MAX_PER_TICK - erased)
        if erased:
            self._ledger.redis.set(keys.REWRITE_DUE, b"1")
            log.info("content erased: its time is over", count=erased)
        self._rewrite_if_due()
        return erased + self._forget(now - RECEIPT_SECONDS, MAX_PER_TICK - erased)

    def _erase(self, state: State, since: float, limit: int) -> int:
        ids = self._ids(state, since, limit)
        return sum(
            self._ledger.erase(
                ids[start : start + PIPELINE_SIZE],
                BY,
                "kept long enough",
                state=state,
                since=since,
            )
            for start in range(0, len(ids), PIPELINE_SIZE)
        )

    def _forget(self, since: float, limit: int) -> int:
        ids = self._ids(State.ERASED, since, limit)
        return sum(
            self._ledger.forget(ids[start : start + PIPELINE_SIZE], since)
            for start in range(0, len(ids), PIPELINE_SIZE)
        )

    def _ids(self, state: State, since: float, limit: int) -> list[str]:
        return self._ledger.ids_until(state, since, limit) if limit > 0 else []

    def _rewrite_if_due(self) -> None:
        """Once a day if need be: Redis rewrites its file by itself when it has doubled, and a small
        one may not for months.
        """
        store = self._ledger.redis
        if not store.exists(keys.REWRITE_DUE) or not store.set(
            keys.REWRITE_ASKED, b"1", nx=True, ex=REWRITE_SECONDS
        ):
            return
        store.delete(keys.REWRITE_DUE)
        try:
            start_rewrite(store)
        except redis.ResponseError as error:
            store.set(keys.REWRITE_DUE, b"1")
            store.expire(keys.REWRITE_ASKED, REWRITE_RETRY_SECONDS)
            log.warning(
                "Redis does not write its file anew, and what was erased still stands in it",
                error=str(error)[:200],
            )
