from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from worker import errors
from worker.causes import MAX_DETAIL_CHARS, cause_of
from worker.errors import (
    Absent,
    AccountClosed,
    AccountFault,
    Blocked,
    BudgetSpent,
    CannotDecrypt,
    ClientRejected,
    EndpointGone,
    FeatureOff,
    FetchError,
    FetchFailed,
    FetchForbidden,
    FetchLimited,
    FetchNotAllowed,
    FetchRefused,
    Forbidden,
    Gated,
    Gone,
    Invalid,
    LeadlineError,
    LeaseLost,
    NotAllowed,
    NotSent,
    OutcomeUnknown,
    OutOfAllowance,
    Overtaken,
    PipedriveError,
    RateLimited,
    Reauthorise,
    RecordGone,
    Refused,
    Reserved,
    Restored,
    Settling,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownName,
    Unmappable,
    WrongAddress,
    WrongTokenAddress,
)
from worker.fate import (
    FATES,
    REASONS,
    Abandon,
    Dead,
    Fate,
    Policy,
    ResolveAfresh,
    Retry,
    Settle,
    Wait,
    decide,
)

NOW = 1_800_000_000.0
DELAYS = (10.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0, 86400.0)
POLICY = Policy(retry_delays=DELAYS, settle_seconds=90.0, probe_seconds=30.0)
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LeadlineError)
]

TOKEN, BASE = "sources.contact.fetch.token_env", "sources.contact.fetch.base_url"
EXAMPLES: dict[type[LeadlineError], Callable[[], LeadlineError]] = {
    LeadlineError: lambda: LeadlineError("odd"),
    StoreUnavailable: lambda: StoreUnavailable("Redis: ConnectionError"),
    LeaseLost: lambda: LeaseLost("sub-1"),
    NotAllowed: lambda: NotAllowed("sub-1", "erased", "deliver"),
    Overtaken: lambda: Overtaken("sub-1", "dead", "retry"),
    OutOfAllowance: lambda: OutOfAllowance(NOW + 2, budget=False),
    Reserved: lambda: Reserved(NOW + 3600),
    CannotDecrypt: lambda: CannotDecrypt("cannot be opened"),
    Settling: lambda: Settling("lead", NOW + 40),
    Restored: lambda: Restored("submission", NOW + 40),
    Absent: lambda: Absent("person", NOW - 90),
    Gated: lambda: Gated(NOW + 20, "credentials"),
    Unmappable: lambda: Unmappable(
        "wrong template", setting="sources.contact.lead.title", field="title"
    ),
    UnknownName: lambda: UnknownName(
        "label", "Hot", setting="sources.contact.lead.labels", available=["Cold"]
    ),
    FetchError: lambda: FetchError("400 bad field", setting=TOKEN, status=400),
    FetchFailed: lambda: FetchFailed("503 Service Unavailable", setting=BASE, status=503),
    FetchNotAllowed: lambda: FetchNotAllowed("x is 127.0.0.1, not public", setting=BASE),
    FetchLimited: lambda: FetchLimited("429 slow down", setting=BASE, status=429, retry_after=60.0),
    FetchRefused: lambda: FetchRefused("401 the token is refused", setting=TOKEN, status=401),
    FetchForbidden: lambda: FetchForbidden(
        "403 leads_retrieval is missing", setting=TOKEN, status=403
    ),
    RecordGone: lambda: RecordGone("404 the record is gone", setting=TOKEN, status=404),
    PipedriveError: lambda: PipedriveError("leads.add", "odd", status=418),
    NotSent: lambda: NotSent("leads.add", "connection refused"),
    OutcomeUnknown: lambda: OutcomeUnknown("leads.add", "timed out"),
    Unavailable: lambda: Unavailable("leads.get", "Service Unavailable", status=503),
    TooLarge: lambda: TooLarge("deal_fields.list", "the answer is larger than 5 bytes"),
    RateLimited: lambda: RateLimited("leads.add", "slow down", retry_after=2.0),
    BudgetSpent: lambda: BudgetSpent("leads.add", "no tokens", retry_after=7200.0),
    Unauthorized: lambda: Unauthorized("leads.add", "unauthorized access", status=401),
    ClientRejected: lambda: ClientRejected("oauth.refresh", "invalid_client", status=401),
    Reauthorise: lambda: Reauthorise("oauth.refresh", "invalid_grant", status=400),
    AccountFault: lambda: AccountFault("leads.add", "odd", status=402),
    AccountClosed: lambda: AccountClosed("leads.add", "Company account is not open", status=402),
    FeatureOff: lambda: FeatureOff("leads.add", "Feature is not enabled", status=415),
    WrongAddress: lambda: WrongAddress("persons.search", "a page", status=200),
    WrongTokenAddress: lambda: WrongTokenAddress("oauth.refresh", "a page", status=404),
    EndpointGone: lambda: EndpointGone("leads.add", "Unknown method .", status=404),
    Blocked: lambda: Blocked("leads.add", "HTML page", status=403),
    Refused: lambda: Refused("leads.add", "no", status=451),
    Invalid: lambda: Invalid("leads.add", "title is too long", status=400, field="title"),
    Forbidden: lambda: Forbidden("leads.add", "forbidden", status=403),
    Gone: lambda: Gone("leads.get", "not found", status=404),
}


