"""RQ carries a submission's id to a worker, and nothing else.

The ledger decides, so a lost, duplicate or stale job is harmless: jobs hold one id as JSON, keep no
result, and are never retried by RQ. Each dispatch is a new job, so that a job hash left behind by a
crash never blocks the next one.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import Any, cast

import redis
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker_registration import clean_worker_registry

from worker.store import keys

# Stored in Redis with every job, so it is part of the contract between versions.
JOB_FUNCTION = "worker.jobs.deliver"

# The time limit of one delivery; each call to Pipedrive has its own, much shorter limit.
JOB_TIMEOUT_SECONDS = 300

# How long RQ still counts the job of a dead worker as started, if nobody clears it sooner.
EXECUTION_TTL_SECONDS = 60

FAILURE_TTL_SECONDS = 3600

# The oldest Redis that we support. RQ would ask the server for its version, which the accepting
# path must not do in the event loop.
SERVER_VERSION = (6, 2, 0)

# RQ's maintenance takes far less. With RQ's own lock, a worker that died while holding it would
# block all others for 15 minutes.
MAINTENANCE_LOCK_SECONDS = 30


class SubmissionQueue(Queue):
    """RQ's queue, with a shorter lock for registry maintenance."""

    def acquire_maintenance_lock(self) -> bool:
        return bool(
            self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_LOCK_SECONDS)
        )


def open_queue(connection: redis.Redis) -> Queue:
    """Returns the one queue; opens no connection."""
    queue = SubmissionQueue(keys.QUEUE, connection=connection, serializer=JSONSerializer)
    queue.redis_server_version = SERVER_VERSION
    return queue


def enqueue(queue: Queue, submission_id: str, pipe: Any) -> None:
    """Adds the job for a submission to a transaction on which `multi()` was called.

    `pipe` may be a pipeline of `redis` or of `redis.asyncio`.
    """
    queue.enqueue_call(
        JOB_FUNCTION,
        args=(submission_id,),
        timeout=JOB_TIMEOUT_SECONDS,
        result_ttl=0,
        failure_ttl=FAILURE_TTL_SECONDS,
        description=submission_id,
        job_id=f"{submission_id}-{secrets.token_hex(3)}",
        pipeline=pipe,
    )


def queued_ids(queue: Queue) -> set[str]:
    """The ids of the submissions in the queue."""
    return {job_id.rsplit("-", 1)[0] for job_id in queue.get_job_ids()}


def clear_dead_workers(queue: Queue) -> int:
    """Removes the jobs and names of dead workers from RQ's registries; returns how many jobs.

    Also removes jobs that nobody has renewed for long: they ended while Redis was down, and their
    workers could not record it. The ledger does not need them, but RQ would show them as started
    until they expire, and then as failed.
    """
    clean_worker_registry(queue)
    alive = set(Worker.all_keys(queue=queue))
    cleared = 0
    not_renewed = time.time() + EXECUTION_TTL_SECONDS / 2
    entries = queue.connection.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
    for name, ends in cast("list[tuple[bytes, float]]", entries):
        job_id, _, execution_id = name.decode().partition(":")
        holder = _holder(queue, job_id, execution_id)
        gone = holder != "" and Worker.redis_worker_namespace_prefix + (holder or "") not in alive
        if gone or ends < not_renewed:
            _clear(queue, Execution(execution_id, job_id, queue.connection, holder or ""))
            cleared += 1
    return cleared


def _holder(queue: Queue, job_id: str, execution_id: str) -> str | None:
    """The worker that holds a job; None if its execution is gone, empty if RQ does not say."""
    try:
        return str(Execution.fetch(execution_id, job_id, queue.connection).worker_name)
    except ValueError:
        return None


def _clear(queue: Queue, execution: Execution) -> None:
    job = Job(execution.job_id, connection=queue.connection, serializer=queue.serializer)
    job.origin = queue.name
    with queue.connection.pipeline(transaction=True) as pipe:
        execution.delete(job, pipe)
        pipe.execute()
    queue.intermediate_queue.remove(execution.job_id)
    # The job's hash may be gone already, for instance if the job has just ended.
    with suppress(InvalidJobOperation):
        job.delete(remove_from_queue=False)
