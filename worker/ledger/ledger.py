"""The record of every submission. Redis keeps it, Lua changes it: every change of state is one
atomic step.

    queued -> delivering -> delivered
      ^          |  \\-----> dead ---> queued (replay), discarded, erased
      |          v
      +------ waiting        quarantined -> queued, discarded, erased

Two kinds of caller: a worker holding a lease (`claim` to `finish`), and a person (`decide`). The
scripts check, the callers are told; nobody reads a state and writes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, NamedTuple, cast

import msgspec
import redis
import structlog

from worker.contract import VERSION, Attempt, Cause, Lead, State
from worker.encryption import Cipher
from worker.errors import LeaseLost, NotAllowed, StoreUnavailable
from worker.ledger.gate import Gate
from worker.ledger.reader import RecordReader
from worker.ledger.record import encrypt_content
from worker.ledger.rollback import (
    NEVER_RESTORED,
    ROLL_CALL_SECONDS,
    SILENT_PROCESS_SECONDS,
    RollbackDetector,
    StoreStatus,
)
from worker.ledger.schedule import Schedule
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.scripts import Scripts

log = structlog.get_logger("leadline.ledger")

Fact = str | int | bytes | None
"""The value of a record's field; None removes it."""


class ClaimResult(StrEnum):
    """What `claim` says of a submission."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"
    NOT_WANTED = "not-wanted"
    NEWER = "newer"
    GATED = "gated"
    IN_PERSON_QUEUE = "in-person-queue"


class Audited(NamedTuple):
    """What the audit trail says of a person's move; an empty action leaves no entry."""

    action: str
    detail: str


class BulkTurn(NamedTuple):
    """The bulk action that a move belongs to, and the token of who advances it."""

    bulk: str
    holder: str


UNAUDITED = Audited("", "")
NO_TURN = BulkTurn("", "")
REPLAYED = (State.DEAD, State.QUARANTINED)