def fate(error: BaseException, **options: Any) -> Fate:
    given: dict[str, Any] = {
        "step": "lead", "attempts": 1, "first_attempt_at": NOW - 100, "now": NOW, "policy": POLICY,
        "jitter": 0.5,
        "source": "contact",
    }  # fmt: skip
    return decide(error, **given | options)


def test_every_error_has_its_row() -> None:
    """No error reaches a fate by accident: each class has its row, and its fate is well-formed."""
    for kind in CLASSES:
        assert kind in FATES
        decided = fate(EXAMPLES[kind]())
        if isinstance(decided, Retry | Wait | Settle | Dead):
            assert decided.cause.hint
            assert decided.cause.code == kind.code
            assert "{" not in decided.cause.hint


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (LeadlineError, (Retry, NOW + 10)),
        (PipedriveError, (Retry, NOW + 10)),
        (NotSent, (Retry, NOW + 10)),
        (Unavailable, (Retry, NOW + 10)),
        (TooLarge, (Retry, NOW + 10)),
        (StoreUnavailable, (Wait, NOW + 5, "store", False, False)),
        (LeaseLost, (Abandon,)),
        (NotAllowed, (Abandon,)),
        (Overtaken, (Abandon,)),
        (OutOfAllowance, (Wait, NOW + 2, "limit", False, False)),
        (Reserved, (Wait, NOW + 3600, "reserve", False, False)),
        (Settling, (Settle, NOW + 40, 0)),
        (Restored, (Settle, NOW + 40, 0)),
        (Gated, (Wait, NOW + 20, "credentials", False, False)),
        (OutcomeUnknown, (Settle, NOW + 90, 1)),
        (Unmappable, (Dead,)),
        (UnknownName, (Dead,)),
        (FetchError, (Retry, NOW + 10)),
        (FetchFailed, (Retry, NOW + 10)),
        (FetchLimited, (Wait, NOW + 60, "fetch", False, False)),
        (FetchRefused, (Retry, NOW + 10)),
        (FetchForbidden, (Retry, NOW + 10)),
        (FetchNotAllowed, (Retry, NOW + 10)),
        (RecordGone, (Dead,)),
        (RateLimited, (Wait, NOW + 2, "limit", True, False)),
        (BudgetSpent, (Wait, NOW + 3600, "budget", True, True)),
        (Unauthorized, (Wait, NOW + 30, "credentials", True, True)),
        (ClientRejected, (Wait, NOW + 30, "credentials", True, True)),
        (Reauthorise, (Wait, NOW + 30, "credentials", True, True)),
        (AccountFault, (Wait, NOW + 30, "account", True, True)),
        (AccountClosed, (Wait, NOW + 30, "account", True, True)),
        (FeatureOff, (Wait, NOW + 30, "plan", True, True)),
        (WrongAddress, (Wait, NOW + 30, "address", True, True)),
        (WrongTokenAddress, (Wait, NOW + 30, "address", True, True)),
        (EndpointGone, (Wait, NOW + 30, "version", True, True)),
        (Blocked, (Wait, NOW + 600, "blocked", True, True)),
        (Refused, (Dead,)),
        (Invalid, (Dead,)),
        (Forbidden, (Dead,)),
        (Gone, (Dead,)),
    ],
)
def test_the_table(kind: type[LeadlineError], expected: tuple[Any, ...]) -> None:
    """Each error has one fate on its first appearance."""
    assert shape(fate(EXAMPLES[kind]())) == expected


