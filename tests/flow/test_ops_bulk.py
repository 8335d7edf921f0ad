"""Many at once by the API: counts, the tray's numbers, two operators at once, and nothing a
stranger can break.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.overview import LEAD_TOKENS
from tests.flow.ops_world import OPERATOR, SECOND, Desk, desk
from tests.polling import eventually
from worker.contract import State
from worker.ledger import ClaimResult
from worker.store import keys

__all__ = ["desk"]

RETRY = {"action": "retry", "filter": {"state": "dead"}}


def test_a_bulk_discard_goes_on_in_the_service(desk: Desk) -> None:
    """It is taken with 202 and its count, goes on without any worker, and tells of each."""
    names = desk.dead(5)
    answer = desk.post("bulk", {"action": "discard", "filter": {"source": "contact"}, "expect": 5})
    assert (answer.status_code, answer.json()["count"]) == (202, 5)
    bulk_id = answer.json()["id"]
    assert eventually(lambda: desk.get(f"bulk/{bulk_id}").json()["ended_at"])
    status = desk.get(f"bulk/{bulk_id}").json()
    assert {name: status[name] for name in ("count", "left", "delivered", "dead", "done", "stopped", "by")} == {
        "count": 5, "left": 0, "delivered": 0, "dead": 0, "done": 5, "stopped": None, "by": "olga",
    }  # fmt: skip
    assert desk.states(names) == [State.DISCARDED] * 5
    assert desk.get("bulk").json()["items"] == [status]
    assert [(entry["action"], entry["target"]) for entry in desk.trail()] == [
        ("bulk discard ended", bulk_id),
        ("bulk discard", bulk_id),
    ]


def test_the_count_must_be_the_one_that_was_seen(desk: Desk) -> None:
    """Another count is refused with the real one, and nothing happens."""
    desk.dead(3)
    desk.put(State.QUARANTINED)
    for expect in (0, 2, 4, -1):
        answer = desk.post("bulk", RETRY | {"expect": expect})
        assert (answer.status_code, answer.json()["count"]) == (409, 3)
    assert desk.get("bulk").json()["items"] == []


MATCHING: list[tuple[str, dict[str, str], int]] = [
    ("retry", {"state": "dead"}, 2),
    ("retry", {"source": "contact"}, 2),
    ("retry", {"q": "ada"}, 2),
    ("retry", {"state": "dead", "cause": "nothing"}, 0),
    ("retry", {"state": "quarantined"}, 0),
    ("retry", {"state": "dead,quarantined"}, 2),
    ("accept", {"source": "contact"}, 3),
    ("discard", {"source": "contact"}, 5),
    ("discard", {"source": "elsewhere"}, 0),
]


def test_who_matches(desk: Desk) -> None:
    """A filter means what it means for the list, among those whose state allows the action."""
    desk.dead(2)
    desk.accept(3, State.QUARANTINED)
    desk.put(State.DELIVERED)
    for action, filter, count in MATCHING:
        # One more than match is refused with the real count, and nothing happens.
        body = {"action": action, "filter": filter, "expect": count + 1}
        answer = desk.post("bulk", body)
        assert (answer.status_code, answer.json()["count"]) == (409, count), (action, filter)
    for action, filter, count in (MATCHING[-1], MATCHING[-2]):
        body = {"action": action, "filter": filter, "expect": count}
        assert desk.post("bulk", body).status_code == 202


def test_the_trail_tells_no_search(desk: Desk) -> None:
    """What was searched for may be somebody's address: a digest stands for it."""
    desk.dead(1, email="ada@example.com")
    desk.post(
        "bulk",
        {
            "action": "retry",
            "filter": {"q": "ada@example.com"},
            "expect": 1,
            "edit": {"email": "new@example.com"},
        },
    )
    [entry] = desk.trail()
    assert entry["detail"] == f"q={keys.digest('ada@example.com')[:12]}; edited: email"


