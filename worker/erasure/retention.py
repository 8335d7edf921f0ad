"""Erases content that `LEADLINE_RETENTION` no longer keeps, and later the remaining receipts.

    final state ── retention ──> erased ── duplicate window ──> gone, except for a count

An erased submission takes about 1.5 KB of Redis's memory, however large it was: its receipt and
what is needed to recognise a redelivery. When the duplicate window is over it is removed. Only the
number of such submissions stays, so that the totals still add up and nothing grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

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
LOCK_MILLISECONDS = 1_500

# After a long time without a worker, or with a shorter retention, millions may be due.
MAX_PER_TICK = 200

# Submissions per exchange with Redis; other clients are served in between.
PIPELINE_SIZE = 10

# A receipt outlives the duplicate keys that point to it.
RECEIPT_SECONDS = DUPLICATE_KEY_SECONDS + 3600

REWRITE_SECONDS = 24 * 3600

# How soon to ask again after Redis refused, as it does during a rewrite.
REWRITE_RETRY_SECONDS = 300

ACTOR = "retention"
NO_ROOM_WHY = "to make room for newer submissions (LEADLINE_UNVERIFIED_MAX)"

# Up to which share of their bound strangers' submissions are left alone.
HEADROOM_SHARE = 0.9


class RetentionSweep:
    """For one worker process; processes take turns.

    `retention_seconds` is by state; None keeps content for ever. `before_erasing` gets the ids of
    delivered submissions whose content is about to be erased. Both the ledger's clock and the
    process's own `clock` must agree that the time is over: erasing cannot be undone, and a Redis
    clock that was set ahead must not erase anything early. Only what strangers sent goes early,
    where it takes nearly `unverified_max` bytes: new leads are worth more than delivered ones.
    """

    def __init__(
        self,
        ledger: Ledger,
        retention_seconds: Mapping[State, float | None],
        clock: Callable[[], float] = time.time,
        before_erasing: Callable[[Sequence[str]], object] = lambda _: None,
        unverified_max: int | None = None,
    ) -> None:
        self._ledger = ledger
        self._before_erasing = before_erasing
        self._clock = clock
        self._unverified_max = unverified_max
        self._retention_seconds = {
            state: seconds for state, seconds in retention_seconds.items() if seconds is not None
        }
        self._next_at = 0.0

    def tick(self) -> int:
        """Runs if it is due and our turn; returns how many went. May raise `StoreUnavailable`."""
        now = min(self._ledger.now(), self._clock())
        if now < self._next_at:
            return 0
        with translate_errors():
            if not self._ledger.redis.set(keys.RETENTION_LOCK, b"1", nx=True, px=LOCK_MILLISECONDS):
                return 0
            count = self.run(now)
            self._next_at = now if count >= MAX_PER_TICK else now + TICK_SECONDS
            return count

    def run(self, now: float) -> int:
        """Erases and removes part of what is due; harmless if another process does it too."""
        erased = 0
        for state, seconds in self._retention_seconds.items():
            erased += self._erase(state, now - seconds, MAX_PER_TICK - erased)
        erased += self._make_room(MAX_PER_TICK - erased)
        if erased:
            self._ledger.redis.set(keys.REWRITE_DUE, b"1")
            log.info("content erased", count=erased)
        self._rewrite_if_due()
        return erased + self._forget(now - RECEIPT_SECONDS, MAX_PER_TICK - erased)

    def _erase(self, state: State, since: float, limit: int) -> int:
        ids = self._find_ids(state, since, limit)
        if state is State.DELIVERED:
            self._before_erasing(ids)
        return sum(
            self._ledger.erase(
                ids[start : start + PIPELINE_SIZE],
                ACTOR,
                "retention period over",
                state=state,
                since=since,
            )
            for start in range(0, len(ids), PIPELINE_SIZE)
        )

    def _make_room(self, limit: int) -> int:
        """Evicts what strangers sent, then erases the oldest that is delivered, down to a share."""
        if self._unverified_max is None:
            return 0
        target, erased = int(self._unverified_max * HEADROOM_SHARE), 0
        while erased < limit and (ids := self._ledger.make_room(target, PIPELINE_SIZE)):
            self._before_erasing(ids)
            erased += (gone := self._ledger.erase(ids, ACTOR, NO_ROOM_WHY))
            if not gone:
                break
        if erased:
            log.warning("content erased early: strangers' submissions need room", count=erased)
        return erased

    def _forget(self, since: float, limit: int) -> int:
        ids = self._find_ids(State.ERASED, since, limit)
        return sum(
            self._ledger.forget(ids[start : start + PIPELINE_SIZE], since)
            for start in range(0, len(ids), PIPELINE_SIZE)
        )

    def _find_ids(self, state: State, since: float, limit: int) -> list[str]:
        return self._ledger.ids_until(state, since, limit) if limit > 0 else []

    def _rewrite_if_due(self) -> None:
        """Asks for a rewrite at most once a day; by itself Redis may not rewrite for months."""
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
                "Redis refused to rewrite its file; erased content remains in it for now",
                error=str(error)[:200],
            )
