"""RQ's side of a worker process: its record in Redis, and the time limit of a job.

One `SlotWorker` stands for all slots of a process, so that `rq info` and RQ's registries tell the
truth. It overrides what RQ does for a worker that runs one job at a time.
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

# How long RQ counts a worker as alive after its last heartbeat, which comes every other second.
HEARTBEAT_TTL_SECONDS = 30

# A slot waits for a job at most this long.
MAX_DEQUEUE_SECONDS = 2


class JobTimeout(BaseDeathPenalty):
    """Notes when a job's time is up; `enforce`, called every few seconds, interrupts what is over.

    RQ's own limit for threads starts one more thread for each job (`docs/decisions.md`, with the
    slots). As there, the job's thread raises `exception` at its next Python instruction: what waits
    for a socket ends by that socket's own limit.
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
            # What is still listed is a job whose end RQ could not write down. No longer renewed, it
            # is cleared away by the sweeper.
            for execution in list(self.executions.values()):
                if execution.job_id == job.id:
                    self.executions.pop(execution.id, None)

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:  # noqa: ARG002
        """RQ would write a heartbeat of a job that it deletes next."""
        job.ended_at = now()

    def handle_job_success(
        self,
        job: Job,
        queue: Queue,  # noqa: ARG002
        started_job_registry: StartedJobRegistry,  # noqa: ARG002
        execution: Execution,
    ) -> None:
        """In one exchange instead of six: no job has a result, repeats, or is waited for."""
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
        """RQ would let each slot wait nearly a minute for the answer of a dead connection."""
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
        """RQ would let a killed worker look alive for as long as its last job might have taken."""
        super().heartbeat(HEARTBEAT_TTL_SECONDS, pipeline)

    def renew_executions(self) -> None:
        """Keeps the jobs in hand on RQ's list; most are over before they need it."""
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
        """RQ would rename the process at every job."""


_busy_lock = threading.Lock()
