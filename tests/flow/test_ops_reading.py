"""`GET /ops/api/…`: what operators read, as the contract says it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from jsonschema import Draft202012Validator

from service.ops import export
from service.ops.queries import Loading, SubmissionQueries
from tests.flow.ops_world import CAUSE, VIEWER, Desk, open_desk, openapi
from worker.causes import cause_id
from worker.contract import State
from worker.errors import StoreUnavailable

NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
READS = [
    "overview",
    "causes",
    "chart",
    "attribution",
    "submissions",
    f"submissions/{NOBODY}",
    "export.csv",
    "export.jsonl",
]
ITEM = {
    "id",
    "source",
    "state",
    "result",
    "cause",
    "who",
    "campaign",
    "attempts",
    "received_at",
    "updated_at",
    "next_at",
}
DETAIL = ITEM | {
    "lead", "raw", "deliveries", "timeline", "attribution", "person_id", "organization_id",
    "lead_id", "note_id",
}  # fmt: skip


@pytest.fixture
def desk(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk(redis_url, monkeypatch, tmp_path) as opened:
        yield opened


def test_rights_come_before_existence(desk: Desk) -> None:
    """Without a right token every call answers 401, whether or not there is anything to see."""
    for token, status in [(None, 401), ("wrong", 401)]:
        for path in READS:
            assert desk.as_(token, "GET", path).status_code == status


def test_the_overview_balances(desk: Desk) -> None:
    """The contract's keys, and states that sum up to what was accepted."""
    desk.accept(2)
    desk.dead(3)
    body = desk.get("overview", VIEWER).json()
    assert {
        "states",
        "oldest_seconds",
        "causes",
        "paused",
        "degraded",
        "tokens",
        "workers",
        "spool",
    } <= set(body)
    assert (sum(body["states"].values()), body["states"]["dead"], body["causes"]) == (5, 3, 1)
    assert (body["degraded"], body["paused"], body["tokens"]) == (
        ["workers"],
        None,
        {"left": None, "leads": None},
    )


def test_attribution(desk: Desk) -> None:
    """Leads by source, campaign and channel for any holder of a token; new ones count at once."""
    desk.put(State.DELIVERED, campaign="spring")
    desk.put(State.DEAD, campaign="spring")
    desk.put(State.QUARANTINED, campaign="spring")
    body = desk.get("attribution", VIEWER).json()
    [item] = body.pop("items")
    assert body == {"next": None, "total": 1, "outcomes_at": None, "outcomes_tokens": None}
    assert {name: item[name] for name in ("source", "campaign", "received", "delivered")} == {
        "source": "contact",
        "campaign": "spring",
        "received": 2,
        "delivered": 1,
    }
    assert (item["with_utm"], item["with_click_id"], item["with_first_touch"]) == (2, 0, 0)
    assert item["outcomes"]["won_value"] == {}
    assert "example" not in str(item)
    desk.accept(2)
    items = desk.get("attribution").json()["items"]
    assert {each["campaign"]: each["received"] for each in items} == {"spring": 2, None: 2}


def test_while_the_lists_load_the_answer_says_how_far_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with the moment to ask again, and not a list that lacks something."""

    def loading(*_: Any, **__: Any) -> Any:
        raise Loading(10, 40)

    monkeypatch.setattr("service.ops.search_index.SearchIndex.current", loading)
    answer = desk.get("submissions")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "10 of 40" in answer.json()["detail"]
    assert desk.get("overview").status_code == 200


def test_while_redis_is_away_the_overview_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview names Redis among what is degraded; what needs Redis answers 503 and says when
    to ask again.
    """

    def away(*_: Any, **__: Any) -> Any:
        raise redis.ConnectionError("away")

    desk.accept()
    assert desk.get("overview").json()["states"]["queued"] == 1
    monkeypatch.setattr(desk.redis.connection_pool, "get_connection", away)
    assert desk.get("overview").json()["degraded"] == ["redis", "workers"]
    answer = desk.get("submissions")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_lists_answer_as_the_contract_says(desk: Desk) -> None:
    """Items with every field, `next` and `total`; of a cause its id, times in UTC."""
    [first, *_] = desk.dead(3)
    body = desk.get("submissions?state=dead&limit=2", VIEWER).json()
    assert (len(body["items"]), body["total"]) == (2, 3)
    assert set(body["items"][0]) >= ITEM
    assert body["items"][0]["cause"] == cause_id(CAUSE)
    assert body["items"][0]["updated_at"].endswith("Z")
    rest = desk.get(f"submissions?state=dead&limit=2&cursor={body['next']}").json()
    assert [item["id"] for item in rest["items"]] == [first]
    assert (rest["next"], rest["total"]) == (None, 3)


def test_causes_answer_as_the_contract_says(desk: Desk) -> None:
    """One card for each cause, with what a person needs to mend it."""
    desk.dead(2)
    body = desk.get("causes", VIEWER).json()
    assert (body["total"], body["next"]) == (1, None)
    [card] = body["items"]
    expected = {
        "id",
        "title",
        "hint",
        "step",
        "code",
        "field",
        "count",
        "sources",
        "first_seen",
        "last_seen",
        "ignored",
    }
    assert set(card) >= expected
    assert (card["count"], card["title"], card["ignored"]) == (
        2,
        "Pipedrive rejected the lead's title",
        False,
    )
    desk.actions.ignore_cause(card["id"], "olga")
    assert desk.get("causes").json()["items"][0]["ignored"] is True
    assert desk.get("causes?ignored=0").json()["total"] == 0


