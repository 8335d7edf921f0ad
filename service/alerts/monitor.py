"""The monitor: looks every 15 seconds for what is wrong, and sends what changed to the webhook.

One of all service processes watches what Redis shows. Redis itself and the spool are watched by one
process of each machine: each machine has its own spool, and while Redis is away it cannot say whose
turn it is. A message counts as sent once the webhook took it; what it refuses is sent again.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Callable, Iterator, Mapping
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
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.causes import UNRECORDED, cause_id, title
from worker.contract import WORKING, Cause, State
from worker.drift import drift
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.audit import ignored
from worker.ledger.overview import workers
from worker.metrics import SUBMISSIONS, parse_series
from worker.store import keys
from worker.store.connection import ask, translate_errors

# Gathers the facts from which the conditions follow.

MOST_DEAD = 20_000
"""Dead letters that are looked at, the newest first."""


def gather(
    ledger: Ledger,
    *,
    ignored: Mapping[str, float],
    silent: Mapping[str, float],
    oldest_limit: float,
) -> Facts:
    """Asks the ledger. `ignored` maps causes to when they were ignored (Unix seconds). Raises
    `StoreUnavailable`.
    """
    now = ledger.now()
    oldest = [since for since in (ledger.oldest(state) for state in WORKING) if since is not None]
    pause = ledger.gate.find_pause()
    report = drift.last_report(ledger.redis)
    return Facts(
        dead=_dead(ledger.redis, ignored),
        oldest_seconds=max(0.0, now - min(oldest)) if oldest else 0.0,
        oldest_limit=oldest_limit,
        paused=pause.reason if pause else None,
        workers=workers(ledger),
        silent=silent,
        missing_names=sum(each.needed for each in report.found) if report else 0,
    )


def _dead(connection: redis.Redis, ignored: Mapping[str, float]) -> dict[str, DeadCause]:
    """Dead letters by cause, without those that people chose to ignore and that did not come back
    since.
    """
    with translate_errors():
        key = keys.state(State.DEAD)
        dead = cast(
            "list[tuple[bytes, float]]",
            connection.zrange(key, 0, MOST_DEAD - 1, desc=True, withscores=True),
        )
        with connection.pipeline(transaction=False) as pipe:
            for raw, _ in dead:
                pipe.hget(keys.submission(raw.decode()), "cause")
            stored = pipe.execute()
    groups: dict[str, tuple[Cause, int, float]] = {}
    for (_, since), text in zip(dead, stored, strict=True):
        cause = msgspec.json.decode(text, type=Cause) if text else UNRECORDED
        identity = cause_id(cause)
        first, count, last = groups.get(identity, (cause, 0, 0.0))
        groups[identity] = (first, count + 1, max(last, since))
    return {
        identity: DeadCause(title(cause), count)
        for identity, (cause, count, last) in groups.items()
        if ignored.get(identity, 0.0) < last
    }


def totals(connection: redis.Redis) -> dict[str, float]:
    """How many submissions were ever accepted, by source."""
    with translate_errors():
        stored = cast("dict[bytes, bytes]", connection.hgetall(keys.METRICS))
    found: dict[str, float] = {}
    for text, amount in stored.items():
        name, labels = parse_series(text.decode("utf-8", "replace")) or ("", {})
        if name == SUBMISSIONS and labels.get("outcome") == "accepted":
            found[labels.get("source", "")] = float(amount)
    return found


TICK_SECONDS = 15.0
# How long a process keeps the turn to watch for all; longer than two ticks.
TURN_MILLISECONDS = 40_000
# The state of one machine's alerts, in the data directory.
LOCAL_FILE = "alerts.json"

log = structlog.get_logger("leadline.alerts")


class Monitor:
    """One per service process; of several processes, one at a time does the work.

    `clock` returns Unix seconds; `oldest_limit` is in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        data_dir: Path,
        webhook: AlertWebhook,
        oldest_limit: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._folder = data_dir
        self._webhook = webhook
        self._oldest_limit = oldest_limit
        self._clock = clock
        self._token = secrets.token_hex(8).encode()

    def tick(self) -> None:
        """Looks once. Never raises because of Redis or the webhook."""
        reachable = True
        try:
            if self._take_turn():
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
        state = decode(ask(lambda: self._redis.get(keys.ALERTS)))
        state.record_totals(totals(self._redis), now)
        facts = gather(
            self._ledger,
            ignored=ignored(self._redis),
            silent=state.silent_sources(now),
            oldest_limit=self._oldest_limit,
        )
        # The activity is kept even where the webhook refuses the messages.
        ask(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(state)))
        state.alerts = self._notify(state.alerts, shared_conditions(facts), now)
        ask(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(state)))

    def _check_machine(self, reachable: bool) -> None:
        file = self._folder / LOCAL_FILE
        state = decode(file.read_bytes() if file.exists() else None)
        before = msgspec.json.encode(state)
        conditions = machine_conditions(
            redis=reachable, spool=count_spooled(self._folder / SPOOL_FOLDER)
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
        """The alerts after all messages were sent. Raises `WebhookError`."""
        updated, messages = update_alerts(alerts, conditions, now)
        if messages:
            self._webhook.send(messages)
            log.info(
                "alert",
                sent=len(messages),
                recovered=sum(message.recovered for message in messages),
            )
        return updated

    def _take_turn(self) -> bool:
        """Whether this process watches for all until the turn ends."""
        with translate_errors():
            if self._redis.set(keys.ALERTS_LOCK, self._token, nx=True, px=TURN_MILLISECONDS):
                return True
            if self._redis.get(keys.ALERTS_LOCK) != self._token:
                return False
            return bool(self._redis.pexpire(keys.ALERTS_LOCK, TURN_MILLISECONDS))

    @contextlib.contextmanager
    def _machine_lock(self) -> Iterator[bool]:
        """Whether this process watches its machine. Nobody watches a folder that is read-only."""
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
