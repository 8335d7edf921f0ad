"""Decides the fate of a failed delivery: a pure function; `worker.delivery` carries the fate out.

| what went wrong                             | fate                                               |
|---------------------------------------------|----------------------------------------------------|
| not sent, unavailable, not decrypted, a bug | Retry after a growing delay; after the last, Dead  |
| the same while nobody gets through          | Wait at the gate (`outage`), which is probed       |
| create with unknown outcome                 | Settle, then look for it, even after the last try  |
| still settling, Redis gone back in time     | Settle; no attempt used                            |
| looked for and absent                       | Settle for the rest of its delay, while others of  |
|                                             | the person may go; after the last, Dead            |
| looking for it fails                        | Retry soon, as it holds the person queue; uses an  |
|                                             | attempt only if one was due                        |
| 429, our own count                          | Wait; at the gate, save for our own burst window,  |
|                                             | which is short; where no wait was stated, probed   |
|                                             | at growing intervals                               |
| the rest is for verified sources            | Wait an hour at most, this one alone               |
| budget spent                                | Wait at the gate until the stated reset, and probe |
|                                             | once an hour before it; at growing intervals where |
|                                             | none was stated                                    |
| 401, refresh token rejected, blocked        | Wait at the gate, probed at growing intervals      |
| 402, 415, no endpoint, not Pipedrive's API  | Wait at the gate, probed at growing intervals      |
| the gate has closed in the meantime         | Wait at the gate                                   |
| Redis down                                  | Wait a moment, once that can be recorded; else the |
|                                             | lease expires                                      |
| lease lost, not ours to move                | Abandon                                            |
| refused for an id that we remembered        | ResolveAfresh, each id once; then Dead             |
| refused, unmappable, unknown name           | Dead                                               |
| record not fetched: token rejected, failed  | Retry after a growing delay; after the last, Dead  |
| record not fetched: the provider's limit    | Wait, this one alone                               |
| record gone                                 | Dead                                               |

With the default delays, and ±20 % on each, a delivery that never succeeds goes like this:

    try    1     2     3     4      5      6     7      8      9
    wait     10s    1m    5m    30m     2h    6h    12h    24h    dead
    since  0    10s   70s   6m    36m    2.6h   8.6h  20.6h  44.6h
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from worker import errors
from worker.causes import cause_of, truncate
from worker.contract import Cause

MAX_PROBE_SECONDS = 3600.0
MAX_OUTAGE_PROBE_SECONDS = 45.0
# Calls that go on after an HTML 403 prolong the block.
MIN_BLOCK_SECONDS = 600.0
STORE_WAIT_SECONDS = 5.0
# Between two looks for a create with unknown outcome; others of its person wait meanwhile.
MAX_LOOK_SECONDS = 600.0
# The longest wait that a `Retry-After` can impose: a day, plus slack for clocks that differ.
MAX_WAIT_SECONDS = 26 * 3600.0
JITTER = 0.2
NO_IDS: Mapping[str, int | str | None] = {}

# Why a submission waits or the gate is closed: the stored word, and what it means.
REASONS = {
    "retry": "an attempt failed and will be repeated",
    "settle": "a create with unknown outcome settles before it is looked for",
    "limit": "Pipedrive is limiting our calls",
    "budget": "today's Pipedrive API tokens are used up",
    "reserve": "the rest of today's Pipedrive API tokens is for sources that verify their senders",
    "credentials": "Pipedrive rejected the credentials",
    "blocked": "Pipedrive is blocking this account's API traffic",
    "account": "the Pipedrive account isn't open",
    "plan": "the Pipedrive account lacks a feature that deliveries need",
    "address": "what answers at Pipedrive's address isn't its API",
    "version": "Pipedrive no longer has a call that this version of Leadline makes",
    "outage": "Pipedrive isn't responding",
    "store": "Redis is down",
    "fetch": "the provider that holds the record is limiting our calls",
}

# The reasons for which Pipedrive's answers close the gate, and those that a person must remove.
GATE_REASONS = (
    "limit",
    "budget",
    "credentials",
    "blocked",
    "outage",
    "account",
    "plan",
    "address",
    "version",
)
ACTIONABLE_REASONS = frozenset(GATE_REASONS) - {"limit", "budget", "outage"}


class Policy(Struct, frozen=True):
    """Waits in seconds; `retry_delays[n]` follows try n + 1: there is one more try than delays."""

    retry_delays: tuple[float, ...]
    settle_seconds: float
    probe_seconds: float


class Retry(Struct, frozen=True, tag=True):
    """Try again at `at` (Unix seconds)."""

    at: float
    cause: Cause
    attempts_used: int = 1


class Wait(Struct, frozen=True, tag=True):
    """Go on at `until` (Unix seconds); no attempt is used up.

    With `gate`, every delivery waits until then; with `probe`, one of them is then let through
    first.
    """

    until: float
    reason: str
    gate: bool
    probe: bool
    cause: Cause


class Settle(Struct, frozen=True, tag=True):
    """Look for the create at `until` (Unix seconds).

    `attempts_used` is 1 for the create itself, else 0. `queue_free`: we have looked for it already,
    so its person's other submissions need not wait for it.
    """

    until: float
    cause: Cause
    attempts_used: int
    queue_free: bool = False


class ResolveAfresh(Struct, frozen=True, tag=True):
    """Forget the `ids` that Pipedrive refused, and look them up again: `worker.delivery.refused`."""

    ids: Mapping[str, int | str | None]
    cause: Cause


class Dead(Struct, frozen=True, tag=True):
    """Give up until a person has removed the cause."""

    cause: Cause


class Abandon(Struct, frozen=True, tag=True):
    """Do nothing: the submission belongs to another worker, or to nobody."""


Fate = Retry | Wait | Settle | ResolveAfresh | Dead | Abandon


def wait_after(policy: Policy, attempts: int) -> float | None:
    """The least seconds between the create of try `attempts` and the next; None after the last."""
    if attempts > len(policy.retry_delays):
        return None
    return policy.retry_delays[attempts - 1] * (1 - JITTER) if attempts else 0.0


class Case(Struct, frozen=True, kw_only=True):
    """One failed delivery: the arguments of `decide`."""

    error: BaseException
    step: str
    attempts: int
    first_attempt_at: float
    now: float
    policy: Policy
    jitter: float
    probes: int
    stale_ids: Mapping[str, int | str | None]
    outage: bool
    source: str

    @property
    def cause(self) -> Cause:
        return cause_of(self.error, step=self.step, source=self.source)

    @property
    def delay(self) -> float | None:
        """Seconds to the next try, jittered; None after the last."""
        if self.attempts > len(self.policy.retry_delays):
            return None
        return self.policy.retry_delays[max(self.attempts, 1) - 1] * (
            1 - JITTER + 2 * JITTER * self.jitter
        )

    def probe_after(self, shortest: float = 0.0, first: float | None = None) -> float:
        """Seconds to the next probe of the gate; doubles with each failed one, up to an hour.

        `first` is the wait before the first probe, if not `probe_seconds` of the policy.
        """
        first = self.policy.probe_seconds if first is None else first
        grown = first * 2.0 ** min(self.probes, 20)
        return max(shortest, min(grown, max(MAX_PROBE_SECONDS, first)))


def decide(
    error: BaseException,
    *,
    step: str,
    attempts: int,
    first_attempt_at: float,
    now: float,
    policy: Policy,
    jitter: float,
    probes: int = 0,
    stale_ids: Mapping[str, int | str | None] = NO_IDS,
    outage: bool = False,
    source: str = "*",
) -> Fate:
    """The fate of a delivery that failed with `error` at `step`.

    `attempts` includes this one; times are Unix seconds; `jitter` is in [0, 1). `probes` is how
    often the gate was probed in vain. `stale_ids` are the remembered ids that it may have been
    refused for and that were not resolved afresh yet. `outage`: no delivery has got through lately.
    `source` is named in the cause.
    """
    case = Case(
        error=error, step=step, attempts=attempts, first_attempt_at=first_attempt_at, now=now,
        policy=policy, jitter=jitter,
        probes=probes, stale_ids=stale_ids, outage=outage, source=source,
    )  # fmt: skip
    return next((FATES[kind] for kind in type(error).__mro__ if kind in FATES), _retry)(case)


def _retry(case: Case) -> Fate:
    if case.delay is None:
        return _give_up(case)
    if case.step == "settle":
        due = case.first_attempt_at + sum(case.policy.retry_delays[: case.attempts])
        return Retry(
            case.now + min(case.delay, MAX_LOOK_SECONDS),
            case.cause,
            attempts_used=int(case.now >= due),
        )
    return Retry(case.now + case.delay, case.cause)


def _retry_or_outage(case: Case) -> Fate:
    if case.outage:
        # A probe that does not get through costs nothing, so probe often: delivery then resumes
        # within a minute of the end of the outage.
        wait = min(case.probe_after(), max(MAX_OUTAGE_PROBE_SECONDS, case.policy.probe_seconds))
        return Wait(case.now + wait, "outage", gate=True, probe=True, cause=case.cause)
    return _retry(case)


def _settle(case: Case) -> Fate:
    """Settles even after the last try: that create may have made something we must record."""
    if case.attempts > len(case.policy.retry_delays) + 1:
        return _give_up(case)
    return Settle(case.now + case.policy.settle_seconds, case.cause, attempts_used=1)


def _still_settling(case: Case) -> Fate:
    until = case.error.until if isinstance(case.error, errors.Settling) else case.now
    return Settle(max(until, case.now), case.cause, attempts_used=0)


def _absent(case: Case) -> Fate:
    """Waits out the delay of the attempt that sent the create; that attempt is already counted."""
    tried = structs.replace(case, attempts=case.attempts - 1)
    since = case.error.since if isinstance(case.error, errors.Absent) else case.now
    return (
        _give_up(tried)
        if tried.delay is None
        else Settle(
            max(case.now, since + tried.delay), case.cause, attempts_used=0, queue_free=True
        )
    )


def _gated(case: Case) -> Fate:
    until, reason = (
        (case.error.until, case.error.reason)
        if isinstance(case.error, errors.Gated)
        else (case.now, "limit")
    )
    return Wait(max(until, case.now), reason, gate=False, probe=False, cause=case.cause)


def _limit(case: Case) -> Fate:
    """Waits as stated; else, as nobody knows how long it lasts, one probe asks ever less often."""
    wait = _stated_seconds(case)
    if isinstance(case.error, errors.RateLimited) and not case.error.stated:
        wait = case.probe_after(first=wait)
        return Wait(case.now + wait, "limit", gate=True, probe=True, cause=case.cause)
    return Wait(case.now + wait, "limit", gate=True, probe=False, cause=case.cause)


def _budget(case: Case) -> Fate:
    """Waits as stated, but probes once an hour, because tokens can be bought in the meantime.

    Where the budget is still spent after the stated wait, it is asked for ever less often.
    """
    if isinstance(case.error, errors.RateLimited) and not case.error.stated:
        wait = case.probe_after()
    else:
        again = structs.replace(case, probes=max(0, case.probes - 1))
        wait = min(again.probe_after(first=_stated_seconds(case)), MAX_PROBE_SECONDS)
    return Wait(case.now + wait, "budget", gate=True, probe=True, cause=case.cause)


def _allowance(case: Case) -> Fate:
    error = case.error
    until, budget = (
        (error.until, error.budget)
        if isinstance(error, errors.OutOfAllowance)
        else (case.now, False)
    )
    until = min(max(until, case.now), case.now + MAX_WAIT_SECONDS)
    return Wait(until, "budget" if budget else "limit", gate=budget, probe=budget, cause=case.cause)


def _reserved(case: Case) -> Fate:
    """Waits alone: verified sources go on, so the gate stays open."""
    until = case.error.until if isinstance(case.error, errors.Reserved) else case.now
    return Wait(max(until, case.now), "reserve", gate=False, probe=False, cause=case.cause)


def _account(case: Case) -> Fate:
    reason = (
        case.error.reason
        if isinstance(case.error, errors.AccountFault)
        else errors.AccountFault.reason
    )
    return Wait(case.now + case.probe_after(), reason, gate=True, probe=True, cause=case.cause)


def _credentials(case: Case) -> Fate:
    return Wait(
        case.now + case.probe_after(), "credentials", gate=True, probe=True, cause=case.cause
    )


def _blocked(case: Case) -> Fate:
    return Wait(
        case.now + case.probe_after(MIN_BLOCK_SECONDS),
        "blocked",
        gate=True,
        probe=True,
        cause=case.cause,
    )


def _store(case: Case) -> Fate:
    return Wait(case.now + STORE_WAIT_SECONDS, "store", gate=False, probe=False, cause=case.cause)


def _fetch_limit(case: Case) -> Fate:
    return Wait(
        case.now + _stated_seconds(case), "fetch", gate=False, probe=False, cause=case.cause
    )


def _refused(case: Case) -> Fate:
    return ResolveAfresh(case.stale_ids, case.cause) if case.stale_ids else Dead(case.cause)


def _dead(case: Case) -> Fate:
    return Dead(case.cause)


def _abandon(_: Case) -> Fate:
    return Abandon()


def _give_up(case: Case) -> Fate:
    tries = "1 try" if case.attempts == 1 else f"{case.attempts} tries"
    took = _format_about(max(0.0, case.now - case.first_attempt_at))
    return Dead(
        structs.replace(
            case.cause, detail=truncate(f"gave up after {tries} in {took}: {case.cause.detail}")
        )
    )


def _format_about(seconds: float) -> str:
    """A rough duration such as `90s`, `45m` or `3d`, in a unit of which there are at least two."""
    name, size = next(
        (unit for unit in (("d", 86400), ("h", 3600), ("m", 60)) if seconds >= 2 * unit[1]),
        ("s", 1),
    )
    return f"{round(seconds / size)}{name}"


def _stated_seconds(case: Case) -> float:
    """The seconds that an answer asks us to wait, within bounds."""
    seconds = (
        case.error.retry_after
        if isinstance(case.error, errors.RateLimited | errors.FetchLimited)
        else 1.0
    )
    return (
        min(max(seconds, 1.0), MAX_WAIT_SECONDS) if math.isfinite(seconds) else case.probe_after()
    )


# Every class of `worker.errors`; any other exception is a bug and is retried.
FATES: dict[type[BaseException], Callable[[Case], Fate]] = {
    errors.LeadlineError: _retry,
    errors.StoreUnavailable: _store,
    errors.LeaseLost: _abandon,
    errors.NotAllowed: _abandon,
    errors.Overtaken: _abandon,
    errors.OutOfAllowance: _allowance,
    errors.Reserved: _reserved,
    errors.CannotDecrypt: _retry,
    errors.Settling: _still_settling,
    errors.Restored: _still_settling,
    errors.Absent: _absent,
    errors.Gated: _gated,
    errors.Unmappable: _dead,
    errors.UnknownName: _dead,
    errors.FetchError: _retry,
    errors.FetchFailed: _retry,
    errors.FetchNotAllowed: _retry,
    errors.FetchLimited: _fetch_limit,
    errors.FetchRefused: _retry,
    errors.FetchForbidden: _retry,
    errors.RecordGone: _dead,
    errors.PipedriveError: _retry,
    errors.NotSent: _retry_or_outage,
    errors.OutcomeUnknown: _settle,
    errors.Unavailable: _retry_or_outage,
    errors.TooLarge: _retry,
    errors.RateLimited: _limit,
    errors.BudgetSpent: _budget,
    errors.Unauthorized: _credentials,
    errors.Reauthorise: _credentials,
    errors.ClientRejected: _credentials,
    errors.Blocked: _blocked,
    errors.AccountFault: _account,
    errors.AccountClosed: _account,
    errors.FeatureOff: _account,
    errors.WrongAddress: _account,
    errors.WrongTokenAddress: _account,
    errors.EndpointGone: _account,
    errors.Refused: _refused,
    errors.Invalid: _refused,
    errors.Forbidden: _refused,
    errors.Gone: _refused,
}
