"""The state of the installation, for `leadline status`, the console, the API and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from worker.accept.bounds import read_bounds
from worker.accept.promise import Breach
from worker.accept.promise_watch import read_recorded
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.causes import cause_id
from worker.contract import ACTIONABLE, WORKING, Cause
from worker.ledger import Ledger, Pause
from worker.ledger.audit import ignored_causes
from worker.ledger.storage import StorageUse, find_storage_use
from worker.store import keys
from worker.store.connection import call_redis
from worker.units import format_iso

# API tokens of a new lead without a note: a search, a person, a lead.
LEAD_TOKENS = 35

# The states in which a submission waits for somebody or something.
AGEING = (*sorted(WORKING), *ACTIONABLE)


class Paused(Struct, frozen=True):
    """Why nothing is delivered; `advice` says what to do about it, if the workers know."""

    reason: str
    since: str
    until: str | None
    advice: str | None = None


def describe_pause(pause: Pause | None) -> Paused | None:
    """The pause with its times as text."""
    if pause is None:
        return None
    since, until = format_iso(pause.since) or "", format_iso(pause.until)
    return Paused(pause.reason, since, until, pause.advice)


class Tokens(Struct, frozen=True):
    """API tokens left today, and how many new leads they pay for; None if nothing is counted."""

    left: int | None
    leads: int | None


class CauseCount(Struct, frozen=True):
    """Dead letters with the same cause; `oldest_at` in Unix seconds."""

    step: str
    code: str
    field: str | None
    detail: str
    hint: str | None
    setting: str | None
    count: int
    oldest_at: float


class Storage(Struct, frozen=True):
    """What submissions without a proof of origin take, and may take, of Redis, in bytes.

    `evicted` counts those that were removed to make room for newer ones, `refused` requests that
    were answered with 503, with the times of the last.
    """

    unverified_bytes: int = 0
    unverified_max: int | None = None
    evicted: int = 0
    evicted_at: str | None = None
    refused: int = 0
    refused_at: str | None = None


class Overview(Struct, frozen=True):
    """`causes` counts those that nobody chose to ignore.

    `degraded` names what does not work as it should: `redis` (then all else is as it was at
    `as_of`, empty where it was never known), `workers` (none is seen), `pipedrive` (its answers
    stopped the deliveries), `spool` (submissions of this machine wait there for Redis),
    `newer-records` (submissions wait for a worker of a newer release), `storage` (four fifths of
    the room for unverified submissions, or of Redis's memory, are used), and what breaks the
    promise of a 2xx, by the names of `worker.accept.promise`. `held_back` says what the bounds of
    each source held back in the last hour, by the bound's setting.
    """

    states: dict[str, int]
    oldest_seconds: dict[str, int]
    causes: int
    paused: Paused | None
    degraded: list[str]
    tokens: Tokens
    workers: int
    spool: int
    duplicates: int
    as_of: str
    held_back: dict[str, dict[str, int]] = {}
    storage: Storage = Storage()


NOTHING_KNOWN = Overview({}, {}, 0, None, [], Tokens(None, None), 0, 0, 0, "")


def read_overview(ledger: Ledger, data_dir: Path, *, open_causes: int | None = None) -> Overview:
    """Reads the ledger and counts the spool of this machine. Raises `StoreUnavailable`.

    `open_causes` is their number where somebody knows it; None counts them in the store.
    """
    now, pause, status = ledger.now(), ledger.gate.find_pause(), ledger.status()
    workers, spool = status.workers(now), count_spooled(data_dir / SPOOL_FOLDER)
    tokens = None if status.tokens_left is None else int(status.tokens_left)
    oldest = status.oldest_seconds(now, AGEING)
    storage = find_storage_use(ledger.redis)
    return Overview(
        states={state.value: count for state, count in status.stored.items()},
        oldest_seconds={state.value: int(seconds) for state, seconds in oldest.items()},
        causes=_count_open_causes(ledger) if open_causes is None else open_causes,
        paused=describe_pause(pause),
        degraded=[
            *_name_degraded(workers, pause, spool, status.newer, storage),
            *(breach.what for breach in read_breaches(ledger, now) if not breach.advice),
        ],
        tokens=Tokens(tokens, tokens // LEAD_TOKENS if tokens is not None else None),
        workers=workers,
        spool=spool,
        duplicates=status.duplicates,
        as_of=format_iso(now) or "",
        held_back={
            source: counts.held_back
            for source, counts in read_bounds(ledger.redis, now).items()
            if counts.held_back
        },
        storage=Storage(
            storage.unverified_bytes,
            storage.unverified_max,
            storage.evicted,
            format_iso(storage.evicted_at),
            storage.refused,
            format_iso(storage.refused_at),
        ),
    )


def describe_held_back(held_back: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each source: `contact: 12 by rate_limit, 3 by leads_per_hour`."""
    return [
        f"{source}: " + ", ".join(f"{count} by {bound}" for bound, count in counts.items())
        for source, counts in sorted(held_back.items())
    ]


def read_breaches(ledger: Ledger, now: float | None = None) -> list[Breach]:
    """What breaks the promise of a 2xx, as any process sees it. Raises `StoreUnavailable`.

    `now` is Unix seconds by Redis's clock; None asks it.
    """
    stored = call_redis(lambda: ledger.redis.hgetall(keys.UNSAFE))
    return read_recorded(stored, ledger.now() if now is None else now) if stored else []


def overview_while_away(last: Overview | None, data_dir: Path) -> Overview:
    """The `last` overview, brought up to date as far as possible while Redis is away."""
    spool = count_spooled(data_dir / SPOOL_FOLDER)
    last = last or NOTHING_KNOWN
    degraded = [
        "redis",
        *(part for part in last.degraded if part not in ("redis", "spool")),
        *(["spool"] if spool else []),
    ]
    return msgspec.structs.replace(last, degraded=degraded, spool=spool)


def _name_degraded(
    workers: int, pause: Pause | None, spool: int, newer: int, storage: StorageUse
) -> list[str]:
    parts = {
        "workers": not workers,
        "pipedrive": pause is not None and pause.until is not None,
        "spool": bool(spool),
        "newer-records": bool(newer),
        "storage": storage.is_low,
    }
    return [name for name, degraded in parts.items() if degraded]


class CauseGroup(Struct, frozen=True):
    """The dead letters of one cause; `cause` is that of the oldest. Times in Unix seconds."""

    cause: Cause
    count: int
    oldest_at: float
    latest_at: float


def group_causes(ledger: Ledger, limit: int | None = None) -> dict[str, CauseGroup]:
    """The dead letters by cause id, of the newest `limit`. Raises `StoreUnavailable`."""
    groups: dict[str, CauseGroup] = {}
    for cause, at in ledger.dead_causes(limit):
        name = cause_id(cause)
        group = groups.get(name)
        groups[name] = CauseGroup(
            cause, group.count + 1 if group else 1, at, group.latest_at if group else at
        )
    return groups


def open_causes(ledger: Ledger, limit: int | None = None) -> dict[str, CauseGroup]:
    """Those that nobody chose to ignore, or that came back since. Raises `StoreUnavailable`."""
    ignored_at = ignored_causes(ledger.redis)
    return {
        name: group
        for name, group in group_causes(ledger, limit).items()
        if ignored_at.get(name, 0.0) < group.latest_at
    }


def _count_open_causes(ledger: Ledger) -> int:
    return len(open_causes(ledger))


def count_causes(ledger: Ledger) -> list[CauseCount]:
    """Dead letters by step, code, field and setting, the most frequent first."""
    counted = [
        CauseCount(
            group.cause.step,
            group.cause.code,
            group.cause.field,
            group.cause.detail,
            group.cause.hint,
            group.cause.setting,
            group.count,
            group.oldest_at,
        )
        for group in group_causes(ledger).values()
    ]
    return sorted(counted, key=lambda cause: -cause.count)