class Ledger(RecordReader):
    """Reads and moves records. Every method may raise `StoreUnavailable`.

    `connection` answers in bytes (no `decode_responses`). `clock` returns Unix seconds; None lets
    Redis tell the time, so that all workers share one clock. Content of a newer `version` is
    neither read nor delivered. A worker's ledger has a `rollback` detector, by which it knows
    whether Redis has gone back in time. `gate`: whether anything is delivered now; `schedule`: what
    is to be delivered next. Queues and gate are those of one Pipedrive `account`.
    """

    def __init__(
        self,
        connection: redis.Redis,
        cipher: Cipher,
        clock: Callable[[], float] | None = None,
        version: int = VERSION,
        rollback: RollbackDetector | None = None,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        super().__init__(connection, cipher, version, account)
        self._rollback = rollback
        self._scripts = Scripts(connection, clock, account)
        self.gate = Gate(self._scripts)
        self.schedule = Schedule(self._scripts, version)

    def now(self) -> float:
        """Unix seconds by the ledger's clock."""
        return self._scripts.now()

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """A transaction to which the `…_call` methods are added; it runs at `execute`."""
        with translate_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.multi()
            yield pipe

    # -- a worker's moves
    # ------------------------------------------------------------------------------------------

    def claim(
        self,
        submission_id: str,
        token: str,
        lease_seconds: float,
        *,
        person_queue: str = "",
        organization_queue: str = "",
        organization_key: str = "",
    ) -> ClaimResult:
        """Leases the submission to `token`, unless it is not wanted or of a newer version, the gate
        is closed, or another of the person goes first.
        """
        queues = (person_queue, organization_queue, organization_key)
        reply = self._scripts.run(
            "ledger/claim", submission_id, token, lease_seconds, *queues, self.version
        )
        return ClaimResult(reply[0].decode())

    def renew(self, submission_id: str, token: str, lease_seconds: float) -> bool:
        return bool(self._scripts.run("ledger/renew", submission_id, token, lease_seconds))

    def announce(
        self,
        submission_id: str,
        token: str,
        lease_seconds: float,
        step: str,
        status: StoreStatus = NEVER_RESTORED,
    ) -> None:
        """Writes down that a create of `step` is about to be sent, and renews the lease.

        `status` is what `store_status` said when this delivery began. Raises `LeaseLost`, or
        `StoreUnavailable` where Redis may have gone back in time since: then nothing may be sent.
        """
        for _ in range(2):
            process = self._rollback
            seen = (
                (process.name, process.create_count, process.server, status.restored_at)
                if process is not None
                else ("", 0, "", "")
            )
            create_count = self._scripts.run(
                "ledger/announce", submission_id, token, lease_seconds, step, *seen
            )
            if create_count == 0:
                raise LeaseLost(submission_id)
            if create_count > 0:
                if process is not None:
                    process.record_create_count(create_count)
                return
            now = self.store_status()
            if not now.agreed or now.restored_at != status.restored_at:
                break
        raise StoreUnavailable("Redis may have gone back in time")

    def store_status(self, submission_id: str = "", *, leaves: bool = False) -> StoreStatus:
        """Reports what this process has announced and learns whether this is the store it knows.

        With `submission_id`, also whether that is to be looked up first. `leaves`: the process
        ends. Called at every tick, so that the others see it alive (`worker.ledger.rollback`).
        """
        process = self._rollback
        if process is None:
            return NEVER_RESTORED
        reports = [
            part
            for each in process.reports()
            for part in (each.name, each.create_count, each.server, each.total_create_count)
        ]
        agreed, server, restored_at, needs_lookup, on_roll, clock_jump_at, total = (
            self._scripts.run(
                "ledger/rollback",
                process.settle_seconds,
                ROLL_CALL_SECONDS,
                SILENT_PROCESS_SECONDS,
                submission_id,
                int(leaves),
                *reports,
            )
        )
        process.record_total(total)
        if agreed:
            process.confirm_server(server.decode())
        if leaves:
            process.close(keep=bool(on_roll))
        return StoreStatus(
            agreed=bool(agreed),
            restored_at=restored_at.decode(),
            needs_lookup=bool(needs_lookup),
            clock_jump_at=float(clock_jump_at or 0),
        )

    def learn(self, submission_id: str, token: str, step: str, facts: Mapping[str, Fact]) -> None:
        """Writes down what an announced step brought. Raises `LeaseLost` when somebody else went on
        with it, or it was erased.
        """
        done = self._scripts.run("ledger/learn", submission_id, token, step, *_pairs(facts))
        if done == 2:
            made = {name: value for name, value in facts.items() if name.endswith("_id")}
            log.warning(
                "erased while it was delivered: remove by hand what was made",
                submission=submission_id,
                **made,
            )
        if done != 1:
            raise LeaseLost(submission_id)

    def finish(
        self,
        submission_id: str,
        token: str,
        state: State,
        *,
        why: str = "",
        next_at: float | None = None,
        reason: str = "",
        used: int = 1,
        keep_place: bool = False,
        cause: Cause | None = None,
        counter: str = "",
        facts: Mapping[str, Fact] | None = None,
        attempts: Iterable[Attempt] = (),
    ) -> list[str]:
        """Ends a delivery. Returns the ids that may go now because this one left the line. Raises
        `LeaseLost`.
        """
        pairs = _pairs(facts or {})
        reply = self._scripts.run(
            "ledger/finish",
            submission_id,
            token,
            state,
            why,
            "" if next_at is None else next_at,
            reason,
            used,
            int(keep_place),
            msgspec.json.encode(cause) if cause else "",
            counter,
            len(pairs) // 2,
            *pairs,
            *(msgspec.json.encode(attempt) for attempt in attempts),
        )
        if not reply[0]:
            raise LeaseLost(submission_id)
        return [raw.decode() for raw in reply[1:]]

    # -- a person's moves
    # ------------------------------------------------------------------------------------------

    def replay_call(
        self,
        pipe: Any,
        submission_id: str,
        by: str,
        why: str,
        lead: Lead | None,
        *,
        allowed: Sequence[State] = REPLAYED,
        audit: Audited = UNAUDITED,
        seen: float | None = None,
        turn: BulkTurn = NO_TURN,
    ) -> None:
        """Adds to a transaction: `dead` or `quarantined` -> `queued`, with a mended lead if given.

        `seen` is the `updated_at` of the record that the lead was made from.
        """
        encrypted = encrypt_content(lead, self.cipher) if lead is not None else b""
        self._scripts.add(
            pipe,
            "ledger/decide",
            submission_id,
            State.QUEUED,
            " ".join(allowed),
            by,
            why,
            encrypted,
            *audit,
            seen or "",
            *turn,
        )

    def discard_call(
        self, pipe: Any, submission_id: str, by: str, why: str, turn: BulkTurn
    ) -> None:
        """Adds to a transaction: `dead` or `quarantined` -> `discarded`, as one of a bulk
        action's.
        """
        self._scripts.add(
            pipe,
            "ledger/decide",
            submission_id,
            State.DISCARDED,
            " ".join(REPLAYED),
            by,
            why,
            "",
            *UNAUDITED,
            "",
            *turn,
        )

    def discard(self, submission_id: str, by: str, why: str) -> None:
        """`dead` or `quarantined` -> `discarded`. Raises `NotAllowed`."""
        self._decide(submission_id, State.DISCARDED, REPLAYED, by, why, "discard")

    def undiscard(self, submission_id: str, by: str) -> State:
        """Undo of a discard: back to where it was. Raises `NotAllowed`."""
        return self._decide(submission_id, "", (State.DISCARDED,), by, "undo", "undo the discard")

    def _decide(
        self, submission_id: str, to: str, allowed: Sequence[State], by: str, why: str, action: str
    ) -> State:
        """The reason is a person's own words: the timeline has them, the trail does not."""
        audit = Audited(action.partition(" ")[0], "")
        done, state, *_ = self._scripts.run(
            "ledger/decide", submission_id, to, " ".join(allowed), by, why, "", *audit, "", *NO_TURN
        )
        if not done:
            raise NotAllowed(submission_id, state.decode() or None, action)
        return State(state.decode())

    # -- bulk actions: `worker.ledger.bulk`
    # -------------------------------------------------------------------------------

    def bulk(self, step: str, *args: Any) -> Any:
        """Runs one of the scripts `lua/bulk_….lua`."""
        return self._scripts.run(f"bulk/{step}", *args)

    def bulk_call(self, pipe: Any, step: str, *args: Any) -> None:
        """Adds one of them to a transaction."""
        self._scripts.add(pipe, f"bulk/{step}", *args)

    # -- erasure
    # ----------------------------------------------------------------------------------------------

    def erase(
        self,
        submission_ids: Iterable[str],
        by: str,
        why: str,
        *,
        state: str = "",
        since: float | None = None,
        mark: str = "",
        by_mark: bool = False,
        memories: Iterable[str] = (),
    ) -> int:
        """Any state -> `erased`, for good; returns how many were erased. See `erase.lua`."""
        latest = "" if since is None else since
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for submission_id in submission_ids:
                self._scripts.add(
                    pipe,
                    "ledger/erase",
                    submission_id,
                    by,
                    why,
                    state,
                    latest,
                    mark,
                    int(by_mark),
                    *memories,
                )
            return sum(pipe.execute())

    def mark_erased(self, mark: str, by: str, seconds: int) -> None:
        """Remembers for `seconds` that what came before now, and bears `mark`, is to be erased."""
        now = self.now()
        with self.pipeline() as pipe:
            pipe.hset(mark, mapping={"before": now, "by": by})
            pipe.expire(mark, seconds)
            pipe.execute()

    def find_marks(self, marks: Sequence[str]) -> list[str]:
        """Those of `marks` that are set."""
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for mark in marks:
                pipe.exists(mark)
            replies = pipe.execute()
        return [mark for mark, exists in zip(marks, replies, strict=True) if exists]

    def marked_names(self, mark: str) -> list[str]:
        """What was erased under `mark`: `submission:{id}`, `person:{id}`, `lead:{id}`."""
        with translate_errors():
            return [raw.decode() for raw in cast("list[bytes]", self.redis.hkeys(mark))]

    def forget(self, submission_ids: Sequence[str], since: float) -> int:
        """Removes the receipts of those of them that are erased since `since` (Unix seconds) or
        longer; how many it were.
        """
        return int(
            self._scripts.run(
                "ledger/forget", since, keys.FORGOTTEN, keys.DUPLICATES, *submission_ids
            )
        )


def _pairs(facts: Mapping[str, Fact]) -> list[str | bytes]:
    return [text for name, value in facts.items() for text in (name, _text(value))]


def _text(value: Fact) -> str | bytes:
    return value if isinstance(value, bytes) else "" if value is None else str(value)
