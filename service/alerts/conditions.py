"""Decides from facts which conditions are worth waking somebody for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from worker.accept.promise import Breach
from worker.fate import ACTIONABLE_REASONS, REASONS
from worker.ledger.storage import MEMORY_RESERVE_SHARE, StorageUse

# With this many dead letters a cause is an alert of its own, sent again at each doubling.
MIN_GROWING_CAUSE = 10

# The part of a source's `leads_per_hour` from which on somebody is told.
HOURLY_WARNING = 0.8


class DeadCause(Struct, frozen=True):
    """Dead letters of one cause. `title` holds no personal data."""

    title: str
    count: int


class Facts(Struct, frozen=True, kw_only=True):
    """The state of the whole installation, as Redis has it.

    `dead` is keyed by the cause's id. `oldest_seconds` is the age of the oldest lead that waits for
    its delivery, `oldest_limit` the age that is too old. `paused` says why delivery is paused, and
    `advice` what to do about it.
    `silent` maps each source that is usually active to the seconds since it last was.
    `hourly` maps each source that verifies nobody to the part of its `leads_per_hour` that the last
    hour has used; above 1, leads wait in quarantine.
    `missing_names` counts names of the source file that the Pipedrive account lacks. `unsafe` is
    what breaks the promise of a 2xx, `storage` how full Redis is.
    """

    dead: Mapping[str, DeadCause]
    oldest_seconds: float
    oldest_limit: float
    paused: str | None
    workers: int
    silent: Mapping[str, float]
    missing_names: int
    unsafe: Sequence[Breach] = ()
    storage: StorageUse = StorageUse()
    advice: str | None = None
    hourly: Mapping[str, float] = {}


class Condition(Struct, frozen=True, kw_only=True):
    """Something that is wrong now. `key` identifies it; a higher `level` is worth a new message.

    It is sent once it has held for `after` seconds, and called recovered once it has been gone for
    `calm` seconds.
    """

    key: str
    text: str
    recovered: str
    path: str = "/ops"
    level: int = 1
    after: float = 0.0
    calm: float = 300.0


def shared_conditions(facts: Facts) -> Iterator[Condition]:
    """Return the conditions seen in Redis, which one service process watches for all."""
    total = sum(cause.count for cause in facts.dead.values())
    if total:
        first = max(facts.dead.values(), key=lambda cause: cause.count)
        causes = "one cause" if len(facts.dead) == 1 else f"{len(facts.dead)} causes"
        mostly = "" if len(facts.dead) == 1 else "mostly "
        yield Condition(
            key="dead",
            text=f"{_leads(total)} could not be delivered, for {causes}: {mostly}{first.title}",
            recovered="no dead letters are left",
        )
    for identity, cause in facts.dead.items():
        if cause.count >= MIN_GROWING_CAUSE:
            yield Condition(
                key=f"cause:{identity}",
                text=f"{_leads(cause.count)} failed for one cause: {cause.title}",
                recovered=f"no dead letters are left for: {cause.title}",
                path=f"/ops/submissions?state=dead&cause={identity}",
                level=(cause.count // MIN_GROWING_CAUSE).bit_length(),
            )
    if facts.paused in ACTIONABLE_REASONS:
        advice = f"; {facts.advice}" if facts.advice else ""
        yield Condition(
            key="gate",
            text=f"delivery is paused: {_why_paused(facts.paused)}{advice}",
            recovered="Pipedrive takes calls again, and delivery goes on",
            after=60.0,
        )
    if facts.oldest_seconds > facts.oldest_limit:
        waited = format_span(facts.oldest_seconds)
        why = f"; delivery is paused: {_why_paused(facts.paused)}" if facts.paused else ""
        yield Condition(
            key="oldest",
            text=f"the oldest lead has been waiting for delivery for {waited}{why}",
            recovered="no lead is waiting too long any more",
            path="/ops/submissions?state=waiting",
            after=60.0,
        )
    if not facts.workers:
        yield Condition(
            key="workers",
            text="no worker is running, so nothing is delivered: start one with `leadline work`",
            recovered="workers are running again",
            after=90.0,
            calm=60.0,
        )
    for source, seconds in sorted(facts.silent.items()):
        yield Condition(
            key=f"silent:{source}",
            text=(
                f"the source {source} is usually active at this hour and has been silent for"
                f" {format_span(seconds)}"
            ),
            recovered=f"the source {source} is active again",
            path=f"/ops/submissions?source={source}",
            calm=0.0,
        )
    for source, share in sorted(facts.hourly.items()):
        if share >= HOURLY_WARNING:
            held = "more wait in quarantine as `flood`" if share > 1 else "more would be held back"
            yield Condition(
                key=f"hourly:{source}",
                text=(
                    f"the source {source} has used {min(share, 1):.0%} of the leads that may flow"
                    f" in an hour (`leads_per_hour`); {held}"
                ),
                recovered=f"the source {source} is below its leads per hour again",
                path=f"/ops/submissions?state=quarantined&source={source}",
                level=2 if share > 1 else 1,
            )
    yield from _unsafe_conditions(facts.unsafe)
    if facts.missing_names:
        names = "a name" if facts.missing_names == 1 else f"{facts.missing_names} names"
        yield Condition(
            key="drift",
            text=(
                f"the Pipedrive account lacks {names} of the source file; the next leads that need"
                " them will fail"
            ),
            recovered="the Pipedrive account has every name of the source file",
            after=60.0,
            calm=0.0,
        )
    if facts.storage.is_low:
        yield _storage_condition(facts.storage)


def _storage_condition(storage: StorageUse) -> Condition:
    """Sent at 80 %, and again once submissions may be refused."""
    if storage.memory_share > storage.unverified_share:
        share, of, advice = storage.memory_share, "Redis's memory", "raise `maxmemory`"
    else:
        share, of = storage.unverified_share, "the room for unverified submissions"
        advice = "look through the quarantine, or raise LEADLINE_UNVERIFIED_MAX"
    return Condition(
        key="storage",
        text=(
            f"{min(100, int(share * 100))} % of {of} is used; when it is full, what is oldest in"
            f" quarantine goes and unverified submissions may be refused: {advice}"
        ),
        recovered="there is room again for unverified submissions",
        path="/ops/submissions?state=quarantined",
        level=1 if share < MEMORY_RESERVE_SHARE else 2,
    )


def _unsafe_conditions(breaches: Iterable[Breach]) -> Iterator[Condition]:
    for breach in breaches:
        if not breach.advice:
            yield Condition(
                key=f"unsafe:{breach.what}",
                text=breach.sentence,
                recovered=f"over: {breach.cause}",
                level=2 if breach.refuses else 1,
                calm=60.0,
            )


def _why_paused(reason: str) -> str:
    return REASONS.get(reason, reason)


def machine_conditions(
    *, redis: bool, spool: int, unsafe: Sequence[Breach] = ()
) -> Iterator[Condition]:
    """Return the conditions of one machine, which one of its service processes watches.

    `unsafe` is what that process sees, which counts where Redis cannot tell it to all.
    """
    if not redis:
        yield from _unsafe_conditions(unsafe)
    if not redis and not any(breach.what == "cluster" for breach in unsafe):
        yield Condition(
            key="redis",
            text=(
                f"Redis is unreachable; {_leads(spool)} {_wait(spool)} in this machine's spool."
                " Nothing is lost, and nothing is delivered"
            ),
            recovered="Redis is back",
            after=30.0,
            calm=60.0,
        )
    elif spool:
        yield Condition(
            key="spool",
            text=f"{_leads(spool)} {_wait(spool)} in this machine's spool although Redis is up",
            recovered="the spool is drained",
            after=60.0,
            calm=60.0,
        )


def format_span(seconds: float) -> str:
    """Return a time span as `3 h 10 m`, `12 m` or `2 d 4 h`."""
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [
        f"{value} {unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if value
    ]
    return " ".join(parts[:2]) or "less than a minute"


def _leads(count: int) -> str:
    return "1 lead" if count == 1 else f"{count} leads"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"
