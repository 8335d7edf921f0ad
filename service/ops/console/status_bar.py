"""The status bar of every page: how many leads need attention, since when, what is degraded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup
from msgspec import Struct

from service.ops.activity import Activity
from service.ops.console import rendering
from service.ops.console.urls import states_url
from service.ops.dry_run import AccountDrift, DriftItem
from service.ops.schemas import Overview
from service.ops.search_index import Freshness
from service.overview import LEAD_TOKENS, Paused, describe_held_back
from worker.accept.promise import Breach
from worker.contract import WORKING, State
from worker.fate import ACTIONABLE_REASONS

# Missing names in the banner; `leadline check` lists all.
MAX_MISSING_NAMES = 3

# Fewer leads than this for the rest of the day are a warning.
FEW_LEADS_LEFT = 50


class StatusFact(Struct, frozen=True):
    """`kind` is empty, `warn` or `bad`."""

    text: str
    kind: str = ""
    title: str | None = None


class BalancePart(Struct, frozen=True):
    """One summand of the balance: `kind` is a state, or `labelled`."""

    kind: str
    count: int
    label: str
    url: str
    title: str | None = None


class BannerAction(Struct, frozen=True):
    """A button that posts to `url`."""

    url: str
    label: str


class Banner(Struct, frozen=True, kw_only=True):
    """A problem shown above the page. `kind` is bad, warn or plain.

    Text between backticks is shown as code. `next_label` goes before the time `next_at`.
    """

    kind: str
    title: str
    text: str = ""
    since: str | None = None
    next_label: str = ""
    next_at: str | None = None
    last_seen_at: str | None = None
    checked_at: str | None = None
    command: str | None = None
    action: BannerAction | None = None


class TodayCounts(Struct, frozen=True):
    received: int
    delivered: int


class StatusBar(Struct, frozen=True, kw_only=True):
    """What the status bar shows.

    `oldest_seconds` is the age of the oldest dead letter. `stalled`: nothing is delivered, as
    delivery is paused or no worker runs. `nothing_received`: not one submission has ever come in.
    `redis_down`: all figures are those of `as_of`.
    """

    dead: int
    waiting: int
    waiting_oldest_seconds: int | None
    stalled: bool
    oldest_seconds: int | None
    causes: int
    quarantined: int
    nothing_received: bool
    received: int
    parts: list[BalancePart]
    bar: Markup
    facts: list[StatusFact]
    banners: list[Banner]
    spool: int
    paused: bool
    last_delivered_at: str | None
    today: TodayCounts | None
    as_of: str
    redis_down: bool
    states: dict[str, int]

    def count(self, states: str) -> int:
        """How many are in any of `states`, joined by commas; in all of them if that is empty."""
        if not states:
            return self.received
        return sum(self.states.get(state, 0) for state in states.split(","))


def build_status_bar(
    overview: Overview,
    activity: Activity | None,
    labelled: int | None,
    freshness: Freshness,
    *,
    last_worker_at: str | None = None,
    drift: AccountDrift | None = None,
    breaches: Sequence[Breach] = (),
) -> StatusBar:
    """`activity` and `labelled` are None while the index loads.

    `last_worker_at` is when a worker last reported, given if none runs now.
    """
    count = {state: overview.states.get(state.value, 0) for state in State}
    ages = [overview.oldest_seconds[state] for state in WORKING if state in overview.oldest_seconds]
    parts = _balance_parts(count, labelled)
    received = sum(count.values())
    redis_down = "redis" in overview.degraded
    today = None
    if activity and activity.received_today:
        today = TodayCounts(activity.received_today, activity.delivered_today)
    return StatusBar(
        dead=count[State.DEAD],
        waiting=sum(count[state] for state in WORKING),
        waiting_oldest_seconds=max(ages, default=None),
        stalled=overview.paused is not None or not overview.workers,
        oldest_seconds=overview.oldest_seconds.get(State.DEAD),
        causes=overview.causes,
        quarantined=count[State.QUARANTINED],
        nothing_received=received == 0 and not overview.spool and not redis_down,
        received=received,
        parts=parts,
        bar=rendering.share_bar(
            [(part.kind, part.count) for part in parts],
            ", ".join(f"{part.count} {part.label}" for part in parts if part.count),
        ),
        facts=_facts(overview),
        banners=[
            *_breach_banners(breaches),
            *_banners(
                overview,
                freshness,
                last_worker_at,
                drift,
                accepts=not any(breach.refuses for breach in breaches),
            ),
        ],
        spool=overview.spool,
        paused=overview.paused is not None,
        last_delivered_at=activity.last_delivered_at if activity else None,
        today=today,
        as_of=overview.as_of,
        redis_down=redis_down,
        states=overview.states,
    )


def _balance_parts(count: dict[State, int], labelled: int | None) -> list[BalancePart]:
    """All that was received, by what became of it; `waiting` is all that is still in progress."""
    working = {state: count[state] for state in (State.QUEUED, State.DELIVERING, State.WAITING)}
    waiting = ", ".join(f"{number} {state}" for state, number in working.items())
    delivered_url = states_url(State.DELIVERED)
    delivered = count[State.DELIVERED] - (labelled or 0)
    parts = [BalancePart("delivered", delivered, "delivered", delivered_url)]
    if labelled is not None:
        title = "an existing open lead of the same person was labelled"
        parts.append(BalancePart("labelled", labelled, "labelled", delivered_url, title))
    waiting_url = states_url(*working)
    parts.append(
        BalancePart("waiting", sum(working.values()), "waiting", waiting_url, title=waiting)
    )
    for state in (State.DEAD, State.QUARANTINED, State.IGNORED, State.DISCARDED):
        parts.append(BalancePart(state.value, count[state], state.value, states_url(state)))
    if erased := count[State.ERASED]:
        parts.append(BalancePart("erased", erased, "erased", states_url(State.ERASED)))
    return parts


def _facts(overview: Overview) -> list[StatusFact]:
    facts: list[StatusFact] = []
    if overview.tokens.leads is not None:
        leads = overview.tokens.leads
        text = f"API tokens for about {rendering.estimate(leads)} more leads today"
        kind = "warn" if leads < FEW_LEADS_LEFT else ""
        left = rendering.number(overview.tokens.left or 0)
        title = f"{left} API tokens left today; a new lead takes {LEAD_TOKENS}"
        facts.append(StatusFact(text, kind, title))
    if held_back := overview.held_back:
        total = sum(sum(counts.values()) for counts in held_back.values())
        text = f"{rendering.number(total)} held back in the last hour"
        facts.append(StatusFact(text, "warn", "; ".join(describe_held_back(held_back))))
    if "redis" not in overview.degraded:
        if overview.workers:
            text = f"{rendering.plural(overview.workers, 'worker')} running"
        else:
            text = "No workers running"
        kind = "" if overview.workers else "bad"
        facts.append(StatusFact(text, kind, "by their reports of the last minute"))
    return facts


def _banners(
    overview: Overview,
    freshness: Freshness,
    last_worker_at: str | None,
    drift: AccountDrift | None,
    *,
    accepts: bool,
) -> list[Banner]:
    redis_down = "redis" in overview.degraded
    banners = [
        _redis_banner(overview, accepts=accepts) if redis_down else _spool_banner(overview),
        _paused_banner(overview, overview.paused) if overview.paused else None,
        _workers_banner(last_worker_at) if not overview.workers and not redis_down else None,
        _storage_banner(overview),
        _newer_records_banner() if "newer-records" in overview.degraded else None,
        _duplicates_banner(overview.duplicates) if overview.duplicates else None,
        _loading_banner(freshness) if not freshness.ready else None,
        _drift_banner(drift) if drift else None,
    ]
    return [banner for banner in banners if banner]


def _breach_banners(breaches: Sequence[Breach]) -> list[Banner]:
    return [
        Banner(
            kind="bad" if breach.refuses else "warn",
            title=_sentence(breach.cause),
            text=f"{_sentence(breach.effect)} {_sentence(breach.action)}",
        )
        for breach in breaches
        if not breach.advice
    ]


def _redis_banner(overview: Overview, *, accepts: bool) -> Banner:
    saved = "New leads are saved on this machine and will be processed when it returns."
    sentences = [saved] if accepts else []
    if overview.spool:
        sentences.append(f"{rendering.plural(overview.spool, 'submission')} saved so far.")
    if overview.as_of:
        as_of = rendering.clock(overview.as_of, datetime.now(UTC))
        sentences.append(f"Figures below are from {as_of} UTC.")
    return Banner(kind="bad", title="Redis is down.", text=" ".join(sentences))


def _spool_banner(overview: Overview) -> Banner | None:
    if not overview.spool:
        return None
    return Banner(
        kind="warn",
        title=f"{rendering.plural(overview.spool, 'submission')} saved on this machine.",
        text="They came in while Redis was down and are being moved to Redis.",
    )


def _paused_banner(overview: Overview, paused: Paused) -> Banner:
    """An operator's pause has no end; a gate that Pipedrive's answers closed has one."""
    if paused.until is None:
        # A pause without a reason is stored with the reason `paused`.
        reason = paused.reason.rstrip(".") if paused.reason != "paused" else ""
        return Banner(
            kind="warn",
            title="Delivery is paused:" if reason else "Delivery is paused.",
            text=f"{reason}." if reason else "",
            since=paused.since or None,
            action=BannerAction("/ops/resume", "Resume"),
        )
    waiting = sum(overview.states.get(state, 0) for state in WORKING)
    waits = f"{rendering.plural(waiting, 'lead is', 'leads are')} waiting; nothing is lost."
    title, next_label = GATE_TITLES.get(paused.reason, GATE_TITLES["limit"])
    advice = paused.advice if paused.reason in ACTIONABLE_REASONS else None
    return Banner(
        kind="warn",
        title=title,
        text=" ".join([*([_sentence(advice)] if advice else []), *([waits] if waiting else [])]),
        since=paused.since or None,
        next_label=next_label,
        next_at=paused.until,
        action=BannerAction("/ops/resume", "Try now"),
    )


def _sentence(text: str) -> str:
    """`set a valid X; delivery then resumes by itself` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