def shape(decided: Fate) -> tuple[Any, ...]:
    """A fate without its cause."""
    match decided:
        case Retry(at=at):
            return Retry, at
        case Wait(until=until, reason=reason, gate=gate, probe=probe):
            assert reason in REASONS
            return Wait, until, reason, gate, probe
        case Settle(until=until, attempts_used=used):
            return Settle, until, used
        case _:
            return (type(decided),)


def test_delays_grow_with_jitter() -> None:
    """Each try waits for its place in the schedule, a fifth more or less."""
    for attempts in range(1, 9):
        for error in [NotSent("c", "d"), Unavailable("c", "d"), RuntimeError("bug")]:
            for jitter, factor in ((0.0, 0.8), (0.5, 1.0), (0.999, 1.1996)):
                decided = fate(error, attempts=attempts, jitter=jitter)
                assert isinstance(decided, Retry)
                assert decided.at == pytest.approx(NOW + DELAYS[attempts - 1] * factor)


def test_the_schedule_lasts_a_day() -> None:
    """However the jitter falls, a delivery is tried for at least 24 hours before it is dead."""
    now, attempts = NOW, 1
    while isinstance(
        decided := fate(
            NotSent("c", "d"), attempts=attempts, now=now, first_attempt_at=NOW, jitter=0.0
        ),
        Retry,
    ):
        now, attempts = decided.at, attempts + 1
    assert isinstance(decided, Dead)
    assert attempts == 9
    assert now - NOW >= 24 * 3600


@pytest.mark.parametrize(
    ("first", "took"),
    [(NOW - 160_570, "45h"), (NOW - 7199, "120m"), (NOW + 5, "0s"), (NOW - 1e6, "12d")],
)
def test_gives_up_after_the_last_delay(first: float, took: str) -> None:
    """After the last delay the submission is dead; its cause says how often and how long we tried."""
    decided = fate(
        Unavailable("leads.get", "Service Unavailable", status=503),
        attempts=9,
        first_attempt_at=first,
    )
    assert isinstance(decided, Dead)
    assert (
        decided.cause.detail
        == f"gave up after 9 tries in {took}: leads.get: 503 Service Unavailable"
    )
    assert (decided.cause.code, decided.cause.status, decided.cause.step) == (
        "unavailable",
        503,
        "lead",
    )


def test_no_delays_at_all() -> None:
    """With no delays configured the first failure is the last."""
    decided = fate(
        NotSent("c", "d"), policy=Policy(retry_delays=(), settle_seconds=90, probe_seconds=30)
    )
    assert isinstance(decided, Dead)
    assert "gave up after 1 try in 100s" in decided.cause.detail


@pytest.mark.parametrize(("attempts", "expected"), [(1, 90.0), (3, 90.0), (9, 90.0), (10, None)])
def test_unknown_outcomes_settle(attempts: int, expected: float | None) -> None:
    """A create is looked for once it has settled, however long the next delay, even after the last."""
    decided = fate(OutcomeUnknown("leads.add", "timed out"), attempts=attempts)
    if expected is None:
        assert isinstance(decided, Dead)
        assert "ask Pipedrive whether the create happened" in (decided.cause.hint or "")
    else:
        assert shape(decided) == (Settle, NOW + expected, 1)


