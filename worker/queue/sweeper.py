"""The sweeper: one path for retries, waits, replays, and lost and abandoned submissions.

At every tick, in one worker process at a time (under a lock that expires after three seconds), it
1. queues submissions that are due, in the ledger's order, while RQ's queue is short: RQ is first
   come, first served, so new work would wait behind them. After an outage this makes a ramp;
2. queues submissions of dead workers, whose leases have expired;
3. queues submissions that are queued in the ledger but not in RQ (a lost reply, a flushed queue);
4. removes what dead workers left in RQ's lists: their jobs, jobs between queue and slot, and their
   names.

Every process, even if another one sweeps, also takes up submissions that older workers left because
of their version.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import rq
import structlog

from worker.contract import Lead, State
from worker.errors import NotAllowed, Overtaken
from worker.ledger import Ledger, Pause
from worker.ledger.ledger import REPLAYED, Audited
from worker.queue.rq_queue import clear_dead_workers, enqueue, queued_ids
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.turn_lock import TurnLock

log = structlog.get_logger("leadline.sweeper")

RETRIED = Audited("retry")

TICK_SECONDS = 1.0
LOCK_MILLISECONDS = 3_000

# The most submissions to dispatch in one tick.
DISPATCH_PER_TICK = 200

# How many jobs may wait in RQ's queue; more if the slots empty it from tick to tick.
QUEUE_TARGET_DEPTH = 20

PROBE_CANDIDATES = 10

# Until then, a queued submission that is not in RQ's queue may be on its way to a slot.
LOST_AFTER_SECONDS = 10.0

NEWER_LOG_SECONDS = 60.0
TIDY_SECONDS = 5.0

# A job leaves RQ's intermediate list as soon as a slot starts it. After this long it is lost.
INTERMEDIATE_SECONDS = 20.0


class Sweeper:
    """Dispatches for all workers; people's actions use `replay` and `dispatch` too."""

    def __init__(
        self, ledger: Ledger, queue: rq.Queue, *, lost_after: float = LOST_AFTER_SECONDS
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._lost_after = lost_after
        self._lock = TurnLock(ledger.redis, keys.SWEEPER, LOCK_MILLISECONDS)
        self._lost_checked_at = -math.inf
        self._tidied_at = -math.inf
        self._depth = QUEUE_TARGET_DEPTH
        self._filled_up = False
        self._newer_logged_at = -math.inf
        self._intermediate: dict[str, float] = {}

    def tick(self) -> int:
        """Sweeps if it is this process's turn; returns how many submissions were dispatched.

        Raises `StoreUnavailable`.
        """
        with translate_errors():
            self.dispatch(self._ledger.schedule.readable(self._ledger.now(), DISPATCH_PER_TICK))
            return self.sweep() if self._lock.take() else 0

    def sweep(self) -> int:
        """Makes one round; harmless if another process sweeps too. Returns how many it queued."""
        now = self._ledger.now()
        ids = self._ledger.schedule.abandoned(now, DISPATCH_PER_TICK)
        pause = self._ledger.gate.find_pause()
        ids += self._due(now) if pause is None else self._probe(pause, now)
        ids += self._lost(now)
        self.dispatch(ids)
        self._tidy(now)
        return len(ids)

    def _due(self, now: float) -> list[str]:
        """The ids that are due and have a place; at least one, so that retries always go on."""
        places = self._free_places()
        ids = self._ledger.schedule.due(now, max(1, places))
        ids += self._ledger.schedule.backfill(places - len(ids)) if places > len(ids) else []
        self._filled_up = len(ids) >= places
        return ids

    def _free_places(self) -> int:
        """How many more jobs RQ's queue may take.

        The allowed depth doubles at each tick after which the slots have emptied half of the queue,
        and halves again otherwise.
        """
        queued = self._queue.count
        if queued > self._depth // 2 or not self._filled_up:
            self._depth = max(QUEUE_TARGET_DEPTH, self._depth // 2)
        else:
            self._depth = min(DISPATCH_PER_TICK, self._depth * 2)
        return self._depth - queued

    def dispatch(self, ids: Iterable[str]) -> None:
        """Puts ids into the ledger's queue and RQ's at once. Raises `StoreUnavailable`."""
        ids = list(dict.fromkeys(ids))
        if not ids:
            return
        with self._ledger.pipeline() as pipe:
            for submission_id in ids:
                self._ledger.schedule.dispatch_call(pipe, submission_id)
                enqueue(self._queue, submission_id, pipe)
            pipe.execute()

    def replay(
        self,
        submission_id: str,
        by: str,
        why: str,
        lead: Lead | None,
        *,
        allowed: Sequence[State] = REPLAYED,
        audit: Audited = RETRIED,
        if_updated_at: float | None = None,
    ) -> State:
        """Queues a submission after a person's retry or accept, in one transaction.

        It also goes into RQ's queue if that is short. Raises `NotAllowed`, or `Overtaken` if the
        record changed after `if_updated_at`.
        """
        with translate_errors():
            at_once = self._queue.count < QUEUE_TARGET_DEPTH
            with self._ledger.pipeline() as pipe:
                self._ledger.replay_call(
                    pipe,
                    submission_id,
                    by,
                    why,
                    lead,
                    allowed=allowed,
                    audit=audit,
                    if_updated_at=if_updated_at,
                )
                if at_once:
                    self._ledger.schedule.dispatch_call(pipe, submission_id)
                    enqueue(self._queue, submission_id, pipe)
                done, state, *why_not = cast("list[Any]", pipe.execute()[0])
        if why_not == [b"changed"]:
            raise Overtaken(submission_id, state.decode(), audit.action)
        if not done:
            raise NotAllowed(submission_id, state.decode() or None, audit.action)
        return State(state.decode())

    def _probe(self, pause: Pause, now: float) -> list[str]:
        """The candidates for a probe of a closed gate, if one is due; one of them is let through.

        There are several, because the first may have to wait for another submission of its person.
        """
        if pause.until is None or pause.until > now or self._ledger.gate.is_probing():
            return []
        return self._ledger.schedule.due(now, PROBE_CANDIDATES) or self._ledger.schedule.backfill(
            PROBE_CANDIDATES
        )

    def _tidy(self, now: float) -> None:
        if 0 <= now - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = now
        if now - self._newer_logged_at >= NEWER_LOG_SECONDS and (
            newer := self._ledger.schedule.count_newer()
        ):
            self._newer_logged_at = now
            log.warning("submissions of a newer version wait for a newer worker", count=newer)
        clear_dead_workers(self._queue)
        intermediate = self._queue.intermediate_queue
        self._intermediate = {
            job_id: self._intermediate.get(job_id, now) for job_id in intermediate.get_job_ids()
        }
        for job_id, since in self._intermediate.items():
            if now - since >= INTERMEDIATE_SECONDS:
                intermediate.remove(job_id)

    def _lost(self, now: float) -> list[str]:
        """The ids queued in the ledger but not in RQ; not every tick, as it reads all of RQ."""
        queued = self._ledger.count_in(State.QUEUED)
        if (
            0 <= now - self._lost_checked_at < TIDY_SECONDS
            or not queued
            or self._queue.count >= queued
        ):
            return []
        self._lost_checked_at = now
        return self._ledger.schedule.lost(
            now - self._lost_after, queued_ids(self._queue), DISPATCH_PER_TICK
        )