# Title and label of the next try, by why the workers stopped delivering (see `worker.fate`). The
# pause itself says what to do, because that depends on what exactly was refused.
GATE_TITLES = {
    "outage": ("Pipedrive isn't responding.", "Next check"),
    "budget": ("Today's API tokens are used up.", "Next try"),
    "limit": ("Pipedrive's rate limit is reached.", "Next try"),
    "credentials": ("Pipedrive rejected the credentials.", "Next try"),
    "blocked": ("Pipedrive is blocking this account's calls.", "Next try"),
    "account": ("The Pipedrive account isn't open.", "Next try"),
    "plan": ("The Pipedrive account lacks a feature.", "Next try"),
    "address": ("This isn't Pipedrive's API.", "Next try"),
    "version": ("Pipedrive no longer has a call that Leadline makes.", "Next try"),
}


def _workers_banner(last_worker_at: str | None) -> Banner:
    return Banner(
        kind="bad",
        title="No workers running.",
        text="New leads are accepted and wait.",
        last_seen_at=last_worker_at,
        command="leadline work",
    )


def _storage_banner(overview: Overview) -> Banner | None:
    """What strangers take, and what was evicted or refused for it since Redis is this store."""
    if "storage" not in overview.degraded:
        return None
    storage, sentences, now = overview.storage, [], datetime.now(UTC)
    if storage.unverified_max:
        used = rendering.megabytes(storage.unverified_bytes)
        sentences.append(
            f"Unverified submissions take {used} of {rendering.megabytes(storage.unverified_max)}."
        )
    if storage.evicted and storage.evicted_at:
        evicted = rendering.plural(storage.evicted, "quarantined one was", "quarantined ones were")
        last = rendering.clock(storage.evicted_at, now)
        sentences.append(f"{evicted} removed to make room, the last at {last} UTC.")
    if storage.refused and storage.refused_at:
        refused = rendering.plural(storage.refused, "request was", "requests were")
        last = rendering.clock(storage.refused_at, now)
        sentences.append(f"{refused} refused with 503, the last at {last} UTC.")
    sentences.append("Verified submissions are accepted.")
    return Banner(kind="warn", title="Storage runs low.", text=" ".join(sentences))


