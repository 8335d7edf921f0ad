"""The ledger's figures at one moment, for the overview, the metrics and the alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec
import redis
from msgspec import Struct

from worker.contract import State
from worker.ledger.gate import Pause, decode_pause
from worker.store import keys

# A worker process without a heartbeat for this long is gone; normally one comes every two seconds.
WORKER_TIMEOUT_SECONDS = 60.0


class WorkerHeartbeat(Struct, frozen=True):
    """A worker process's report, made `at` Unix seconds by Redis's clock."""

    at: float
    slots: int = 0
    pid: int = 0
    host: str = ""

    def alive(self, now: float) -> bool:
        return now - self.at < WORKER_TIMEOUT_SECONDS


def record_heartbeat(connection: redis.Redis, name: str, heartbeat: WorkerHeartbeat) -> None:
    """Stores the heartbeat of process `name`, and removes the entries of dead processes."""
    connection.hset(keys.WORKERS, name, msgspec.json.encode(heartbeat))
    entries = cast("dict[bytes, bytes]", connection.hgetall(keys.WORKERS))
    for other, text in entries.items():
        decoded = decode_heartbeat(text)
        if decoded is None or not decoded.alive(heartbeat.at):
            connection.hdel(keys.WORKERS, other)


def decode_heartbeat(text: bytes) -> WorkerHeartbeat | None:
    try:
        return msgspec.json.decode(text, type=WorkerHeartbeat)
    except msgspec.MsgspecError:
        return None


class LedgerStatus(Struct, frozen=True, kw_only=True):
    """Counts of submissions and the condition of workers and account. Times are Unix seconds.

    `stored` counts records by state; `forgotten` is how many erased submissions no longer have a
    record. `oldest_at` is when the submission that has been in a state longest entered it.
    `tokens_left` (today) is None if nothing was counted yet. `duplicates` is how many submissions
    exist twice in Pipedrive, `newer` how many wait for a worker of a newer release. `drift` is the
    stored `DriftReport`, `pause` and `gate` the hashes of what stops deliveries, undecoded.
    """

    stored: dict[State, int]
    forgotten: int
    oldest_at: dict[State, float]
    heartbeats: list[WorkerHeartbeat]
    tokens_left: float | None
    duplicates: int
    newer: int
    drift: bytes | None
    pause: dict[bytes, bytes]
    gate: dict[bytes, bytes]

    def pauses(self, now: float) -> list[Pause]:
        """What stops deliveries: an operator's pause, the closed gate, or both."""
        both = (decode_pause(self.pause, {}, now), decode_pause({}, self.gate, now))
        return [pause for pause in both if pause is not None]

    @property
    def counts(self) -> dict[State, int]:
        """Submissions ever accepted, by state; erased ones count even if their record is gone."""
        return self.stored | {State.ERASED: self.stored[State.ERASED] + self.forgotten}

    def oldest_seconds(self, now: float, states: Iterable[State] = State) -> dict[State, float]:
        """How long the oldest submission in each of `states` has been there, in seconds."""
        return {
            state: max(0.0, now - self.oldest_at[state])
            for state in states
            if state in self.oldest_at
        }

    def workers(self, now: float) -> int:
        """How many worker processes sent a heartbeat within the last minute."""
        return sum(heartbeat.alive(now) for heartbeat in self.heartbeats)

    @property
    def last_heartbeat_at(self) -> float | None:
        """The time of the latest heartbeat of any worker; None if none is stored."""
        return max((heartbeat.at for heartbeat in self.heartbeats), default=None)


def add_status_commands(pipe: Any, account: keys.Account) -> None:
    """Adds the commands for `read_status` to a pipeline, blocking or asynchronous."""
    for state in State:
        pipe.zcard(keys.state(state))
        pipe.zrange(keys.state(state), 0, 0, withscores=True)
    pipe.get(keys.FORGOTTEN)
    pipe.hvals(keys.WORKERS)
    pipe.get(account.allowance("left"))
    pipe.hlen(keys.DUPLICATES)
    pipe.zcard(keys.NEWER)
    pipe.get(account.drift)
    pipe.hgetall(keys.PAUSE)
    pipe.hgetall(account.gate)


def read_status(replies: Sequence[Any]) -> LedgerStatus:
    """Reads the replies to the commands of `add_status_commands`."""
    *by_state, forgotten, workers, tokens_left, duplicates, newer, drift, pause, gate = replies
    oldest = {
        state: float(first[0][1])
        for state, first in zip(State, by_state[1::2], strict=True)
        if first
    }
    return LedgerStatus(
        stored=dict(zip(State, by_state[::2], strict=True)),
        forgotten=int(forgotten or 0),
        oldest_at=oldest,
        heartbeats=list(_decode_heartbeats(workers)),
        tokens_left=float(tokens_left) if tokens_left is not None else None,
        duplicates=duplicates,
        newer=newer,
        drift=drift,
        pause=pause,
        gate=gate,
    )


def _decode_heartbeats(texts: Iterable[bytes]) -> Iterator[WorkerHeartbeat]:
    return (decoded for text in texts if (decoded := decode_heartbeat(text)) is not None)
