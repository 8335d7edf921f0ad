"""What operators do to one submission: each action in each state, edits, undo, and two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.flow.ops_world import OPERATOR, Desk, desk
from worker.contract import State
from worker.errors import NotAllowed

__all__ = ["desk"]

MAY: dict[str, dict[State, State]] = {
    "retry": {State.DEAD: State.QUEUED},
    "accept": {State.QUARANTINED: State.QUEUED},
    "discard": {State.DEAD: State.DISCARDED, State.QUARANTINED: State.DISCARDED},
    "undo": {State.DISCARDED: State.DEAD},
}


def test_each_action_in_each_state(desk: Desk) -> None:
    """An action answers 200 with the new state where the table says so, else 409 with the state,
    and then nothing changed.
    """
    for action in MAY:
        for state in State:
            name = desk.put(state)
            before = desk.trail()
            answer = desk.post(f"submissions/{name}/{action}")
            if state in MAY[action]:
                assert (answer.status_code, answer.json()) == (
                    200,
                    {"id": name, "state": MAY[action][state]},
                )
                assert desk.trail()[0] | {"at": ""} == {
                    "at": "",
                    "who": "olga",
                    "action": action,
                    "target": name,
                    "detail": None,
                }
            else:
                assert (answer.status_code, answer.json()["state"], desk.state(name)) == (
                    409,
                    state,
                    state,
                )
                assert state in answer.json()["detail"]
                assert desk.trail() == before


def test_an_undo_goes_back_to_where_it_was(desk: Desk) -> None:
    """What was discarded from quarantine goes back to quarantine, not to the dead letters."""
    name = desk.put(State.QUARANTINED)
    desk.post(f"submissions/{name}/discard", {"reason": "spam"})
    assert desk.ledger.timeline(name)[-1].why == "spam"
    assert desk.post(f"submissions/{name}/undo").json()["state"] == "quarantined"


def test_an_edit_mends_the_lead(desk: Desk) -> None:
    """Fields of the edit replace the lead's, cleaned as at the door; the trail names the fields and
    not their values.
    """
    name = desk.put(State.DEAD)
    edit = {
        "email": " ADA@New.Example ",
        "utm_source": "spring\u0000",
        "answers.Budget": "10",
        "name": None,
        "is_test": False,
    }
    assert desk.post(f"submissions/{name}/retry", {"edit": edit}).status_code == 200
    lead = desk.lead(name)
    assert (lead.email, lead.utm.source, lead.answers, lead.name) == (
        "ada@new.example",
        "spring",
        {"Budget": "10"},
        None,
    )
    [entry] = desk.trail()
    assert entry["detail"] == "edited: answers.Budget, email, is_test, name, utm_source"


WRONG_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"nosuch": "x"}, "nosuch"),
    ({"email": "not an address"}, "email"),
    ({"email": 7}, "email"),
    ({"consent": "perhaps"}, "consent"),
    ({"answers": {"a": {"b": 1}}}, "answers"),
    ({"answers": "text"}, "answers"),
    ({"value.currency": "euros"}, "value.currency"),
    ({"utm": {"sauce": "x"}}, "utm"),
    ({"": "x"}, ""),
]


def test_a_wrong_edit_is_refused_by_field(desk: Desk) -> None:
    """A wrong edit answers 422 and names the field; the lead stays as it is and dead."""
    for edit, field in WRONG_EDITS:
        name = desk.put(State.DEAD)
        before = desk.lead(name)
        answer = desk.post(f"submissions/{name}/retry", {"edit": edit})
        assert answer.status_code == 422, answer.text
        assert field in [
            error["field"].split(".")[0] if field in ("answers", "utm") else error["field"]
            for error in answer.json()["errors"]
        ]
        assert (desk.state(name), desk.lead(name)) == (State.DEAD, before)


WRONG_BODIES: list[tuple[str, bytes, int]] = [
    ("submissions/{}/retry", b"{", 400),
    ("submissions/{}/retry", b"\xff", 400),
    ("submissions/{}/retry", b"[]", 422),
    ("submissions/{}/retry", b'{"edti": {}}', 422),
    ("submissions/{}/retry", b'{"edit": "x"}', 422),
    ("submissions/{}/retry", b'{"edit": {"email": "\\ud800"}}', 400),
    (
        "submissions/{}/retry",
        b'{"edit": {"answers": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
        400,
    ),
    ("submissions/{}/retry", b'"' + b"x" * 300_000 + b'"', 413),
    ("submissions/{}/accept", b'{"reason": "x"}', 422),
    ("pause", b'{"reason": 7}', 422),
    ("erase", b"{}", 422),
    ("erase", b'{"email": "nobody"}', 422),
    ("bulk", b'{"action": "explode", "expect": 1}', 422),
    ("bulk", b'{"action": "retry", "expect": 1.5, "filter": {"state": "dead"}}', 422),
    ("bulk", b'{"action": "retry", "expect": 1, "filter": {"colour": "red"}}', 422),
    ("bulk", b'{"action": "retry", "expect": 1, "filter": {"state": "asleep"}}', 422),
    ("bulk", b'{"action": "retry", "expect": 18446744073709551616, "filter": {"q": "zz"}}', 422),
    ("submissions/{}/retry", b'{"edit": {"value.amount": 1000000000000000000000000000000}}', 422),
    ("submissions/{}/retry", b'{"edit": {"value": {"amount": -18446744073709551616}}}', 422),
    ("erase", b'{"email": "@@@"}', 422),
    ("bulk", b'{"action": "retry", "expect": 0, "filter": {}}', 400),
    ("bulk", b'{"action": "retry", "expect": 0}', 400),
]


def test_a_wrong_body_is_refused(desk: Desk) -> None:
    """What is no JSON is 400, what is too much 413, and what has another shape 422: nothing was
    changed.
    """
    for path, body, status in WRONG_BODIES:
        name = desk.put(State.DEAD)
        answer = desk.as_(OPERATOR, "POST", path.format(name), content=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert desk.state(name) is State.DEAD


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("pause", b'{"reason": 7}', "reason"),
        ("pause", b'{"why": ""}', "why"),
        ("pause", b"[]", ""),
        ("erase", b"{}", "email"),
        ("bulk", b'{"expect": 1}', "action"),
        ("bulk", b'{"action": "retry", "expect": 1, "filter": {"state": 7}}', "filter.state"),
        ("bulk", b'{"action": "retry", "expect": 1, "filter": {"colour": ""}}', "filter.colour"),
        (
            "bulk",
            b'{"action": "retry", "expect": 1, "filter": {"state": "asleep"}}',
            "filter.state",
        ),
        ("bulk", b'{"action": "retry", "expect": 1, "filter": {"q": "state:x"}}', "filter.q"),
    ],
)
def test_a_wrong_body_names_the_field(desk: Desk, path: str, body: bytes, field: str) -> None:
    """A fault names its field by the whole path, also one that is missing or unknown."""
    answer = desk.as_(OPERATOR, "POST", path, content=body)
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_body_that_is_too_large_is_not_a_source_s(desk: Desk) -> None:
    """The limit is told without a source, of which the operators' calls have none."""
    answer = desk.as_(OPERATOR, "POST", "pause", content=b'"' + b"x" * 300_000 + b'"')
    assert answer.json()["detail"] == "The body may have at most 262144 bytes."


