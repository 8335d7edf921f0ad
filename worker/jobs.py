"""The one function that RQ calls.

Every job stores its dotted name (`worker.queue.rq_queue.JOB_FUNCTION`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# Delivers in this slot; `worker.queue.slots` sets it before a job runs.
current_deliverer: ContextVar[Callable[[str], None]] = ContextVar("current_deliverer")


def deliver(submission_id: str) -> None:
    """Delivers one submission if it is still queued.

    Failures become fates in the ledger, so only a bug raises here.
    """
    deliverer = current_deliverer.get(None)
    if deliverer is None:
        raise RuntimeError(
            "this job needs a Leadline worker: start `leadline work`, not `rq worker`"
        )
    deliverer(submission_id)
