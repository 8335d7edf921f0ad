"""RQ: carries a submission's id to a worker, and nothing else.

The ledger decides; a job that is lost, doubled or stale is harmless. So jobs hold one id as JSON, keep no result, and are
never retried by RQ. Each dispatch is a job of its own: a job hash left behind by a crash never stands in the way of the next.
"""

from __future__ import annotations

import secrets
from typing import Any

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from worker import keys

JOB_FUNCTION = "worker.jobs.deliver"
"""Stored in Redis with every job, so it is part of the contract between versions."""

JOB_SECONDS = 300
"""The most one delivery may take; each call to Pipedrive has its own, much shorter limit."""

FAILURE_SECONDS = 3600
SERVER_VERSION = (6, 2, 0)
"""The oldest Redis we run on. RQ would ask the server, which the accepting path must not do in the event loop."""


def open_queue(connection: redis.Redis) -> Queue:
    """The one queue. Opens no connection."""
    queue = Queue(keys.QUEUE, connection=connection, serializer=JSONSerializer)
    queue.redis_server_version = SERVER_VERSION
    return queue


def enqueue(queue: Queue, submission_id: str, pipe: Any) -> None:
    """Adds the dispatch of a submission to a transaction on which `multi()` was called.

    `pipe` may be a pipeline of `redis` or of `redis.asyncio`.
    """
    queue.enqueue_call(
        JOB_FUNCTION,
        args=(submission_id,),
        timeout=JOB_SECONDS,
        result_ttl=0,
        failure_ttl=FAILURE_SECONDS,
        description=submission_id,
        job_id=f"{submission_id}-{secrets.token_hex(3)}",
        pipeline=pipe,
    )


def queued_ids(queue: Queue) -> set[str]:
    """The submissions that stand in the queue."""
    return {job_id.rsplit("-", 1)[0] for job_id in queue.get_job_ids()}
