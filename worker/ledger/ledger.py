"""The ledger: the record of every submission, in Redis. Every change of state is one Lua script.

    queued -> delivering -> delivered
      ^          |  \\-----> dead ---> queued (replay), discarded, erased
      |          v
      +------ waiting        quarantined -> queued, discarded, erased

There are two kinds of caller: a worker that holds a lease (`claim` to `finish`), and a person
(`decide`). The scripts check whether a move is allowed and tell the caller; nobody reads a state
and writes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, NamedTuple, cast

import msgspec
import redis
import structlog

from worker.contract import VERSION, Attempt, Cause, Lead, State, states_for
from worker.encryption import Cipher
from worker.errors import LeaseLost, NotAllowed, StoreUnavailable
from worker.ledger.gate import Gate
from worker.ledger.reader import RecordReader
from worker.ledger.record import encode_attempt, encrypt_content, seal_facts
from worker.ledger.rollback import (
    NEVER_RESTORED,
    ROLL_CALL_SECONDS,
    SILENT_PROCESS_SECONDS,
    RollbackDetector,
    StoreStatus,
)
from worker.ledger.schedule import Schedule
from worker.metrics import EVICTED_SERIES
from worker.store import keys
from worker.store.connection import translate_errors
from worker.store.scripts import Scripts

log = structlog.get_logger("leadline.ledger")

# The value of a record's field; None removes it.
Fact = str | int | bytes | None


class ClaimResult(StrEnum):
    """The result of `claim`."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"
    NOT_WANTED = "not-wanted"
    NEWER = "newer"
    GATED = "gated"
    IN_PERSON_QUEUE = "in-person-queue"


class Audited(NamedTuple):
    """What the audit trail says about a person's decision."""

    action: str
    detail: str = ""


class BulkTurn(NamedTuple):
    """The bulk action that a move belongs to, and the token of the process that advances it."""

    bulk: str
    holder: str


REPLAYED = (*states_for("retry"), *states_for("accept"))