def test_no_body_is_an_empty_one(desk: Desk) -> None:
    """A call that needs to say nothing may say nothing."""
    assert (
        desk.as_(OPERATOR, "POST", f"submissions/{desk.put(State.DEAD)}/retry").status_code == 200
    )


def test_what_is_not_there(desk: Desk) -> None:
    """An unknown submission, action, cause or bulk action is 404."""
    for path in [
        "submissions/nothing/retry",
        "submissions/{}/explode",
        "causes/0123/ignore",
        "bulk/0/stop",
    ]:
        assert desk.post(path.format(desk.put(State.DEAD))).status_code == 404
        assert desk.get("bulk/0").status_code == 404


def test_an_id_that_is_none(desk: Desk) -> None:
    """What only looks like an id, or like another key of ours, is 404 to every question and
    action.
    """
    for tail in [":timeline", ":attempts", "%00", "%0a", "*"]:
        name = desk.put(State.DEAD) + tail
        assert desk.get(f"submissions/{name}").status_code == 404
        assert desk.post(f"submissions/{name}/retry", {"edit": {"name": "x"}}).status_code == 404
        assert [desk.post(f"submissions/{name}/{action}").status_code for action in MAY] == [
            404
        ] * len(MAY)
        assert desk.get(f"bulk/{name}").status_code == 404
        assert desk.get(f"bulk/0{tail}").status_code == 404


