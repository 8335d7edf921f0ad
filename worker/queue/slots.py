"""The worker of many slots: one process, one RQ worker by name, many threads that each deliver one
submission at a time.

A delivery waits for Pipedrive most of its time, so threads are enough; each slot has its own HTTP
client (a shared one serialises them). RQ's own loop forks, or runs one job at a time; this one uses
RQ's public `dequeue_any` and `execute_job`, so that `rq info`, the started registry and the
intermediate queue tell the truth.

Redis may go away at any time: slots and heartbeat wait, at most a second between tries, and the
process stays.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from worker import jobs
from worker.errors import StoreUnavailable
from worker.metrics import Meter
from worker.queue import leases, sweeper
from worker.queue.leases import Leases
from worker.queue.rq_queue import EXECUTION_TTL_SECONDS
from worker.queue.sweeper import Sweeper
from worker.store import keys

# The limit of a job's time, for a process of many slots.


class JobTimeout(BaseDeathPenalty):
    """Notes when a job's time is up; `enforce`, called every few seconds, interrupts those that are
    over it.

    RQ's own limit for threads starts one thread more for each job (`docs/decisions.md`, with the
    slots). As there, the job's thread raises `exception` at its next Python instruction: what waits
    for a socket ends by that socket's own limit.
    """

    _until: ClassVar[dict[int, tuple[float, type[BaseException]]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def setup_death_penalty(self) -> None:
        if self._timeout > 0:
            with self._lock:
                self._until[threading.get_ident()] = (
                    time.monotonic() + self._timeout,
                    self._exception,
                )

    def cancel_death_penalty(self) -> None:
        with self._lock:
            self._until.pop(threading.get_ident(), None)

    @classmethod
    def enforce(cls) -> None:
        now = time.monotonic()
        with cls._lock:
            for thread, (until, exception) in list(cls._until.items()):
                if until < now:
                    del cls._until[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(exception)
                    )


# How many submissions one process takes out of the queue before Pipedrive has taken a call of the
# last one.
#
# With a burst window in force, more slots than the window feeds would hold submissions that only
# wait, or hand them back to the ledger one by one. What cannot be delivered yet stays in the queue,
# in order, for whichever process has room first.


class InFlightLimit:
    """`places` None: everybody may enter. Each thread holds one place at the most."""

    def __init__(self, places: int | None = None) -> None:
        self._places = None if places is None else threading.Semaphore(max(1, places))
        self._mine = threading.local()

    def enter(self, seconds: float) -> bool:
        """Waits for a place, at most so long; whether this thread has one now."""
        if self._places is None or getattr(self._mine, "held", False):
            return True
        self._mine.held = self._places.acquire(timeout=seconds)
        return bool(self._mine.held)

    def leave(self) -> None:
        """Makes room for another thread; harmless when this one holds no place."""
        if self._places is not None and getattr(self._mine, "held", False):
            self._mine.held = False
            self._places.release()


log = structlog.get_logger("leadline.slots")

MAX_DEQUEUE_SECONDS = 2
MIN_DEQUEUE_SECONDS = 0.5
"""A slot waits for a job for a random time between the two. Redis serves first who has waited
longest, so slots that kept one beat could be served before another process's for ever: what only a
newer release may deliver would never reach it.
"""

ENTER_TIMEOUT_SECONDS = 1.0
WORKER_TTL_SECONDS = 60
ALIVE_SECONDS = 30
"""How long after its last heartbeat, every other second, RQ takes a worker for alive."""

MAINTENANCE_SECONDS = 30
FORGOTTEN_SECONDS = 60.0
STOP_POLL_SECONDS = 0.1
STOP_SECONDS = 12.0
"""How long a stopping worker waits for the deliveries in hand; what is left then is taken over by
its lease.
"""


class SlotWorker(SimpleWorker):
    """RQ's record of this process. Its state is that of all slots together."""

    death_penalty_class = JobTimeout
    log_result_lifespan = False
    _busy = 0

    def execute_job(self, job: Job, queue: Queue) -> None:
        with _counting:
            self._busy += 1
        try:
            super().execute_job(job, queue)
        finally:
            with _counting:
                self._busy -= 1
            for execution in [
                each for each in list(self.executions.values()) if each.job_id == job.id
            ]:
                # RQ could not write down its end. Renewed no longer, it is cleared away by the
                # sweeper.
                self.executions.pop(execution.id, None)

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:  # noqa: ARG002
        """RQ would write a heartbeat of a job that it deletes next."""
        job.ended_at = now()

    def handle_job_success(
        self, job: Job, queue: Queue, started_job_registry: StartedJobRegistry, execution: Execution
    ) -> None:  # noqa: ARG002
        """In one exchange instead of six: our jobs keep no result, come once, and no other job
        waits for them.
        """
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
        """RQ would have each slot wait nearly a minute for the answer of a connection that has
        died.
        """
        return MAX_DEQUEUE_SECONDS

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        return EXECUTION_TTL_SECONDS

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]
        self.heartbeat()

    def heartbeat(
        self, timeout: int | None = None, pipeline: redis.client.Pipeline | None = None
    ) -> None:  # noqa: ARG002
        """RQ would let a worker that was killed look alive for as long as its last job might have
        taken.
        """
        super().heartbeat(ALIVE_SECONDS, pipeline)

    def renew(self) -> None:
        """Keeps what is in hand for longer on RQ's list; most of it is over before it need be."""
        before = now() - timedelta(seconds=ALIVE_SECONDS / 2)
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


