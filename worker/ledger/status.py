"""How things stand, for `status`, the console and alerts: one object with many faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.causes import UNRECORDED, cause_id
from worker.contract import WORKING, Cause, State
from worker.ledger import Ledger, Pause
from worker.ledger.audit import ignored
from worker.store import keys
from worker.store.connection import translate_errors
from worker.times import format_iso

LEAD_TOKENS = 35
"""API tokens of a new lead without a note: a search, a person, a lead."""

ALIVE_SECONDS = 60.0
AGEING = (*sorted(WORKING), State.DEAD, State.QUARANTINED)
"""The states in which somebody or something is waited for."""


class Paused(Struct, frozen=True):
    reason: str
    since: str
    until: str | None


class Tokens(Struct, frozen=True):
    """The day's API tokens left, and how many new leads they hold; None where nothing is
    counted.
    """

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
    """`causes` counts those that nobody chose to ignore.

    `degraded` names what does not work as it should: `redis` (then all else is as it was at
    `as_of`, empty where it was never known), `workers` (none is seen), `pipedrive` (its answers
    stopped the deliveries), `spool` (submissions of this machine wait there for Redis),
    `newer-records` (submissions wait for a worker of a newer release).
    """

    states: dict[str, int]
    oldest_seconds: dict[str, int]
    causes: int
    paused: Paused | None
    degraded: list[str]
    tokens: Tokens
    workers: int
    spool: int
    doubles: int
    as_of: str


NOTHING_KNOWN = Overview({}, {}, 0, None, [], Tokens(None, None), 0, 0, 0, "")


def overview(ledger: Ledger, data_dir: Path, *, open_causes: int | None = None) -> Overview:
    """Asks the ledger, and counts the spool of this machine. Raises `StoreUnavailable`.

    `open_causes` is their number where somebody knows it; None counts them in the store.
    """
    now, pause = ledger.now(), ledger.gate.find_pause()
    counts, oldest, left, beats, doubled, newer = _figures(ledger)
    alive, spool = _alive(beats, now), count_spooled(data_dir / SPOOL_FOLDER)
    tokens = int(left) if left else None
    return Overview(
        states=counts,
        oldest_seconds={state: int(max(0.0, now - since)) for state, since in oldest.items()},
        causes=_open(ledger) if open_causes is None else open_causes,
        paused=Paused(pause.reason, format_iso(pause.since) or "", format_iso(pause.until))
        if pause
        else None,
        degraded=_degraded(alive, pause, spool, newer),
        tokens=Tokens(tokens, tokens // LEAD_TOKENS if tokens is not None else None),
        workers=alive,
        spool=spool,
        doubles=doubled,
        as_of=format_iso(now) or "",
    )


def while_away(last: Overview | None, data_dir: Path) -> Overview:
    """What can be said while Redis is away, by what was `last` known."""
    known, spool = last or NOTHING_KNOWN, count_spooled(data_dir / SPOOL_FOLDER)
    degraded = [
        "redis",
        *(part for part in known.degraded if part not in ("redis", "spool")),
        *(["spool"] if spool else []),
    ]
    return msgspec.structs.replace(known, degraded=degraded, spool=spool)


def _degraded(alive: int, pause: Pause | None, spool: int, newer: int) -> list[str]:
    by_answer = pause is not None and pause.until is not None
    parts = {
        "workers": not alive,
        "pipedrive": by_answer,
        "spool": bool(spool),
        "newer-records": bool(newer),
    }
    return [name for name, wrong in parts.items() if wrong]


def _figures(
    ledger: Ledger,
) -> tuple[dict[str, int], dict[str, float], bytes | None, list[bytes], int, int]:
    """Counts by state, since when the oldest of some is there, tokens left, the workers' beats,
    doubles, those of a newer version that wait: of one moment.
    """
    with translate_errors(), ledger.redis.pipeline(transaction=True) as pipe:
        for state in State:
            pipe.zcard(keys.state(state))
        for state in AGEING:
            pipe.zrange(keys.state(state), 0, 0, withscores=True)
        pipe.get(ledger.account.allowance("left"))
        pipe.hvals(keys.WORKERS)
        pipe.hlen(keys.DUPLICATES)
        pipe.zcard(keys.NEWER)
        found: list[Any] = pipe.execute()
    counts = {state.value: count for state, count in zip(State, found, strict=False)}
    firsts = zip(AGEING, found[len(State) :], strict=False)
    left, beats, doubled, newer = found[-4:]
    return (
        counts,
        {state.value: first[0][1] for state, first in firsts if first},
        left,
        beats,
        doubled,
        newer,
    )


def workers(ledger: Ledger) -> int:
    """Worker processes that were seen within the last minute, by Redis's clock."""
    return _alive(cast("list[bytes]", ledger.redis.hvals(keys.WORKERS)), ledger.now())


def _alive(beats: list[bytes], now: float) -> int:
    return sum(now - msgspec.json.decode(beat).get("seen", 0) < ALIVE_SECONDS for beat in beats)


def _open(ledger: Ledger) -> int:
    """Causes of what is dead now that nobody chose to ignore, or that came back since."""
    latest: dict[str, float] = {}
    for cause, since in _dead(ledger):
        latest[cause_id(cause)] = max(since, latest.get(cause_id(cause), 0.0))
    left_alone = ignored(ledger.redis)
    return sum(left_alone.get(name, 0.0) < since for name, since in latest.items())


def causes(ledger: Ledger) -> list[CauseCount]:
    """Dead letters by step, code, field and setting, the most frequent first."""
    groups: dict[str, list[tuple[Cause, float]]] = {}
    for cause, since in _dead(ledger):
        groups.setdefault(cause_id(cause), []).append((cause, since))
    counted = [
        CauseCount(
            first.step,
            first.code,
            first.field,
            first.detail,
            first.hint,
            first.setting,
            len(group),
            group[0][1],
        )
        for group in groups.values()
        for first in [group[0][0]]
    ]
    return sorted(counted, key=lambda cause: -cause.count)


def _dead(ledger: Ledger) -> list[tuple[Cause, float]]:
    """What each dead letter died of and when, the oldest first. Raises `StoreUnavailable`."""
    with translate_errors():
        ids = cast(
            "list[tuple[bytes, float]]",
            ledger.redis.zrange(keys.state(State.DEAD), 0, -1, withscores=True),
        )
        with ledger.redis.pipeline(transaction=False) as pipe:
            for raw, _ in ids:
                pipe.hget(keys.submission(raw.decode()), "cause")
            found = pipe.execute()
    return [
        (msgspec.json.decode(stored, type=Cause) if stored else UNRECORDED, since)
        for (_, since), stored in zip(ids, found, strict=True)
    ]
