"""`leadline dead list/show/export`, `quarantine list` and `status` over a real Redis."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result
from msgspec import structs

from service.cli.main import main
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.causes import cause_id
from worker.contract import Cause, Lead, State
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.ledger.audit import AuditTrail
from worker.settings.table import SETTINGS

OPEN = {row.name: "" for row in SETTINGS.values()}
LABEL = Cause(
    step="names", code="unknown-name", detail="no label 'Nope'", field="label", hint="add it"
)
TITLE = Cause(step="lead", code="invalid", detail="too long", field="title")
Run = Callable[..., Result]
Put = Callable[..., str]


@pytest.fixture
def run(redis_url: str, tmp_path: Path) -> Run:
    def go(*words: str) -> Result:
        env = OPEN | {"REDIS_URL": redis_url, "LEADLINE_DATA_DIR": str(tmp_path), "USER": "kim"}
        return CliRunner().invoke(main, [*words], env=env, catch_exceptions=False)

    return go


@pytest.fixture
def put(redis: redis_py.Redis, aredis: Callable[[], AbstractAsyncContextManager[Any]]) -> Put:
    def go(
        state: State = State.DEAD, cause: Cause | None = None, why: str | None = None, **lead: Any
    ) -> str:
        filled = Lead(**({"name": "Ada Lovelace", "email": "ada@example.com"} | lead))
        stored = structs.replace(submission(state), lead=filled, cause=cause, why=why)
        asyncio.run(accept(aredis, redis, [stored]))
        return stored.id

    return go


def parse_output(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_list_equals_that_of_the_api(run: Run, put: Put) -> None:
    """JSON has items and the total; names are masked in both formats."""
    first, second = put(cause=LABEL), put(cause=TITLE, name="Grace Hopper", email="g@x.example")
    put(State.QUEUED)
    body = parse_output(run("dead", "list", "--json"))
    assert ([item["id"] for item in body["items"]], body["total"]) == ([second, first], 2)
    assert body["items"][1]["cause"] == cause_id(LABEL)
    assert body["items"][1]["who"] == "A… L…"
    assert "Lovelace" not in run("dead", "list").output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--cause", "label"), ["label"]),
        (("--cause", "invalid"), ["title"]),
        (("--cause", "nope"), ["label"]),
        (("--source", "contact"), ["title", "label"]),
        (("--source", "other"), []),
        (("--q", "hopper"), ["title"]),
        (("--limit", "1"), ["title"]),
    ],
)
def test_the_list_is_filtered(
    run: Run, put: Put, words: tuple[str, ...], expected: list[str]
) -> None:
    """Filters by source, cause, and the query of the console's search box."""
    names = {put(cause=LABEL): "label", put(cause=TITLE, name="Grace Hopper"): "title"}
    assert [
        names[item["id"]] for item in parse_output(run("dead", "list", *words, "--json"))["items"]
    ] == expected


def test_one_is_shown_in_full(run: Run, put: Put, redis: redis_py.Redis) -> None:
    """Shows lead and cause as the API does; an unmasked view is audited as a reveal."""
    mine = put(cause=LABEL)
    body = parse_output(run("dead", "show", mine, "--json"))
    assert (body["lead"]["email"], body["cause"]["code"], body["revealed"]) == (
        "ada@example.com",
        "unknown-name",
        True,
    )
    assert "ada@example.com" in run("dead", "show", mine).output
    assert "ada@example.com" not in run("dead", "show", mine, "--masked").output
    trail, _, _ = AuditTrail(redis).read_page()
    assert [(entry.who, entry.action, entry.target) for entry in trail] == [
        ("cli:kim", "reveal", mine)
    ] * 2
    gone = run("dead", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert (gone.exit_code, "no submission" in gone.output) == (1, True)


def test_exports_are_files(run: Run, put: Put, tmp_path: Path) -> None:
    """An export defuses formulas, is masked unless revealed, and only its owner can read it."""
    mine = put(cause=LABEL, name="=cmd|' /C calc'!A0")
    put(State.QUEUED)
    target = tmp_path / "dead.csv"
    assert run("dead", "export", "--reveal", "--output", str(target)).exit_code == 0
    [row] = csv.DictReader(io.StringIO(target.read_text("utf-8"), newline=""))
    assert (row["id"], row["lead_name"], row["lead_email"]) == (
        mine,
        "'=cmd|' /C calc'!A0",
        "ada@example.com",
    )
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    lines = [
        json.loads(line)
        for line in run(
            "dead", "export", "--format", "jsonl", "--state", "dead,queued"
        ).stdout.splitlines()
    ]
    assert [line["lead"]["email"] for line in lines] == ["a…@example.com"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dead", "export", "--state", "broken"), "expected one of"),
        (("dead", "export", "--format", "xls"), "Invalid value"),
        (("dead", "list", "--q", "state:broken"), "--q"),
        (("dead", "list", "--limit", "0"), "Invalid value"),
    ],
)
def test_wrong_use_is_reported(run: Run, words: tuple[str, ...], message: str) -> None:
    """Wrong use exits with 2 and says what was expected."""
    result = run(*words)
    assert (result.exit_code, message in result.output) == (2, True)


def test_quarantine_list(run: Run, put: Put) -> None:
    """Lists only quarantined submissions, each with the reason."""
    mine = put(State.QUARANTINED, why="the honeypot was filled in")
    put()
    body = parse_output(run("quarantine", "list", "--json"))
    assert [(item["id"], item["why"]) for item in body["items"]] == [
        (mine, "the honeypot was filled in")
    ]
    assert "honeypot" in run("quarantine", "list").output


def test_status_is_the_overview(run: Run, put: Put) -> None:
    """Prints every key of the overview, with the counts and causes."""
    put(cause=LABEL)
    body = parse_output(run("status", "--json"))
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
    assert (body["states"]["dead"], body["causes"]) == (1, 1)
    assert "no label 'Nope'" in run("status").output


def test_status_says_why_delivery_waits_and_what_to_do(run: Run, redis: redis_py.Redis) -> None:
    """A closed gate is one line with its reason in words and the advice."""
    ledger = Ledger(redis, Cipher(()))
    ledger.gate.close("one", "account", ledger.now() + 30, probe=True, advice="open the account")
    text = run("status").output
    assert "PAUSED since" in text
    assert "the Pipedrive account isn't open; open the account" in text
    assert parse_output(run("status", "--json"))["paused"]["advice"] == "open the account"
