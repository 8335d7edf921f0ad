"""Everything there is to know after a run: the store, the account, the counts.

`tests.chaos.checker` judges it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from rq import Worker
from rq.registry import FailedJobRegistry

from service.overview import read_overview
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import Moment, State
from worker.encryption import Cipher
from worker.ledger import Ledger, Record
from worker.metrics import SUBMISSIONS, parse_series
from worker.queue.rq_queue import open_queue
from worker.store import keys


@dataclass
class Facts:
    """`books`: origin of the counts -> state -> count. `leftovers`: what should be empty and is not."""

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
    """RQ's registry of failed jobs; what killed workers had in hand is cleared away before it gets
    there.
    """


def gather(client: redis.Redis, account: dict[str, Any], metrics: str, data_dir: Path) -> Facts:
    """`account` is the sandbox's state, `metrics` what `/metrics` shows."""
    ledger = Ledger(client, Cipher(()))
    head = keys.submission("")
    ids = [key.decode()[len(head) :] for key in client.scan_iter(f"{head}*", count=1000)]
    ids = [submission_id for submission_id in ids if ":" not in submission_id]
    records = {submission_id: ledger.get(submission_id) for submission_id in ids}
    accepted, states = _metrics(metrics)
    indexed = {state.value: client.zcard(keys.state(state)) for state in State}
    return Facts(
        records={
            submission_id: record for submission_id, record in records.items() if record is not None
        },
        timelines={submission_id: ledger.timeline(submission_id) for submission_id in ids},
        leads=account["leads"],
        persons=account["persons"],
        organizations=account["organizations"],
        notes=account["notes"],
        accepted=accepted,
        books={
            "metrics": states,
            "status": read_overview(ledger, data_dir).states,
            "index": indexed,
        },
        leftovers={
            name: content for name, content in leftovers(client, data_dir).items() if content
        },
        failed_jobs=FailedJobRegistry(queue=open_queue(client)).get_job_count(cleanup=False),
    )


def leftovers(client: redis.Redis, data_dir: Path) -> dict[str, Any]:
    """What is empty where nothing is at work: name -> what is there."""
    queue = open_queue(client)
    return {
        "lines": [
            key.decode()
            for key in client.scan_iter(f"{keys.DEFAULT_ACCOUNT.prefix}person_queue:*", count=1000)
        ],
        "leases": client.zcard(keys.LEASES),
        "due": client.zcard(keys.DUE),
        "queue": queue.get_job_ids(),
        "intermediate": queue.intermediate_queue.get_job_ids(),
        "started": queue.started_job_registry.get_job_ids(cleanup=False),
        "dead workers": [name for name in Worker.all_keys(queue=queue) if not client.exists(name)],
        "spool": count_spooled(data_dir / SPOOL_FOLDER),
        "journal": _journaled_only(client, data_dir / SPOOL_FOLDER),
    }


def _journaled_only(client: redis.Redis, folder: Path) -> list[str]:
    """The submissions in journals that Redis lost, and that no process has handed over again yet."""
    ids: list[str] = []
    for path in sorted(folder.glob("*.sqlite")):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
        ):
            ids += [each for (each,) in db.execute("select id from submission")]
    with client.pipeline(transaction=False) as pipe:
        for each in ids:
            pipe.exists(keys.submission(each))
        return [each for each, exists in zip(ids, pipe.execute(), strict=True) if not exists]


def count_unfinished(client: redis.Redis) -> int:
    """How many submissions have no final state."""
    return sum(
        int(client.zcard(keys.state(state)))
        for state in (State.QUEUED, State.DELIVERING, State.WAITING)
    )


def metrics_of(url: str, patience: Callable[[Callable[[], bool]], bool]) -> str:
    """`/metrics`, once Redis has what the process counted."""
    texts: list[str] = []

    def read() -> bool:
        try:
            texts.append(
                httpx.get(f"{url}/metrics", timeout=10, trust_env=False).raise_for_status().text
            )
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
        parsed = None if line.startswith("#") else parse_series(name)
        if parsed is None:
            continue
        series, labels = parsed
        if series == SUBMISSIONS and labels.get("outcome") == "accepted":
            accepted += int(float(value))
        elif series == "leadline_state":
            states[labels["state"]] = int(float(value))
    return accepted, states
