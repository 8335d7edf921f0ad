"""The one function that RQ calls.

Its dotted name stands in every job (`worker.queue.rq_queue.JOB_FUNCTION`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# What delivers in this slot; set by `worker.queue.slots` before a job runs.
current_deliverer: ContextVar[Callable[[str], None]] = ContextVar("current_deliverer")


def deliver(submission_id: str) -> None:
    """Delivers one submission, if it is still to be delivered.

    Raises nothing but bugs: failures become fates in the ledger.
    """
    deliverer = current_deliverer.get(None)
    if deliverer is None:
        raise RuntimeError(
            "this job needs a Leadline worker: start `leadline work`, not `rq worker`"
        )
    deliverer(submission_id)