@pytest.mark.parametrize(("attempts", "delay"), [(2, 10.0), (4, 300.0), (9, 86400.0), (10, None)])
def test_what_is_absent_waits_for_its_next_try_without_the_line(
    attempts: int, delay: float | None
) -> None:
    """What was looked for in vain waits out its delay, frees the queue, and dies after the last."""
    decided = fate(Absent("person", NOW - 5), attempts=attempts)
    if delay is None:
        assert isinstance(decided, Dead)
        assert "gave up after 9 tries" in decided.cause.detail
    else:
        assert isinstance(decided, Settle)
        assert (decided.until, decided.attempts_used, decided.queue_free) == (
            NOW - 5 + delay,
            0,
            True,
        )


def test_a_look_that_fails_is_repeated_soon_and_ends_in_time() -> None:
    """A failed look is repeated often, as it holds its person's queue, and gives up in time."""
    now, attempts, looks = NOW, 2, []
    while isinstance(
        decided := fate(
            EXAMPLES[Unavailable](), step="settle", attempts=attempts, now=now, first_attempt_at=NOW
        ),
        Retry,
    ):
        looks.append(decided.at - now)
        now, attempts = decided.at, attempts + decided.attempts_used
    assert isinstance(decided, Dead)
    assert max(looks) <= 600
    assert 24 * 3600 <= now - NOW <= 48 * 3600


def test_settling_uses_no_attempt() -> None:
    """Waiting for a create to settle never ends in death, and never looks back in time."""
    assert shape(fate(Settling("lead", NOW + 40), attempts=99)) == (Settle, NOW + 40, 0)
    assert shape(fate(Settling("lead", NOW - 40))) == (Settle, NOW, 0)


@pytest.mark.parametrize(
    "kind",
    [
        RateLimited,
        BudgetSpent,
        Unauthorized,
        ClientRejected,
        Reauthorise,
        AccountClosed,
        FeatureOff,
        WrongAddress,
        WrongTokenAddress,
        EndpointGone,
        Blocked,
        OutOfAllowance,
        Reserved,
        StoreUnavailable,
    ],
)
def test_waiting_is_not_failing(kind: type[LeadlineError]) -> None:
    """Limits, credentials and a missing store never kill a submission, however often they occur."""
    assert isinstance(fate(EXAMPLES[kind](), attempts=99), Wait)


@pytest.mark.parametrize(
    ("probes", "seconds"),
    [(0, 30.0), (1, 60.0), (3, 240.0), (6, 1920.0), (7, 3600.0), (10**6, 3600.0)],
)
def test_probes_grow_to_hourly(probes: int, seconds: float) -> None:
    """A closed gate is probed at growing intervals, at least hourly."""
    assert shape(fate(Unauthorized("c", "d"), probes=probes)) == (
        Wait,
        NOW + seconds,
        "credentials",
        True,
        True,
    )
    assert shape(fate(Blocked("c", "d"), probes=probes)) == (
        Wait,
        NOW + max(600, seconds),
        "blocked",
        True,
        True,
    )
    assert shape(fate(EndpointGone("c", "d"), probes=probes))[1] == NOW + seconds
    unstated = BudgetSpent("c", "d", retry_after=60.0, stated=False)
    assert shape(fate(unstated, probes=probes)) == (Wait, NOW + seconds, "budget", True, True)


@pytest.mark.parametrize("kind", [NotSent, Unavailable])
def test_an_outage_is_waited_for(kind: type[LeadlineError]) -> None:
    """During an outage a submission waits at the gate without using up attempts."""
    assert shape(fate(EXAMPLES[kind](), outage=True, attempts=99, probes=1)) == (
        Wait,
        NOW + 45,
        "outage",
        True,
        True,
    )
    assert isinstance(fate(EXAMPLES[OutcomeUnknown](), outage=True), Settle)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (2.0, 2.0),
        (0.0, 1.0),
        (-5.0, 1.0),
        (1e9, 26 * 3600.0),
        (float("inf"), 30.0),
        (float("nan"), 30.0),
    ],
)
def test_stated_waits_are_bounded(retry_after: float, seconds: float) -> None:
    """Whatever an answer states, the wait is between a second and a day."""
    assert shape(fate(RateLimited("c", "d", retry_after=retry_after)))[1] == NOW + seconds


