"""Faults on demand over a real socket: what the caller sees, and what the account has done."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from service.cli.main import main
from service.sandbox.account.stock import custom_key, label_id
from service.sandbox.fault_effects import describe_faults
from service.sandbox.fault_presets import PRESETS
from service.sandbox.resources.account_changes import CHANGES
from service.sandbox.settings import SandboxSettings
from tests.polling import eventually
from tests.sandbox.account import TOKEN, ManualClock, add_lead, add_person, data
from tests.sandbox.conftest import Opener

PERSON = {"name": "Jane Doe", "emails": [{"value": "jane@example.org"}]}
BRIEF = httpx.Timeout(5, read=0.4)
CUT = (httpx.RemoteProtocolError, httpx.ReadError)


def rule(kind: str, match: dict[str, Any] | None = None, **effect: Any) -> dict[str, Any]:
    return {
        "match": {"operation": "persons.add"} | (match or {}),
        "effect": {"kind": kind, **effect},
    }


def install(api: httpx.Client, *rules: dict[str, Any]) -> None:
    answer = api.post("/_sandbox/faults", json=list(rules))
    assert answer.status_code == 201, answer.text


def persons(api: httpx.Client) -> int:
    return len(api.get("/_sandbox/state").json()["persons"])


def last_call(api: httpx.Client) -> dict[str, Any]:
    call: dict[str, Any] = api.get("/_sandbox/state", params={"calls": 1}).json()["calls"][-1]
    return call


def post_person(api: httpx.Client) -> httpx.Response:
    return api.post("/api/v2/persons", json=PERSON)


@pytest.mark.parametrize(
    ("effect", "content_type", "text"),
    [
        ({"status": 503}, "application/json", '"success":false'),
        (
            {"status": 429, "headers": {"Retry-After": "7"}, "body": {"success": False}},
            "application/json",
            "false",
        ),
        ({"status": 403, "html": "<h1>Blocked</h1>"}, "text/html", "<h1>Blocked</h1>"),
        (
            {"status": 502, "text": "bad gateway", "headers": {"Content-Type": "text/weird"}},
            "text/weird",
            "bad gateway",
        ),
        ({"status": 200, "body": None}, "application/json", "null"),
    ],
)
def test_another_answer(
    served_api: httpx.Client, effect: dict[str, Any], content_type: str, text: str
) -> None:
    """The caller gets the chosen status, body and headers; nothing is performed or charged."""
    install(served_api, rule("answer", **effect))
    answer = post_person(served_api)
    assert answer.status_code == effect["status"]
    assert answer.headers["content-type"].startswith(content_type)
    assert text in answer.text
    assert answer.headers.get("retry-after") == effect.get("headers", {}).get("Retry-After")
    assert persons(served_api) == 0
    assert {key: last_call(served_api)[key] for key in ("fault", "performed", "tokens")} == {
        "fault": "answer",
        "performed": False,
        "tokens": 0,
    }


def test_an_error_that_hides_a_success(served_api: httpx.Client) -> None:
    """With `commit`, a 500 hides a person that was created."""
    install(served_api, rule("answer", status=500, commit=True))
    assert post_person(served_api).status_code == 500
    assert persons(served_api) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("kind", "created"), [("commit-then-drop", 1), ("drop-before", 0)])
def test_the_connection_is_cut_without_an_answer(
    served_api: httpx.Client, kind: str, created: int, reset: bool
) -> None:
    """The connection ends without a byte; the person was created, or was not."""
    install(served_api, rule(kind, reset=reset))
    with pytest.raises(CUT) as error:
        post_person(served_api)
    assert isinstance(error.value, httpx.ReadError) is reset
    assert persons(served_api) == created
    assert last_call(served_api)["status"] is None


@pytest.mark.parametrize(("kind", "created"), [("commit-then-drop", 1), ("drop-before", 0)])
def test_the_answer_is_held(served_api: httpx.Client, kind: str, created: int) -> None:
    """The caller waits until its own timeout; the person was created, or was not."""
    install(served_api, rule(kind, hold_seconds=30))
    with pytest.raises(httpx.ReadTimeout):
        served_api.post("/api/v2/persons", json=PERSON, timeout=BRIEF)
    assert persons(served_api) == created


def test_a_late_commit(served_api: httpx.Client) -> None:
    """The connection is cut at once; the person appears later."""
    install(served_api, rule("late-commit", seconds=1.5))
    with pytest.raises(CUT):
        post_person(served_api)
    assert persons(served_api) == 0
    assert eventually(lambda: persons(served_api) == 1)
    assert last_call(served_api)["performed"] is True


def test_a_delay(served_api: httpx.Client) -> None:
    """The response comes late and whole; a caller that has left still creates a person."""
    install(served_api, rule("delay", seconds=0.8))
    begun = time.monotonic()
    assert post_person(served_api).status_code == 200
    assert time.monotonic() - begun >= 0.8
    with pytest.raises(httpx.ReadTimeout):
        served_api.post("/api/v2/persons", json=PERSON, timeout=BRIEF)
    assert eventually(lambda: persons(served_api) == 2)


def test_truncated_json(served_api: httpx.Client) -> None:
    """A success has JSON that stops in the middle; the person was created."""
    install(served_api, rule("truncated"), rule("truncated", bytes=3))
    answer = post_person(served_api)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert persons(served_api) == 1


def test_an_empty_success(served_api: httpx.Client) -> None:
    """A 200 has no body; the person was created unless `commit` is off."""
    install(served_api, rule("empty", {"count": 1}), rule("empty", commit=False))
    for _ in range(2):
        answer = post_person(served_api)
        assert (answer.status_code, answer.content) == (200, b"")
    assert persons(served_api) == 1


def test_success_false(served_api: httpx.Client) -> None:
    """A 200 says `success: false`."""
    install(served_api, rule("unsuccessful", error="No"))
    answer = post_person(served_api)
    assert (answer.status_code, answer.json()["success"], answer.json()["error"]) == (
        200,
        False,
        "No",
    )
    assert persons(served_api) == 0


def test_wrong_types(served_api: httpx.Client) -> None:
    """Ids become text, text numbers, lists objects; the person was created."""
    install(served_api, rule("wrong-types"))
    body = post_person(served_api).json()
    assert (body["success"], body["data"]["id"], body["data"]["name"]) == (True, "1", 8)
    assert isinstance(body["data"]["emails"], dict)
    assert persons(served_api) == 1


def test_altered_answers(served_api: httpx.Client) -> None:
    """Values of the response can be set by path: endless pages, unknown keys."""
    add_person(served_api)
    altered = {
        "additional_data.next_cursor": "again",
        "data.0.id": "one",
        "data.0.surprise": [1],
        "more.deep": 1,
    }
    install(
        served_api,
        {"match": {"operation": "persons.list"}, "effect": {"kind": "alter", "set": altered}},
    )
    body = served_api.get("/api/v2/persons").json()
    assert body["additional_data"]["next_cursor"] == "again"
    assert (body["data"][0]["id"], body["data"][0]["surprise"], body["more"]) == (
        "one",
        [1],
        {"deep": 1},
    )


def test_a_slow_drip(served_api: httpx.Client) -> None:
    """The body arrives byte by byte, so that only a limit on the total time helps."""
    install(served_api, rule("drip", bytes_per_second=50))
    parts: list[bytes] = []
    begun = time.monotonic()
    with served_api.stream("POST", "/api/v2/persons", json=PERSON) as answer:
        for part in answer.iter_raw():
            parts.append(part)
            if len(parts) == 10:
                break
    assert time.monotonic() - begun >= (sum(len(part) for part in parts) - 1) / 50
    assert persons(served_api) == 1


def test_a_huge_answer(served_api: httpx.Client) -> None:
    """The response is valid JSON of the requested size."""
    install(served_api, rule("huge", bytes=3_000_000))
    answer = post_person(served_api)
    assert len(answer.content) == int(answer.headers["content-length"]) == 3_000_000
    assert answer.json()["data"]["name"] == "Jane Doe"


def test_a_huge_answer_that_nobody_reads(served_api: httpx.Client) -> None:
    """The sandbox survives a caller that stops reading 100 MB half-way."""
    install(served_api, rule("huge", bytes=100_000_000))
    with served_api.stream("POST", "/api/v2/persons", json=PERSON) as answer:
        next(answer.iter_raw())
    assert persons(served_api) == 1


def test_a_redirect(served_api: httpx.Client) -> None:
    """The caller is redirected to a chosen host, and nothing is performed."""
    install(served_api, rule("redirect", location="http://127.0.0.1:1/elsewhere"))
    answer = post_person(served_api)
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/elsewhere")
    assert persons(served_api) == 0


@pytest.mark.parametrize("sent", [0, 1, 40])
def test_a_reset_in_the_middle(served_url: str, served_api: httpx.Client, sent: int) -> None:
    """Head and first bytes arrive, then the connection is reset; the person was created."""
    install(served_api, rule("reset", bytes=sent))
    received, was_reset = raw_exchange(served_url)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) == sent
    assert was_reset
    assert persons(served_api) == 1


def test_an_idle_connection_is_closed_unannounced(
    served_url: str, served_api: httpx.Client
) -> None:
    """The response is whole and keeps the connection alive, which then ends unannounced."""
    install(served_api, rule("close-after", seconds=0.1))
    received, was_reset = raw_exchange(served_url)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in received.lower()
    assert not was_reset


def test_other_callers_are_served(served_api: httpx.Client) -> None:
    """While one caller is kept waiting, and after a cut, others are served."""
    install(served_api, rule("commit-then-drop", {"count": 1}, hold_seconds=30))
    with (
        httpx.Client(
            base_url=served_api.base_url, headers={"x-api-token": TOKEN}, timeout=BRIEF
        ) as waiting,
        pytest.raises(httpx.ReadTimeout),
    ):
        waiting.post("/api/v2/persons", json=PERSON)
    assert post_person(served_api).json()["data"]["id"] == 2


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, [True] * 6),
        ({"operation": "addPerson"}, [True] * 6),
        ({"operation": "persons.*"}, [True] * 6),
        ({"operation": "leads.*"}, [False] * 6),
        ({"operation": "*", "method": "post"}, [True] * 6),
        ({"operation": "*", "method": "GET"}, [False] * 6),
        ({"operation": "*", "path": "/api/v2/pers*"}, [True] * 6),
        ({"operation": "*", "path": "/v1/*"}, [False] * 6),
        ({"body_contains": "jane@"}, [True] * 6),
        ({"body_contains": "joe@"}, [False] * 6),
        ({"every": 2}, [False, True] * 3),
        ({"after": 2}, [False, False, True, True, True, True]),
        ({"count": 2}, [True, True, False, False, False, False]),
        ({"after": 1, "every": 2, "count": 1}, [False, False, True, False, False, False]),
        ({"probability": 0}, [False] * 6),
    ],
)
def test_which_calls_are_hit(api: httpx.Client, match: dict[str, Any], hit: list[bool]) -> None:
    """Rules pick calls by operation, method, path and body, and count them."""
    install(api, rule("answer", match, status=503))
    assert [post_person(api).status_code == 503 for _ in hit] == hit


def test_chances_are_repeatable(api: httpx.Client) -> None:
    """The same seed hits the same calls, roughly as many as the probability says."""
    runs = []
    for _ in range(2):
        api.delete("/_sandbox/faults")
        install(api, rule("answer", {"probability": 0.3, "seed": 5}, status=503))
        runs.append([post_person(api).status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert 8 <= runs[0].count(503) <= 30


def test_the_first_rule_that_hits_decides(api: httpx.Client) -> None:
    """Rules are tried in order; those behind the one that hits do not count the call."""
    install(api, rule("answer", {"count": 1}, status=500), rule("answer", {"count": 1}, status=502))
    assert [post_person(api).status_code for _ in range(3)] == [500, 502, 200]
    listed = api.get("/_sandbox/faults").json()["faults"]
    assert [(item["picked"], item["hits"]) for item in listed] == [(1, 1), (1, 1)]
    assert listed[0]["rule"]["effect"]["status"] == 500


def test_faults_come_after_credentials_and_limits(api: httpx.Client) -> None:
    """A call without credentials is refused, and no rule counts it."""
    install(api, rule("answer", {"count": 1}, status=503))
    assert (
        api.post("/api/v2/persons", json=PERSON, headers={"x-api-token": "wrong"}).status_code
        == 401
    )
    assert post_person(api).status_code == 503


def test_the_token_endpoint_can_fail_too(served_api: httpx.Client) -> None:
    """The response to a refresh can be lost."""
    install(
        served_api,
        {"match": {"operation": "oauth.token", "count": 1}, "effect": {"kind": "commit-then-drop"}},
    )
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    with pytest.raises(CUT):
        served_api.post("/oauth/token", data=form, auth=("sandbox-client", "sandbox-secret"))
    assert (
        served_api.post(
            "/oauth/token", data=form, auth=("sandbox-client", "sandbox-secret")
        ).status_code
        == 200
    )


def test_faults_can_be_removed(api: httpx.Client) -> None:
    """A DELETE removes all rules, and so does a reset."""
    for method, path in (("DELETE", "/_sandbox/faults"), ("POST", "/_sandbox/reset")):
        install(api, rule("answer", status=503))
        assert api.request(method, path).status_code == 200
        assert post_person(api).status_code == 200
        assert api.get("/_sandbox/faults").json() == {"faults": []}


def test_a_fault_that_lasts_ends_by_itself(api: httpx.Client, clock: ManualClock) -> None:
    """A rule with `seconds` hits from its first hit on for as long, and no longer."""
    install(api, rule("answer", {"seconds": 25}, status=503))
    clock.advance(100)
    for seconds, status in ((0, 503), (24.9, 503), (0.2, 200)):
        clock.advance(seconds)
        assert post_person(api).status_code == status
    assert api.get("/_sandbox/faults").json()["faults"][0]["spent"]


@pytest.mark.parametrize("name", PRESETS)
def test_faults_by_name(open_sandbox: Opener, name: str) -> None:
    """Each fault of the list is turned on by its name, at the start or later, and off with all."""
    api = open_sandbox(SandboxSettings(faults=(name,)))
    [at_start, *_] = api.get("/_sandbox/faults").json()["faults"]
    assert at_start["rule"]["name"] == name
    assert api.delete("/_sandbox/faults").status_code == 200
    assert api.post(f"/_sandbox/faults/{name}").status_code == 201
    assert api.get("/_sandbox/faults").json()["faults"][0] == at_start
    assert api.get("/_sandbox/presets").json()[name] == PRESETS[name].text


def test_a_budget_that_is_back_is_back_for_every_call(
    api: httpx.Client, clock: ManualClock
) -> None:
    """The seconds of a fault run from the first call of whichever version of the API."""
    api.post("/_sandbox/faults/budget-early").raise_for_status()
    assert api.get("/v1/users/me").status_code == 429
    clock.advance(25.1)
    assert api.get("/api/v2/persons").status_code == 200


def test_an_unknown_name_is_refused_with_all_names(api: httpx.Client) -> None:
    """A fault that does not exist is a 400 that lists those that do."""
    answer = api.post("/_sandbox/faults/trial")
    assert answer.status_code == 400
    assert "trial-over, oauth-trial-over" in answer.json()["error"]


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("trial-over", 402, "Company account is not open"),
        ("wrong-host", 200, "<!DOCTYPE html>"),
        ("rate-limit-silent", 429, "Request over limit"),
        ("budget-early", 429, "Request over limit"),
    ],
)
def test_faults_of_the_whole_account(api: httpx.Client, name: str, status: int, text: str) -> None:
    """Every call of both versions of the API gets the answer, and access tokens are issued."""
    api.post(f"/_sandbox/faults/{name}").raise_for_status()
    for path in ("/v1/users/me", "/api/v2/persons"):
        answer = api.get(path)
        assert (answer.status_code, text in answer.text) == (status, True)
        assert answer.headers.get("retry-after") == ("25" if name == "budget-early" else None)
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    assert (
        api.post("/oauth/token", data=form, auth=("sandbox-client", "sandbox-secret")).status_code
        == 200
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]]",
        b'{"effect": {"kind": "explode"}}',
        b'{"match": {}}',
        b'{"match": {"every": 0}, "effect": {"kind": "empty"}}',
        b'{"match": {"operations": "x"}, "effect": {"kind": "empty"}}',
        b'{"effect": {"kind": "delay"}}',
        b'{"effect": {"kind": "delay", "seconds": -1}}',
        b'{"effect": {"kind": "answer", "status": 99}}',
        b"[" + b",".join([b'{"effect": {"kind": "empty"}}'] * 101) + b"]",
    ],
)
def test_invalid_rules_are_refused(api: httpx.Client, body: bytes) -> None:
    """A rule with an unknown key, kind or value is refused with the reason, and none is added."""
    answer = api.post("/_sandbox/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert api.get("/_sandbox/faults").json() == {"faults": []}


def raw_exchange(url: str) -> tuple[bytes, bool]:
    """Everything received on a plain socket until its end, and whether it ended with a reset."""
    address = httpx.URL(url)
    body = json.dumps(PERSON).encode()
    head = (
        f"POST /api/v2/persons HTTP/1.1\r\nHost: {address.host}\r\nx-api-token:"
        f" {SandboxSettings().api_token}\r\n"
    )
    request = (
        head.encode()
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    received = b""
    with socket.create_connection((address.host, address.port or 80), timeout=5) as connection:
        connection.sendall(request)
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            return received, True
    return received, False


LEAD_CHANGES = {"archive-lead": 400, "convert-lead": 404, "delete-lead": 404, "orphan-label": 400}


@pytest.mark.parametrize("change", [*CHANGES])
@pytest.mark.parametrize("status", [None, 422])
def test_somebody_changes_the_account(api: httpx.Client, change: str, status: int | None) -> None:
    """Right before a call somebody changes what it names: it is refused, in the chosen status.

    A deleted custom field is ignored, as Pipedrive documents it.
    """
    organization = data(api.post("/api/v2/organizations", json={"name": "Example"}))["id"]
    body = {
        "person_id": add_person(api),
        "organization_id": organization,
        "label_ids": [label_id("Hot"), label_id("Warm")],
        "channel": 66,
        "owner_id": 12,
        custom_key("deal", "Company size"): 102,
    }
    lead = add_lead(api, **body)
    install(api, rule("meanwhile", {"operation": "leads.*"}, change=change, status=status))
    if change in LEAD_CHANGES:
        changed = {"label_ids": body["label_ids"], "channel": 67}
        answer = api.patch(f"/v1/leads/{lead}", json=changed)
    else:
        answer = api.post("/v1/leads", json={"title": "Another", **body})
    if change == "remake-field":
        assert custom_key("deal", "Company size") not in answer.json()["data"]
        return
    is_record = "person" in change or "organization" in change
    assert answer.status_code == (status or LEAD_CHANGES.get(change, 404 if is_record else 400))
    names = [label["name"] for label in data(api.get("/v1/leadLabels"))]
    assert len(names) == (5 if change == "orphan-label" else 6)


@pytest.mark.parametrize("limit", [500, 15])
def test_many_options(api: httpx.Client, limit: int) -> None:
    """Each field with options has many more in the listing, whatever the size of its pages."""
    install(api, rule("many-options", {"operation": "deal_fields.list"}, options=20))
    fields = data(api.get("/api/v2/dealFields", params={"limit": limit}))
    custom = [field for field in fields if field["is_custom_field"] and field["options"]]
    assert {
        sum(option["label"].endswith("as people write it") for option in field["options"])
        for field in custom
    } == {20}


def test_every_fault_is_in_the_help() -> None:
    """The help of the command lists each fault with a sentence."""
    help_ = CliRunner().invoke(main, ["sandbox", "--help"]).output
    for name, sentence in describe_faults():
        assert sentence
        assert name in help_
