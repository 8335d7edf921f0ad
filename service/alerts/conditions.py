"""What is worth waking somebody for: facts in, conditions out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

MIN_GROWING_CAUSE = 10
"""Dead letters of one cause that are told by themselves; again at each doubling."""


class DeadCause(Struct, frozen=True):
    """Dead letters of one cause. `title` names no personal data."""

    title: str
    count: int


class Facts(Struct, frozen=True, kw_only=True):
    """How things stand for everybody, as Redis tells it. `oldest_seconds`: of what waits for its
    delivery.

    `silent` maps sources that usually speak to the seconds since they last did.
    """

    dead: Mapping[str, DeadCause]
    oldest_seconds: float
    oldest_limit: float
    paused: str | None
    workers: int
    silent: Mapping[str, float]
    missing_names: int


class Condition(Struct, frozen=True, kw_only=True):
    """Something that is wrong now. `key` tells it apart, a higher `level` is worth telling again.

    It is told after it held for `after` seconds, and called recovered after it was gone for `calm`
    seconds.
    """

    key: str
    text: str
    recovered: str
    path: str = "/ops"
    level: int = 1
    after: float = 0.0
    calm: float = 300.0


def shared_conditions(facts: Facts) -> Iterator[Condition]:
    """What everybody's Redis tells; one service process of all watches it."""
    total = sum(cause.count for cause in facts.dead.values())
    if total:
        first = max(facts.dead.values(), key=lambda cause: cause.count)
        causes = "one cause" if len(facts.dead) == 1 else f"{len(facts.dead)} causes"
        yield Condition(
            key="dead",
            text=f"{_leads(total)} could not be delivered, for {causes}. Most: {first.title}",
            recovered="no dead letters are left",
        )
    for identity, cause in facts.dead.items():
        if cause.count >= MIN_GROWING_CAUSE:
            yield Condition(
                key=f"cause:{identity}",
                text=f"{_leads(cause.count)} dead of one cause: {cause.title}",
                recovered=f"no dead letters are left of: {cause.title}",
                path=f"/ops/submissions?state=dead&cause={identity}",
                level=(cause.count // MIN_GROWING_CAUSE).bit_length(),
            )
    if facts.oldest_seconds > facts.oldest_limit:
        why = f"; delivery is paused: {facts.paused}" if facts.paused else ""
        yield Condition(
            key="oldest",
            text=(
                f"the oldest lead has waited for its delivery for {format_span(facts.oldest_seconds)}{why}"
            ),
            recovered="no lead waits too long any more",
            path="/ops/submissions?state=waiting",
            after=60.0,
        )
    if not facts.workers:
        yield Condition(
            key="workers",
            text="no worker is running, nothing is delivered: start one with `leadline work`",
            recovered="workers are running again",
            after=90.0,
            calm=60.0,
        )
    for source, seconds in sorted(facts.silent.items()):
        yield Condition(
            key=f"silent:{source}",
            text=(
                f"the source {source} usually speaks at this hour and has been silent for"
                f" {format_span(seconds)}"
            ),
            recovered=f"the source {source} speaks again",
            path=f"/ops/submissions?source={source}",
            calm=0.0,
        )
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


def machine_conditions(*, redis: bool, spool: int) -> Iterator[Condition]:
    """What one machine sees by itself; one service process of each machine watches it."""
    if not redis:
        yield Condition(
            key="redis",
            text=(
                f"Redis is away; {_leads(spool)} wait in the spool of this machine, nothing is lost"
                " and nothing is delivered"
            ),
            recovered="Redis is back",
            after=30.0,
            calm=60.0,
        )
    elif spool:
        yield Condition(
            key="spool",
            text=f"{_leads(spool)} wait in the spool of this machine although Redis is there",
            recovered="the spool is drained",
            after=60.0,
            calm=60.0,
        )


def format_span(seconds: float) -> str:
    """`3 h 10 m`, `12 m`, `2 d 4 h`."""
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [
        f"{value} {unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if value
    ]
    return " ".join(parts[:2]) or "less than a minute"


def _leads(count: int) -> str:
    return "1 lead" if count == 1 else f"{count} leads"
