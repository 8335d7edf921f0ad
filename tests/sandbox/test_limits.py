"""Token costs, burst windows and the daily budget, as the receiver counts them."""

from __future__ import annotations

import httpx
import pytest

from service.sandbox.settings import Plan, SandboxSettings
from tests.sandbox.account import ManualClock, add_lead, add_person
from tests.sandbox.conftest import Opener

SEARCH = "/api/v2/persons/search?term=jane"


def statuses(api: httpx.Client, path: str, times: int) -> list[int]:
    return [api.get(path).status_code for _ in range(times)]


def totals(api: httpx.Client) -> dict[str, object]:
    body: dict[str, object] = api.get("/_sandbox/totals").json()
    return body


def test_every_performed_call_costs_its_tokens(api: httpx.Client) -> None:
    """Search 20, person 5, lead 10: 35 tokens; a refused call costs nothing."""
    api.get(SEARCH)
    add_lead(api, add_person(api))
    api.post("/v1/leads", json={})
    assert totals(api)["tokens"] == totals(api)["tokens_today"] == 35
    calls = api.get("/_sandbox/state").json()["calls"]
    assert [(call["operation"], call["tokens"], call["status"]) for call in calls] == [
        ("persons.search", 20, 200),
        ("persons.add", 5, 200),
        ("leads.add", 10, 201),
        ("leads.add", 0, 400),
    ]


@pytest.mark.parametrize(
    ("plan", "burst", "oauth"), [("lite", 20, 80), ("growth", 40, 160), ("premium", 100, 400)]
)
def test_burst_window(
    open_sandbox: Opener, clock: ManualClock, plan: Plan, burst: int, oauth: int
) -> None:
    """A plan allows so many calls in 2 s, more with OAuth; then 429 with the seconds to wait."""
    for settings, limit in (
        (SandboxSettings(plan=plan), burst),
        (SandboxSettings(plan=plan, oauth_burst=True), oauth),
    ):
        api = open_sandbox(settings)
        assert statuses(api, "/v1/leadSources", limit + 1) == [200] * limit + [429]
        answer = api.get("/v1/leadSources")
        assert answer.headers["x-ratelimit-limit"] == str(limit)
        assert (answer.headers["x-ratelimit-remaining"], answer.headers["x-ratelimit-reset"]) == (
            "0",
            "2",
        )
        assert answer.json()["errorCode"] == 429
        clock.advance(2)
        assert api.get("/v1/leadSources").headers["x-ratelimit-remaining"] == str(limit - 1)


def test_the_window_rolls(open_sandbox: Opener, clock: ManualClock) -> None:
    """Room comes back call by call, and refused calls take none of it."""
    api = open_sandbox(SandboxSettings(plan="lite"))
    statuses(api, "/v1/leadSources", 10)
    clock.advance(1)
    assert statuses(api, "/v1/leadSources", 15) == [200] * 10 + [429] * 5
    assert api.get("/v1/leadSources").headers["x-ratelimit-reset"] == "1"
    clock.advance(1)
    assert statuses(api, "/v1/leadSources", 11) == [200] * 10 + [429]
    assert totals(api)["max_calls_in_2s"] == 27


def test_searches_have_a_window_of_their_own(open_sandbox: Opener, clock: ManualClock) -> None:
    """The eleventh search in 2 s is refused while other calls still pass."""
    api = open_sandbox(SandboxSettings(plan="ultimate"))
    assert statuses(api, SEARCH, 11) == [200] * 10 + [429]
    assert api.get(SEARCH).headers["x-ratelimit-limit"] == "10"
    assert api.get("/v1/leadSources").status_code == 200
    clock.advance(2)
    assert api.get(SEARCH).status_code == 200
    assert totals(api)["max_searches_in_2s"] == 12


def test_the_busiest_2_seconds_are_remembered(api: httpx.Client, clock: ManualClock) -> None:
    """Without a plan nothing is refused and no header appears, but the peak in 2 s is counted."""
    for count in (3, 5, 1):
        answers = [api.get("/v1/leadSources") for _ in range(count)]
        clock.advance(2)
    assert totals(api)["max_calls_in_2s"] == 5
    assert not [name for name in answers[0].headers if "ratelimit" in name]


def test_the_daily_budget(open_sandbox: Opener, clock: ManualClock) -> None:
    """A call is refused until midnight UTC if too few tokens are left; headers show the rest."""
    api = open_sandbox(SandboxSettings(daily_tokens=45))
    assert api.get(SEARCH).headers["x-daily-ratelimit-token-remaining"] == "25"
    assert api.get(SEARCH).headers["x-daily-ratelimit-token-limit"] == "45"
    answer = api.get(SEARCH)
    assert (answer.status_code, answer.headers["x-daily-ratelimit-token-remaining"]) == (429, "5")
    assert "Daily" in answer.json()["error"]
    add_person(api)
    assert api.get("/v1/leadSources").status_code == 429
    clock.advance(12 * 3600)
    assert api.get(SEARCH).headers["x-daily-ratelimit-token-remaining"] == "25"
    assert totals(api)["tokens"] == 65


def test_a_call_without_credentials_takes_no_room(open_sandbox: Opener) -> None:
    """A call that is refused with 401 neither counts in the window nor costs tokens."""
    api = open_sandbox(SandboxSettings(plan="lite", daily_tokens=100))
    for _ in range(30):
        assert api.get("/v1/users/me", headers={"x-api-token": "wrong"}).status_code == 401
    assert api.get("/v1/users/me").headers["x-ratelimit-remaining"] == "19"
    assert totals(api)["tokens"] == 2
