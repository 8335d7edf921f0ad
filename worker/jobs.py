"""The one function that RQ calls. Its dotted name stands in every job
(`worker.queue.rq_queue.JOB_FUNCTION`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

current_deliverer: ContextVar[Callable[[str], None]] = ContextVar("deliverer")
"""What delivers in this slot; set by `worker.queue.slots` before a job runs."""


def deliver(submission_id: str) -> None:
    """Delivers one submission, or finds that it is not wanted. Raises nothing but bugs: failures
    are fates in the ledger.
    """
    deliver_here = current_deliverer.get(None)
    if deliver_here is None:
        raise RuntimeError(
            "this job needs a Leadline worker: start `leadline work`, not `rq worker`"
        )
    deliver_here(submission_id)
