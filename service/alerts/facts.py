"""Gathers what the conditions are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
import redis

from service.alerts.conditions import DeadCause, Facts
from service.overview import workers
from worker import drift, keys
from worker.causes import UNRECORDED, cause_id, title
from worker.contract import WORKING, Cause, State
from worker.ledger import Ledger
from worker.metrics import SUBMISSIONS, parse
from worker.store import asking

MOST_DEAD = 20_000
"""Dead letters that are looked at, the newest first."""


def gather(ledger: Ledger, *, ignored: Mapping[str, float], silent: Mapping[str, float], oldest_limit: float) -> Facts:
    """Asks the ledger. `ignored` maps causes to when they were ignored (Unix seconds). Raises `StoreUnavailable`."""
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
    """Dead letters by cause, without those that people chose to ignore and that did not come back since."""
    with asking():
        key = keys.state(State.DEAD)
        dead = cast("list[tuple[bytes, float]]", connection.zrange(key, 0, MOST_DEAD - 1, desc=True, withscores=True))
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
