"""A viewer cannot undo the mask by searching."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.ops_world import OPERATOR, VIEWER, Desk, open_desk
from worker.contract import Cause, State

SEARCHES = [
    # what is typed, whether a viewer finds the lead by it, whether an operator does
    ("ada@example.com", True, True),
    ("ADA@Example.com", True, True),
    ("email:ada@example.com", True, True),
    ("name:Ada", True, True),
    ("ada", True, True),  # the whole name of this lead
    ("ada@", False, True),
    ("ada@example.co", False, True),
    ("da@example.com", False, True),
    ("example.com", False, True),
    ("email:ada", False, True),
    ("name:ad", False, True),
    ("utm_campaign:spr", True, True),
    ("cause:ada@ex", False, True),
    ("cause:invalid", True, True),
]


@pytest.mark.parametrize(("q", "by_viewer", "by_operator"), SEARCHES)
def test_a_viewer_finds_people_by_whole_values_only(
    desk: Desk, q: str, by_viewer: bool, by_operator: bool
) -> None:
    """A whole address typed exactly is found, its letters are not; an operator finds both."""
    [mine] = desk.accept(campaign="spring")
    desk.ledger.claim(mine, "t", 30)
    cause = Cause(step="person", code="invalid", detail="“ada@example.com” is no e-mail")
    desk.ledger.finish(mine, "t", State.DEAD, cause=cause)
    answers = {
        token: desk.as_(token, "GET", "submissions", params={"q": q}).json()
        for token in (VIEWER, OPERATOR)
    }
    assert [answers[VIEWER]["total"], answers[OPERATOR]["total"]] == [by_viewer, by_operator]
    exported = desk.as_(VIEWER, "GET", "export.jsonl", params={"q": q}).text
    assert bool(exported.strip()) is by_viewer


def test_a_viewers_searches_are_in_the_audit_trail(desk: Desk) -> None:
    """Each text once in a while, as a digest; what has no text, and operators, leave no entry."""
    for token, q in [
        (VIEWER, "jane"),
        (VIEWER, "jane"),
        (VIEWER, "joe"),
        (OPERATOR, "x"),
        (VIEWER, ""),
    ]:
        assert desk.as_(token, "GET", "submissions", params={"q": q}).status_code == 200
    entries = [each for each in desk.trail() if each["action"] == "search"]
    assert [each["who"] for each in entries] == ["vera", "vera"]
    assert len({each["detail"] for each in entries}) == 2
    assert "jane" not in str(entries)


@pytest.fixture
def desk(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(redis_url, monkeypatch, tmp_path) as opened:
        yield opened