def test_two_operators_at_once(desk: Desk) -> None:
    """Of two who retry the same dead letters at the same moment one gets 200 and the other 409,
    each time.
    """
    names = desk.dead(8)
    with ThreadPoolExecutor(4) as crowd:
        tries = [
            crowd.submit(desk.actions.retry, name, by) for name in names for by in ("olga", "otto")
        ]
        failures = [each.exception() for each in tries]
    assert sum(failure is None for failure in failures) == 8
    assert {type(failure) for failure in failures} == {type(None), NotAllowed}
    assert desk.states(names) == [State.QUEUED] * 8
    assert len([entry for entry in desk.trail() if entry["action"] == "retry"]) == 8


def test_an_edit_of_what_changed_since_is_refused(desk: Desk) -> None:
    """Who mends what somebody else mended meanwhile is told so, and overwrites nothing."""
    name = desk.put(State.DEAD)
    with pytest.raises(Exception, match="cannot retry"):
        desk.actions.retry(
            name, "olga", {"email": "new@example.com"}, if_updated_at="2020-01-01T00:00:00Z"
        )
    assert desk.lead(name).email == "ada@example.com"


def test_pause_and_resume(desk: Desk) -> None:
    """A pause says why and since when, a resume ends it; both are in the trail."""
    paused = desk.post("pause", {"reason": "the CRM is being tidied"}).json()["paused"]
    assert (paused["reason"], paused["until"]) == ("the CRM is being tidied", None)
    assert desk.get("overview").json()["paused"]["since"] == paused["since"]
    assert desk.post("resume").json() == {"paused": None}
    entries = [
        (entry["who"], entry["action"], entry["target"], entry["detail"]) for entry in desk.trail()
    ]
    assert entries == [
        ("olga", "resume", "delivery", None),
        ("olga", "pause", "delivery", "the CRM is being tidied"),
    ]


def test_a_cause_is_ignored_and_reopened(desk: Desk) -> None:
    """A cause that is ignored says so until somebody reopens it."""
    desk.put(State.DEAD)
    [cause] = desk.actions._queries.causes().items
    assert desk.post(f"causes/{cause.id}/ignore").json() == {"id": cause.id, "ignored": True}
    assert [each.ignored for each in desk.actions._queries.causes().items] == [True]
    assert desk.post(f"causes/{cause.id}/reopen").json() == {"id": cause.id, "ignored": False}
    assert [each.ignored for each in desk.actions._queries.causes().items] == [False]
    assert [entry["action"] for entry in desk.trail()] == ["reopen", "ignore"]


def test_erasing(desk: Desk) -> None:
    """Everything of an address goes; the trail has a digest in its place."""
    mine = desk.put(State.DEAD, email="ada@example.com")
    other = desk.put(State.DEAD, email="bob@example.com")
    assert desk.post("erase", {"email": "Ada@Example.com"}).json()["erased"] == 1
    assert desk.states([mine, other]) == [State.ERASED, State.DEAD]
    assert "ada" not in str(desk.trail()).casefold()


def test_the_trail_is_read_page_by_page(desk: Desk) -> None:
    """Each page gives the cursor of the next one, until the oldest entry."""
    names = desk.dead(5)
    for name in names:
        desk.post(f"submissions/{name}/discard")
    targets: list[str] = []
    cursor: str | None = ""
    for _ in range(3):
        page = desk.get(f"audit?limit=2&cursor={cursor}").json()
        targets += [entry["target"] for entry in page["items"]]
        cursor, total = page["next"], page["total"]
        assert total == 5
    assert (targets, cursor) == (names[::-1], None)
    assert [
        desk.get(f"audit?{wrong}").status_code
        for wrong in ("limit=0", "limit=x", "cursor=x", "cursor=99999999999999999999-1")
    ] == [422] * 4