def test_a_detail_answers_as_the_contract_says(desk: Desk) -> None:
    """Everything of one submission; the cause as an object."""
    [name] = desk.dead(1)
    body = desk.get(f"submissions/{name}", VIEWER).json()
    assert set(body) >= DETAIL
    assert (body["cause"]["id"], body["cause"]["count"]) == (cause_id(CAUSE), 1)
    assert set(body["raw"]) >= {"content_type", "headers", "body_base64"}
    assert [moment["state"] for moment in body["timeline"]] == ["queued", "delivering", "dead"]
    for other in (NOBODY, f"{name}:timeline", "x", "%00", "é"):
        assert desk.get(f"submissions/{other}").status_code == 404


WRONG_PARAMETERS: list[tuple[str, str]] = [
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=ten", "limit"),
    ("limit=-1", "limit"),
    ("limit=%EF%BC%91", "limit"),
    ("cursor=rubbish", "cursor"),
    ("state=broken", "state"),
    ("q=state:broken", "q"),
    ("source=" + "x" * 600, "source"),
]


def test_a_wrong_parameter_is_named(desk: Desk) -> None:
    """400 as problem+json, with the parameter at fault."""
    for query, field in WRONG_PARAMETERS:
        answer = desk.get(f"submissions?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (
            400,
            "application/problem+json",
        )
        assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["submissions", "submissions/{id}", "export.csv", "export.jsonl"])
def test_only_operators_reveal_and_it_is_on_record(desk: Desk, path: str) -> None:
    """A viewer who asks for personal data gets 403; an operator gets them, and the trail says who
    looked at what.
    """
    name = desk.put(State.QUARANTINED, email="ada@canary.example")
    url = path.replace("{id}", name)
    masked = desk.get(url, VIEWER)
    assert (masked.status_code, "ada@canary" in masked.text) == (200, False)
    assert desk.get(f"{url}?reveal=1", VIEWER).status_code == 403
    assert [entry for entry in desk.trail() if entry["action"] == "reveal"] == []
    plain = desk.get(f"{url}?reveal=1")
    assert (plain.status_code, "Ada" in plain.text) == (200, True)
    [entry] = [entry for entry in desk.trail() if entry["action"] == "reveal"]
    assert entry["who"] == "olga"
    assert (entry["target"] == name) is (path == "submissions/{id}")


def test_a_viewer_may_not_ask_what_exists(desk: Desk) -> None:
    """Who may not reveal is told so, whether or not the submission is there."""
    assert desk.get(f"submissions/{NOBODY}?reveal=1", VIEWER).status_code == 403


def test_exports_hold_the_whole_list(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every match is in the file, over as many batches as it takes, and only the matches."""
    monkeypatch.setattr(export, "BATCH_SIZE", 2)
    dead = desk.dead(5)
    desk.accept(2)
    table = desk.get("export.csv?state=dead")
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert {row["id"] for row in rows} == set(dead)
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == 'attachment; filename="leadline.csv"'
    lines = [json.loads(line) for line in desk.get("export.jsonl?state=dead").text.splitlines()]
    assert {line["id"] for line in lines} == set(dead)
    assert all(set(line) >= ITEM | {"lead"} for line in lines)
    assert desk.get("export.csv?bom=1").content.startswith(b"\xef\xbb\xbf")


def test_an_export_of_nothing_has_its_head(desk: Desk) -> None:
    """No match is no fault."""
    assert desk.get("export.csv?q=nobody").text.startswith("id,source,state")
    assert desk.get("export.jsonl?q=nobody").text == ""


def test_an_export_that_cannot_begin_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong filter is 400 and Redis away is 503, not half a file."""
    assert desk.get("export.csv?state=broken").status_code == 400

    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(SubmissionQueries, "export_rows", away)
    assert desk.get("export.csv").status_code == 503


def test_answers_keep_what_the_document_says(desk: Desk) -> None:
    """Each real answer is valid by its schema in the OpenAPI document."""
    [name] = desk.dead(1)
    for state in (State.QUEUED, State.WAITING, State.DELIVERED, State.QUARANTINED, State.ERASED):
        desk.put(state)
    document = openapi()
    for path in ("overview", "causes", "chart", "submissions", "submissions/{id}"):
        content = document["paths"][f"/ops/api/{path}"]["get"]["responses"]["200"]["content"]
        schema = content["application/json"]["schema"] | {"components": document["components"]}
        body = desk.get(path.replace("{id}", name) + "?reveal=1").json()
        assert [error.message for error in Draft202012Validator(schema).iter_errors(body)] == []
        assert [
            error.message for error in Draft202012Validator(schema).iter_errors({"nonsense": 1})
        ]


def test_the_documents_parameters_are_those_that_are_read() -> None:
    """The state filter of the document names every state."""
    [state] = [
        each
        for each in openapi()["paths"]["/ops/api/submissions"]["get"]["parameters"]
        if each["name"] == "state"
    ]
    assert all(each.value in state["description"] for each in State)


def test_a_stranger_source_is_no_fault(desk: Desk) -> None:
    """A submission of a source that the file no longer has is listed and shown."""
    [name] = desk.accept(source="gone")
    assert desk.get("submissions?source=gone").json()["total"] == 1
    assert desk.get(f"submissions/{name}").json()["attribution"]["error"]