def _newer_records_banner() -> Banner:
    return Banner(
        kind="warn",
        title="Some leads wait for a newer worker.",
        text="A newer release of Leadline accepted them: update the workers.",
    )


def _duplicates_banner(count: int) -> Banner:
    return Banner(
        kind="bad",
        title=f"{rendering.plural(count, 'lead was', 'leads were')} created twice in Pipedrive.",
        text="The worker's log lists them. Merge them in Pipedrive by hand.",
    )


def _loading_banner(freshness: Freshness) -> Banner:
    percent = 100 * freshness.loaded // max(1, freshness.total)
    loaded, total = rendering.number(freshness.loaded), rendering.number(freshness.total)
    return Banner(
        kind="plain",
        title=f"Leads are loading: {percent}%.",
        text=f"{loaded} of {total} are loaded; lists are incomplete until then.",
    )


def _drift_banner(drift: AccountDrift) -> Banner | None:
    """What new leads will fail on. What is missing but not needed is left to `leadline check`."""
    needed = [item for item in drift.items if item.needed]
    if not needed:
        return None
    names = [describe_missing(item) for item in needed[:MAX_MISSING_NAMES]]
    if len(needed) > MAX_MISSING_NAMES:
        names.append(f"and {len(needed) - MAX_MISSING_NAMES} more")
    it = "it" if len(needed) == 1 else "them"
    text = f"{', '.join(names)}. Leads that need {it} will fail"
    return Banner(
        kind="warn",
        title="Missing in Pipedrive:",
        text=f"{text}; `leadline check` says how to fix {it}.",
        checked_at=drift.at,
    )


def describe_missing(item: DriftItem) -> str:
    """`label “Webinar” (needed by webinar)`."""
    name = f"{item.kind} “{item.name}”" if item.name else item.message
    return f"{name} (needed by {', '.join(item.sources)})" if item.sources else name
