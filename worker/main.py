"""One worker process, put together: from settings to running slots. Reads top to bottom."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from worker.delivery import Delivery, DeliveryContext
from worker.delivery.duplicates import DuplicateChecks
from worker.delivery.fetch import Fetcher, RecordReader
from worker.drift import unresolved_names
from worker.drift.drift import DriftGuard
from worker.encryption import Cipher
from worker.erasure.retention import Retention
from worker.errors import LeaseLost, NotSent
from worker.fate import Policy
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger
from worker.ledger.bulk import BulkActions
from worker.ledger.contact_cache import ContactCache
from worker.ledger.rollback import FOLDER, RollbackDetector
from worker.metrics import PIPEDRIVE_REQUESTS, PIPEDRIVE_TOKENS, Meter
from worker.pipedrive.auth import ApiToken, Auth, OAuth
from worker.pipedrive.calls import Call
from worker.pipedrive.client import CallReport, HttpClient, Pipedrive, build_http, build_tls
from worker.pipedrive.metadata_cache import MetadataCache
from worker.pipedrive.rate_limiter import ApiLimits, RateLimiter, WaitingRateLimiter, limits_of_plan
from worker.queue.leases import Leases
from worker.queue.rq_queue import open_queue
from worker.queue.slots import MAX_DEQUEUE_SECONDS, InFlightLimit, Slots
from worker.queue.sweeper import Sweeper
from worker.settings import Settings
from worker.store import connection

if TYPE_CHECKING:
    import redis

log = structlog.get_logger("leadline.work")

REDIS_TIMEOUT_SECONDS = 5.0
CALL_TIMEOUT_SECONDS = 20.0
"""The total limit of one call to Pipedrive; well below the lease, which is renewed right before
each create.
"""


class PipedriveClientFactory:
    """The clients of one process: one TLS context, one allowance, one catalogue; an HTTP client for
    each caller.

    `pause` waits in line for the allowance, and returns True when the process is to stop.
    """

    def __init__(
        self,
        settings: Settings,
        store: redis.Redis,
        meter: Meter,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._pause = pause
        self._meter = meter
        self._tls = build_tls()
        self._auth = build_auth(settings, store, Cipher(settings.encryption_keys))
        plan = limits_of_plan(
            settings.pipedrive_plan,
            settings.pipedrive_seats,
            settings.pipedrive_daily_tokens,
            oauth=settings.uses_oauth,
        )
        self._limiter = RateLimiter(store, plan)
        self.in_flight = InFlightLimit(in_flight_places(plan, settings.slots))
        self.metadata = MetadataCache(store, self.new_client(), clock)

    def new_client(self, delivery: Delivery | None = None) -> Pipedrive:
        """A client of its own; with `delivery`, one that reports to it and asks it before every
        create.
        """

        def on_call(report: CallReport) -> None:
            self._meter.count(
                PIPEDRIVE_REQUESTS, call=report.call, status=str(report.status or report.outcome)
            )
            if report.outcome != NotSent.code:
                self._meter.count(PIPEDRIVE_TOKENS, report.cost, call=report.call)
            if delivery is not None:
                delivery.record_call(report)

        return Pipedrive(
            self.new_http(),
            self._settings.pipedrive_base_url,
            self._auth,
            WaitingRateLimiter(self._limiter, self._pause)
            if delivery is None
            else self._guard(delivery),
            on_call,
            CALL_TIMEOUT_SECONDS,
        )

    def new_http(self) -> HttpClient:
        """A client of its own, on the process's one TLS context."""
        return build_http(self._tls)

    def _guard(self, delivery: Delivery) -> CreateGuard:
        line = WaitingRateLimiter(
            self._limiter,
            self._pause,
            is_first_call=lambda: not delivery.has_begun,
            submission_id=lambda: delivery.submission_id,
        )
        return CreateGuard(self._limiter, line, delivery, self.in_flight)


