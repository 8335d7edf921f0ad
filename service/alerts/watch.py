"""The watch: looks every quarter of a minute, in one service process of all, and tells the webhook what changed.

Redis and the spool are watched by one process of each machine, since each has its own, and Redis cannot say who watches
when it is away. A message counts as told once the webhook took it: what it refuses is told again.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog

from service.alerts.conditions import Condition, local, shared
from service.alerts.facts import gather, totals
from service.alerts.state import decode
from service.alerts.telling import Standing, tell
from service.alerts.webhook import NotTold, Webhook
from worker import keys
from worker.errors import StoreUnavailable
from worker.ignored import ignored
from worker.ledger import Ledger
from worker.spool import SPOOL, spooled
from worker.store import ask, asking

BEAT_SECONDS = 15.0
TURN_MILLISECONDS = 40_000
LOCAL = "alerts.json"

log = structlog.get_logger("leadline.alerts")


class Watch:
    """One per service process; of several processes one at a time does the work. `clock` tells Unix seconds."""

    def __init__(self, ledger: Ledger, data_dir: Path, webhook: Webhook, oldest_limit: float, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._folder = data_dir
        self._webhook = webhook
        self._oldest_limit = oldest_limit
        self._clock = clock
        self._me = secrets.token_hex(8).encode()

    def beat(self) -> None:
        """One look. Never raises because of Redis or the webhook."""
        reachable = True
        try:
            if self._mine():
                self._look_at_all()
        except StoreUnavailable:
            reachable = False
        except NotTold as error:
            log.warning("the alert webhook did not take a message", error=str(error))
        try:
            with self._of_this_machine() as mine:
                if mine:
                    self._look_here(reachable)
        except NotTold as error:
            log.warning("the alert webhook did not take a message", error=str(error))

    def _look_at_all(self) -> None:
        now = self._clock()
        watched = decode(ask(lambda: self._redis.get(keys.ALERTS)))
        watched.listen(totals(self._redis), now)
        facts = gather(self._ledger, ignored=ignored(self._redis), silent=watched.silent(now), oldest_limit=self._oldest_limit)
        # What was heard is kept even where the webhook refuses what is to be told.
        ask(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(watched)))
        watched.standing = self._told(watched.standing, shared(facts), now)
        ask(lambda: self._redis.set(keys.ALERTS, msgspec.json.encode(watched)))

    def _look_here(self, reachable: bool) -> None:
        file = self._folder / LOCAL
        watched = decode(file.read_bytes() if file.exists() else None)
        before = msgspec.json.encode(watched)
        conditions = local(redis=reachable, spool=spooled(self._folder / SPOOL))
        watched.standing = self._told(watched.standing, conditions, self._clock())
        after = msgspec.json.encode(watched)
        if after != before:
            replacement = file.with_suffix(".new")
            replacement.write_bytes(after)
            replacement.replace(file)

    def _told(self, standing: dict[str, Standing], raised: Iterator[Condition], now: float) -> dict[str, Standing]:
        """What stands after everything was told. Raises `NotTold`."""
        kept, messages = tell(standing, raised, now)
        if messages:
            self._webhook.send(messages)
            log.info("alert", told=len(messages), recovered=sum(message.recovered for message in messages))
        return kept

    def _mine(self) -> bool:
        """Whether it is this process that watches for all."""
        with asking():
            if self._redis.set(keys.ALERTS_TURN, self._me, nx=True, px=TURN_MILLISECONDS):
                return True
            if self._redis.get(keys.ALERTS_TURN) != self._me:
                return False
            return bool(self._redis.pexpire(keys.ALERTS_TURN, TURN_MILLISECONDS))

    @contextlib.contextmanager
    def _of_this_machine(self) -> Iterator[bool]:
        """Whether this process has its machine's turn. A folder that cannot be written has nobody to watch it."""
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
