"""Whether anything is delivered now: one gate for all workers, and the pause that an operator asked
for.
"""

from __future__ import annotations

from msgspec import Struct

from worker.store import keys
from worker.store.connection import ask, translate_errors
from worker.store.scripts import Scripts

OUTAGE_SUBMISSIONS, OUTAGE_SECONDS = 3, 10.0
"""An outage: so many submissions could not get through, over so many seconds, without a delivery in
between.
"""


class Pause(Struct, frozen=True):
    """Why nothing is delivered. `until` is None for an operator's pause. Times in Unix seconds."""

    reason: str
    since: float
    until: float | None
    by: str


class Gate:
    """Every method may raise `StoreUnavailable`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def pause(self, reason: str, by: str) -> None:
        """No delivery starts until `resume`; what is in hand is finished."""
        self._scripts.run("gate/pause", reason=reason or "paused", by=by)

    def resume(self, by: str = "") -> None:
        """Ends an operator's pause, and lets the gate be tried at once."""
        self._scripts.run("gate/resume", by=by or None)

    def close(self, submission_id: str, reason: str, until: float, *, probe: bool) -> None:
        """Stops every worker until `until`, because of what `submission_id` met. With `probe`, one
        submission is then let through to try, else all go. A gate that stands is never opened
        sooner by this.
        """
        self._scripts.run(
            "gate/close",
            id=submission_id,
            reason=reason,
            mode="probe" if probe else "timed",
            closed_until=until,
        )

    def note_failure(self, submission_id: str) -> bool:
        """Notes that a delivery did not get through to Pipedrive; whether that is an outage by
        now.
        """
        return bool(
            self._scripts.run(
                "gate/outage",
                id=submission_id,
                submissions=OUTAGE_SUBMISSIONS,
                seconds=OUTAGE_SECONDS,
            )
        )

    def probes(self) -> int:
        """How often the closed gate was tried in vain."""
        return int(ask(lambda: self._scripts.redis.hget(self._scripts.account.gate, "probes")) or 0)

    def probe_under_way(self) -> bool:
        """Whether a submission was let through to try the gate, and has not ended yet."""
        return bool(ask(lambda: self._scripts.redis.exists(self._scripts.account.probe)))

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
