"""RQ's side of a worker process: its record in Redis, and the time limit for jobs.

One `SlotWorker` stands for all slots of a process, so that `rq info` and RQ's registries tell the
truth. It overrides the parts of RQ that assume a worker runs one job at a time.
"""

from __future__ import annotations

import ctypes
import threading
import time
from datetime import timedelta
from typing import ClassVar

import redis
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from worker.queue.rq_queue import EXECUTION_TTL_SECONDS

# How long RQ counts a worker as alive after its last heartbeat; one comes every two seconds.
HEARTBEAT_TTL_SECONDS = 30

# A slot waits for a job at most this long.
MAX_DEQUEUE_SECONDS = 2


class JobTimeout(BaseDeathPenalty):
    """Notes when each job's time is up; `enforce`, called every two seconds, interrupts such jobs.

    RQ's own limit for threads starts another thread for each job (`docs/decisions.md`, "Many slots
    in one process"). As with RQ's, the exception is raised in the job's thread at its next Python
    instruction; a thread that waits for a socket first waits for that socket's own time limit.
    """

    _until: ClassVar[dict[int, tuple[float, type[BaseException]]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def setup_death_penalty(self) -> None:
        if self._timeout > 0:
            until = time.monotonic() + self._timeout
            with self._lock:
                self._until[threading.get_ident()] = until, self._exception

    def cancel_death_penalty(self) -> None:
        with self._lock:
            self._until.pop(threading.get_ident(), None)

    @classmethod
    def enforce(cls) -> None:
        """Interrupts every job whose time is up."""
        at = time.monotonic()
        with cls._lock:
            for thread, (until, exception) in list(cls._until.items()):
                if until < at:
                    del cls._until[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(exception)
                    )


class SlotWorker(SimpleWorker):
    """RQ's record of this process. Its state is that of all slots together."""

    death_penalty_class = JobTimeout
    log_result_lifespan = False
    _busy = 0

    def execute_job(self, job: Job, queue: Queue) -> None:
        with _busy_lock:
            self._busy += 1
        try:
            super().execute_job(job, queue)
        finally:
            with _busy_lock:
                self._busy -= 1
            # If the execution is still listed, RQ could not record its end. Stop renewing it, and
            # the sweeper will remove it.
            for execution in list(self.executions.values()):
                if execution.job_id == job.id:
                    self.executions.pop(execution.id, None)

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:  # noqa: ARG002
        """Skips RQ's heartbeat for a job that it deletes next."""
        job.ended_at = now()

    def handle_job_success(
        self,
        job: Job,
        queue: Queue,  # noqa: ARG002
        started_job_registry: StartedJobRegistry,  # noqa: ARG002
        execution: Execution,
    ) -> None:
        """Records the end in one exchange, not six: no job has a result, repeats or dependents."""
        assert job.started_at is not None
        assert job.ended_at is not None
        with self.connection.pipeline(transaction=True) as pipe:
            self.increment_successful_job_count(pipeline=pipe)
            self.increment_total_working_time(job.ended_at - job.started_at, pipe)
            pipe.delete(job.key)
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.execute()

    @property
    def connection_timeout(self) -> int:
        """How long to wait for a reply; RQ would wait almost a minute on a dead connection."""
        return MAX_DEQUEUE_SECONDS

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        return EXECUTION_TTL_SECONDS

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]
        self.heartbeat()

    def heartbeat(
        self,
        timeout: int | None = None,  # noqa: ARG002
        pipeline: redis.client.Pipeline | None = None,
    ) -> None:
        """Uses a short TTL; with RQ's, a killed worker looks alive as long as its job might run."""
        super().heartbeat(HEARTBEAT_TTL_SECONDS, pipeline)

    def renew_executions(self) -> None:
        """Keeps running jobs in RQ's registry; most end before they need it."""
        before = now() - timedelta(seconds=HEARTBEAT_TTL_SECONDS / 2)
        aged = [each for each in list(self.executions.values()) if each.last_heartbeat < before]
        if aged:
            with self.connection.pipeline() as pipe:
                for execution in aged:
                    execution.heartbeat(
                        self.queues[0].started_job_registry, EXECUTION_TTL_SECONDS, pipe
                    )
                pipe.execute()

    def set_state(self, state: str, pipeline: redis.client.Pipeline | None = None) -> None:
        if state == WorkerStatus.IDLE and self._busy > 1:
            state = WorkerStatus.BUSY
        super().set_state(state, pipeline)

    def procline(self, message: str) -> None:
        """Does nothing; RQ would rename the process for every job."""


_busy_lock = threading.Lock()