def test_all_dead_letters_by_two_operators_at_once(desk: Desk) -> None:
    """Of two who retry all dead letters at once one gets 202 and the other 409; each submission
    goes at most once.
    """
    names = desk.dead(20)

    def ask(token: str) -> int:
        return desk.post("bulk", RETRY | {"expect": 20}, token=token).status_code

    with ThreadPoolExecutor(2) as crowd:
        assert sorted(crowd.map(ask, (OPERATOR, SECOND))) == [202, 409]
    assert eventually(lambda: desk.states(names).count(State.QUEUED) == 3)
    for name in names:
        if desk.state(name) is State.QUEUED:
            desk.end(name, State.DELIVERED)
    assert eventually(lambda: desk.states(names).count(State.QUEUED) == 17)
    for name in names:
        if desk.state(name) is State.QUEUED:
            desk.end(name, State.DELIVERED)
    assert all(
        [moment.state for moment in desk.ledger.timeline(name)].count(State.DELIVERED) == 1
        for name in names
    )
    assert desk.ledger.claim(names[0], "t", 30.0) is ClaimResult.NOT_WANTED


def test_a_stop_by_the_api(desk: Desk) -> None:
    """A stop says who stopped; a second one changes nothing."""
    desk.dead(9)
    bulk_id = desk.post("bulk", RETRY | {"expect": 9}).json()["id"]
    for token in (OPERATOR, SECOND):
        assert desk.post(f"bulk/{bulk_id}/stop", token=token).json()["stopped"] == "stopped by olga"
    assert desk.get(f"bulk/{bulk_id}").json()["left"] == 9


def test_what_it_may_cost(desk: Desk) -> None:
    """The dialogue is told how many API tokens it may take, and how many the day has left."""
    assert desk.actions.estimate_cost(10).left is None
    desk.redis.set(keys.DEFAULT_ACCOUNT.allowance("left"), 4200)
    cost = desk.actions.estimate_cost(10)
    assert (cost.tokens, cost.left) == (10 * LEAD_TOKENS, 4200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "email",
    "value",
    "value.amount",
    "answers",
    "answers.x",
    "utm",
    "utm_source",
    "consent",
    "click_ids",
    "x",
)
EDIT = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4)
FILTER = st.dictionaries(
    st.sampled_from(["state", "source", "cause", "q", "z"]), st.text(max_size=30) | JSON, max_size=3
)
ACTION = st.sampled_from(["retry", "discard", "accept"]) | JSON
BULK = st.fixed_dictionaries(
    {"action": ACTION, "expect": st.integers() | JSON, "filter": FILTER, "edit": EDIT}
)
ONE = st.fixed_dictionaries({"edit": EDIT | JSON}) | st.fixed_dictionaries({"reason": JSON})
BODIES = st.binary(max_size=200) | ONE | BULK | JSON
PATHS = (
    "submissions/{}/retry", "submissions/{}/discard", "submissions/{}/undo", "pause", "erase",
    "bulk", "causes/x/ignore",
    "submissions/%00/retry", "submissions/{}/%ff", "bulk/%0a/stop",
)  # fmt: skip
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), body=BODIES)
def test_no_body_breaks_anything(path: str, body: Any, desk: Desk) -> None:
    """Whatever an operator's program sends, the answer is no 5xx."""
    [name] = [record.id for record in desk.ledger.in_state(State.DEAD, limit=1)] or desk.accept(
        1, State.DEAD
    )
    rest: dict[str, Any] = (
        {"content": body} if isinstance(body, bytes) else {"content": _json(body)}
    )
    answer = desk.as_(OPERATOR, "POST", path.format(name), **rest)
    assert answer.status_code < 500, (answer.status_code, answer.text)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    authorization=LATIN | st.sampled_from(["Bearer x", "Basic !"]),
    cookie=LATIN,
    origin=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40) | st.none(),
)
def test_no_head_breaks_anything(
    authorization: str, cookie: str, origin: str | None, desk: Desk
) -> None:
    """Whatever a stranger shows, the answer is a refusal and no 5xx."""
    headers = [
        (b"Authorization", authorization.encode("latin-1")),
        (b"Cookie", b"leadline_session=" + cookie.encode("latin-1")),
    ]
    headers += [(b"Origin", origin.encode())] if origin is not None else []
    for method, path in (("GET", "/ops/api/overview"), ("POST", "/ops/api/pause")):
        assert desk.client.request(method, path, headers=headers).status_code in (
            400,
            401,
            403,
            429,
        )
