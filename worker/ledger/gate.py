"""What stops all deliveries: an operator's pause, and the gate that Pipedrive's answers close."""

from __future__ import annotations

from msgspec import Struct

from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.scripts import Scripts

# It is an outage if this many submissions failed over this many seconds and none was delivered.
OUTAGE_SUBMISSIONS, OUTAGE_SECONDS = 3, 10.0


class Pause(Struct, frozen=True):
    """Why nothing is delivered. Times are Unix seconds; `until` is None for an operator's pause."""

    reason: str
    since: float
    until: float | None
    by: str


class Gate:
    """The pause and the gate of one account. Every method may raise `StoreUnavailable`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def pause(self, reason: str, by: str) -> None:
        """Starts no delivery until `resume`; deliveries in progress finish."""
        self._scripts.run("gate/pause", reason=reason or "paused", by=by)

    def resume(self, by: str = "") -> None:
        """Ends an operator's pause, and lets a submission try the gate at once."""
        self._scripts.run("gate/resume", by=by or None)

    def close(self, submission_id: str, reason: str, until: float, *, probe: bool) -> None:
        """Stops every worker until `until`, because of an error that `submission_id` met.

        With `probe`, one submission then goes first to try; without it, all go. A gate that is
        already closed never opens sooner because of this.
        """
        self._scripts.run(
            "gate/close",
            id=submission_id,
            reason=reason,
            mode="probe" if probe else "timed",
            closed_until=until,
        )

    def note_failure(self, submission_id: str) -> bool:
        """Notes that a delivery did not reach Pipedrive; returns whether it is an outage now."""
        return bool(
            self._scripts.run(
                "gate/outage",
                id=submission_id,
                submissions=OUTAGE_SUBMISSIONS,
                seconds=OUTAGE_SECONDS,
            )
        )

    def count_probes(self) -> int:
        """How often a probe found the gate still closed."""
        return int(
            call_redis(lambda: self._scripts.redis.hget(self._scripts.account.gate, "probes")) or 0
        )

    def is_probing(self) -> bool:
        """Whether a submission is trying the gate now."""
        return bool(call_redis(lambda: self._scripts.redis.exists(self._scripts.account.probe)))

    def find_pause(self) -> Pause | None:
        """The operator's pause, else the closed gate, else None."""
        with translate_errors(), self._scripts.redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.PAUSE)
            pipe.hgetall(self._scripts.account.gate)
            pause, gate = pipe.execute()
        if pause:
            return Pause(
                pause[b"reason"].decode(), float(pause[b"since"]), None, pause[b"by"].decode()
            )
        if gate and (gate[b"mode"] == b"probe" or float(gate[b"until"]) > self._scripts.now()):
            return Pause(
                gate[b"reason"].decode(), float(gate[b"since"]), float(gate[b"until"]), "worker"
            )
        return None
