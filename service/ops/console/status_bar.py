"""The line on top of every page: how many leads need somebody, since when, and whether everything
adds up.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from service.ops.activity import Chart
from service.ops.console import rendering
from service.ops.console.urls import Place
from service.ops.dry_run import Lacking
from service.ops.queries import Filter, Freshness
from service.ops.schemas import Overview
from worker.contract import WORKING, State
from worker.ledger.status import LEAD_TOKENS

SHOWN = 3
"""Of what the account lacks, in the banner; `leadline check` lists all."""


class Fact(Struct, frozen=True):
    text: str
    kind: str = ""
    title: str | None = None


class Part(Struct, frozen=True):
    """One side of the balance: `kind` is a state, or `labelled`."""

    kind: str
    count: int
    label: str
    href: str
    title: str | None = None


class Act(Struct, frozen=True):
    to: str
    label: str


class Banner(Struct, frozen=True, kw_only=True):
    """Something is not as it should be. Text between backticks is shown as code. `kind` is bad,
    warn or plain.
    """

    kind: str
    title: str
    text: str
    since: str | None = None
    until: str | None = None
    last: str | None = None
    command: str | None = None
    action: Act | None = None


class Today(Struct, frozen=True):
    received: int
    delivered: int


class Top(Struct, frozen=True, kw_only=True):
    """`oldest` in seconds. `never`: nothing has ever come in."""

    dead: int
    waiting: int
    waiting_oldest: int | None
    held: bool
    """Nothing is delivered: it is paused, or nobody is there to do it."""
    oldest: int | None
    causes: int
    quarantined: int
    never: bool
    received: int
    parts: list[Part]
    bar: Markup
    facts: list[Fact]
    banners: list[Banner]
    spool: int
    paused: bool
    last_delivered: str | None
    today: Today | None
    as_of: str
    away: bool
    """Redis is away: all of it is as it was at `as_of`."""
    states: dict[str, int]

    def counted(self, states: str) -> int:
        """How many are in any of these states, joined by commas; in all where none is named."""
        return (
            sum(self.states.get(state, 0) for state in states.split(","))
            if states
            else self.received
        )


def top(
    now: Overview,
    flow: Chart | None,
    labelled: int | None,
    fresh: Freshness,
    last_worker: str | None = None,
    lacking: Sequence[Lacking] = (),
) -> Top:
    """`flow` and `labelled` are None while the index loads. `last_worker`: when a worker was seen
    last, if none is now.
    """
    count = {state: now.states.get(state.value, 0) for state in State}
    parts = _parts(count, labelled)
    received = sum(count.values())
    return Top(
        dead=count[State.DEAD],
        waiting=sum(count[state] for state in WORKING),
        waiting_oldest=max(
            (now.oldest_seconds[state] for state in WORKING if state in now.oldest_seconds),
            default=None,
        ),
        held=now.paused is not None or not now.workers,
        oldest=now.oldest_seconds.get(State.DEAD),
        causes=now.causes,
        quarantined=count[State.QUARANTINED],
        never=received == 0 and not now.spool and "redis" not in now.degraded,
        received=received,
        parts=parts,
        bar=rendering.shares(
            [(part.kind, part.count) for part in parts],
            ", ".join(f"{part.count} {part.label}" for part in parts if part.count),
        ),
        facts=list(_facts(now)),
        banners=[*_banners(now, fresh, last_worker), *_drifted(lacking)],
        spool=now.spool,
        paused=now.paused is not None,
        last_delivered=flow.last_delivered_at if flow else None,
        today=(
            Today(flow.received_today, flow.delivered_today)
            if flow and flow.received_today
            else None
        ),
        as_of=now.as_of,
        away="redis" in now.degraded,
        states=now.states,
    )


def _parts(count: dict[State, int], labelled: int | None) -> list[Part]:
    """All that was received, by what became of it. Waiting is whatever is still on its way."""
    way = {state: count[state] for state in (State.QUEUED, State.DELIVERING, State.WAITING)}
    said = ", ".join(f"{number} {state}" for state, number in way.items())
    delivered = count[State.DELIVERED]
    parts = [Part("delivered", delivered - (labelled or 0), "delivered", _list(State.DELIVERED))]
    if labelled is not None:
        title = "an open lead of the same person was labelled"
        parts.append(Part("labelled", labelled, "labelled", _list(State.DELIVERED), title))
    parts.append(Part("waiting", sum(way.values()), "waiting", _list(*way), said))
    names = (State.DEAD, State.QUARANTINED, State.IGNORED, State.DISCARDED)
    parts += [Part(state.value, count[state], state.value, _list(state)) for state in names]
    erased = count[State.ERASED]
    return [*parts, Part("erased", erased, "erased", _list(State.ERASED))] if erased else parts


def _list(*states: State) -> str:
    return Place(filter=Filter(state=",".join(states))).list


def _facts(now: Overview) -> list[Fact]:
    found: list[Fact] = []
    if now.tokens.leads is not None:
        leads = now.tokens.leads
        title = (
            f"{rendering.number(now.tokens.left or 0)} API tokens, {LEAD_TOKENS} for a new lead;"
            " they reset at midnight UTC"
        )
        found.append(
            Fact(
                f"API tokens for about {rendering.about(leads)} more leads today",
                "warn" if leads < 50 else "",
                title,
            )
        )
    if "redis" not in now.degraded:
        found.append(
            Fact(
                f"{rendering.plural(now.workers, 'worker')} seen",
                "" if now.workers else "bad",
                "within the last minute",
            )
        )
    return found


def _banners(now: Overview, fresh: Freshness, last_worker: str | None) -> list[Banner]:
    found: list[Banner] = []
    if "redis" in now.degraded:
        kept = (
            f" {rendering.plural(now.spool, 'submission')} spooled here so far."
            if now.spool
            else ""
        )
        text = (
            f"What comes in is kept on this machine's disk, and goes on once it answers.{kept}"
            " Below is what was known last."
        )
        found.append(Banner(kind="bad", title="Redis is away.", text=text))
    elif now.spool:
        text = "They were accepted while Redis was away, and are being handed over."
        found.append(
            Banner(
                kind="warn",
                title=f"{rendering.plural(now.spool, 'submission')} spooled on this machine.",
                text=text,
            )
        )
    if now.paused:
        found.append(_paused(now))
    if not now.workers and "redis" not in now.degraded:
        text = "Submissions are accepted and wait."
        title = "No worker was seen within the last minute."
        found.append(
            Banner(kind="bad", title=title, text=text, last=last_worker, command="leadline work")
        )
    if "newer-records" in now.degraded:
        text = "A process of a newer release accepted them: update the workers."
        found.append(
            Banner(
                kind="warn", title="Submissions wait for a worker of a newer release.", text=text
            )
        )
    if now.doubles:
        text = "The worker's log names them; merge them there by hand."
        found.append(
            Banner(
                kind="bad",
                title=f"{rendering.plural(now.doubles, 'lead')} made twice in Pipedrive.",
                text=text,
            )
        )
    if not fresh.ready:
        share = f"{100 * fresh.known // max(1, fresh.total)} %"
        text = (
            f"{rendering.number(fresh.known)} of {rendering.number(fresh.total)} submissions are"
            " read; lists are not complete before."
        )
        found.append(Banner(kind="plain", title=f"The index is loading, {share}.", text=text))
    return found


def _drifted(lacking: Sequence[Lacking]) -> list[Banner]:
    """What leads will die of, before they do; the rest leads flow without."""
    needed = [each for each in lacking if each.needed]
    if not needed:
        return []
    named = [_lacked(each) for each in needed[:SHOWN]] + (
        [f"and {len(needed) - SHOWN} more"] if len(needed) > SHOWN else []
    )
    text = (
        f"{', '.join(named)}. New leads that need it will fail; `leadline check` says what to mend."
    )
    return [Banner(kind="warn", title="Not in the Pipedrive account:", text=text)]


def _lacked(each: Lacking) -> str:
    what = f"{each.kind} “{each.name}”" if each.name else each.message
    return f"{what} ({', '.join(each.sources)})" if each.sources else what


def _paused(now: Overview) -> Banner:
    assert now.paused is not None
    # Who gives no reason gets the word itself as one.
    reason = now.paused.reason.rstrip(".") if now.paused.reason != "paused" else ""
    return Banner(
        kind="warn",
        title="Delivery is paused:" if reason else "Delivery is paused.",
        text=f"{reason}." if reason else "",
        since=now.paused.since or None,
        until=now.paused.until,
        action=Act("/ops/resume", "Resume"),
    )
