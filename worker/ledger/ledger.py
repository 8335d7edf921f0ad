"""The record of every submission. Redis keeps it, Lua changes it: every change of state is one atomic step.

    queued -> delivering -> delivered
      ^          |  \\-----> dead ---> queued (replay), discarded, erased
      |          v
      +------ waiting        quarantined -> queued, discarded, erased

Two kinds of caller: a worker holding a lease (`claim` to `finish`), and a person (`decide`). The scripts check, the
callers are told; nobody reads a state and writes it back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import redis
import structlog
from msgspec import Struct
from redis.exceptions import NoPermissionError

from worker import keys
from worker.contract import VERSION, Attempt, Cause, Lead, Moment, State
from worker.errors import LeaseLost, NotAllowed, StoreUnavailable
from worker.ledger import scripts
from worker.ledger.record import Record, decode, seal
from worker.metrics import series
from worker.tide import LIFETIME_SECONDS, PATIENCE_SECONDS, Tide, Tidings
from worker.vault import Vault

log = structlog.get_logger("leadline.ledger")

CRASHES_ALLOWED = 3
OUTAGE_SUBMISSIONS, OUTAGE_SECONDS = 3, 10.0
"""An outage: so many submissions could not get through, over so many seconds, without a delivery in between."""

POISON = Cause(
    step="worker",
    code="poison",
    detail=f"{CRASHES_ALLOWED} workers died while they delivered it",
    hint="look at the worker's log for what it does to the process, then retry it alone",
)

BACKFILL_TURNS = 1e10
"""Above it are the turns of replays and backfill, below it those of everybody else: `turn` in `prelude.lua`."""

LOOK = 5_000
"""Ids of the index that are read at a time."""

Fact = str | int | bytes | None
"""The value of a record's field; None removes it."""


class Verdict(StrEnum):
    """What `claim` says of a submission."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"
    NOT_WANTED = "not-wanted"
    NEWER = "newer"
    GATED = "gated"
    IN_LINE = "in-line"


class Audited(NamedTuple):
    """What the audit trail says of a person's move; an empty action leaves no entry."""

    action: str
    detail: str


class Turn(NamedTuple):
    """The bulk action that a move belongs to, and the token of who advances it."""

    bulk: str
    holder: str


UNAUDITED = Audited("", "")
NO_TURN = Turn("", "")
REPLAYED = (State.DEAD, State.QUARANTINED)


class Pause(Struct, frozen=True):
    """Why nothing is delivered. `until` is None for an operator's pause. Times in Unix seconds."""

    reason: str
    since: float
    until: float | None
    by: str


