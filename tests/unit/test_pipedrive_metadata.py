from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Lock, Thread
from typing import Any

import httpx
import pytest
import redis as redis_py

from tests.settable_clock import SettableClock
from worker.contract import Lead
from worker.delivery.resolve import resolve_plan
from worker.errors import (
    Forbidden,
    LeadlineError,
    OutcomeUnknown,
    OutOfAllowance,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    UnknownName,
)
from worker.lead.plan import build_plan
from worker.lead.settings import LeadMapping, LeadSettings
from worker.pipedrive.auth import ApiToken
from worker.pipedrive.calls import Call
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import MetadataKind
from worker.pipedrive.metadata_cache import MetadataCache
from worker.store import keys
from worker.store.connection import connect

BUDGET = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"
LETTER = "ecf558aac1ae4e8c4f849ba5e668430d8df9be12"
NOW = 1_700_000_000.0
Answer = Callable[[], httpx.Response]


def ok(data: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"success": True, "data": data, "additional_data": {}})


class Account:
    """A Pipedrive account with labels, channels, users and fields that records its requests."""

    def __init__(self) -> None:
        self.labels = [
            {"id": "b2", "name": "Hot", "color": "red"},
            {"id": "a1", "name": " Website ", "color": "blue"},
        ]
        self.channels: list[dict[str, Any]] = [
            {"id": 64, "label": "Web forms"},
            {"id": "65", "label": "Paid search"},
        ]
        self.users: list[dict[str, Any]] = [
            {"id": 1, "name": "Ann Lee", "email": "ann@crm.example", "active_flag": True},
            {"id": 2, "name": "Bob Roe", "email": "bob@crm.example", "active_flag": True},
            {"id": 3, "name": "Cyd Poe", "email": "cyd@crm.example", "active_flag": False},
        ]
        self.fields = [
            {
                "field_code": "title",
                "field_name": "Title",
                "field_type": "varchar",
                "is_custom_field": False,
            },
            {
                "field_code": BUDGET,
                "field_name": "Budget",
                "field_type": "monetary",
                "is_custom_field": True,
            },
        ]
        self.person_fields = [
            {
                "field_code": LETTER,
                "field_name": "Newsletter",
                "field_type": "enum",
                "is_custom_field": True,
                "options": [{"id": 7, "label": "Yes"}],
            }
        ]
        self.currencies = [
            {"id": 1, "code": "EUR", "name": "Euro", "active_flag": True},
            {"id": 2, "code": "HUF", "name": "Forint", "active_flag": False},
        ]
        self.tags = [{"id": 5, "label": "Customer"}]
        self.requests: list[str] = []
        self.instead: dict[str, Answer] = {}
        self.delay = 0.0
        self.refuse: LeadlineError | None = None
        self._lock = Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = f"{request.method} {request.url.path}"
        with self._lock:
            self.requests.append(name)
        if self.delay:
            time.sleep(self.delay)  # so that others arrive meanwhile
        if name in self.instead:
            return self.instead[name]()
        return self._answer(name, request)

    def _answer(self, name: str, request: httpx.Request) -> httpx.Response:
        match name:
            case "GET /v1/leadLabels":
                return ok(self.labels)
            case "POST /v1/leadLabels":
                with self._lock:
                    self.labels.append(
                        {"id": f"new-{len(self.labels)}"} | json.loads(request.content)
                    )
                return ok(self.labels[-1])
            case "GET /api/v2/dealFields/channel":
                return ok({"field_code": "channel", "field_type": "enum", "options": self.channels})
            case "GET /v1/users":
                return ok(self.users)
            case "GET /v1/users/me":
                return ok(self.users[0])
            case "GET /api/v2/dealFields":
                return ok([*self.fields, {"field_code": "channel", "options": self.channels}])
            case "GET /api/v2/personFields":
                return ok(self.person_fields)
            case "GET /v1/currencies":
                return ok(self.currencies)
            case "GET /api/v2/personFields/label_ids" | "GET /api/v2/dealFields/label_ids":
                return ok({"field_code": "label_ids", "field_type": "set", "options": self.tags})
        return httpx.Response(404, json={"success": False, "error": "not found"})

    def before(self, call: Call) -> None:  # noqa: ARG002 - what limits are asked
        if self.refuse:
            raise self.refuse

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        pass


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def make(
    redis: redis_py.Redis, account: Account, clock: SettableClock
) -> Callable[..., MetadataCache]:
    """Builds the cache of another worker."""

    def new_cache(pause: Callable[[float], None] = time.sleep) -> MetadataCache:
        http = httpx.Client(transport=httpx.MockTransport(account))
        client = Pipedrive(http, "https://crm.example", ApiToken("t"), account)
        return MetadataCache(redis, client, clock, pause=pause, monotonic=clock)

    return new_cache