@pytest.mark.parametrize(
    ("retry_after", "probes", "seconds"),
    [
        (25.0, 0, 25.0),
        (25.0, 1, 25.0),
        (25.0, 3, 100.0),
        (1.0, 30, 3600.0),
        (3600.0, 0, 3600.0),
        (6 * 3600.0, 0, 3600.0),
        (6 * 3600.0, 9, 3600.0),
    ],
)
def test_a_spent_day_is_waited_for_as_stated_and_probed_hourly(
    retry_after: float, probes: int, seconds: float
) -> None:
    """25 s mean 25 s, until they turn out not to; of hours, one is waited for at a time."""
    spent = BudgetSpent("c", "d", retry_after=retry_after)
    assert shape(fate(spent, probes=probes)) == (Wait, NOW + seconds, "budget", True, True)


def test_a_limit_without_a_stated_wait_is_probed_ever_less_often() -> None:
    """An hour of refusals without a word of their end costs a dozen calls."""
    now, probes = NOW, 0
    while now < NOW + 3600:
        decided = fate(RateLimited("c", "d", retry_after=2.0, stated=False), now=now, probes=probes)
        assert isinstance(decided, Wait)
        assert (decided.reason, decided.gate, decided.probe) == ("limit", True, True)
        now, probes = decided.until, probes + 1
    assert probes == 11


def test_our_own_count() -> None:
    """Our burst window delays one delivery; our count of the day's tokens delays all of them."""
    assert shape(fate(OutOfAllowance(NOW + 1.5, budget=False))) == (
        Wait,
        NOW + 1.5,
        "limit",
        False,
        False,
    )
    assert shape(fate(OutOfAllowance(NOW + 900, budget=True))) == (
        Wait,
        NOW + 900,
        "budget",
        True,
        True,
    )
    assert shape(fate(OutOfAllowance(NOW - 9, budget=False)))[1] == NOW


@pytest.mark.parametrize("kind", [Refused, Invalid, Forbidden, Gone])
def test_an_id_that_may_be_stale_is_resolved_afresh(kind: type[LeadlineError]) -> None:
    """While a refusal may be about a remembered id it is looked up again; then the lead is dead."""
    decided = fate(EXAMPLES[kind](), stale_ids={"person": 5})
    assert isinstance(decided, ResolveAfresh)
    assert decided.ids == {"person": 5}
    assert isinstance(fate(EXAMPLES[kind]()), Dead)


def test_a_bug_tells_nothing_of_the_sender() -> None:
    """An unexpected exception is retried; its cause names only the class: its message may quote."""
    decided = fate(ValueError("ann@acme.example is odd"), step="note")
    assert isinstance(decided, Retry)
    assert (decided.cause.code, decided.cause.detail, decided.cause.step) == (
        "internal",
        "ValueError",
        "note",
    )
    assert isinstance(fate(KeyboardInterrupt()), Retry)
    assert isinstance(fate(KeyError("x"), attempts=9), Dead)


def test_subclasses_follow_their_parents() -> None:
    """An error class added elsewhere shares its parent's fate."""

    class Worse(Invalid):
        code = "worse"

    assert isinstance(fate(Worse("c", "d", status=400)), Dead)


