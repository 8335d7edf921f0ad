"""Bulk actions: apply one decision to a fixed list of submissions and track each outcome.

    created -> canaries -> the rest, as the queue drains -> ended
                  |                   |
                  +--> stopped -------+   (by itself, "canaries failed", or by a person)

The list is fixed when the action is created, and no two unfinished actions share a submission. All
state is in Redis and each step is one transaction, so whoever takes the lock continues where the
last process was killed: a worker process, a service process (a discard needs no worker), or the
command that created the action.

An action that delivers (retry, accept) first lets three submissions go, the canaries. As soon as
one of them is delivered the rest follow, no faster than the queue drains; if all three die, the
rest stay as they are.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog
from msgspec import Struct, structs

from worker.contract import Lead, State, states_for
from worker.encryption import DecryptionError
from worker.errors import LeadlineError
from worker.lead.edit import EditError, apply_edit
from worker.ledger import Ledger
from worker.ledger.ledger import BulkTurn
from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.turn_lock import TurnLock

log = structlog.get_logger("leadline.bulk")

# The actions that can be done in bulk, each with the states that allow it.
ACTIONS = {action: states_for(action) for action in ("retry", "accept", "discard")}

CANARIES = 3
CANARIES_FAILED = "canaries failed"

# More submissions go while fewer than this are queued; the sweeper brings them to the slots.
QUEUE_TARGET_DEPTH = 200

SUBMISSIONS_PER_TRANSACTION = 50
TICK_SECONDS = 1.0

# For one action in one tick: seconds of work, and outcomes to check.
MAX_TICK_SECONDS = 0.5
OUTCOMES_PER_TICK = 500

LOCK_MILLISECONDS = 5_000
RETENTION_SECONDS = 7 * 24 * 3600


class CountDiffers(LeadlineError):
    """The number of submissions is not the expected one.

    `count` could be taken now; `taken` more belong to an unfinished bulk action.
    """

    code = "count-differs"

    def __init__(self, count: int, taken: int) -> None:
        super().__init__(
            f"{count} match now"
            + (f", {taken} more belong to an unfinished bulk action" if taken else "")
        )
        self.count = count
        self.taken = taken


class BulkProgress(Struct, frozen=True, kw_only=True):
    """The progress of a bulk action: `count = left + delivered + dead + done + skipped`.

    Submissions in `left` have not begun or have no outcome yet; `done` were discarded; `skipped`
    had moved on or could not be edited. `stopped` says why the action stopped; `ended_at` is None
    until the last outcome. Times are in Unix seconds.
    """

    id: str
    action: str
    by: str
    at: float
    count: int
    left: int
    delivered: int = 0
    dead: int = 0
    done: int = 0
    skipped: int = 0
    stopped: str | None = None
    ended_at: float | None = None


class BulkActions:
    """Creates, advances and shows bulk actions. Every method may raise `StoreUnavailable`."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._clock = clock
        self._lock = TurnLock(ledger.redis, keys.BULK_LOCK, LOCK_MILLISECONDS)

    # -- for people

    def create(
        self,
        action: str,
        ids: Sequence[str],
        expect: int,
        by: str,
        *,
        edit: Mapping[str, Any] | None = None,
        detail: str = "",
    ) -> str:
        """Creates an action over those of `ids` whose state allows it, and returns its id.

        `detail` is for the audit trail. Raises `CountDiffers` if their number is not `expect`, and
        `EditError` for an edit that fits no lead.
        """
        if edit:
            apply_edit(Lead(), edit)
        bulk = secrets.token_hex(8)
        ids = [submission_id for submission_id in ids if keys.is_safe_id(submission_id)]
        encrypted = self._ledger.cipher.encrypt(msgspec.msgpack.encode(edit)) if edit else None
        created, count, *taken = self._ledger.bulk(
            "make",
            bulk=bulk,
            action=action,
            by=by,
            expected=expect,
            edit=encrypted,
            detail=detail,
            states=ACTIONS[action],
            ids=ids,
        )
        if not created:
            raise CountDiffers(count, taken[0])
        return bulk

    def progress(self, bulk: str) -> BulkProgress | None:
        """The progress of an action; None if it is unknown or no longer kept."""
        return self._progress([bulk])[0]

    def list_newest(self, limit: int = 20) -> list[BulkProgress]:
        """The latest actions, newest first; they are kept for a week after their end."""
        ids = call_redis(
            lambda: cast(
                "list[bytes]", self._redis.zrange(keys.BULK_ACTIONS, 0, limit - 1, desc=True)
            )
        )
        progress = self._progress([raw.decode() for raw in ids])
        return [each for each in progress if each is not None]

    def stop(self, bulk: str, by: str, reason: str = "") -> bool:
        """Leaves the rest as it is. Returns False if the action was over or stopped already."""
        return bool(
            self._ledger.bulk("stop", bulk=bulk, by=by, reason=reason or f"stopped by {by}")
        )

    # -- for the process that advances them

    def tick(self) -> bool:
        """Advances all unfinished actions if it is our turn; returns whether it did."""
        with translate_errors():
            return self._round()

    def _round(self) -> bool:
        running = cast("list[bytes]", self._redis.zrange(keys.BULK_RUNNING, 0, -1))
        if not running or not self._lock.take():
            return False
        for raw in running:
            try:
                self._advance(raw.decode())
            except DecryptionError as error:
                log.error(
                    "the edit of a bulk action cannot be decrypted here",
                    bulk=raw.decode(),
                    error=str(error),
                )
        return True

    def _advance(self, bulk: str) -> None:
        name = keys.BULK + bulk
        fields = cast("dict[bytes, bytes]", self._redis.hgetall(name))
        if b"action" not in fields:
            self._redis.zrem(keys.BULK_RUNNING, bulk)
            return
        until = self._clock() + MAX_TICK_SECONDS
        job = _Job(bulk, fields[b"action"].decode(), fields[b"by"].decode(), None)
        while True:
            left, out, delivered, dead, stopped = self._ledger.bulk(
                "look", bulk=bulk, limit=OUTCOMES_PER_TICK
            )
            places = 0 if stopped else self._free_places(job, left, out, delivered, dead)
            if not places:
                break
            if job.edit is None:
                # Decrypt only now: without the key, the action can still be stopped and end.
                job = structs.replace(job, edit=self._edit(fields))
            self._send_next(job, places)
            if self._clock() > until or not self._lock.take():
                return
        self._ledger.bulk("end", bulk=bulk, retention_seconds=RETENTION_SECONDS)

    def _free_places(self, job: _Job, left: int, out: int, delivered: int, dead: int) -> int:
        """How many submissions may go now; stops the action if all canaries died."""
        if not left or job.action == "discard":
            return min(left, SUBMISSIONS_PER_TRANSACTION)
        if not delivered and dead >= CANARIES:
            self.stop(job.bulk, "leadline", CANARIES_FAILED)
            return 0
        if self._ledger.gate.find_pause():
            return 0
        if not delivered:
            return min(left, max(0, CANARIES - dead - out))
        queued = self._ledger.count_in(State.QUEUED)
        return min(left, SUBMISSIONS_PER_TRANSACTION, max(0, QUEUE_TARGET_DEPTH - queued))

    def _send_next(self, job: _Job, places: int) -> None:
        """Lets the next `places` submissions go; skips those that the edit does not fit."""
        raw = cast("list[bytes]", self._redis.zrange(f"{keys.BULK}{job.bulk}:left", 0, places - 1))
        turn = BulkTurn(job.bulk, self._lock.token)
        edited = [
            (submission_id.decode(), *self._edited(job, submission_id.decode()))
            for submission_id in raw
        ]
        with self._ledger.pipeline() as pipe:
            for submission_id, fits, lead, updated_at in edited:
                if not fits:
                    self._ledger.bulk_call(
                        pipe, "skip", bulk=job.bulk, id=submission_id, holder=self._lock.token
                    )
                elif job.action == "discard":
                    self._ledger.discard_call(pipe, submission_id, job.by, f"bulk {job.bulk}", turn)
                else:
                    why = f"{job.action}, bulk {job.bulk}"
                    allowed = ACTIONS[job.action]
                    self._ledger.replay_call(
                        pipe,
                        submission_id,
                        job.by,
                        why,
                        lead,
                        allowed=allowed,
                        if_updated_at=updated_at,
                        turn=turn,
                    )
            pipe.execute()

    def _edited(self, job: _Job, submission_id: str) -> tuple[bool, Lead | None, float | None]:
        """Whether the edit fits, the edited lead, and the `updated_at` of its record."""
        if job.edit is None:
            return True, None, None
        record = self._ledger.get(submission_id)
        if record is None or record.unreadable or not record.has_content:
            return False, None, None
        try:
            return True, apply_edit(record.lead or Lead(), job.edit), record.updated_at
        except EditError:
            return False, None, None

    def _edit(self, fields: Mapping[bytes, bytes]) -> dict[str, Any] | None:
        encrypted = fields.get(b"edit")
        if not encrypted:
            return None
        edit: dict[str, Any] = msgspec.msgpack.decode(self._ledger.cipher.decrypt(encrypted))
        return edit

    def _progress(self, bulks: Iterable[str]) -> list[BulkProgress | None]:
        with translate_errors(), self._redis.pipeline(transaction=True) as pipe:
            for bulk in bulks:
                pipe.hgetall(keys.BULK + bulk)
                pipe.zcard(f"{keys.BULK}{bulk}:left")
                pipe.zcard(f"{keys.BULK}{bulk}:out")
            replies = pipe.execute()
        return [
            _read(bulk, *replies[3 * place : 3 * place + 3]) for place, bulk in enumerate(bulks)
        ]


class _Job(Struct, frozen=True):
    """What a bulk action does to each of its submissions."""

    bulk: str
    action: str
    by: str
    edit: dict[str, Any] | None


def _read(bulk: str, fields: Mapping[bytes, bytes], left: int, out: int) -> BulkProgress | None:
    if b"action" not in fields:
        return None
    text = {name.decode(): value.decode() for name, value in fields.items() if name != b"edit"}
    counts = {
        name: int(text.get(name, 0)) for name in ("count", "delivered", "dead", "done", "skipped")
    }
    ended = text.get("ended_at")
    return BulkProgress(
        id=bulk,
        action=text["action"],
        by=text["by"],
        at=float(text["at"]),
        left=int(text["remaining"]) if ended else left + out,
        stopped=text.get("stopped"),
        ended_at=float(ended) if ended else None,
        **counts,
    )