def label(cache: MetadataCache, name: str) -> str:
    return cache.label_id(name, setting="s")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda c: c.label_id("Hot", setting="s"), "b2"),
        (lambda c: c.label_id("  hOT ", setting="s"), "b2"),
        (lambda c: c.label_id("website", setting="s"), "a1"),
        (lambda c: c.label_id("a1", setting="s"), "a1"),
        (lambda c: c.channel_id("web  FORMS", setting="s"), 64),
        (lambda c: c.channel_id("Paid search", setting="s"), 65),
        (lambda c: c.owner_id(2, setting="s"), 2),
        (lambda c: c.owner_id("2", setting="s"), 2),
        (lambda c: c.owner_id("BOB@crm.example", setting="s"), 2),
        (lambda c: c.owner_id("bob roe", setting="s"), 2),
        (lambda c: c.field("budget", setting="s").key, BUDGET),
        (lambda c: c.field(BUDGET, setting="s").name, "Budget"),
        (
            lambda c: c.field("Budget", setting="s").encode("5 EUR"),
            {BUDGET: 5, f"{BUDGET}_currency": "EUR"},
        ),
        (lambda c: c.person_field("Newsletter", setting="s").encode("yes"), {LETTER: 7}),
        (lambda c: c.ensure_label("HOT", "red"), "b2"),
    ],
)
def test_found(
    make: Callable[..., MetadataCache], ask: Callable[[MetadataCache], Any], expected: Any
) -> None:
    """Names are found whatever their case and spacing, as are ids and keys."""
    assert ask(make()) == expected


@pytest.mark.parametrize(
    ("ask", "kind", "available"),
    [
        (lambda c: c.label_id("Cold", setting="sources.web.lead.labels"), "label", "Hot"),
        (lambda c: c.label_id("", setting="sources.web.lead.labels"), "label", "Hot"),
        (
            lambda c: c.channel_id("Fax", setting="sources.web.lead.labels"),
            "channel",
            "Paid search, Web forms",
        ),
        (lambda c: c.channel_id("64", setting="sources.web.lead.labels"), "channel", "Web forms"),
        (lambda c: c.owner_id(3, setting="sources.web.lead.labels"), "owner", "Ann Lee, Bob Roe"),
        (
            lambda c: c.owner_id("cyd@crm.example", setting="sources.web.lead.labels"),
            "owner",
            "Ann Lee",
        ),
        (lambda c: c.field("Title", setting="sources.web.lead.labels"), "custom field", "Budget"),
        (
            lambda c: c.person_field("Budget", setting="sources.web.lead.labels"),
            "custom field of persons",
            "Newsletter",
        ),
    ],
)
def test_unknown(
    make: Callable[..., MetadataCache],
    ask: Callable[[MetadataCache], Any],
    kind: str,
    available: str,
) -> None:
    """An unknown name is reported with the available ones and the setting to fix."""
    with pytest.raises(UnknownName, match=available) as caught:
        ask(make())
    assert (caught.value.kind, caught.value.setting) == (kind, "sources.web.lead.labels")