@pytest.mark.parametrize(
    ("error", "setting", "hint"),
    [
        (
            UnknownName("label", "Hot", setting="sources.contact.lead.labels", available=[]),
            "sources.contact.lead.labels",
            (
                "add the label 'Hot' in Pipedrive or correct `labels` of [sources.contact.lead],"
                " then retry; `create_labels = true` adds missing labels"
            ),
        ),
        (
            UnknownName(
                "custom field",
                "Budget",
                setting="sources.contact.lead.custom.person.Budget",
                available=[],
            ),
            "sources.contact.lead.custom.person.Budget",
            (
                "add the custom field 'Budget' in Pipedrive or correct `person.Budget` of"
                " [sources.contact.lead.custom], then retry"
            ),
        ),
        (
            UnknownName("channel", "Ads", setting="sources.contact.lead.channel", available=[]),
            "sources.contact.lead.channel",
            (
                "add 'Ads' to the source channels in Pipedrive or correct `channel` of"
                " [sources.contact.lead], then retry"
            ),
        ),
        (
            Unmappable("nobody", setting="sources.contact.map"),
            "sources.contact.map",
            "correct [sources.contact.map], then retry",
        ),
        (
            Invalid("leads.add", "bad", status=400, field="value.currency"),
            "sources.contact.lead.value",
            "correct `value` of [sources.contact.lead] or edit the lead, then retry",
        ),
        (
            Invalid("persons.add", "bad", status=400, field="emails[0].value"),
            "sources.contact.map",
            "edit the lead's `email` or correct [sources.contact.map], then retry",
        ),
        (
            Invalid("leads.add", "bad", status=400, field="a" * 40),
            "sources.contact.lead",
            "correct [sources.contact.lead] or edit the lead, then retry",
        ),
        (
            Invalid("leads.add", "bad", status=400),
            None,
            "correct the source file or edit the lead, then retry",
        ),
        (
            Forbidden("leads.add", "limit", status=403, vendor_code="feature_capping_deals_limit"),
            None,
            (
                "the plan's limit is reached: archive or delete open leads and deals, or upgrade"
                " the plan, then retry"
            ),
        ),
        (
            Forbidden(
                "leads.add",
                "Couldn't add lead. You've reached the open lead per company limit.",
                status=403,
            ),
            None,
            (
                "the plan's limit is reached: archive or delete open leads and deals, or upgrade"
                " the plan, then retry"
            ),
        ),
        (
            Forbidden(
                "labels.add",
                "Couldn't add label. You've reached the lead label per company limit.",
                status=403,
            ),
            None,
            (
                "the plan's limit is reached (lead label): delete what nobody needs in Pipedrive,"
                " or upgrade the plan, then retry"
            ),
        ),
        (
            Forbidden("leads.add", "no", status=403, vendor_code="feature_capping_persons_limit"),
            None,
            (
                "the plan's limit is reached (persons): delete what nobody needs in Pipedrive,"
                " or upgrade the plan, then retry"
            ),
        ),
        (
            Forbidden("users.list", "Scope and URL mismatch", status=403, scope="users:read"),
            None,
            (
                "the app lacks the scope users:read: add it to the app and connect it again, then"
                " retry"
            ),
        ),
        (
            Forbidden("leads.add", "Not on your plan", status=403, field="visible_to"),
            "sources.contact.lead.visible_to",
            (
                "the account's plan, or the API user, does not have this visibility: correct or"
                " remove `visible_to` of [sources.contact.lead], then retry"
            ),
        ),
        (
            Forbidden("persons.add", "Not on your plan", status=403, field="visible_to"),
            "sources.contact.lead.person_visible_to",
            (
                "the account's plan, or the API user, does not have this visibility: correct or"
                " remove `person_visible_to` of [sources.contact.lead], then retry"
            ),
        ),
        (
            Forbidden("leads.add", "no right", status=403, field="owner_id"),
            "sources.contact.lead.owner_id",
            (
                "give the API user the permission in Pipedrive, use the credentials of a user who"
                " has it, or remove `owner_id` of [sources.contact.lead], then retry"
            ),
        ),
        (
            UnknownName(
                "owner",
                "bo@x.example",
                setting="sources.contact.lead.owner_id",
                available=[],
                partial=True,
            ),
            "sources.contact.lead.owner_id",
            (
                "give the credentials permission to list the account's users (an app: add the scope"
                " users:read and connect it again), or give the user's id in `owner_id` of"
                " [sources.contact.lead], then retry"
            ),
        ),
        (
            Unauthorized("leads.add", "no", status=401),
            "PIPEDRIVE_API_TOKEN",
            (
                "set a valid PIPEDRIVE_API_TOKEN and restart the workers; delivery then resumes by"
                " itself"
            ),
        ),
        (
            Reauthorise("leads.add", "no", status=401),
            "PIPEDRIVE_REFRESH_TOKEN",
            (
                "connect the app again and set the new PIPEDRIVE_REFRESH_TOKEN; delivery then"
                " resumes by itself"
            ),
        ),
        (
            ClientRejected("oauth.refresh", "no", status=401),
            "PIPEDRIVE_CLIENT_SECRET",
            (
                "set the app's PIPEDRIVE_CLIENT_ID and PIPEDRIVE_CLIENT_SECRET and restart the"
                " workers; delivery then resumes by itself"
            ),
        ),
        (
            AccountClosed("leads.add", "Company account is not open", status=402),
            None,
            (
                "open the account in Pipedrive (Settings, Billing): its trial is over, or a payment"
                " is missing; delivery then resumes by itself"
            ),
        ),
        (
            FeatureOff("leads.add", "Feature is not enabled", status=415),
            None,
            (
                "enable the feature (such as leads) in the Pipedrive account, or choose a plan that"
                " has it; delivery then resumes by itself"
            ),
        ),
        (
            WrongAddress("persons.search", "a page", status=200),
            "PIPEDRIVE_BASE_URL",
            (
                "set PIPEDRIVE_BASE_URL to https://api.pipedrive.com or the company's own address,"
                " check the proxy in between, and restart the workers; delivery then resumes by"
                " itself"
            ),
        ),
        (
            WrongTokenAddress("oauth.refresh", "a page", status=404),
            "PIPEDRIVE_OAUTH_URL",
            (
                "set PIPEDRIVE_OAUTH_URL to https://oauth.pipedrive.com/oauth/token, check the"
                " proxy in between, and restart the workers; delivery then resumes by itself"
            ),
        ),
        (
            EndpointGone("leads.add", "Unknown method .", status=404),
            None,
            (
                "update Leadline: this version makes a call that Pipedrive has removed; delivery"
                " then resumes by itself"
            ),
        ),
        (
            Forbidden("leads.add", "no right", status=403),
            None,
            (
                "give the API user the permission in Pipedrive, or use the token of a user who has"
                " it, then retry"
            ),
        ),
    ],
)
def test_hints(error: LeadlineError, setting: str | None, hint: str) -> None:
    """A dead letter says what to fix, where, and that it can be retried then."""
    cause = cause_of(error, step="lead", source="contact")
    assert (cause.setting, cause.hint) == (setting, hint)


