"""What stops all deliveries: an operator's pause, and the gate that Pipedrive's answers close."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.scripts import Scripts

# It is an outage if this many submissions failed over this many seconds and none was delivered.
OUTAGE_SUBMISSIONS, OUTAGE_SECONDS = 3, 10.0


class Pause(Struct, frozen=True):
    """Why nothing is delivered. Times are Unix seconds; `until` is None for an operator's pause.

    `advice` says what to do about it, if the workers know.
    """

    reason: str
    since: float
    until: float | None
    by: str
    advice: str | None = None


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

    def close(
        self,
        submission_id: str,
        reason: str,
        until: float,
        *,
        probe: bool,
        advice: str | None = None,
    ) -> None:
        """Stops every worker until `until`, because of an error that `submission_id` met.

        With `probe`, one submission then goes first to try; without it, all go. A gate that is
        already closed never opens sooner because of this. `advice` says what to do about it.
        """
        self._scripts.run(
            "gate/close",
            id=submission_id,
            reason=reason,
            mode="probe" if probe else "timed",
            closed_until=until,
            advice=advice or None,
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
        return decode_pause(pause, gate, self._scripts.now())


def decode_pause(
    pause: Mapping[bytes, bytes], gate: Mapping[bytes, bytes], now: float
) -> Pause | None:
    """The operator's pause, else the closed gate, else None, from their hashes."""
    if pause:
        return Pause(pause[b"reason"].decode(), float(pause[b"since"]), None, pause[b"by"].decode())
    if gate and (gate[b"mode"] == b"probe" or float(gate[b"until"]) > now):
        return Pause(
            gate[b"reason"].decode(),
            float(gate[b"since"]),
            float(gate[b"until"]),
            "worker",
            gate.get(b"advice", b"").decode() or None,
        )
    return None
