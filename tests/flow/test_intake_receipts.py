"""`GET /submissions/{id}`: what the public, a source's owner and an operator may know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st

from service.sources.request import Outcome
from service.web.authorization import find_token_owner
from tests.flow.intake_world import World, make_result, open_world
from worker.settings.types import OpsToken, Secret
from worker.store import keys
from worker.units import format_iso

OPS = "anna:viewer:viewers-token-of-some-length,otto:operator:operators-token-of-some-length"
PUBLIC = {"id", "source", "state", "result", "received_at", "updated_at", "duplicate_of"}
PRIVATE = PUBLIC | {"lead_id", "person_id", "attempts", "cause", "next_at"}


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, {"LEADLINE_OPS_TOKENS": OPS}) as opened:
        yield opened


def test_the_public_sees_no_personal_data(world: World) -> None:
    """The seven public fields and no more, times in UTC, readable from any page, never cached."""
    posted = world.post().json()
    answer = world.client.get(posted["status_url"])
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == PUBLIC
    assert (body["id"], body["source"], body["state"], body["result"], body["duplicate_of"]) == (
        posted["id"], "contact", "queued", None, None,
    )  # fmt: skip
    assert body["received_at"].endswith("Z")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
    assert "ada" not in answer.text


def test_the_delivery_shows_in_the_receipt(world: World, redis: redis_py.Redis) -> None:
    """Once delivered, the public sees the result, and who may also the ids at Pipedrive."""
    posted = world.post().json()
    moved = {
        "state": "delivered",
        "result": "created",
        "lead_id": "abc",
        "person_id": "7",
        "attempts": "2",
    }
    for name, value in moved.items():
        redis.hset(keys.submission(posted["id"]), name, value)
    assert world.client.get(posted["status_url"]).json()["result"] == "created"
    body = world.client.get(
        posted["status_url"], headers={"authorization": "Bearer operators-token-of-some-length"}
    ).json()
    assert (body["state"], body["lead_id"], body["person_id"], body["attempts"]) == (
        "delivered",
        "abc",
        7,
        2,
    )


READERS: list[tuple[dict[str, str], str, bool]] = [
    ({}, "", False),
    ({"x-key": "s3cret"}, "", True),
    ({"x-key": "S3cret"}, "", False),
    ({"x-key": ""}, "", False),
    ({"x-key": "s3cret "}, "", True),
    ({"x-key": "s3cretx"}, "", False),
    ({"x-key": "s3"}, "", False),
    ({"x-key": "\u00f6ld"}, "", True),
    ({}, "?key=s3cret", True),
    ({}, "?key=wrong", False),
    ({}, "?key=wrong&key=s3cret", False),
    ({}, "?" + "a=b&" * 500 + "key=s3cret", False),
    ({}, "?x-key=s3cret", False),
    ({"authorization": "Bearer viewers-token-of-some-length"}, "", True),
    ({"authorization": "bearer operators-token-of-some-length"}, "", True),
    ({"authorization": "Bearer operators-token-of-some-length-not"}, "", False),
    ({"authorization": "Bearer "}, "", False),
    ({"authorization": "Basic operators-token-of-some-length"}, "", False),
    ({"authorization": "otto:operator:operators-token-of-some-length"}, "", False),
    ({"authorization": "Bearer s3cret"}, "", False),
]


def test_who_sees_how_the_delivery_goes(world: World) -> None:
    """Holders of the source's token or an ops token see more; others get the public fields."""
    for headers, query, entitled in READERS:
        posted = world.post("linked" if query else "partner").json()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = world.client.get(posted["status_url"] + query, headers=raw)
        assert set(answer.json()) == (PRIVATE if entitled else PUBLIC)


def test_one_sources_token_opens_no_other_source(world: World) -> None:
    """The token of a partner shows nothing more of a form's submission."""
    posted = world.post("contact").json()
    assert set(world.client.get(posted["status_url"], headers={"x-key": "s3cret"}).json()) == PUBLIC


def test_quarantine_is_told_to_nobody_without_a_token(world: World) -> None:
    """The public reads `queued`; with a token it is what it is."""
    world.result = make_result(Outcome.SPAM)
    posted = world.post("partner").json()
    assert world.client.get(posted["status_url"]).json()["state"] == "queued"
    assert (
        world.client.get(posted["status_url"], headers={"x-key": "s3cret"}).json()["state"]
        == "quarantined"
    )


@pytest.mark.parametrize("state", ["queued", "discarded", "erased", "dead"])
def test_nobody_can_tell_what_a_person_decided(
    world: World, redis: redis_py.Redis, state: str
) -> None:
    """The public's view of what looked like spam does not change, unless it becomes a lead."""
    world.result = make_result(Outcome.SPAM)
    posted = world.post("contact").json()
    before = world.client.get(posted["status_url"]).json()
    for name, value in {"state": state, "updated_at": "1800000000.5"}.items():
        redis.hset(keys.submission(posted["id"]), name, value)
    assert world.client.get(posted["status_url"]).json() == before
    assert before["state"] == "queued"


def test_a_dead_one_says_why_to_its_owner(world: World) -> None:
    """The cause is an object with a hint, for those who may see it."""
    world.result = make_result(Outcome.NO_CONTACT)
    posted = world.post("typeform").json()
    body = world.client.get(
        posted["status_url"], headers={"authorization": "Bearer viewers-token-of-some-length"}
    ).json()
    assert body["cause"]["code"] == "no-contact"
    assert body["cause"]["hint"]


def test_a_page_may_ask(world: World) -> None:
    """A preflight lets a page of any origin read receipts."""
    answer = world.client.options(
        "/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV", headers={"origin": "https://a.example"}
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization"


def test_while_redis_is_away_the_answer_is_a_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that cannot be read now is not a record that does not exist."""
    from worker.errors import StoreUnavailable

    def away(_: str) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.context.ledger, "get", away)
    answer = world.client.get("/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=4))
def test_tokens_are_equal_or_not_and_nothing_else(given_token: str, secrets: list[str]) -> None:
    """Any two texts can be compared, surrogates and all."""
    owners = [OpsToken(f"n{n}", "viewer", Secret(secret)) for n, secret in enumerate(secrets)]
    owner = find_token_owner(given_token, owners)
    assert (owner is not None) is (bool(given_token) and given_token in secrets)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000.1239, "2027-01-15T08:00:00.123Z"),
        (4e9, "2096-10-02T07:06:40.000Z"),
    ],
)
def test_times_are_iso_8601_in_utc(seconds: float | None, text: str | None) -> None:
    """Milliseconds, and a Z."""
    assert format_iso(seconds, timespec="milliseconds") == text
