"""`leadline pipedrive …` against the served sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from service.cli import output
from service.cli.main import main
from service.sandbox.account.stock import CHANNELS, SOURCES, custom_key, label_id
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.flow.conftest import TOKEN, Account
from worker.settings.table import SETTINGS
from worker.store import keys

OPEN = {row.name: "" for row in SETTINGS.values()}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BUDGET, SIZE = (custom_key("deal", name) for name in ("Budget", "Company size"))
WORTH = ("--value", "5", "--currency", "EUR")

Run = Callable[..., Result]


@pytest.fixture
def run(account: Account, tmp_path: Path) -> Run:
    """Runs `leadline pipedrive` against a fresh account, without Redis unless the test names one."""

    def go(*words: str, input: str | None = None, **env: str) -> Result:
        account_env = {
            "PIPEDRIVE_API_TOKEN": TOKEN,
            "PIPEDRIVE_BASE_URL": account.url,
            "PIPEDRIVE_PLAN": "unlimited",
            "LEADLINE_DATA_DIR": str(tmp_path / "data"),
        }
        with mock.patch.object(output, "is_interactive", return_value=input is not None):
            result = CliRunner().invoke(
                main, ["pipedrive", *words], env=OPEN | account_env | env, input=input
            )
        assert not (tmp_path / "data").exists(), "a Redis was started"
        return result

    return go


def parse_output(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def person(account: Account) -> int:
    response = account.http.post(
        "/api/v2/persons", json={"name": "Ada Lovelace"}, headers={"x-api-token": TOKEN}
    )
    return int(response.raise_for_status().json()["data"]["id"])


def add_lead(run: Run, person: int, *words: str) -> dict[str, Any]:
    lead: dict[str, Any] = parse_output(
        run("leads", "add", "--title", "Engine", "--person-id", str(person), *words, "--json")
    )
    return lead


def test_a_lead_from_names(run: Run, person: int, account: Account) -> None:
    """Every field can be set, with names instead of ids, and Pipedrive gets what it expects."""
    lead = add_lead(
        run, person, "--label", "website", "--label", label_id("PPC"), "--channel", "web forms",
        "--channel-id", "spring",
        "--origin-id", "fair:1", "--owner-id", "robin@sandbox.example", "--value", "1200.5",
        "--currency", "eur",
        "--expected-close-date", "2030-01-31", "--visible-to", "3", "--was-seen", "--custom",
        "Budget=plenty",
        "--custom", f"{SIZE}=11-50",
    )  # fmt: skip
    [stored] = account.leads
    assert lead["id"] == stored["id"]
    expected = {
        "title": "Engine", "person_id": person, "label_ids": [label_id("Website"), label_id("PPC")],
        "channel": 66,
        "channel_id": "spring", "origin_id": "fair:1", "owner_id": 12,
        "value": {"amount": 1200.5, "currency": "EUR"},
        "expected_close_date": "2030-01-31", "visible_to": "3", "was_seen": True, BUDGET: "plenty",
        SIZE: 102,
    }  # fmt: skip
    assert {name: stored[name] for name in expected} == expected
    assert {name: lead[name] for name in expected} == expected


def test_ids_need_no_look_up(run: Run, person: int, account: Account) -> None:
    """With ids, nothing is looked up."""
    add_lead(run, person, "--label", label_id("Hot"), "--channel", "73", "--owner-id", "12")
    assert account.calls() == ["persons.add", "leads.add"]


def test_lists_are_paged_and_filtered(run: Run, person: int) -> None:
    """Lists can be paged, and restricted to a person or to archived leads."""
    ids = [add_lead(run, person)["id"] for _ in range(3)]
    first = parse_output(run("leads", "list", "--limit", "2", "--json"))
    assert ([lead["id"] for lead in first["items"]], first["next"]) == (ids[:2], 2)
    rest = parse_output(
        run("leads", "list", "--limit", "2", "--start", "2", "--person-id", str(person), "--json")
    )
    assert ([lead["id"] for lead in rest["items"]], rest["next"]) == (ids[2:], None)
    assert parse_output(run("leads", "list", "--person-id", str(person + 1), "--json")) == {
        "items": [],
        "next": None,
    }
    parse_output(run("leads", "update", ids[0], "--archived", "--json"))
    assert [
        lead["id"] for lead in parse_output(run("leads", "list", "--archived", "--json"))["items"]
    ] == [ids[0]]
    assert [lead["id"] for lead in parse_output(run("leads", "list", "--json"))["items"]] == ids[1:]


def test_the_text_output_has_names(run: Run, person: int) -> None:
    """Tables and single leads show names for ids, one line per row, and never wrap an id."""
    lead = add_lead(
        run, person, "--label", "Hot", "--channel", "Partner", "--custom", "Budget=plenty", *WORTH
    )
    listed = run("leads", "list").stdout
    assert len(listed.splitlines()) == 2
    for text in (lead["id"], "Engine", "Hot", "Partner", "5.00 EUR"):
        assert text in listed
        assert text in run("leads", "get", lead["id"]).stdout
    assert "Budget" in run("leads", "get", lead["id"]).stdout
    assert "more: --start 1" in (
        add_lead(run, person) and run("leads", "list", "--limit", "1").stdout
    )


def test_changes(run: Run, person: int, account: Account) -> None:
    """An update replaces labels, clears fields set to empty text, and leaves the rest alone."""
    lead = add_lead(
        run, person, "--label", "Hot", "--channel", "Partner", "--custom", "Budget=9", *WORTH
    )
    parse_output(
        run(
            "leads",
            "update",
            lead["id"],
            "--label",
            "Cold",
            "--channel",
            "",
            "--custom",
            "Budget=",
            "--value",
            "",
            "--json",
        )
    )
    [stored] = account.leads
    assert (stored["label_ids"], stored["channel"], stored["value"]) == (
        [label_id("Cold")],
        None,
        None,
    )
    assert (stored["title"], BUDGET in stored) == ("Engine", False)
    parse_output(run("leads", "update", lead["id"], "--label", "", "--title", "Other", "--json"))
    assert (account.leads[0]["label_ids"], account.leads[0]["title"]) == ([], "Other")


def test_deleting_asks_first(run: Run, person: int, account: Account) -> None:
    """A lead is deleted after a yes or with --yes; without a terminal the exit code is 2."""
    ids = [add_lead(run, person)["id"] for _ in range(2)]
    assert run("leads", "delete", ids[0], input="n\n").exit_code == 1
    assert run("leads", "delete", ids[0]).exit_code == 2, "nobody can be asked"
    assert len(account.leads) == 2
    assert run("leads", "delete", ids[0], input="y\n").exit_code == 0
    assert parse_output(run("leads", "delete", ids[1], "--yes", "--json")) == {"id": ids[1]}
    assert account.leads == []


def test_labels(run: Run, account: Account) -> None:
    """Labels are listed, created, renamed and deleted, by name or id."""
    created = parse_output(run("labels", "add", "--name", "Fair", "--color", "blue", "--json"))
    assert (created["name"], created["color"]) == ("Fair", "blue")
    assert created["id"] in run("labels", "list").stdout
    changed = parse_output(run("labels", "update", "fair", "--name", "Trade fair", "--json"))
    assert (changed["id"], changed["name"], changed["color"]) == (
        created["id"],
        "Trade fair",
        "blue",
    )
    assert run("labels", "delete", "Trade fair").exit_code == 2
    assert run("labels", "delete", "Trade fair", input="y\n").exit_code == 0
    assert "Trade fair" not in {
        label["name"] for label in parse_output(run("labels", "list", "--json"))["items"]
    }
    assert parse_output(run("labels", "delete", label_id("Hot"), "--yes", "--json")) == {
        "id": label_id("Hot")
    }
    assert "Hot" not in {label["name"] for label in account.state()["labels"]}


def test_sources(run: Run) -> None:
    """The sources are Pipedrive's fixed list."""
    assert [
        source["name"] for source in parse_output(run("sources", "list", "--json"))["items"]
    ] == list(SOURCES)
    assert "Web forms" in run("sources", "list").stdout.splitlines()


