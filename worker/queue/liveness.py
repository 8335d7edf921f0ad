"""Whether this host's worker processes live and make progress, for a container's health check."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import redis

from worker.ledger.status import WorkerHeartbeat, decode_heartbeat
from worker.store import keys
from worker.store.connection import translate_errors

# A process that makes progress sends a heartbeat every two seconds.
MAX_HEARTBEAT_AGE_SECONDS = 20.0


def find_worker_fault(client: redis.Redis, host: str, processes: int) -> str | None:
    """What is wrong with the worker processes of `host`, of which there should be `processes`.

    None if every one lives and makes progress. Raises StoreUnavailable.
    """
    with translate_errors():
        entries = cast("dict[bytes, bytes]", client.hgetall(keys.WORKERS))
        now = float(client.time()[0])
    heartbeats = [beat for text in entries.values() if (beat := decode_heartbeat(text))]
    latest = latest_by_pid(beat for beat in heartbeats if beat.host == host)
    return judge_heartbeats(latest, now, processes)


def latest_by_pid(heartbeats: Iterable[WorkerHeartbeat]) -> dict[int, WorkerHeartbeat]:
    """The latest heartbeat of each process id: a restarted container has the same host and ids."""
    latest: dict[int, WorkerHeartbeat] = {}
    for beat in heartbeats:
        if beat.pid not in latest or latest[beat.pid].at < beat.at:
            latest[beat.pid] = beat
    return latest


def judge_heartbeats(
    heartbeats: Mapping[int, WorkerHeartbeat],
    now: float,
    processes: int,
    is_running: Callable[[int], bool] | None = None,
) -> str | None:
    """As `find_worker_fault`; what a dead process left is passed over."""
    running = {
        pid: now - beat.at for pid, beat in heartbeats.items() if (is_running or _is_running)(pid)
    }
    for pid, age in running.items():
        if age > MAX_HEARTBEAT_AGE_SECONDS:
            return f"worker process {pid} hangs: it has made no progress for {age:.0f} s"
    if len(running) < processes:
        return f"{len(running)} of {processes} worker processes have reported"
    return None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