def test_causes_carry_what_the_console_groups_by() -> None:
    """Step, code, field and status come from the error."""
    cause = cause_of(
        Invalid("leads.add", "bad", status=422, field="title"), step="lead", source="contact"
    )
    assert (cause.step, cause.code, cause.field, cause.status) == ("lead", "invalid", "title", 422)
    assert cause.detail == "leads.add: 422 bad"
    assert (
        cause_of(Reauthorise("c", "d"), step="lead", source="x").setting
        == "PIPEDRIVE_REFRESH_TOKEN"
    )
    assert (
        cause_of(Unauthorized("c", "d"), step="lead", source="x").setting == "PIPEDRIVE_API_TOKEN"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Email ann.lee+x@acme.example is not valid", "persons.add: Email [e-mail] is not valid"),
        ("\"ann@acme.example\" 'b@c.example'", "persons.add: \"[e-mail]\" '[e-mail]'"),
        ("phone +49 (151) 123-456 is odd", "persons.add: phone [phone] is odd"),
        ("lead 3fa85f64-5717-4562-b3fc-2c963f66afa6 of person 12345678", None),
        ("line\nfeeds\tand   spaces", "persons.add: line feeds and spaces"),
    ],
)
def test_details_name_nobody(message: str, expected: str | None) -> None:
    """Addresses and numbers of people in Pipedrive's own words are taken out; ids stay."""
    detail = cause_of(Invalid("persons.add", message), step="person", source="contact").detail
    assert detail == (expected or f"persons.add: {message}")


def test_details_are_bounded() -> None:
    """No error message fills the ledger, not even with the number of tries in front."""
    decided = fate(Unavailable("leads.get", "x" * 5000), attempts=9)
    assert isinstance(decided, Dead)
    assert len(decided.cause.detail) <= MAX_DETAIL_CHARS


def test_every_error_says_what_to_do() -> None:
    """Each class has a title, a hint and advice, its own or its parent's."""
    for kind in CLASSES:
        assert kind.title
        assert kind.hint
        assert kind.advice
        assert "{" not in kind.advice