def test_fields(run: Run) -> None:
    """Custom fields and the channel are listed with key, type and options."""
    fields = {
        (field["entity"], field["name"]): field
        for field in parse_output(run("fields", "list", "--json"))["items"]
    }
    assert fields["lead", "Company size"]["key"] == SIZE
    assert {"id": 102, "label": "11-50"} in fields["lead", "Company size"]["options"]
    assert fields["person", "Newsletter"]["type"] == "varchar"
    [channel] = [field for field in fields.values() if field["key"] == "channel"]
    assert {option["id"]: option["label"] for option in channel["options"]} == CHANNELS
    assert ("lead", "Title") not in fields
    table = run("fields", "list").stdout
    assert BUDGET in table
    assert "11-50 (102)" in table
    assert "Messaging Inbox (72)" in table


@pytest.mark.parametrize(
    ("words", "env", "phrases"),
    [
        (("leads", "get", UNKNOWN), {}, ("404", "compare the id with a list")),
        (
            ("leads", "add", "--title", "x", "--person-id", "1", "--label", "Nope"),
            {},
            ("no label 'Nope'", "Website"),
        ),
        (
            ("leads", "add", "--title", "x", "--person-id", "1", "--channel", "Radio"),
            {},
            ("no channel 'Radio'", "Web forms"),
        ),
        (("leads", "add", "--title", "x", "--person-id", "999"), {}, ("leads.add",)),
        (
            ("labels", "list"),
            {"PIPEDRIVE_API_TOKEN": "wrong"},
            ("401", "set a valid PIPEDRIVE_API_TOKEN"),
        ),
        (("labels", "list"), {"PIPEDRIVE_BASE_URL": "http://127.0.0.1:1"}, ("PIPEDRIVE_BASE_URL",)),
    ],
)
def test_errors_are_one_line(
    run: Run, words: tuple[str, ...], env: dict[str, str], phrases: tuple[str, ...]
) -> None:
    """A refusal prints one line with the next step, and the exit code is 1."""
    result = run(*words, **env)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    for text in phrases:
        assert text in result.stderr


