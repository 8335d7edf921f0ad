"""A worker process with many slots: one RQ worker by name, one thread per slot.

Each slot delivers one submission at a time. A delivery waits for Pipedrive most of the time, so
threads are enough; each slot has its own HTTP client, because threads that share one wait for each
other. RQ's own loop forks, or runs one job at a time; this one uses RQ's public `dequeue_any` and
`execute_job`, so that `rq info`, the started registry and the intermediate queue tell the truth.

Redis may go down at any time: slots try again every second, other threads at their next turn, and
the process keeps running.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import redis
import structlog
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.worker import WorkerStatus

from worker import jobs
from worker.errors import StoreUnavailable
from worker.ledger.status import WorkerHeartbeat, record_heartbeat
from worker.metrics import Meter
from worker.queue.leases import HEARTBEAT_SECONDS, Leases
from worker.queue.rq_queue import JOB_TIMEOUT_SECONDS
from worker.queue.rq_worker import MAX_DEQUEUE_SECONDS, JobTimeout, SlotWorker
from worker.queue.sweeper import TICK_SECONDS, Sweeper
from worker.store import keys

log = structlog.get_logger("leadline.slots")

# A slot waits for a job for a random time between this and `MAX_DEQUEUE_SECONDS`. Redis first
# serves the client that has waited longest, so slots in step could always be served before those
# of another process, and a submission that only a newer release may deliver would never reach it.
MIN_DEQUEUE_SECONDS = 0.5

ENTER_TIMEOUT_SECONDS = 1.0
REPORT_SECONDS = 2.0
PERIODIC_TASKS_SECONDS = 2.0
WORKER_TTL_SECONDS = 60
MAINTENANCE_SECONDS = 30
STOP_POLL_SECONDS = 0.1

# A slot that waits longer than this for a job, or needs longer for one, hangs. Redis's time limits
# end the wait sooner, and RQ interrupts the job.
MAX_IDLE_TURN_SECONDS = 30.0
MAX_JOB_TURN_SECONDS = JOB_TIMEOUT_SECONDS + 30.0

# How long a stopping worker waits for its deliveries; another worker takes over the rest when their
# leases expire.
STOP_TIMEOUT_SECONDS = 12.0


class Turn(NamedTuple):
    """When a slot began what it is doing, in seconds of the monotonic clock."""

    began_at: float
    in_job: bool

    @property
    def may_last_until(self) -> float:
        return self.began_at + (MAX_JOB_TURN_SECONDS if self.in_job else MAX_IDLE_TURN_SECONDS)


class InFlightLimit:
    """Limits how many submissions a process takes from the queue before their first call goes.

    If the rate limit feeds fewer slots than there are, the others would only hold waiting
    submissions, or hand them back to the ledger one by one. A submission that cannot be delivered
    yet stays in the queue, in order, for the first process with room. Each thread holds at most one
    place; with `places` None there is no limit.
    """

    def __init__(self, places: int | None = None) -> None:
        self._places = None if places is None else threading.Semaphore(max(1, places))
        self._thread = threading.local()

    def enter(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds for a place; returns whether this thread has one."""
        if self._places is None or getattr(self._thread, "inside", False):
            return True
        self._thread.inside = self._places.acquire(timeout=timeout)
        return bool(self._thread.inside)

    def leave(self) -> None:
        """Gives up this thread's place, if it holds one."""
        if self._places is not None and getattr(self._thread, "inside", False):
            self._thread.inside = False
            self._places.release()


