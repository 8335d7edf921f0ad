"""Everything there is to know after a run: the store, the account, the books. Read once, judged by `tests.chaos.checker`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import redis
from rq.registry import FailedJobRegistry, StartedJobRegistry

from service.overview import overview
from worker import keys
from worker.contract import Moment, State
from worker.ledger import Ledger, Record
from worker.metrics import SUBMISSIONS, parse
from worker.queue import JOB_SECONDS, open_queue
from worker.spool import SPOOL, spooled
from worker.vault import Vault

MAINTENANCE = f"rq:clean_registries:{keys.QUEUE}"
"""RQ's lock for tidying up after the dead. One who died with it in hand keeps everybody from it for a quarter of an hour."""

HELD_BY_THE_DEAD = 890
"""Seconds the lock has to live (of 899) below which nobody living holds it."""

OVERDUE = 60.0
"""Seconds after its time within which RQ's maintenance (every 30 s) must have taken an entry away."""


@dataclass
class Facts:
    """`books`: where a number of states comes from -> state -> count. `leftovers`: what should be empty and is not."""

    records: dict[str, Record]
    timelines: dict[str, list[Moment]]
    leads: list[dict[str, Any]]
    persons: list[dict[str, Any]]
    organizations: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    accepted: int
    books: dict[str, dict[str, int]]
    leftovers: dict[str, Any] = field(default_factory=dict)
    failed_jobs: int = 0
    """RQ's registry of failed jobs, in which it puts what killed workers had in hand; the ledger went on without them."""
    lapsing_jobs: int = 0
    """RQ's entries of jobs in the hands of killed workers, that have yet to lapse."""


def gather(client: redis.Redis, account: dict[str, Any], metrics: str, data_dir: Path) -> Facts:
    """`account` is the sandbox's state, `metrics` what `/metrics` shows."""
    ledger = Ledger(client, Vault(()))
    head = keys.submission("")
    ids = [key.decode()[len(head) :] for key in client.scan_iter(f"{head}*", count=1000)]
    ids = [submission_id for submission_id in ids if ":" not in submission_id]
    records = {submission_id: ledger.get(submission_id) for submission_id in ids}
    accepted, states = _metrics(metrics)
    indexed = {state.value: client.zcard(keys.state(state)) for state in State}
    return Facts(
        records={submission_id: record for submission_id, record in records.items() if record is not None},
        timelines={submission_id: ledger.timeline(submission_id) for submission_id in ids},
        leads=account["leads"],
        persons=account["persons"],
        organizations=account["organizations"],
        notes=account["notes"],
        accepted=accepted,
        books={"metrics": states, "status": overview(ledger, data_dir).states, "index": indexed},
        leftovers={name: found for name, found in leftovers(client, data_dir).items() if found},
        failed_jobs=FailedJobRegistry(queue=open_queue(client)).get_job_count(cleanup=False),
        lapsing_jobs=len(started(client)),
    )


def leftovers(client: redis.Redis, data_dir: Path) -> dict[str, Any]:
    """What is empty where nothing is at work: name -> what is there."""
    queue = open_queue(client)
    in_hand, tidied = started(client), not 0 < client.ttl(MAINTENANCE) < HELD_BY_THE_DEAD
    lapsing = {name.partition(b":")[0] for name, _ in in_hand}
    between = [name for name in client.lrange(queue.intermediate_queue_key, 0, -1) if name not in lapsing]
    overdue = [name.decode() for name, ends in in_hand if not -OVERDUE < ends < JOB_SECONDS + 61]
    return {
        "lines": [key.decode() for key in client.scan_iter(f"{keys.PREFIX}line:*", count=1000)],
        "leases": client.zcard(keys.LEASES),
        "due": client.zcard(keys.DUE),
        "queue": queue.get_job_ids(),
        "intermediate": between,
        "started": overdue if tidied else [],
        "spool": spooled(data_dir / SPOOL),
    }


def started(client: redis.Redis) -> list[tuple[bytes, float]]:
    """RQ's entries of jobs in hand, with the seconds until they lapse.

    Those of killed workers stand there until then, and so long RQ also leaves them in its intermediate list.
    """
    entries = client.zrange(StartedJobRegistry(queue=open_queue(client)).key, 0, -1, withscores=True)
    return [(name, ends - time.time()) for name, ends in cast("list[tuple[bytes, float]]", entries)]


def working(client: redis.Redis) -> int:
    """How many submissions have no final state."""
    return sum(int(client.zcard(keys.state(state))) for state in (State.QUEUED, State.DELIVERING, State.WAITING))


def metrics_of(url: str, patience: Callable[[Callable[[], bool]], bool]) -> str:
    """`/metrics`, once Redis has what the process counted."""
    texts: list[str] = []

    def read() -> bool:
        try:
            texts.append(httpx.get(f"{url}/metrics", timeout=10, trust_env=False).raise_for_status().text)
        except httpx.HTTPError:
            return False
        return True

    patience(read)
    return texts[-1] if texts else ""


def _metrics(text: str) -> tuple[int, dict[str, int]]:
    """Accepted submissions, and states by their gauge."""
    accepted, states = 0, {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        found = None if line.startswith("#") else parse(name)
        if found is None:
            continue
        series, labels = found
        if series == SUBMISSIONS and labels.get("outcome") == "accepted":
            accepted += int(float(value))
        elif series == "leadline_state":
            states[labels["state"]] = int(float(value))
    return accepted, states
