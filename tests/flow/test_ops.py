from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.sources.request import Outcome
from tests.flow.intake_world import World, make_event, make_result, open_world
from tests.polling import eventually
from worker.contract import Lead

TOKEN = "sesame-and-some-more-letters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TOKENS = {"LEADLINE_OPS_TOKENS": f"kim:viewer:{TOKEN}"}


@pytest.fixture
def world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, TOKENS, spool=tmp_path) as opened:
        yield opened


def test_closed_without_tokens(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no token is configured there is nothing to see, whatever is sent."""
    with open_world(redis_url, monkeypatch) as closed:
        for path in ["/ops", "/ops/api/overview", "/ops/api/causes"]:
            assert closed.client.get(path, headers=BEARER).status_code == 404


def test_only_the_right_token_opens(world: World) -> None:
    """Without the token, or with rubbish in its place, the answer is 401: to programs with a
    challenge, to browsers as a form.
    """
    for header in [
        None,
        "Bearer",
        "Bearer wrong",
        "Basic !!",
        "Basic " + base64.b64encode(b"x:wrong").decode(),
        "Digest \xff",
    ]:
        for path in ["/ops", "/ops/api/overview", "/ops/api/causes"]:
            headers: dict[str, Any] = {"Authorization": header.encode("latin-1")} if header else {}
            answer = world.client.get(path, headers=headers)
            assert answer.status_code == 401
            if path == "/ops":
                assert 'name="token"' in answer.text
            else:
                assert answer.headers["www-authenticate"] == 'Bearer realm="Leadline"'


@pytest.mark.parametrize("path", ["/ops", "/ops/leads", "/ops/sign-in", "/docs", "/metrics"])
def test_head_answers_like_get(world: World, path: str) -> None:
    """HEAD gives the status and the type of GET without its body, signed in or not."""
    assert eventually(lambda: world.client.get("/ops", headers=BEARER).is_success)
    for headers in ({}, BEARER):
        page = world.client.get(path, headers=headers)
        head = world.client.head(path, headers=headers)
        assert head.status_code == page.status_code
        assert head.headers["content-type"] == page.headers["content-type"]
        assert head.content == b""


def test_the_overview_is_the_contracts(world: World) -> None:
    """The JSON has the keys that programs rely on, and counts what was accepted."""
    world.post("contact")
    body = world.client.get("/ops/api/overview", headers=BEARER).json()
    keys = {
        "states",
        "oldest_seconds",
        "causes",
        "paused",
        "degraded",
        "tokens",
        "workers",
        "spool",
    }
    assert keys <= set(body)
    assert (body["states"]["queued"], body["tokens"], body["degraded"]) == (
        1,
        {"left": None, "leads": None},
        ["workers"],
    )


def test_the_page_shows_causes_and_nothing_personal(world: World) -> None:
    """A parked submission is on the page with its cause; stored text is text, and whom it is about
    is not told.
    """
    lead = Lead(message="<b>canary</b>", answers={"canary": "x"})
    event = make_event(Outcome.NO_CONTACT, lead=lead, reason="nobody <script>alert(1)</script>")
    world.result = make_result(Outcome.NO_CONTACT, events=[event])
    world.post("typeform")
    basic = {"Authorization": "Basic " + base64.b64encode(f"kim:{TOKEN}".encode()).decode()}
    page = world.client.get("/ops", headers=basic)
    assert page.status_code == 200
    assert "nobody &lt;script&gt;" in page.text
    assert "canary" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    [cause] = world.client.get("/ops/api/causes", headers=BEARER).json()["items"]
    assert (cause["count"], cause["code"]) == (1, "no-contact")
