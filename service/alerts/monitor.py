"""The watch: looks every quarter of a minute, in one service process of all, and tells the webhook
what changed.

Redis and the spool are watched by one process of each machine, since each has its own, and Redis
cannot say who watches when it is away. A message counts as told once the webhook took it: what it
refuses is told again.
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

from service.alerts.conditions import Condition, DeadCause, Facts, local, shared
from service.alerts.state import Standing, decode, tell
from service.alerts.webhook import NotTold, Webhook
from worker.accept.spool import SPOOL, spooled
from worker.causes import UNRECORDED, cause_id, title
from worker.contract import WORKING, Cause, State
from worker.drift import drift
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.audit import ignored
from worker.ledger.status import workers
from worker.metrics import SUBMISSIONS, parse
from worker.store import keys
from worker.store.connection import ask, asking

# Gathers what the conditions are judged by.

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
    pause = ledger.gate.paused()
    report = drift.last(ledger.redis)
    return Facts(
        dead=_dead(ledger.redis, ignored),
        oldest_seconds=max(0.0, now - min(oldest)) if oldest else 0.0,
        oldest_limit=oldest_limit,
        paused=pause.reason if pause else None,
        workers=workers(ledger),
        silent=silent,
        lacking=sum(each.needed for each in report.found) if report else 0,
    )


def _dead(connection: redis.Redis, ignored: Mapping[str, float]) -> dict[str, DeadCause]:
    """Dead letters by cause, without those that people chose to ignore and that did not come back
    since.
    """
    with asking():
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
    """How many submissions of each source were ever accepted."""
    with asking():
        stored = cast("dict[bytes, bytes]", connection.hgetall(keys.METRICS))
    found: dict[str, float] = {}
    for text, amount in stored.items():
        name, labels = parse(text.decode("utf-8", "replace")) or ("", {})
        if name == SUBMISSIONS and labels.get("outcome") == "accepted":
            found[labels.get("source", "")] = float(amount)
    return found


BEAT_SECONDS = 15.0
TURN_MILLISECONDS = 40_000
LOCAL = "alerts.json"

log = structlog.get_logger("leadline.alerts")


class Watch:
    """One per service process; of several processes one at a time does the work. `clock` tells Unix
    seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        data_dir: Path,
        webhook: Webhook,
        oldest_limit: float,
        clock: Callable[[], float],
    ) -> None:
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
        facts = gather(
            self._ledger,
            ignored=ignored(self._redis),
            silent=watched.silent(now),
            oldest_limit=self._oldest_limit,
        )
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

    def _told(
        self, standing: dict[str, Standing], raised: Iterator[Condition], now: float
    ) -> dict[str, Standing]:
        """What stands after everything was told. Raises `NotTold`."""
        kept, messages = tell(standing, raised, now)
        if messages:
            self._webhook.send(messages)
            log.info(
                "alert",
                told=len(messages),
                recovered=sum(message.recovered for message in messages),
            )
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
        """Whether this process has its machine's turn. A folder that cannot be written has nobody
        to watch it.
        """
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