def test_no_credentials(run: Run) -> None:
    """Without credentials, the message names the variables to set, also for the sandbox."""
    result = run("leads", "list", PIPEDRIVE_API_TOKEN="")
    assert result.exit_code == 1
    for text in (
        "PIPEDRIVE_API_TOKEN",
        "PIPEDRIVE_REFRESH_TOKEN",
        "PIPEDRIVE_BASE_URL=http://127.0.0.1:",
    ):
        assert text in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("leads", "add", "--person-id", "1"),
        ("leads", "add", "--title", "x"),
        ("leads", "add", "--title", "x", "--person-id", "1", "--value", "5"),
        (
            "leads",
            "add",
            "--title",
            "x",
            "--person-id",
            "1",
            "--value",
            "much",
            "--currency",
            "EUR",
        ),
        ("leads", "add", "--title", "x", "--person-id", "1", "--expected-close-date", "soon"),
        ("leads", "add", "--title", "x", "--person-id", "1", "--custom", "Budget"),
        ("leads", "add", "--title", "x", "--person-id", "1", "--custom", "Company size=huge"),
        ("leads", "update", UNKNOWN),
        ("leads", "update", UNKNOWN, "--origin-id", "x"),
        ("leads", "list", "--limit", "501"),
        ("labels", "add", "--name", "x", "--color", "beige"),
        ("labels", "update", "Hot"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, account: Account, words: tuple[str, ...]) -> None:
    """Wrong options exit with 2 and change nothing."""
    assert run(*words).exit_code == 2
    assert not {"leads.add", "leads.update", "labels.add", "labels.update"} & set(account.calls())


def test_the_limits_of_the_workers_apply(run: Run, redis: redis_py.Redis, redis_url: str) -> None:
    """With the workers' Redis, a command's calls count against the workers' limits."""
    env = {"REDIS_URL": redis_url, "PIPEDRIVE_PLAN": "lite", "PIPEDRIVE_DAILY_TOKENS": "15"}
    parse_output(run("labels", "list", "--json", **env))
    assert int(redis.get(keys.DEFAULT_ACCOUNT.allowance("left")) or 0) == 5
    spent = run("labels", "list", **env)
    assert spent.exit_code == 1
    assert "tokens are used up" in spent.stderr


def test_oauth_tokens_are_shared(run: Run, redis: redis_py.Redis, redis_url: str) -> None:
    """The OAuth access token is stored in Redis for workers and the next command."""
    with serve_in_thread(SandboxSettings(port=0, rotate_refresh_token=True)) as url:
        env = {
            "PIPEDRIVE_API_TOKEN": "", "PIPEDRIVE_CLIENT_ID": "sandbox-client",
            "PIPEDRIVE_CLIENT_SECRET": "sandbox-secret",
            "PIPEDRIVE_REFRESH_TOKEN": "sandbox-refresh",
            "PIPEDRIVE_OAUTH_URL": f"{url}/oauth/token",
            "PIPEDRIVE_BASE_URL": url, "REDIS_URL": redis_url,
        }  # fmt: skip
        assert len(parse_output(run("labels", "list", "--json", **env))["items"]) == 6
        assert redis.exists(keys.DEFAULT_ACCOUNT.oauth)
        assert len(parse_output(run("labels", "list", "--json", **env))["items"]) == 6