def test_read_hourly(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """All workers together read Pipedrive once an hour, and only the kinds that are needed."""
    first, second = make(), make()
    for _ in range(50):
        clock.now += 60
        assert label(first, "Hot") == label(second, "Hot") == "b2"
    assert account.requests == ["GET /v1/leadLabels"]
    clock.now += 660
    label(first, "Hot")
    label(second, "Hot")
    assert account.requests == ["GET /v1/leadLabels"] * 2


def test_currencies(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """Only active currencies count; a missing one is not read again before the hour is over."""
    cache = make()
    for _ in range(50):
        clock.now += 60
        assert [cache.has_currency(code) for code in ("EUR", "HUF", "XXX")] == [True, False, False]
    assert account.requests == ["GET /v1/currencies"]
    account.currencies[1]["active_flag"] = True
    clock.now += 660
    assert cache.has_currency("HUF")


def test_currencies_that_may_not_be_read(
    make: Callable[..., MetadataCache], account: Account
) -> None:
    """Without the permission to list them, every currency is tried."""
    account.instead["GET /v1/currencies"] = lambda: httpx.Response(
        403, json={"success": False, "error": "Scope and URL mismatch"}
    )
    assert make().has_currency("HUF")


@pytest.mark.parametrize(
    ("budget", "custom", "says", "reads"),
    [
        ("5.900,- €", {BUDGET: 5900, f"{BUDGET}_currency": "EUR"}, "", True),
        ("5900", {BUDGET: 5900}, "", False),
        ("5900 HUF", {}, "a currency of the account, got HUF", True),
        ("5k-10k €", {}, "expected an amount", False),
    ],
)
def test_sums_in_custom_fields(
    make: Callable[..., MetadataCache],
    account: Account,
    budget: str,
    custom: dict[str, Any],
    says: str,
    reads: bool,
) -> None:
    """A custom sum follows the same rule; its currency is looked up only if it names one."""
    settings = LeadSettings(custom={"Budget": "{answers.budget}"})
    planned = build_plan(
        LeadMapping("web", settings),
        Lead(email="a@b.example", answers={"budget": budget}),
        submission_id="s",
        received_at=NOW,
        now=NOW,
    )
    names = resolve_plan(planned, make(), lambda name, _: name)
    assert names.custom == custom
    assert [says in sentence for sentence in names.left_out] == [True] * bool(says)
    assert ("GET /v1/currencies" in account.requests) is reads


def test_round_trips(
    make: Callable[..., MetadataCache], redis: redis_py.Redis, clock: SettableClock
) -> None:
    """A lead costs at most one trip to Redis, and none within a few seconds of the last."""
    cache = make()

    def lead() -> None:
        cache.label_id("Hot", setting="s")
        cache.label_id("Website", setting="s")
        cache.channel_id("Web forms", setting="s")
        cache.owner_id(1, setting="s")
        cache.field("Budget", setting="s")
        cache.person_field("Newsletter", setting="s")
        cache.ensure_label("Hot", "red")

    def commands() -> int:
        return int(redis.info("stats")["total_commands_processed"])

    lead()
    before = commands()
    lead()
    assert commands() - before == 1  # the count itself
    clock.now += 6
    before = commands()
    lead()
    assert commands() - before == 2


def test_new_names(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """A label added in Pipedrive meanwhile is found by another read."""
    cache, other = make(), make()
    label(cache, "Hot")
    account.labels.append({"id": "c3", "name": "Cold", "color": "blue"})
    clock.now += 31
    assert label(cache, "Cold") == "c3"
    assert label(other, "Cold") == "c3"
    assert len(account.requests) == 2


def test_missing_names_are_cheap(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """A name that stays missing is looked up less and less often, to save tokens."""
    workers = [make(), make()]
    for step in range(24 * 60):
        with pytest.raises(UnknownName):
            label(workers[step % 2], "Misspelt")
        clock.now += 60
    assert len(account.requests) < 150


def test_missing_name_is_found_at_last(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """A name that was missing is found within 15 minutes, and at once after a refresh."""
    cache = make()
    for _ in range(360):
        with pytest.raises(UnknownName):
            label(cache, "Later")
        clock.now += 60
    account.labels.append({"id": "c3", "name": "Later", "color": "red"})
    refreshed = make()
    refreshed.refresh(["labels"])
    assert label(cache, "Later") == "c3"


def test_another_missing_name(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """A name that has been missing for long does not prevent a new one from being found."""
    cache = make()
    for _ in range(360):
        with pytest.raises(UnknownName):
            label(cache, "Misspelt")
        clock.now += 60
    account.labels.append({"id": "c3", "name": "New", "color": "red"})
    assert label(cache, "New") == "c3"


def test_refresh(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """A refresh reads all kinds or those named, each at most every 30 s over all workers."""
    make().refresh()
    assert len(account.requests) == len(MetadataKind)
    make().refresh([MetadataKind.LABELS, "channels"])
    assert len(account.requests) == len(MetadataKind)
    clock.now += 31
    make().refresh([MetadataKind.LABELS, "channels"])
    assert account.requests[len(MetadataKind) :] == [
        "GET /v1/leadLabels",
        "GET /api/v2/dealFields/channel",
    ]


@pytest.mark.parametrize(
    ("name", "offset", "expected"),
    [
        ("Europe/Tallinn", "+02:00", "+02:00"),
        ("Europe/Tallinn", "", "+02:00"),
        ("Nowhere/Else", "-05:30", "-05:30"),
        (None, None, "+00:00"),
        ("Europe", "unclear", "+00:00"),
        ("../../etc/passwd", "+03:00", "+03:00"),
    ],
)
def test_the_time_zone(
    make: Callable[..., MetadataCache],
    account: Account,
    clock: SettableClock,
    name: str | None,
    offset: str | None,
    expected: str,
) -> None:
    """The account's zone goes by its name, else by its offset, else is UTC; it is read hourly."""
    account.users[0] |= {"timezone_name": name, "timezone_offset": offset}
    winter = datetime(2026, 1, 15, tzinfo=UTC)
    for _ in range(3):
        assert winter.astimezone(make().time_zone()).isoformat()[-6:] == expected
    assert account.requests == ["GET /v1/users/me"]
    clock.now += 3601
    make().time_zone()
    assert len(account.requests) == 2


def test_many_workers_one_reading(make: Callable[..., MetadataCache], account: Account) -> None:
    """Sixteen workers that start at once cause one reading; all of them get it."""
    account.delay = 0.2
    assert in_threads([partial(label, make(), "Hot") for _ in range(16)]) == ["b2"] * 16
    assert account.requests == ["GET /v1/leadLabels"]


def test_stale_while_another_reads(
    make: Callable[..., MetadataCache],
    account: Account,
    clock: SettableClock,
    redis: redis_py.Redis,
) -> None:
    """While one worker refreshes an old table, the others use it without waiting."""
    cache = make(pause=lambda _: pytest.fail("waited"))
    label(cache, "Hot")
    clock.now += 3601
    redis.hset(keys.DEFAULT_ACCOUNT.metadata, "asked:labels", str(clock.now))
    assert label(cache, "Hot") == "b2"
    assert len(account.requests) == 1


def test_wait_is_bounded(
    make: Callable[..., MetadataCache], redis: redis_py.Redis, clock: SettableClock
) -> None:
    """While another worker reads the first table, one waits five seconds at most."""
    slept: list[float] = []
    redis.hset(keys.DEFAULT_ACCOUNT.metadata, "asked:labels", str(clock.now))
    with pytest.raises(Unavailable):
        label(make(pause=slept.append), "Hot")
    assert sum(slept) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("answer", "refuse", "expected"),
    [
        (lambda: httpx.Response(500), None, Unavailable),
        (lambda: httpx.Response(401), None, Unauthorized),
        (
            lambda: httpx.Response(200, json={"success": True, "data": {"no": "list"}}),
            None,
            Unavailable,
        ),
        (None, OutOfAllowance(NOW + 1, budget=False), OutOfAllowance),
    ],
)
def test_reading_fails(
    make: Callable[..., MetadataCache],
    account: Account,
    clock: SettableClock,
    answer: Answer | None,
    refuse: LeadlineError | None,
    expected: type[LeadlineError],
) -> None:
    """If Pipedrive fails, known names still resolve and others are not reported as missing."""
    cache = make()
    label(cache, "Hot")
    clock.now += 3601
    if answer:
        account.instead["GET /v1/leadLabels"] = answer
    account.refuse = refuse
    assert label(cache, "Hot") == "b2"
    with pytest.raises(expected):
        label(cache, "Cold")
    account.instead, account.refuse = {}, None
    account.labels.append({"id": "c3", "name": "Cold", "color": "red"})
    assert label(cache, "Cold") == "c3"


def test_first_reading_fails(make: Callable[..., MetadataCache], account: Account) -> None:
    """If the first read fails, each worker gets the error."""
    account.instead["GET /v1/leadLabels"] = lambda: httpx.Response(401)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            label(make(), "Hot")
    account.instead.clear()
    assert label(make(), "Hot") == "b2"


def test_owners_without_the_right(make: Callable[..., MetadataCache], account: Account) -> None:
    """Credentials that may not list users resolve their own user, and accept any id."""
    account.instead["GET /v1/users"] = lambda: httpx.Response(
        403, json={"success": False, "error": "Scope and URL mismatch"}
    )
    cache = make()
    assert cache.owner_id("ann@crm.example", setting="s") == 1
    assert cache.owner_id(99, setting="s") == 99
    with pytest.raises(UnknownName):
        cache.owner_id("bob@crm.example", setting="s")


def test_fields_without_the_right(make: Callable[..., MetadataCache], account: Account) -> None:
    """A missing permission is reported as such, not as an unknown name."""
    account.instead["GET /api/v2/dealFields"] = lambda: httpx.Response(
        403, json={"success": False, "error": "Scope"}
    )
    with pytest.raises(Forbidden):
        make().field("Budget", setting="s")


@pytest.mark.parametrize("status", [400, 404])
def test_channels_from_the_list(
    make: Callable[..., MetadataCache], account: Account, status: int
) -> None:
    """If the channel field cannot be read by its key, it is found in the list."""
    account.instead["GET /api/v2/dealFields/channel"] = lambda: httpx.Response(
        status, json={"success": False}
    )
    assert make().channel_id("Web forms", setting="s") == 64
    account.channels = []
    with pytest.raises(UnknownName):
        make().channel_id("Other", setting="s")


def test_twins(make: Callable[..., MetadataCache], account: Account) -> None:
    """If several labels have the same name, every worker takes the same one."""
    account.labels += [
        {"id": "a0", "name": "hot", "color": "red"},
        {"id": "z9", "name": "HOT", "color": "red"},
    ]
    assert label(make(), "Hot") == "a0"
    account.labels.reverse()
    make().refresh(["labels"])
    assert label(make(), "Hot") == "a0"


def test_label_is_created(
    make: Callable[..., MetadataCache], account: Account, redis: redis_py.Redis
) -> None:
    """A missing label is created in the requested colour, and known to all workers at once."""
    assert make().ensure_label(" Spring ", "green") == "new-2"
    assert account.labels[-1] == {"id": "new-2", "name": "Spring", "color": "green"}
    assert label(make(), "spring") == "new-2"
    assert make().ensure_label("SPRING", "red") == "new-2"
    assert account.requests.count("POST /v1/leadLabels") == 1
    assert redis.exists(keys.DEFAULT_ACCOUNT.metadata_lock) == 0


def test_label_is_created_once(make: Callable[..., MetadataCache], account: Account) -> None:
    """Twelve workers that need the same missing label create it once."""
    make().refresh(["labels"])
    account.delay = 0.05
    assert (
        in_threads([partial(make().ensure_label, "Spring", "green") for _ in range(12)])
        == ["new-2"] * 12
    )
    assert account.requests.count("POST /v1/leadLabels") == 1


def test_label_with_open_outcome(make: Callable[..., MetadataCache], account: Account) -> None:
    """A label whose create got no response is found by the next attempt, not created twice."""
    make().refresh(["labels"])

    def commit_and_lose() -> httpx.Response:
        account.labels.append({"id": "c3", "name": "Spring", "color": "green"})
        return httpx.Response(502)

    account.instead["POST /v1/leadLabels"] = commit_and_lose
    with pytest.raises(OutcomeUnknown):
        make().ensure_label("Spring", "green")
    assert make().ensure_label("Spring", "green") == "c3"
    assert account.requests.count("POST /v1/leadLabels") == 1


def test_snapshot(
    make: Callable[..., MetadataCache], account: Account, redis: redis_py.Redis
) -> None:
    """A snapshot makes no calls, and treats unreadable stored data as unknown."""
    cache = make()
    assert cache.snapshot() == {}
    cache.refresh(["labels", "channels"])
    snapshot = make().snapshot()
    assert [entry.name for entry in snapshot[MetadataKind.CHANNELS].items] == [
        "Web forms",
        "Paid search",
    ]
    assert set(snapshot) == {MetadataKind.LABELS, MetadataKind.CHANNELS}
    redis.hset(keys.DEFAULT_ACCOUNT.metadata, "labels", b"\xff{")
    assert set(make().snapshot()) == {MetadataKind.CHANNELS}
    assert len(account.requests) == 2


def test_clock_set_back(
    make: Callable[..., MetadataCache], account: Account, clock: SettableClock
) -> None:
    """After the clock was set back far, tables are read again instead of being trusted for ever."""
    label(make(), "Hot")
    clock.now -= 86_400
    label(make(), "Hot")
    assert len(account.requests) == 2


def test_redis_away(make: Callable[..., MetadataCache], clock: SettableClock) -> None:
    """Without Redis the store is unavailable."""
    cache = make()
    label(cache, "Hot")
    cache._redis = connect("redis://127.0.0.1:1")
    assert label(cache, "Hot") == "b2"
    clock.now += 6
    with pytest.raises(StoreUnavailable):
        label(cache, "Hot")


def in_threads(questions: list[Callable[[], Any]]) -> list[Any]:
    answers: list[Any] = [None] * len(questions)

    def ask(place: int) -> None:
        try:
            answers[place] = questions[place]()
        except LeadlineError as error:
            answers[place] = error

    threads = [Thread(target=ask, args=(place,)) for place in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers
