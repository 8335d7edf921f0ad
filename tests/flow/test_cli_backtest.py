"""`leadline backtest` and `leadline attribution` over submissions stored in a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result
from msgspec import structs

from service.cli.main import main
from service.cli.output import count_progress
from service.reports.attribution import AttributionCounter
from service.sources.source_file.loader import build_lead_mappings, load_sources
from tests.flow.arrivals import AT, Client, build_submissions_of, store
from tests.redis.store import submission
from tests.unit.sources.factories import form
from worker.contract import Lead, State, Utm
from worker.encryption import Cipher
from worker.lead.attribution import public_name
from worker.ledger import Ledger, reader
from worker.ledger.record import spooled_record

OLD = """
[sources.contact]
[sources.contact.lead]
channel = "Web forms"
[[sources.contact.rules]]
when = { utm_source = "google" }
channel = "Ads"
[sources.other]
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, redis_url: str) -> Run:
    def go(*words: str, toml: str = OLD) -> Result:
        (tmp_path / "sources.toml").write_text(toml, "utf-8")
        paths = {
            "LEADLINE_CONFIG": str(tmp_path / "sources.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "none"),
        }
        return CliRunner().invoke(main, list(words), env=paths | {"REDIS_URL": redis_url})

    return go


@pytest.fixture
def stored_ids(redis: redis_py.Redis, aredis: Client) -> list[str]:
    """Three leads of `contact` and one of `other`, each received a day after the one before."""
    contact, other = (load_sources(OLD, {}).sources[name] for name in ("contact", "other"))
    sent = [
        (
            contact,
            {
                "email": "ada@example.com",
                "Firma": "Engines",
                "utm_source": "google",
                "utm_campaign": "spring",
            },
        ),
        (contact, {"email": "bob@example.com", "gclid": "G1"}),
        (contact, {"email": "cyd@example.com", "utm_source": "bing", "utm_campaign": "spring"}),
        (other, {"phone": "+442079460018"}),
    ]
    submissions = [
        each
        for day, (source, fields) in enumerate(sent)
        for each in build_submissions_of(source, form(**fields), AT + 86_400 * day)
    ]
    return store(aredis, redis, submissions)


def parse_output(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(result.stdout)
    return body


@pytest.mark.usefixtures("stored_ids")
def test_nothing_changes(run: Run) -> None:
    """With an unchanged file no lead is listed, and the exit code is 0."""
    result = run("backtest", "--json")
    assert (result.exit_code, parse_output(result)["items"]) == (0, [])
    assert parse_output(result)["looked_at"] == 4
    assert parse_output(result)["sources"]["contact"] == {"same": 3, "new failures": 0}
    assert "contact" in run("backtest").stdout


def test_changes_are_listed(run: Run, stored_ids: list[str]) -> None:
    """Lists each lead that would change, with its masked fields, and a summary by field."""
    toml = OLD.replace("[sources.contact]", '[sources.contact]\nmap = { Firma = "answers.House" }')
    result = run("backtest", "--json", toml=toml)
    [item] = parse_output(result)["items"]
    assert (result.exit_code, item["id"], item["verdict"]) == (0, stored_ids[0], "changed")
    assert {change["field"]: (change["before"], change["after"]) for change in item["fields"]} == {
        "company": ("…", None),
        "answers.House": (None, "…"),
    }
    assert {"source": "contact", "field": "company", "count": 1} in parse_output(result)["fields"]
    table = run("backtest", toml=toml).stdout
    assert stored_ids[0] in table
    assert "company" in table
    assert "ada@example.com" not in table + result.stdout
    assert "Engines" in run("backtest", "--reveal", toml=toml).stdout


def test_a_new_failure_ends_with_1(run: Run, stored_ids: list[str]) -> None:
    """The exit code is 1 if there is a new failure."""
    toml = OLD.replace("[sources.contact]", '[sources.contact]\nmap = { email = "answers.A" }')
    result = run("backtest", "--json", toml=toml)
    assert result.exit_code == 1
    assert {item["id"] for item in parse_output(result)["items"] if item["new_failure"]} == set(
        stored_ids[1:3]
    )
    assert run("backtest", "--source", "other", toml=toml).exit_code == 0
    assert run("backtest", toml="[sources.contact]").exit_code == 1
    assert "(new)" in run("backtest", toml=toml).stdout


def test_against_an_earlier_file(run: Run, stored_ids: list[str], tmp_path: Path) -> None:
    """A comparison with an earlier file shows changed rules."""
    old = tmp_path / "old.toml"
    old.write_text(OLD, "utf-8")
    result = run(
        "backtest", "--json", "--against", str(old), toml=OLD.replace('"Ads"', '"Paid search"')
    )
    [item] = parse_output(result)["items"]
    assert (item["id"], item["verdict"]) == (stored_ids[0], "written differently")
    assert item["writing"] == [{"field": "channel", "before": "Ads", "after": "Paid search"}]


@pytest.mark.usefixtures("stored_ids")
def test_since_source_and_limit(run: Run) -> None:
    """The options restrict which submissions are read."""
    assert parse_output(run("backtest", "--json", "--since", "2023-11-16"))["looked_at"] == 2
    assert parse_output(run("backtest", "--json", "--source", "contact"))["looked_at"] == 3
    assert parse_output(run("backtest", "--json", "--limit", "2"))["looked_at"] == 2
    assert parse_output(run("backtest", "--json", "--since", "1h"))["looked_at"] == 0
    wrong = run("backtest", "--since", "yesterday")
    assert (wrong.exit_code, "7d" in wrong.stderr) == (2, True)
    assert "no source" in run("backtest", "--source", "nowhere").stderr


def test_an_invalid_file_is_reported(run: Run) -> None:
    """The faults of an invalid file are printed."""
    result = run("backtest", toml='[sources.contact]\nadaptor = "form"')
    assert result.exit_code == 1
    assert "adaptor" in result.stderr


@pytest.mark.usefixtures("stored_ids")
def test_attribution(run: Run) -> None:
    """Counts attribution by source, campaign and rule, and where unmatched leads come from."""
    document = parse_output(run("attribution", "--json"))
    assert list(document) == ["items"]
    counted = {
        (item["source"], item["campaign"], item["channel"]): (
            item["received"],
            item["delivered"],
            item["with_channel"],
            item["with_utm"],
            item["with_click_id"],
            item["with_first_touch"],
        )
        for item in document["items"]
    }
    assert counted == {
        ("contact", "spring", "Ads"): (1, 0, 1, 1, 0, 0),
        ("contact", "spring", "Web forms"): (1, 0, 1, 1, 0, 0),
        ("contact", None, "Web forms"): (1, 0, 1, 0, 1, 0),
        ("other", None, None): (1, 0, 0, 0, 0, 0),
    }
    assert document["items"][0]["outcomes"] == {
        "open": 0, "archived": 0, "converted": 0, "won": 0, "lost": 0, "won_value": {},
    }  # fmt: skip
    assert "example.com" not in str(document)
    lines = [line.split() for line in run("attribution").stdout.splitlines()]
    assert lines[4][:8] == ["total", "4", "3", "(75", "%)", "3", "(75", "%)"]
    assert ["1", "utm_source", "=", "google", "1", "(33", "%)"] in lines
    assert ["–", "no", "rule", "matched", "2", "(67", "%)"] in lines
    assert ["bing", "(none)", "1", "(50", "%)"] in lines
    other = parse_output(run("attribution", "--json", "--source", "other"))["items"]
    assert [(item["source"], item["received"]) for item in other] == [("other", 1)]
    later = parse_output(run("attribution", "--json", "--since", "2023-11-16"))["items"]
    assert sum(item["received"] for item in later) == 2


def test_attribution_of_nothing(run: Run) -> None:
    """An empty store gives a message, not a division by zero."""
    assert "no stored leads match" in run("attribution").stdout
    assert "no leads match" in run("attribution", "--outcomes").stdout
    assert "never read" in run("attribution", "--outcomes").stdout
    assert parse_output(run("attribution", "--json")) == {"items": []}


def test_attribution_is_bounded_and_impersonal() -> None:
    """The report stays small and impersonal, however many campaigns there are."""
    tally = AttributionCounter(build_lead_mappings(load_sources(OLD, {})))
    template = spooled_record(submission(source="contact"))
    for number in range(1_500):
        lead = Lead(email="a@example.com", utm=Utm(campaign=f"c{number}", source=f"s{number}"))
        tally.add(structs.replace(template, lead=lead))
    [share] = tally.report().sources
    assert len(share.campaigns) <= 1_001
    assert share.campaigns["(others)"].leads == 500
    assert len(share.unmatched_from) <= 1_001
    assert public_name("ada@example.com") == "(an address)"


def test_the_stream_pages_through_equal_times(
    redis: redis_py.Redis, aredis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every submission is read once, however many share a timestamp."""
    monkeypatch.setattr(reader, "SCAN_PAGE_SIZE", 4)
    ids = store(
        aredis, redis, [submission(State.QUEUED if n % 3 else State.DEAD) for n in range(30)]
    )
    ledger = Ledger(redis, Cipher(()))
    for state in (State.QUEUED, State.DEAD):
        for one in ids:
            if redis.zscore(f"leadline:state:{state}", one) is not None:
                redis.zadd(f"leadline:state:{state}", {one: 1_700_000_000 + int(one[-1], 36) % 2})
    scanned_ids = [head.id for head in ledger.scan_heads()]
    assert sorted(scanned_ids) == sorted(ids)
    assert len(list(ledger.each_record(ids, raw=True))) == 30
    light = next(ledger.each_record(ids, raw=False))
    assert (light.raw, light.lead) == (None, Lead(name="Ada", email="ada@example.com"))


def test_progress_is_shown_after_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """A short command shows no progress; a long one shows it every other second."""
    assert list(count_progress(range(3), "looked at", clock=lambda: 0.0)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    ticks = iter(range(100))
    assert len(list(count_progress(range(6), "looked at", clock=lambda: float(next(ticks))))) == 6
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("looked at ...")
    assert len(lines) == 3