_counting = threading.Lock()


def _kind(error: Exception) -> str:
    """A wrong password is mended elsewhere than a server that is gone. Our own words name the error
    of Redis behind them.
    """
    return str(error) if isinstance(error, StoreUnavailable) else type(error).__name__


class Slots:
    """Runs `count` slots until `stop`. `new_deliverer` makes what delivers in one slot, with an
    HTTP client of its own.
    """

    def __init__(
        self,
        queue: Queue,
        count: int,
        new_deliverer: Callable[[], Callable[[str], None]],
        held: Leases,
        sweep: Sweeper,
        meter: Meter,
        *,
        name: str | None = None,
        periodic_tasks: Callable[[], object] = lambda: None,
        at_start: Callable[[], None] = lambda: None,
        in_flight: InFlightLimit | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._queue = queue
        self._count = count
        self._new_deliverer = new_deliverer
        self._leases = held
        self._sweeper = sweep
        self._meter = meter
        self._periodic_tasks = periodic_tasks
        self._at_start = at_start
        self._in_flight = in_flight or InFlightLimit()
        self._stop_requested = False
        self._stop = stop or threading.Event()
        # In a container host and process id are the same after a restart, and RQ refuses the name
        # of a worker that was killed.
        self.name = name or f"leadline-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"

    def stop(self) -> None:
        """Asks every slot to end after what it has in hand. Safe in a signal handler, as setting an
        event is not: its lock may be in the hands of the very thread that was interrupted.
        """
        self._stop_requested = True

    def run(self) -> None:
        """Works until `stop`; returns when the slots are empty or `STOP_SECONDS` are over."""
        # RQ tells of every job; we tell of every delivery.
        logging.getLogger("rq.worker").setLevel(logging.WARNING)
        worker = self._register()
        if worker is None:
            return
        slots = [
            threading.Thread(target=self._slot, args=(worker,), name=f"slot-{n}", daemon=True)
            for n in range(self._count)
        ]
        beats = [
            threading.Thread(
                target=self._beat,
                args=(leases.HEARTBEAT_SECONDS, self._leases.heartbeat),
                name="leases",
                daemon=True,
            ),
            threading.Thread(
                target=self._beat,
                args=(sweeper.TICK_SECONDS, self._sweeper.tick),
                name="sweeper",
                daemon=True,
            ),
            threading.Thread(
                target=self._beat,
                args=(2.0, lambda: self._report(worker)),
                name="report",
                daemon=True,
            ),
            threading.Thread(
                target=self._beat, args=(2.0, self._periodic_tasks), name="chores", daemon=True
            ),
        ]
        for thread in [
            *slots,
            *beats,
            threading.Thread(target=self._once, name="start", daemon=True),
        ]:
            thread.start()
        log.info("worker started", worker=self.name, slots=self._count)
        self._await_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in slots:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._deregister(worker)
        log.info("worker stopped", worker=self.name, in_hand=len(self._leases))

    def _await_stop(self) -> None:
        """Looks again and again: a signal that the system gave to another thread wakes nobody who
        waits for an event.
        """
        while not self._stop_requested and not self._stop.is_set():
            time.sleep(STOP_POLL_SECONDS)
        self._stop.set()

    def _slot(self, worker: SlotWorker) -> None:
        jobs.current_deliverer.set(self._new_deliverer())
        wait = 0.0
        while not self._stop.wait(wait) and not self._stop_requested:
            wait = 0.0
            if not self._in_flight.enter(ENTER_TIMEOUT_SECONDS):
                continue
            try:
                found = Queue.dequeue_any(
                    [self._queue],
                    random.uniform(MIN_DEQUEUE_SECONDS, MAX_DEQUEUE_SECONDS),  # type: ignore[arg-type]
                    connection=self._queue.connection,
                    serializer=self._queue.serializer,
                    death_penalty_class=JobTimeout,
                )
                if found is not None:
                    worker.execute_job(*found)
            except DequeueTimeout:
                continue
            except (redis.RedisError, StoreUnavailable, OSError) as error:
                log.warning("Redis is away", error=_kind(error))
                wait = 1.0
            except Exception as error:
                # One unreadable job must not cost a slot; the sweeper brings its submission back as
                # a new one.
                log.error("job failed", error=type(error).__name__)
                wait = 0.1
            finally:
                self._in_flight.leave()

    def _once(self) -> None:
        """What is said of the start must not keep the slots from working, nor end the process."""
        try:
            self._at_start()
        except Exception as error:
            log.error("look at the start failed", error=type(error).__name__)

    def _beat(self, seconds: float, beat: Callable[[], object]) -> None:
        while not self._stop.wait(seconds):
            try:
                beat()
            except (redis.RedisError, StoreUnavailable, OSError) as error:
                log.warning("Redis is away", error=_kind(error))
            except Exception as error:
                log.error(
                    "beat failed", beat=threading.current_thread().name, error=type(error).__name__
                )

    def _report(self, worker: SlotWorker) -> None:
        """Ends jobs whose time is up; tells Redis that this worker lives, and what it counted;
        looks after RQ's registries.
        """
        JobTimeout.enforce()
        self._announce_worker()
        if worker.connection.exists(worker.key):
            worker.heartbeat()
            worker.renew()
        else:
            # Redis lost its memory of us (it was flushed, or was away for longer than our entry
            # lives).
            worker.register_birth()
            worker.set_state(WorkerStatus.IDLE)
        if worker.should_run_maintenance_tasks:
            worker.run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._meter.flush(worker.connection)

    def _announce_worker(self) -> None:
        """By Redis's clock; entries of workers that were killed go with it."""
        store = self._queue.connection
        now = float(store.time()[0])
        beat = json.dumps(
            {"slots": self._count, "pid": os.getpid(), "host": socket.gethostname(), "seen": now}
        )
        store.hset(keys.WORKERS, self.name, beat)
        for name, other in store.hgetall(keys.WORKERS).items():
            if json.loads(other)["seen"] < now - FORGOTTEN_SECONDS:
                store.hdel(keys.WORKERS, name)

    def _register(self) -> SlotWorker | None:
        """Waits for Redis as long as it takes; None when stopped meanwhile."""
        while not self._stop_requested and not self._stop.is_set():
            try:
                worker = SlotWorker(
                    [self._queue],
                    name=self.name,
                    connection=self._queue.connection,
                    worker_ttl=WORKER_TTL_SECONDS,
                    maintenance_interval=MAINTENANCE_SECONDS,
                    serializer=self._queue.serializer,
                    log_job_description=False,
                )
                worker.register_birth()
                worker.set_state(WorkerStatus.IDLE)
                self._announce_worker()
                return worker
            except (redis.RedisError, OSError) as error:
                log.warning("waiting for Redis", error=type(error).__name__)
                time.sleep(1.0)
        return None

    def _deregister(self, worker: SlotWorker) -> None:
        try:
            worker.register_death()  # type: ignore[no-untyped-call]
            self._queue.connection.hdel(keys.WORKERS, self.name)
            self._meter.flush(worker.connection)
            self._leases.leave()
        except (redis.RedisError, StoreUnavailable, OSError) as error:
            log.warning("Redis is away", error=_kind(error))
