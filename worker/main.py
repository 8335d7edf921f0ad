"""Assembles one worker process, from settings to running slots. Read it top to bottom."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping

from worker.accept.promise import Terms
from worker.accept.promise_watch import PromiseWatch
from worker.delivery import Delivery, DeliveryContext
from worker.delivery.client_factory import PipedriveClientFactory
from worker.delivery.duplicates import DuplicateChecks
from worker.delivery.fetch import Fetcher, ProviderRecords
from worker.drift import unresolved_names
from worker.drift.drift import DriftGuard
from worker.encryption import Cipher
from worker.erasure.retention import RetentionSweep
from worker.fate import Policy
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger
from worker.ledger.attribution_rows import AttributionRows
from worker.ledger.bulk import BulkActions
from worker.ledger.contact_cache import ContactCache
from worker.ledger.rollback import FOLDER, RollbackDetector
from worker.ledger.storage import UnverifiedRecount
from worker.metrics import Meter
from worker.pipedrive.lead_outcomes import OutcomeReader
from worker.queue.leases import Leases
from worker.queue.rq_queue import open_queue
from worker.queue.rq_worker import MAX_DEQUEUE_SECONDS
from worker.queue.slots import Slots
from worker.queue.sweeper import Sweeper
from worker.settings.table import Settings
from worker.store import connection

REDIS_TIMEOUT_SECONDS = 5.0


def work(
    settings: Settings,
    redis_url: str,
    mappings: Mapping[str, LeadMapping],
    records: ProviderRecords,
    periodic_tasks: Callable[[], object] = lambda: None,
) -> None:
    """Runs one worker process until SIGTERM or SIGINT.

    `mappings` says how the leads of each source are written; `records` says how to fetch and parse
    the record of an event that contains only ids. `periodic_tasks` run every two seconds.
    """
    slots = build_slots(settings, redis_url, mappings, records, periodic_tasks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: slots.stop())
    slots.run()


def build_slots(
    settings: Settings,
    redis_url: str,
    mappings: Mapping[str, LeadMapping],
    records: ProviderRecords,
    periodic_tasks: Callable[[], object] = lambda: None,
) -> Slots:
    """Builds everything in one worker process; opens no connection yet."""
    cipher = Cipher(settings.encryption_keys)
    store = connection.connect(redis_url, timeout=REDIS_TIMEOUT_SECONDS)
    queue = open_queue(
        connection.connect(redis_url, timeout=REDIS_TIMEOUT_SECONDS + MAX_DEQUEUE_SECONDS)
    )
    rollback = RollbackDetector(settings.data_dir / FOLDER, settings.settle_seconds)
    ledger = Ledger(store, cipher, rollback=rollback)
    sweeper = Sweeper(ledger, open_queue(store))
    leases = Leases(ledger)
    meter = Meter()
    stop = threading.Event()

    # Workers compare the age of shared metadata, so the clients use the ledger's clock.
    clients = PipedriveClientFactory(settings, store, meter, ledger.now, stop.wait)
    context = DeliveryContext(
        ledger=ledger,
        leases=leases,
        contacts=ContactCache(store),
        metadata=clients.metadata,
        sweeper=sweeper,
        meter=meter,
        policy=Policy(settings.retry_delays, settings.settle_seconds, settings.probe_seconds),
        mappings=mappings,
        clock=time.time,
    )

    rows = AttributionRows(ledger, mappings)
    promise = PromiseWatch(store, Terms.from_settings(settings, accepts=False), settings.data_dir)

    def new_delivery() -> Delivery:
        return Delivery(
            context,
            clients.new_client,
            lambda delivery: Fetcher(clients.new_guarded_http(), records, delivery.record_attempt),
        )

    return Slots(
        queue,
        settings.slots,
        new_delivery,
        leases,
        sweeper,
        meter,
        at_start=lambda: unresolved_names.log_unresolved(mappings, clients.metadata),
        periodic_tasks=run_all(
            promise.tick,
            BulkActions(ledger).tick,
            periodic_tasks,
            DuplicateChecks(store, ledger, clients.new_client()).tick,
            DriftGuard(store, mappings, clients.metadata, ledger.now).tick,
            RetentionSweep(
                ledger,
                settings.retention,
                before_erasing=rows.add,
                unverified_max=settings.unverified_max,
            ).tick,
            UnverifiedRecount(store, ledger.now).tick,
            OutcomeReader(
                store,
                clients.new_client(),
                rows,
                daily_tokens=clients.daily_tokens,
                time_zone=clients.metadata.time_zone,
                clock=ledger.now,
            ).tick,
        ),
        in_flight=clients.in_flight,
        stop=stop,
    )


def run_all(*tasks: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that runs all tasks even if some fail, then raises the first error."""

    def run() -> None:
        errors = []
        for task in tasks:
            try:
                task()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    return run