class Ledger(RecordReader):
    """Reads and moves records. Every method may raise `StoreUnavailable`.

    `connection` returns bytes (no `decode_responses`). `clock` returns Unix seconds; None uses
    Redis's time, so that all workers share one clock. Content of a newer `version` is neither read
    nor delivered. A worker's ledger has a `rollback` detector, which notices that Redis has gone
    back in time. `gate` says whether anything is delivered now, `schedule` what is delivered next.
    Person queues and gate belong to one Pipedrive `account`.
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

    def count_workers(self) -> int:
        """How many worker processes sent a heartbeat within the last minute."""
        return self.status().workers(self.now())

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """A transaction to which the `…_call` methods add; it runs at `execute`."""
        with translate_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.multi()
            yield pipe

    # -- a worker's moves

    def claim(
        self,
        submission_id: str,
        token: str,
        lease_seconds: float,
        *,
        person_queue: str = "",
        phone_queue: str = "",
        organization_queue: str = "",
        organization_key: str = "",
    ) -> ClaimResult:
        """Leases the submission to `token`, or says why not.

        The queues are keys of `Account.person_queue`; `phone_queue` is a second one of the person,
        for sources that match by e-mail and by phone. An organisation that is cached under
        `organization_key` needs no queue.
        """
        reply = self._scripts.run(
            "ledger/claim",
            id=submission_id,
            token=token,
            lease_seconds=lease_seconds,
            person_queue=person_queue or None,
            phone_queue=phone_queue or None,
            organization_queue=organization_queue or None,
            organization_key=organization_key or None,
            version=self.version,
        )
        return ClaimResult(reply[0].decode())

    def renew(self, submission_id: str, token: str, lease_seconds: float) -> bool:
        return bool(
            self._scripts.run(
                "ledger/renew", id=submission_id, token=token, lease_seconds=lease_seconds
            )
        )

    def announce(
        self,
        submission_id: str,
        token: str,
        lease_seconds: float,
        step: str,
        status: StoreStatus = NEVER_RESTORED,
    ) -> None:
        """Records that a create of `step` is about to be sent, and renews the lease.

        `status` is what `store_status` returned when this delivery began. Raises `LeaseLost`, or
        `StoreUnavailable` if Redis may have gone back in time since: then nothing may be sent.
        """
        for _ in range(2):
            process = self._rollback
            process_facts = (
                {
                    "process": process.name,
                    "create_count": process.create_count,
                    "server": process.server,
                    "restored_at": status.restored_at,
                }
                if process is not None
                else {}
            )
            create_count = self._scripts.run(
                "ledger/announce",
                id=submission_id,
                token=token,
                lease_seconds=lease_seconds,
                step=step,
                **process_facts,
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
        """Reports what this process has announced and returns whether this is the store it knows.

        With `submission_id`, it also says whether that submission must be looked up first. `leaves`
        says that the process ends. Every heartbeat calls it, so that the other processes see this
        one alive (`worker.ledger.rollback`).
        """
        process = self._rollback
        if process is None:
            return NEVER_RESTORED
        agreed, server, restored_at, needs_lookup, on_roll, clock_jump_at, total = (
            self._scripts.run(
                "ledger/rollback",
                settle_seconds=process.settle_seconds,
                roll_call_seconds=ROLL_CALL_SECONDS,
                silent_seconds=SILENT_PROCESS_SECONDS,
                id=submission_id or None,
                leaves=leaves,
                reports=process.reports(),
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
        """Records the result of a step and ends its announcement.

        Raises `LeaseLost` if another worker went on with the step or the submission was erased.
        """
        done = self._scripts.run(
            "ledger/learn", id=submission_id, token=token, step=step or None, facts=_texts(facts)
        )
        if done == 2:
            created_ids = {name: value for name, value in facts.items() if name.endswith("_id")}
            log.warning(
                "erased while it was delivered: remove by hand what was made",
                submission_id=submission_id,
                **created_ids,
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
        """Ends a delivery; returns the ids that are due now because it left its person queues.

        `used` is how many attempts it counts as; `keep_place` keeps it in its person queues. Raises
        `LeaseLost`.
        """
        reply = self._scripts.run(
            "ledger/finish",
            id=submission_id,
            token=token,
            state=state,
            why=self.cipher.seal_text(why),
            next_at=next_at,
            reason=reason,
            used=used,
            keep_place=keep_place,
            cause=self.cipher.seal(msgspec.json.encode(cause)) if cause else None,
            counter=counter,
            facts=_texts(seal_facts(facts or {}, self.cipher)),
            attempts=[encode_attempt(attempt, self.cipher) for attempt in attempts],
        )
        if not reply[0]:
            raise LeaseLost(submission_id)
        return [raw.decode() for raw in reply[1:]]

    # -- a person's moves

    def replay_call(
        self,
        pipe: Any,
        submission_id: str,
        by: str,
        why: str,
        lead: Lead | None,
        *,
        allowed: Sequence[State] = REPLAYED,
        audit: Audited | None = None,
        if_updated_at: float | None = None,
        turn: BulkTurn | None = None,
    ) -> None:
        """Adds `dead` or `quarantined` -> `queued` to a transaction, with the edited lead if given.

        `if_updated_at` is the `updated_at` of the record that the lead was made from.
        """
        encrypted = encrypt_content(lead, self.cipher) if lead is not None else None
        why = self.cipher.seal_text(why)
        decision = _decision(submission_id, State.QUEUED, allowed, by, why, audit, turn)
        self._scripts.add(
            pipe, "ledger/decide", lead=encrypted, if_updated_at=if_updated_at, **decision
        )

    def discard_call(
        self, pipe: Any, submission_id: str, by: str, why: str, turn: BulkTurn
    ) -> None:
        """Adds `dead` or `quarantined` -> `discarded` to a transaction, for a bulk action."""
        decision = _decision(
            submission_id, State.DISCARDED, states_for("discard"), by, why, None, turn
        )
        self._scripts.add(pipe, "ledger/decide", **decision)

    def discard(self, submission_id: str, by: str, why: str) -> None:
        """`dead` or `quarantined` -> `discarded`. Raises `NotAllowed`.

        `why` is in the person's own words: the timeline keeps them, the audit trail does not.
        """
        self._decide(submission_id, State.DISCARDED, states_for("discard"), by, why, "discard")

    def undiscard(self, submission_id: str, by: str) -> State:
        """Undoes a discard: returns the submission to its earlier state. Raises `NotAllowed`."""
        return self._decide(submission_id, None, states_for("undo"), by, "undo", "undo the discard")

    def _decide(
        self,
        submission_id: str,
        to: State | None,
        allowed: Sequence[State],
        by: str,
        why: str,
        action: str,
    ) -> State:
        audit = Audited(action.partition(" ")[0])
        why = self.cipher.seal_text(why)
        decision = _decision(submission_id, to, allowed, by, why, audit, None)
        done, state, *_ = self._scripts.run("ledger/decide", **decision)
        if not done:
            raise NotAllowed(submission_id, state.decode() or None, action)
        return State(state.decode())

    # -- bulk actions: `worker.ledger.bulk`

    def bulk(self, step: str, **args: Any) -> Any:
        """Runs one of the scripts in `lua/bulk`."""
        return self._scripts.run(f"bulk/{step}", **args)

    def bulk_call(self, pipe: Any, step: str, **args: Any) -> None:
        """Adds one of the scripts in `lua/bulk` to a transaction."""
        self._scripts.add(pipe, f"bulk/{step}", **args)

    # -- erasure

    def erase(
        self,
        submission_ids: Iterable[str],
        by: str,
        why: str,
        *,
        state: State | None = None,
        since: float | None = None,
        mark: str | None = None,
        by_mark: bool = False,
        memories: Iterable[str] = (),
    ) -> int:
        """Erases submissions in any state, for good; returns how many. See `erase.lua`."""
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for submission_id in submission_ids:
                self._scripts.add(
                    pipe,
                    "ledger/erase",
                    id=submission_id,
                    by=by,
                    why=why,
                    state=state,
                    since=since,
                    mark=mark,
                    by_mark=by_mark,
                    memories=list(memories),
                )
            return sum(pipe.execute())

    def make_room(self, limit: int, count: int) -> list[str]:
        """Evicts what strangers sent until it takes at most `limit` bytes. See `make_room.lua`.

        Returns up to `count` delivered submissions whose content has to go too, oldest first.
        """
        ids = self._scripts.run(
            "ledger/make_room", limit=limit, count=count, evicted=EVICTED_SERIES
        )
        return [raw.decode() for raw in ids]

    def drop_raw(self, submission_id: str) -> None:
        """Erases the raw body that this submission shares with others of its request.

        All of them keep what was read from it.
        """
        self._scripts.run("ledger/drop_raw", id=submission_id)

    def mark_erased(self, marks: Sequence[str], by: str, seconds: int) -> None:
        """Sets `marks` for `seconds`: older submissions that bear one are to be erased."""
        now = self.now()
        with self.pipeline() as pipe:
            for mark in marks:
                pipe.hset(mark, mapping={"before": now, "by": by})
                pipe.expire(mark, seconds)
            pipe.set(keys.ERASURES, b"1", ex=seconds)
            pipe.execute()

    def find_marks(self, marks: Sequence[str]) -> list[str]:
        """The `marks` that are set."""
        with translate_errors(), self.redis.pipeline(transaction=False) as pipe:
            for mark in marks:
                pipe.exists(mark)
            replies = pipe.execute()
        return [mark for mark, exists in zip(marks, replies, strict=True) if exists]

    def marked_names(self, mark: str) -> list[str]:
        """What was erased under `mark`, as `submission:{id}`, `person:{id}` and `lead:{id}`."""
        with translate_errors():
            return [raw.decode() for raw in cast("list[bytes]", self.redis.hkeys(mark))]

    def forget(self, submission_ids: Sequence[str], since: float) -> int:
        """Removes receipts of submissions erased by `since` (Unix seconds); returns how many."""
        return int(self._scripts.run("ledger/forget", since=since, ids=submission_ids))


def _decision(
    submission_id: str,
    to: State | None,
    allowed: Sequence[State],
    by: str,
    why: str,
    audit: Audited | None,
    turn: BulkTurn | None,
) -> dict[str, Any]:
    """The arguments of `decide.lua`."""
    return {
        "id": submission_id,
        "to": to,
        "from": allowed,
        "by": by,
        "why": why,
        **(audit._asdict() if audit else {}),
        **(turn._asdict() if turn else {}),
    }


def _texts(facts: Mapping[str, Fact]) -> dict[str, str | bytes]:
    """The facts as `write` in `prelude.lua` takes them: an empty text removes a field."""
    return {
        name: value if isinstance(value, bytes) else "" if value is None else str(value)
        for name, value in facts.items()
    }