def in_flight_places(plan: ApiLimits | None, slots: int) -> int | None:
    """How many deliveries of a process may wait for their first call: enough to fill every window,
    and a short line.
    """
    return None if plan is None else max(2, min(slots, plan.calls_per_window // 10))


class CreateGuard:
    """The allowance, and behind it the lease: the last question before a create leaves the
    process.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        waiting_limiter: WaitingRateLimiter,
        delivery: Delivery,
        entrance: InFlightLimit,
    ) -> None:
        self._limiter = limiter
        self._waiting_limiter = waiting_limiter
        self._delivery = delivery
        self._entrance = entrance

    def before(self, call: Call) -> None:
        self._waiting_limiter.before(call)
        self._entrance.leave()
        if call.create:
            try:
                self._delivery.require_lease(CALL_TIMEOUT_SECONDS)
            except LeaseLost:
                self._limiter.release_unsent(call)
                raise

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._limiter.after(call, status, headers)


def build_auth(settings: Settings, store: redis.Redis, cipher: Cipher) -> Auth:
    """The credentials of the settings. Raises ValueError when there are none."""
    if settings.pipedrive_api_token:
        return ApiToken(settings.pipedrive_api_token)
    if not settings.uses_oauth:
        raise ValueError("no Pipedrive credentials")
    return OAuth(
        store,
        build_http(build_tls()),
        settings.pipedrive_client_id or "",
        settings.pipedrive_client_secret or "",
        settings.pipedrive_refresh_token or "",
        settings.pipedrive_oauth_url,
        cipher.encrypt,
        cipher.decrypt,
        time.time,
    )


def run_all(*chores: Callable[[], object]) -> Callable[[], None]:
    """All of them: one that fails keeps none of the others from its work. Raises the first error
    afterwards.
    """

    def do() -> None:
        errors = []
        for chore in chores:
            try:
                chore()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    return do


def build_slots(
    settings: Settings,
    redis_url: str,
    writings: Mapping[str, LeadMapping],
    records: RecordReader,
    periodic_tasks: Callable[[], object] = lambda: None,
) -> Slots:
    """Everything of one worker process. Opens nothing yet."""
    cipher = Cipher(settings.encryption_keys)
    store = connection.connect(redis_url, timeout=REDIS_TIMEOUT_SECONDS)
    queue = open_queue(
        connection.connect(redis_url, timeout=REDIS_TIMEOUT_SECONDS + MAX_DEQUEUE_SECONDS)
    )
    ledger = Ledger(
        store,
        cipher,
        rollback=RollbackDetector(settings.data_dir / FOLDER, settings.settle_seconds),
    )
    sweeper = Sweeper(ledger, open_queue(store))
    leases = Leases(ledger)
    meter = Meter()
    stop = threading.Event()
    # What workers share by time (the age of the names) goes by the ledger's clock.
    clients = PipedriveClientFactory(settings, store, meter, ledger.now, stop.wait)
    workshop = DeliveryContext(
        ledger=ledger,
        leases=leases,
        contacts=ContactCache(store),
        metadata=clients.metadata,
        sweeper=sweeper,
        meter=meter,
        policy=Policy(settings.retry_delays, settings.settle_seconds, settings.probe_seconds),
        mappings=writings,
        clock=time.time,
    )
    doubles = DuplicateChecks(store, ledger, clients.new_client())
    drift = DriftGuard(store, writings, clients.metadata, ledger.now)
    retention = Retention(ledger, settings.retention)

    bulks = BulkActions(ledger)
    return Slots(
        queue,
        settings.slots,
        lambda: Delivery(
            workshop,
            clients.new_client,
            lambda delivery: Fetcher(clients.new_http(), records, delivery.record_attempt),
        ),
        leases,
        sweeper,
        meter,
        at_start=lambda: unresolved_names.log_unresolved(writings, clients.metadata),
        periodic_tasks=run_all(
            bulks.tick, periodic_tasks, doubles.tick, drift.tick, retention.tick
        ),
        in_flight=clients.in_flight,
        stop=stop,
    )


def work(
    settings: Settings,
    redis_url: str,
    writings: Mapping[str, LeadMapping],
    records: RecordReader,
    periodic_tasks: Callable[[], object] = lambda: None,
) -> None:
    """Runs one worker process until SIGTERM or SIGINT.

    `writings` and `records` are what the sources know: how their leads are written, and what the
    record of an event that told ids alone means. `chores` are done every other second.
    """
    slots = build_slots(settings, redis_url, writings, records, periodic_tasks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: slots.stop())
    slots.run()