class Ledger:
    """Reads and moves records. `redis` keeps bytes (no `decode_responses`); every method may raise `StoreUnavailable`.

    `clock` returns Unix seconds; None lets Redis tell the time, so that all workers share one clock. Content of a newer
    `version` is neither read nor delivered. A worker's keeps the `tide`, by which it knows whether Redis has gone back in time.
    """

    def __init__(
        self,
        connection: redis.Redis,
        vault: Vault,
        clock: Callable[[], float] | None = None,
        version: int = VERSION,
        tide: Tide | None = None,
    ) -> None:
        self.redis = connection
        self.vault = vault
        self.clock = clock
        self.version = version
        self._tide = tide

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, submission_id: str) -> Record | None:
        fields = self._ask(lambda: self.redis.hgetall(keys.submission(submission_id)))
        return decode(submission_id, fields, self.vault, self.version) if fields and b"state" in fields else None

    def timeline(self, submission_id: str) -> list[Moment]:
        items = self._ask(lambda: self.redis.lrange(keys.timeline(submission_id), 0, -1))
        return [msgspec.json.decode(item, type=Moment) for item in items]

    def attempts(self, submission_id: str) -> list[Attempt]:
        items = self._ask(lambda: self.redis.lrange(keys.attempts(submission_id), 0, -1))
        return [msgspec.json.decode(item, type=Attempt) for item in items]

    def counts(self) -> dict[State, int]:
        """How many submissions are in each state; erased ones also when their receipt is gone."""

        def ask() -> list[Any]:
            with self.redis.pipeline(transaction=True) as pipe:
                for state in State:
                    pipe.zcard(keys.state(state))
                pipe.get(keys.GONE)
                return pipe.execute()

        *found, gone = self._ask(ask)
        counted = dict(zip(State, found, strict=True))
        return counted | {State.ERASED: counted[State.ERASED] + int(gone or 0)}

    def oldest(self, state: State) -> float | None:
        """When the submission that has been longest in `state` entered it."""
        first = self._ask(lambda: self.redis.zrange(keys.state(state), 0, 0, withscores=True))
        return float(first[0][1]) if first else None

    def in_state(self, state: State, *, start: int = 0, limit: int = 100, newest_first: bool = True) -> list[Record]:
        """A page of the records in one state, by the time they entered it."""
        ids = self._ask(lambda: self.redis.zrange(keys.state(state), start, start + limit - 1, desc=newest_first))
        return [record for record in map(self.get, (raw.decode() for raw in ids)) if record is not None]

    def each_in(self, state: State) -> Iterator[Record]:
        """Every record that is in `state` now, the newest first; those that leave meanwhile are skipped, none comes twice."""
        ids = self._ask(lambda: self.redis.zrange(keys.state(state), 0, -1, desc=True))
        for raw in ids:
            record = self.get(raw.decode())
            if record is not None and record.state is state:
                yield record

    # -- a worker's moves ------------------------------------------------------------------------------------------

    def claim(
        self,
        submission_id: str,
        token: str,
        lease_seconds: float,
        *,
        person_line: str = "",
        organization_line: str = "",
        organization_memory: str = "",
    ) -> Verdict:
        """Leases the submission to `token`, unless it is not wanted or of a newer version, the gate is closed, or another of the
        person goes first."""
        lines = (person_line, organization_line, organization_memory)
        reply = self._run("claim", submission_id, token, lease_seconds, *lines, self.version)
        return Verdict(reply[0].decode())

    def renew(self, submission_id: str, token: str, lease_seconds: float) -> bool:
        return bool(self._run("renew", submission_id, token, lease_seconds))

    def announce(self, submission_id: str, token: str, lease_seconds: float, step: str, horizon: str = "") -> None:
        """To be called right before a create is sent; `horizon` is what `tidings` said when this delivery began.

        Raises `LeaseLost`, or `StoreUnavailable` where Redis may have gone back in time since: then it must not be sent.
        """
        for _ in range(2):
            tide = self._tide
            told = ("", 0, "", "") if tide is None else (tide.name, tide.mark, tide.server, horizon)
            mark = self._run("announce", submission_id, token, lease_seconds, step, *told)
            if mark == 0:
                raise LeaseLost(submission_id)
            if mark > 0:
                if tide is not None:
                    tide.announced(mark)
                return
            tidings = self.tidings()
            if not tidings.agreed or tidings.horizon != horizon:
                break
        raise StoreUnavailable("Redis may have gone back in time")

    def tidings(self, submission_id: str = "", *, leaves: bool = False) -> Tidings:
        """Says what this process has announced, and hears whether this is the store it knows (`worker.tide`); also its beat.

        With `submission_id`, whether that is to be looked for first. `leaves`: the process ends.
        """
        tide = self._tide
        if tide is None:
            return Tidings(agreed=True, horizon="", doubt=False)
        told = [part for voice in tide.voices() for part in (voice.name, voice.mark, voice.server, voice.all)]
        agreed, server, horizon, doubt, counted_on, leap, announced = self._run(
            "tide", tide.settle_seconds, PATIENCE_SECONDS, LIFETIME_SECONDS, submission_id, int(leaves), *told
        )
        tide.heard(announced)
        if agreed:
            tide.agreed(server.decode())
        if leaves:
            tide.close(keep=bool(counted_on))
        return Tidings(agreed=bool(agreed), horizon=horizon.decode(), doubt=bool(doubt), leap=float(leap or 0))

    def learn(self, submission_id: str, token: str, step: str, facts: Mapping[str, Fact]) -> None:
        """Writes down what an announced step brought. Raises `LeaseLost` when somebody else went on with it, or it was erased."""
        done = self._run("learn", submission_id, token, step, *_pairs(facts))
        if done == 2:
            made = {name: value for name, value in facts.items() if name.endswith("_id")}
            log.warning("erased while it was delivered: remove by hand what was made", submission=submission_id, **made)
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
        keep_line: bool = False,
        cause: Cause | None = None,
        counter: str = "",
        facts: Mapping[str, Fact] | None = None,
        attempts: Iterable[Attempt] = (),
    ) -> list[str]:
        """Ends a delivery. Returns the ids that may go now because this one left the line. Raises `LeaseLost`."""
        pairs = _pairs(facts or {})
        reply = self._run(
            "finish",
            submission_id,
            token,
            state,
            why,
            "" if next_at is None else next_at,
            reason,
            used,
            int(keep_line),
            msgspec.json.encode(cause) if cause else "",
            counter,
            len(pairs) // 2,
            *pairs,
            *(msgspec.json.encode(attempt) for attempt in attempts),
        )
        if not reply[0]:
            raise LeaseLost(submission_id)
        return [raw.decode() for raw in reply[1:]]

    # -- the sweeper's moves ---------------------------------------------------------------------------------------

    def due(self, now: float, limit: int) -> list[str]:
        """Waiting submissions whose turn has come, in order: all but replays and backfill."""
        ids = self._ask(lambda: self.redis.zrange(keys.DUE, "-inf", now, byscore=True, offset=0, num=limit))
        return [raw.decode() for raw in ids]

    def backfill(self, limit: int) -> list[str]:
        """Replays, and what came late out of a spool, as far as it waits for room; in order."""
        ids = self._ask(lambda: self.redis.zrange(keys.DUE, scripts.BACKFILL_TURNS, "+inf", byscore=True, offset=0, num=limit))
        return [raw.decode() for raw in ids]

    def understood(self, now: float, limit: int) -> list[str]:
        """What workers left that did not know its version, and that this one does."""
        ids = self._ask(lambda: self.redis.zrange(keys.NEWER, "-inf", self.version, byscore=True, offset=0, num=limit))
        names = [raw.decode() for raw in ids]
        rests = [self._ask(lambda name=name: self.redis.hget(keys.submission(name), "next_at")) for name in names]
        return [name for name, until in zip(names, rests, strict=True) if float(until or 0) <= now]

    def newer(self) -> int:
        """How many wait for a worker of a newer version than this one's."""
        return int(self._ask(lambda: self.redis.zcount(keys.NEWER, f"({self.version}", "+inf")))

    def lost(self, before: float, present: Container[str], limit: int) -> list[str]:
        """Submissions queued `before` that stand neither among those `present` nor in the ledger for their turn."""
        found: list[str] = []
        for start in itertools.count(0, LOOK):
            ids = self._queued(before, start)
            turns = self._ask(lambda ids=ids: self.redis.zmscore(keys.DUE, ids)) if ids else []
            alone = [raw.decode() for raw, turn in zip(ids, turns, strict=True) if turn is None]
            found += [name for name in alone if name not in present]
            if len(ids) < LOOK or len(found) >= limit:
                break
        return found[:limit]

    def _queued(self, before: float, start: int) -> list[bytes]:
        key = keys.state(State.QUEUED)
        found: list[bytes] = self._ask(lambda: self.redis.zrange(key, "-inf", before, byscore=True, offset=start, num=LOOK))
        return found

    def abandoned(self, now: float, limit: int) -> list[str]:
        """Submissions in delivery whose lease ran out."""
        ids = self._ask(lambda: self.redis.zrange(keys.LEASES, "-inf", now, byscore=True, offset=0, num=limit))
        return [raw.decode() for raw in ids]

    def dispatch_call(self, pipe: Any, submission_id: str) -> None:
        """Adds to a transaction: back into the queue, if it is due there."""
        dead = series("leadline_deliveries_total", source="@", result="dead")
        self._add(pipe, "dispatch", submission_id, CRASHES_ALLOWED, msgspec.json.encode(POISON), dead)

    # -- a person's moves ------------------------------------------------------------------------------------------

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
        turn: Turn = NO_TURN,
    ) -> None:
        """Adds to a transaction: `dead` or `quarantined` -> `queued`, with a mended lead if given.

        `seen` is the `updated_at` of the record that the lead was made from.
        """
        sealed = seal(lead, self.vault) if lead is not None else b""
        self._add(pipe, "decide", submission_id, State.QUEUED, " ".join(allowed), by, why, sealed, *audit, seen or "", *turn)

    def discard_call(self, pipe: Any, submission_id: str, by: str, why: str, turn: Turn) -> None:
        """Adds to a transaction: `dead` or `quarantined` -> `discarded`, as one of a bulk action's."""
        self._add(pipe, "decide", submission_id, State.DISCARDED, " ".join(REPLAYED), by, why, "", *UNAUDITED, "", *turn)

    def discard(self, submission_id: str, by: str, why: str) -> None:
        """`dead` or `quarantined` -> `discarded`. Raises `NotAllowed`."""
        self._decide(submission_id, State.DISCARDED, REPLAYED, by, why, "discard")

    def undiscard(self, submission_id: str, by: str) -> State:
        """Undo of a discard: back to where it was. Raises `NotAllowed`."""
        return self._decide(submission_id, "", (State.DISCARDED,), by, "undo", "undo the discard")

    def _decide(self, submission_id: str, to: str, allowed: Sequence[State], by: str, why: str, action: str) -> State:
        """The reason is a person's own words: the timeline has them, the trail does not."""
        audit = Audited(action.partition(" ")[0], "")
        done, state, *_ = self._run("decide", submission_id, to, " ".join(allowed), by, why, "", *audit, "", *NO_TURN)
        if not done:
            raise NotAllowed(submission_id, state.decode() or None, action)
        return State(state.decode())

    # -- bulk actions: `worker.bulk` -------------------------------------------------------------------------------

    def bulk(self, step: str, *args: Any) -> Any:
        """Runs one of the scripts `lua/bulk_….lua`."""
        return self._run(f"bulk_{step}", *args)

    def bulk_call(self, pipe: Any, step: str, *args: Any) -> None:
        """Adds one of them to a transaction."""
        self._add(pipe, f"bulk_{step}", *args)

    # -- erasure ---------------------------------------------------------------------------------------------------

    def erase_call(
        self,
        pipe: Any,
        submission_id: str,
        by: str,
        why: str,
        *,
        state: str = "",
        since: float | None = None,
        mark: str = "",
        by_mark: bool = False,
        memories: Iterable[str] = (),
    ) -> None:
        """Adds to a transaction: any state -> `erased`; 1 where it was done. See `lua/erase.lua`."""
        latest = "" if since is None else since
        self._add(pipe, "erase", submission_id, by, why, state, latest, mark, int(by_mark), *memories)

    def forget(self, submission_ids: Sequence[str], since: float) -> int:
        """Removes the receipts of those of them that are erased since `since` (Unix seconds) or longer; how many it were."""
        return int(self._run("forget", since, keys.GONE, keys.DOUBLES, *submission_ids))

    # -- pause and gate --------------------------------------------------------------------------------------------

    def pause(self, reason: str, by: str) -> None:
        """No delivery starts until `resume`; what is in hand is finished."""
        self._run("pause", reason or "paused", by)

    def resume(self, by: str = "") -> None:
        """Ends an operator's pause, and lets the gate be tried at once."""
        self._run("resume", by)

    def raise_gate(self, submission_id: str, reason: str, until: float, *, probe: bool) -> None:
        """Stops every worker until `until`, because of what `submission_id` met. With `probe`, one submission is then let
        through to try, else all go. A gate that stands is never opened sooner by this."""
        self._run("gate", submission_id, reason, "probe" if probe else "timed", until)

    def outage(self, submission_id: str) -> bool:
        """Notes that a delivery did not get through to Pipedrive; whether that is an outage by now."""
        return bool(self._run("outage", submission_id, OUTAGE_SUBMISSIONS, OUTAGE_SECONDS))

    def probes(self) -> int:
        """How often the raised gate was tried in vain."""
        return int(self._ask(lambda: self.redis.hget(keys.GATE, "probes")) or 0)

    def paused(self) -> Pause | None:
        """The operator's pause, else the raised gate, else None."""

        def ask() -> list[dict[bytes, bytes]]:
            with self.redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.PAUSE)
                pipe.hgetall(keys.GATE)
                return pipe.execute()

        pause, gate = self._ask(ask)
        if pause:
            return Pause(pause[b"reason"].decode(), float(pause[b"since"]), None, pause[b"by"].decode())
        if gate and (gate[b"mode"] == b"probe" or float(gate[b"until"]) > self.now()):
            return Pause(gate[b"reason"].decode(), float(gate[b"since"]), float(gate[b"until"]), "worker")
        return None

    # -- plumbing --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Unix seconds by the ledger's clock."""
        if self.clock is not None:
            return self.clock()
        seconds, micros = self._ask(self.redis.time)
        return int(seconds) + int(micros) / 1e6

    def _time(self) -> float | str:
        return "" if self.clock is None else self.clock()

    def _add(self, pipe: Any, script: str, *args: Any) -> None:
        pipe.eval(scripts.source(script), 0, self._time(), *args)

    def _run(self, script: str, *args: Any) -> Any:
        return self._ask(lambda: scripts.run(self.redis, scripts.source(script), self._time(), *args))

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except redis.RedisError as error:
            raise unavailable(error) from error


REFUSALS = ("READONLY", "read only", "LOADING", "MISCONF", "OOM", "out of memory", "MASTERDOWN", "NOREPLICAS", "NOPERM", "BUSY ")


def unavailable(error: redis.RedisError) -> Exception:
    """A Redis error as `StoreUnavailable`; a mistake of ours (a wrong script, a wrong type) stays what it is.

    The client library has classes for some refusals and cuts their code off the text; within a script both differ again.
    """
    by_class = not isinstance(error, redis.ResponseError) or isinstance(
        error, redis.ReadOnlyError | redis.OutOfMemoryError | NoPermissionError | redis.AuthenticationError
    )
    if by_class or any(code in str(error) for code in REFUSALS):
        return StoreUnavailable(f"Redis: {type(error).__name__}")
    return error


def _pairs(facts: Mapping[str, Fact]) -> list[str | bytes]:
    return [text for name, value in facts.items() for text in (name, _text(value))]


def _text(value: Fact) -> str | bytes:
    return value if isinstance(value, bytes) else "" if value is None else str(value)
