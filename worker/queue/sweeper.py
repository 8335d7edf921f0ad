"""The sweeper: one road for retries, waits, replays, stuck and abandoned work.

On each beat, in one worker process at a time (a lock that lapses after three seconds), it
1. puts what is due back into RQ's queue, in the order of the ledger, as far as that queue is short: it is first come, first
   served, so what comes fresh would stand behind it; at the end of an outage this makes a ramp;
2. puts back what a dead worker held: its lease ran out;
3. puts back what stands in the ledger as queued but has no entry in the queue (a lost reply, a flushed queue);
4. clears away what dead workers left in RQ's lists: jobs in hand, jobs between queue and slot, their own names.

Whoever sweeps, each process takes up what older workers left because they do not know its version.
"""

from __future__ import annotations

import math
import secrets
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

log = structlog.get_logger("leadline.sweeper")

RETRIED = Audited("retry", "")

TICK_SECONDS = 1.0
DISPATCH_PER_TICK = 200
"""Submissions dispatched in one beat at the most."""

QUEUE_TARGET_DEPTH = 20
"""So many may stand in RQ's queue at any time; more as long as the slots empty it from beat to
beat.
"""

PROBE_CANDIDATES = 10
LOST_AFTER_SECONDS = 10.0
"""A queued submission without an entry in the queue may be on its way to a slot; after this long it
is lost.
"""

NEWER_LOG_SECONDS = 60.0
TIDY_SECONDS = 5.0
INTERMEDIATE_SECONDS = 20.0
"""A job leaves RQ's intermediate list as soon as its slot begins; what stands there longer belongs
to nobody.
"""

LOCK_MILLISECONDS = 3_000


class Sweeper:
    def __init__(
        self, ledger: Ledger, queue: rq.Queue, *, lost_after: float = LOST_AFTER_SECONDS
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._lost_after = lost_after
        self._token = secrets.token_hex(8)
        self._lost_checked_at = -math.inf
        self._tidied_at = -math.inf
        self._depth = QUEUE_TARGET_DEPTH
        self._filled_up = False
        self._newer_logged_at = -math.inf
        self._intermediate: dict[str, float] = {}

    def tick(self) -> int:
        """One round, if it is ours to do. Returns how many were dispatched. Raises
        `StoreUnavailable`.
        """
        with translate_errors():
            self.dispatch(self._ledger.schedule.understood(self._ledger.now(), DISPATCH_PER_TICK))
            return self.sweep() if self._take_lock() else 0

    def sweep(self) -> int:
        """One round, whoever else sweeps: doing it twice is harmless."""
        now = self._ledger.now()
        ids = self._ledger.schedule.abandoned(now, DISPATCH_PER_TICK)
        pause = self._ledger.gate.find_pause()
        ids += self._due(now) if pause is None else self._probe(pause, now)
        ids += self._lost(now)
        self.dispatch(ids)
        self._tidy(now)
        return len(ids)

    def _due(self, now: float) -> list[str]:
        """Those whose turn it is, as far as there is room; one in any case: a queue that stays long
        must not stop retries.
        """
        room = self._room()
        ids = self._ledger.schedule.due(now, max(1, room))
        ids += self._ledger.schedule.backfill(room - len(ids)) if room > len(ids) else []
        self._filled_up = len(ids) >= room
        return ids

    def _room(self) -> int:
        """The depth to which RQ's queue is filled doubles with each beat in which the slots took
        most of it, and halves again.
        """
        standing = self._queue.count
        if standing > self._depth // 2 or not self._filled_up:
            self._depth = max(QUEUE_TARGET_DEPTH, self._depth // 2)
        else:
            self._depth = min(DISPATCH_PER_TICK, self._depth * 2)
        return self._depth - standing

    def dispatch(self, ids: Iterable[str]) -> None:
        """Back into the ledger's queue and RQ's, in one transaction. Raises `StoreUnavailable`."""
        ids = list(dict.fromkeys(ids))
        if not ids:
            return
        with translate_errors(), self._ledger.redis.pipeline(transaction=True) as pipe:
            pipe.multi()
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
        seen: float | None = None,
    ) -> State:
        """A person's retry or accept: into the ledger's queue and, if that is short, RQ's, in one
        transaction.

        Raises `NotAllowed`, or `Overtaken` where the record changed since it was `seen`.
        """
        with translate_errors():
            at_once = self._queue.count < QUEUE_TARGET_DEPTH
            with self._ledger.redis.pipeline(transaction=True) as pipe:
                pipe.multi()
                self._ledger.replay_call(
                    pipe, submission_id, by, why, lead, allowed=allowed, audit=audit, seen=seen
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
        """While a gate that must be tried has come to its time, those from which one is let through
        to try it.

        Several, because the first may have to wait in line for another.
        """
        if (
            pause.until is None
            or pause.until > now
            or self._ledger.redis.exists(self._ledger.account.probe)
        ):
            return []
        return self._ledger.schedule.due(now, PROBE_CANDIDATES) or self._ledger.schedule.backfill(
            PROBE_CANDIDATES
        )

    def _tidy(self, now: float) -> None:
        if 0 <= now - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = now
        if now - self._newer_logged_at >= NEWER_LOG_SECONDS and (
            newer := self._ledger.schedule.newer()
        ):
            self._newer_logged_at = now
            log.warning("submissions of a newer version wait for a newer worker", count=newer)
        clear_dead_workers(self._queue)
        between = self._queue.intermediate_queue
        self._intermediate = {
            job_id: self._intermediate.get(job_id, now) for job_id in between.get_job_ids()
        }
        for job_id, since in self._intermediate.items():
            if now - since >= INTERMEDIATE_SECONDS:
                between.remove(job_id)

    def _lost(self, now: float) -> list[str]:
        """The whole queue is read for it, so not at every beat: slots hold a few that are in
        neither.
        """
        queued = self._ledger.redis.zcard(keys.state(State.QUEUED))
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

    def _take_lock(self) -> bool:
        connection = self._ledger.redis
        if connection.set(keys.SWEEPER, self._token, nx=True, px=LOCK_MILLISECONDS):
            return True
        if connection.get(keys.SWEEPER) == self._token.encode():
            connection.pexpire(keys.SWEEPER, LOCK_MILLISECONDS)
            return True
        return False
