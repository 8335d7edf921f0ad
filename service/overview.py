"""How things stand, for `status`, the console and alerts: one object with many faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from service.times import iso
from worker import doubles, keys
from worker.contract import WORKING, Cause, State
from worker.ledger import Ledger
from worker.spool import SPOOL, spooled

LEAD_TOKENS = 35
"""API tokens of a new lead without a note: a search, a person, a lead."""

ALIVE_SECONDS = 60.0
UNRECORDED = Cause(step="unknown", code="unknown", detail="no cause was recorded")


class Paused(Struct, frozen=True):
    reason: str
    since: str
    until: str | None


class Tokens(Struct, frozen=True):
    """The day's API tokens left, and how many new leads they hold; None where nothing is counted."""

    left: int | None
    leads: int | None


class CauseCount(Struct, frozen=True):
    """Dead letters that died of the same thing."""

    step: str
    code: str
    field: str | None
    detail: str
    hint: str | None
    setting: str | None
    count: int
    oldest_at: float


class Overview(Struct, frozen=True):
    states: dict[str, int]
    oldest_seconds: dict[str, int]
    causes: int
    paused: Paused | None
    degraded: list[str]
    tokens: Tokens
    workers: int
    spool: int
    doubles: int


def overview(ledger: Ledger, data_dir: Path) -> Overview:
    """Asks the ledger, and counts the spool of this machine. Raises `StoreUnavailable`."""
    now = ledger.now()
    counts = ledger.counts()
    oldest = {state.value: ledger.oldest(state) for state in (*WORKING, State.DEAD, State.QUARANTINED)}
    pause = ledger.paused()
    left = ledger.redis.get(keys.ALLOWANCE + "left")
    tokens = int(left) if left else None
    return Overview(
        states={state.value: count for state, count in counts.items()},
        oldest_seconds={state: int(max(0, now - since)) for state, since in oldest.items() if since is not None},
        causes=len(causes(ledger)),
        paused=Paused(pause.reason, iso(pause.since) or "", iso(pause.until)) if pause else None,
        degraded=[] if workers(ledger) else ["workers"],
        tokens=Tokens(tokens, tokens // LEAD_TOKENS if tokens is not None else None),
        workers=workers(ledger),
        doubles=doubles.count(ledger.redis),
        spool=spooled(data_dir / SPOOL),
    )


def workers(ledger: Ledger) -> int:
    """Worker processes that were seen within the last minute, by Redis's clock."""
    now = ledger.now()
    beats = cast("list[bytes]", ledger.redis.hvals(keys.WORKERS))
    return sum(now - json.loads(beat).get("seen", 0) < ALIVE_SECONDS for beat in beats)


def causes(ledger: Ledger) -> list[CauseCount]:
    """Dead letters by step, code, field and setting, the most frequent first."""
    ids = cast("list[tuple[bytes, float]]", ledger.redis.zrange(keys.state(State.DEAD), 0, -1, withscores=True))
    with ledger.redis.pipeline(transaction=False) as pipe:
        for raw, _ in ids:
            pipe.hget(keys.submission(raw.decode()), "cause")
        found = pipe.execute()
    groups: dict[tuple[str | None, ...], list[tuple[Cause, float]]] = {}
    for (_, since), stored in zip(ids, found, strict=True):
        cause = msgspec.json.decode(stored, type=Cause) if stored else UNRECORDED
        groups.setdefault((cause.step, cause.code, cause.field, cause.setting), []).append((cause, since))
    counted = [
        CauseCount(first.step, first.code, first.field, first.detail, first.hint, first.setting, len(group), group[0][1])
        for group in groups.values()
        for first in [group[0][0]]
    ]
    return sorted(counted, key=lambda cause: -cause.count)