class Slots:
    """Runs `count` slots until `stop`.

    `new_deliverer` makes the deliverer of one slot, with an HTTP client of its own.
    """

    def __init__(
        self,
        queue: Queue,
        count: int,
        new_deliverer: Callable[[], Callable[[str], None]],
        leases: Leases,
        sweeper: Sweeper,
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
        self._leases = leases
        self._sweeper = sweeper
        self._meter = meter
        self._periodic_tasks = periodic_tasks
        self._at_start = at_start
        self._in_flight = in_flight or InFlightLimit()
        self._stop_requested = False
        self._stop = stop or threading.Event()
        self._slot_turns: dict[int, Turn] = {}
        self._hangs = False
        # A restarted container has the same host name and process id, and RQ refuses the name of a
        # worker that was killed.
        self.name = name or f"leadline-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"

    def stop(self) -> None:
        """Asks every slot to stop after its current delivery.

        Safe in a signal handler; setting an event would not be, because the interrupted thread may
        hold its lock.
        """
        self._stop_requested = True

    def run(self) -> None:
        """Works until `stop`; returns when the slots have finished or their time is up."""
        # RQ logs every job; we log every delivery.
        logging.getLogger("rq.worker").setLevel(logging.WARNING)
        worker = self._register()
        if worker is None:
            return
        slots = [
            self._thread(f"slot-{number}", self._run_slot, worker) for number in range(self._count)
        ]
        threads = [
            *slots,
            self._thread("leases", self._run_every, HEARTBEAT_SECONDS, self._leases.heartbeat),
            self._thread("sweeper", self._run_every, TICK_SECONDS, self._sweeper.tick),
            self._thread("report", self._run_every, REPORT_SECONDS, lambda: self._report(worker)),
            self._thread(
                "periodic tasks", self._run_every, PERIODIC_TASKS_SECONDS, self._periodic_tasks
            ),
            self._thread("start", self._run_at_start),
        ]
        for thread in threads:
            thread.start()
        log.info("worker started", worker=self.name, slots=self._count)
        self._await_stop()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for thread in slots:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._deregister(worker)
        log.info("worker stopped", worker=self.name, in_flight=len(self._leases))

    def _thread(self, name: str, target: Callable[..., None], *args: object) -> threading.Thread:
        return threading.Thread(target=target, args=args, name=name, daemon=True)

    def _await_stop(self) -> None:
        """Polls, because a signal that another thread received would not wake a waiting thread."""
        while not self._stop_requested and not self._stop.is_set():
            time.sleep(STOP_POLL_SECONDS)
        self._stop.set()

    def _run_slot(self, worker: SlotWorker) -> None:
        jobs.current_deliverer.set(self._new_deliverer())
        wait = 0.0
        while not self._stop.wait(wait) and not self._stop_requested:
            wait = 0.0
            self._begin_turn(in_job=False)
            if not self._in_flight.enter(ENTER_TIMEOUT_SECONDS):
                continue
            try:
                job_and_queue = Queue.dequeue_any(
                    [self._queue],
                    random.uniform(MIN_DEQUEUE_SECONDS, MAX_DEQUEUE_SECONDS),  # type: ignore[arg-type]
                    connection=self._queue.connection,
                    serializer=self._queue.serializer,
                    death_penalty_class=JobTimeout,
                )
                if job_and_queue is not None:
                    self._begin_turn(in_job=True)
                    worker.execute_job(*job_and_queue)
            except DequeueTimeout:
                continue
            except (redis.RedisError, StoreUnavailable, OSError) as error:
                log.warning("Redis is down", error=_describe(error))
                wait = 1.0
            except Exception as error:
                # An unreadable job must not end a slot; the sweeper queues its submission again.
                log.error("job failed", error=type(error).__name__)
                wait = 0.1
            finally:
                self._in_flight.leave()

    def _run_at_start(self) -> None:
        """Runs the check at the start; its failure must not stop the slots or the process."""
        try:
            self._at_start()
        except Exception as error:
            log.error("the check at the start failed", error=type(error).__name__)

    def _run_every(self, seconds: float, tick: Callable[[], object]) -> None:
        while not self._stop.wait(seconds):
            try:
                tick()
            except (redis.RedisError, StoreUnavailable, OSError) as error:
                log.warning("Redis is down", error=_describe(error))
            except Exception as error:
                log.error(
                    "tick failed", task=threading.current_thread().name, error=type(error).__name__
                )

    def _report(self, worker: SlotWorker) -> None:
        """Interrupts jobs whose time is up, sends the heartbeats and stores the counts."""
        JobTimeout.enforce()
        self._record_heartbeat()
        if worker.connection.exists(worker.key):
            worker.heartbeat()
            worker.renew_executions()
        else:
            # Redis has no entry for us: it was flushed, or down for longer than the entry lives.
            worker.register_birth()
            worker.set_state(WorkerStatus.IDLE)
        if worker.should_run_maintenance_tasks:
            worker.run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._meter.flush(worker.connection)

    def _begin_turn(self, *, in_job: bool) -> None:
        self._slot_turns[threading.get_ident()] = Turn(time.monotonic(), in_job)

    def _makes_progress(self) -> bool:
        """Whether any slot still takes turns; none has to before the first one began."""
        now, latest = time.monotonic(), list(self._slot_turns.values())
        return not latest or any(turn.may_last_until > now for turn in latest)

    def _record_heartbeat(self) -> None:
        """Stores a heartbeat, dated by Redis's clock, for as long as the slots make progress.

        This thread may be the only one that still runs.
        """
        hung, self._hangs = self._hangs, not self._makes_progress()
        if self._hangs:
            if not hung:
                log.error("no slot makes progress: the worker hangs", worker=self.name)
            return
        store = self._queue.connection
        heartbeat = WorkerHeartbeat(
            at=float(store.time()[0]),
            slots=self._count,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        record_heartbeat(store, self.name, heartbeat)

    def _register(self) -> SlotWorker | None:
        """Registers with RQ; waits for Redis as long as it takes. None if stopped meanwhile."""
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
                self._record_heartbeat()
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
            log.warning("Redis is down", error=_describe(error))


def _describe(error: Exception) -> str:
    """The text to log: the message of our own error, the class of any other.

    Our message names the Redis error, so a wrong password looks different from a server that is
    gone.
    """
    return str(error) if isinstance(error, StoreUnavailable) else type(error).__name__
