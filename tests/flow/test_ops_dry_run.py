"""The dry run and the drift guard as operators ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_py

from service.sources.request import Outcome
from tests.flow.intake_world import World, make_event, make_result, open_world
from worker.contract import Lead
from worker.drift.drift import DriftFinding, DriftReport
from worker.store import keys

VIEWER = {"Authorization": "Bearer viewers-token-of-some-length"}
OPERATOR = {"Authorization": "Bearer operators-token-of-some-length"}
TOKENS = {
    "LEADLINE_OPS_TOKENS": (
        "vi:viewer:viewers-token-of-some-length,op:operator:operators-token-of-some-length"
    )
}


@pytest.fixture
def world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, TOKENS, spool=tmp_path) as opened:
        yield opened


def parked(world: World, **lead: Any) -> str:
    """A dead letter without anybody to reach."""
    event = make_event(Outcome.NO_CONTACT, lead=Lead(message="hello", **lead), reason="nobody")
    world.result = make_result(Outcome.NO_CONTACT, events=[event])
    world.post("typeform")
    [item] = world.client.get(
        "/ops/api/submissions", params={"state": "dead"}, headers=VIEWER
    ).json()["items"]
    return str(item["id"])


def test_what_a_retry_would_do(world: World) -> None:
    """It says that the lead would fail as it is, and that it would be delivered with the edit;
    nothing stored changes.
    """
    path = f"/ops/api/submissions/{parked(world)}/dry-run"
    as_it_is = world.client.get(path, headers=VIEWER).json()
    assert (as_it_is["would"], [each["code"] for each in as_it_is["problems"]]) == (
        "fail",
        ["unmappable"],
    )
    mended = world.client.post(
        path, json={"edit": {"email": "ada@example.com"}}, headers=OPERATOR
    ).json()
    assert (mended["would"], [step["step"] for step in mended["steps"]][:2]) == (
        "deliver",
        ["person", "lead"],
    )
    assert world.client.get(path, headers=VIEWER).json()["would"] == "fail"


def test_personal_data_are_shown_to_who_reveals(world: World) -> None:
    """Bodies and title are told to an operator who asks for them, which is in the trail; never to a
    viewer.
    """
    path = f"/ops/api/submissions/{parked(world)}/dry-run"
    edit = {"edit": {"email": "ada@example.com"}}
    masked = world.client.post(path, json=edit, headers=OPERATOR)
    assert "ada@" not in masked.text
    assert (
        world.client.post(path, json=edit, headers=VIEWER, params={"reveal": "1"}).status_code
        == 403
    )
    assert (
        "ada@" in world.client.post(path, json=edit, headers=OPERATOR, params={"reveal": "1"}).text
    )
    trail = world.client.get("/ops/api/audit", headers=VIEWER).json()["items"]
    assert [entry["action"] for entry in trail] == ["reveal"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"edit": {"nope": 1}}', 422),
        (b'{"edit": {"email": "x"}}', 422),
        (b'{"other": 1}', 422),
        (b"{", 400),
        (b"\xff", 400),
    ],
)
def test_an_edit_that_is_none(world: World, body: bytes, status: int) -> None:
    """A wrong edit is refused with its field, as by the retry itself."""
    path = f"/ops/api/submissions/{parked(world)}/dry-run"
    answer = world.client.post(path, content=body, headers=OPERATOR)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_rights_come_before_existence(world: World) -> None:
    """Without a token it is 401 whether or not the submission is there; with one, an unknown one is
    404.
    """
    path = "/ops/api/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV/dry-run"
    assert world.client.get(path).status_code == 401
    assert world.client.post(path, content=b"{").status_code == 401
    assert world.client.get(path, headers=VIEWER).status_code == 404


def test_what_the_account_lacks(world: World, redis: redis_py.Redis) -> None:
    """The drift guard's last report: before the first look nothing, then what is missing, needed
    first.
    """
    assert world.client.get("/ops/api/drift", headers=VIEWER).json() == {
        "at": None,
        "items": [],
        "error": None,
    }
    findings = [
        DriftFinding(kind="custom field", name="Size", message="left out", needed=False),
        DriftFinding(
            kind="label",
            name="X",
            message="no label 'X'",
            needed=True,
            settings=["sources.a.lead.labels"],
            available=["Hot"],
        ),
    ]
    redis.set(
        keys.DEFAULT_ACCOUNT.drift, msgspec.json.encode(DriftReport(1_700_000_000.0, "v", findings))
    )
    body = world.client.get("/ops/api/drift", headers=VIEWER).json()
    assert [(item["name"], item["needed"]) for item in body["items"]] == [
        ("X", True),
        ("Size", False),
    ]
    assert body["at"] == "2023-11-14T22:13:20Z"
    assert 'leadline_account_lacks{needed="true"} 1.0' in world.client.get("/metrics").text
