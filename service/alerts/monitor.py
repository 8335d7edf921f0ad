"""The monitor: looks every 15 seconds for what is wrong, and sends what changed to the webhook.

One of all service processes watches what Redis shows. Redis itself and the spool are watched by one
process of each machine: each machine has its own spool, and while Redis is away it cannot say whose
turn it is. A message counts as sent once the webhook accepts it; a refused one is sent again.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import redis
import structlog

from service.alerts.conditions import (
    Condition,
    DeadCause,
    Facts,
    machine_conditions,
    shared_conditions,
)
from service.alerts.state import AlertState, decode, update_alerts
from service.alerts.webhook import AlertWebhook, WebhookError
from service.overview import open_causes, read_breaches
from worker.accept.bounds import read_bounds
from worker.accept.promise import Breach
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.causes import title
from worker.contract import WORKING
from worker.drift import drift
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.storage import find_storage_use
from worker.metrics import SUBMISSIONS, parse_series
from worker.store import keys
from worker.store.connection import call_redis, translate_errors
from worker.store.turn_lock import TurnLock

log = structlog.get_logger("leadline.alerts")

TICK_SECONDS = 15.0
# How long a process stays the one that watches for all; longer than two ticks.
TURN_MILLISECONDS = 40_000
# The state of one machine's alerts, in the data directory.
LOCAL_FILE = "alerts.json"
# Dead letters that are read, newest first.
MAX_DEAD_LETTERS = 20_000
NO_BOUNDS: Mapping[str, int] = {}


def gather(
    ledger: Ledger,
    *,
    silent: Mapping[str, float],
    oldest_limit: float,
    bounds: Mapping[str, int] = NO_BOUNDS,
) -> Facts:
    """Reads the facts from the ledger. `silent` maps each silent source to its seconds of silence.

    `bounds` are the leads per hour of each source that has such a bound. Raises `StoreUnavailable`.
    """
    now, status, pause = ledger.now(), ledger.status(), ledger.gate.find_pause()
    report = drift.decode_report(status.drift)
    return Facts(
        dead={
            name: DeadCause(title(group.cause), group.count)
            for name, group in open_causes(ledger, MAX_DEAD_LETTERS).items()
        },
        oldest_seconds=max(status.oldest_seconds(now, WORKING).values(), default=0.0),
        oldest_limit=oldest_limit,
        paused=pause.reason if pause else None,
        advice=pause.advice if pause else None,
        workers=status.workers(now),
        silent=silent,
        unsafe=read_breaches(ledger, now),
        storage=find_storage_use(ledger.redis),
        missing_names=sum(each.needed for each in report.findings) if report else 0,
        hourly={
            source: (counts.leads + counts.held_back.get("leads_per_hour", 0)) / bounds[source]
            for source, counts in read_bounds(ledger.redis, now).items()
            if source in bounds
        },
    )


def totals(connection: redis.Redis) -> dict[str, float]:
    """How many submissions were ever accepted, by source."""
    with translate_errors():
        stored = cast("dict[bytes, bytes]", connection.hgetall(keys.METRICS))
    accepted: dict[str, float] = {}
    for text, amount in stored.items():
        name, labels = parse_series(text.decode("utf-8", "replace")) or ("", {})
        if name == SUBMISSIONS and labels.get("outcome") == "accepted":
            accepted[labels.get("source", "")] = float(amount)
    return accepted


class Monitor:
    """One per service process; of several processes, one at a time does the work.

    `clock` returns Unix seconds; `oldest_limit` is in seconds. `breaches` returns what this process
    sees breaking the promise of a 2xx.
    """

    def __init__(
        self,
        ledger: Ledger,
        data_dir: Path,
        webhook: AlertWebhook,
        oldest_limit: float,
        clock: Callable[[], float],
        bounds: Callable[[], Mapping[str, int]] = dict,
        breaches: Callable[[], Sequence[Breach]] = tuple,
    ) -> None:
        self._bounds = bounds
        self._ledger = ledger
        self._redis = ledger.redis
        self._folder = data_dir
        self._webhook = webhook
        self._oldest_limit = oldest_limit
        self._clock = clock
        self._breaches = breaches
        self._lock = TurnLock(ledger.redis, keys.ALERTS_LOCK, TURN_MILLISECONDS)

    def tick(self) -> None:
        """Looks once. Never raises because of Redis or the webhook."""
        reachable = True
        try:
            if self._lock.take():
                self._check_shared()
        except StoreUnavailable:
            reachable = False
        except WebhookError as error:
            log.warning("the alert webhook did not take a message", error=str(error))
        try:
            with self._machine_lock() as is_held:
                if is_held:
                    self._check_machine(reachable)
        except WebhookError as error:
            log.warning("the alert webhook did not take a message", error=str(error))

    def _check_shared(self) -> None:
        now = self._clock()
        state = decode(call_redis(lambda: self._redis.get(keys.ALERTS)))
        state.record_totals(totals(self._redis), now)
        facts = gather(
            self._ledger,
            silent=state.silent_sources(now),
            oldest_limit=self._oldest_limit,
            bounds=self._bounds(),
        )
        # The activity is kept even where the webhook refuses the messages.
        call_redis(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(state)))
        state.alerts = self._notify(state.alerts, shared_conditions(facts), now)
        call_redis(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(state)))

    def _check_machine(self, reachable: bool) -> None:
        file = self._folder / LOCAL_FILE
        state = decode(file.read_bytes() if file.exists() else None)
        before = msgspec.json.encode(state)
        conditions = machine_conditions(
            redis=reachable,
            spool=count_spooled(self._folder / SPOOL_FOLDER),
            unsafe=self._breaches(),
        )
        state.alerts = self._notify(state.alerts, conditions, self._clock())
        after = msgspec.json.encode(state)
        if after != before:
            replacement = file.with_suffix(".new")
            replacement.write_bytes(after)
            replacement.replace(file)

    def _notify(
        self, alerts: dict[str, AlertState], conditions: Iterator[Condition], now: float
    ) -> dict[str, AlertState]:
        """Sends what changed and returns the alerts from now on. Raises `WebhookError`."""
        updated, messages = update_alerts(alerts, conditions, now)
        if messages:
            self._webhook.send(messages)
            log.info(
                "alert",
                sent=len(messages),
                recovered=sum(message.recovered for message in messages),
            )
        return updated

    @contextlib.contextmanager
    def _machine_lock(self) -> Iterator[bool]:
        """Yields whether this process watches its machine. Nobody watches a read-only folder."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / "alerts.lock").open("wb")
        except OSError:
            yield False
            return
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
