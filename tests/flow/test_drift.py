"""The drift guard against the served sandbox: it reports what the account lacks before a lead fails."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
import redis as redis_py

from service.checks.account import check_scopes
from service.checks.finding import Level
from tests.flow.conftest import TOKEN, Account
from worker.delivery.client_factory import PipedriveClientFactory
from worker.drift import drift
from worker.drift.drift import DriftGuard, DriftReport
from worker.lead.settings import LeadMapping, LeadSettings
from worker.metrics import Gauges, Meter, expose
from worker.pipedrive.metadata import MetadataKind
from worker.settings.table import Settings
from worker.settings.types import Secret
from worker.store import keys

MAPPINGS = {
    "one": LeadMapping("one", LeadSettings(labels=["Website", "Summer"], channel="Web forms")),
    "two": LeadMapping(
        "two", LeadSettings(labels=["Summer"], custom={"Shoe size": "{answers.size}"})
    ),
}


class World:
    """A guard whose clock the test sets."""

    def __init__(self, redis: redis_py.Redis, url: str) -> None:
        self.redis, self.url, self.ahead = redis, url, 0.0

    def clock(self) -> float:
        return time.time() + self.ahead

    @property
    def settings(self) -> Settings:
        return Settings(
            pipedrive_api_token=Secret(TOKEN),
            pipedrive_base_url=self.url,
            pipedrive_plan="unlimited",
        )

    def guard(self, mappings: Mapping[str, LeadMapping] = MAPPINGS) -> DriftGuard:
        clients = PipedriveClientFactory(self.settings, self.redis, Meter(), self.clock)
        return DriftGuard(self.redis, mappings, clients.metadata, self.clock)

    def look(self, mappings: Mapping[str, LeadMapping] = MAPPINGS) -> DriftReport:
        self.redis.delete(keys.DEFAULT_ACCOUNT.drift_lock)
        self.guard(mappings).tick()
        report = drift.last_report(self.redis)
        assert report is not None
        return report


@pytest.fixture
def world(redis: redis_py.Redis, account: Account) -> World:
    return World(redis, account.url)


def summarize(report: DriftReport) -> dict[str | None, tuple[str, bool, list[str]]]:
    return {each.name: (each.kind, each.needed, each.settings) for each in report.findings}


def test_each_missing_name_is_reported_with_its_uses(world: World) -> None:
    """Each missing name is one entry with its kind, its settings and the available names."""
    report = world.look()
    assert summarize(report) == {
        "Summer": ("label", True, ["sources.one.lead.labels", "sources.two.lead.labels"]),
        "Shoe size": ("custom field", True, ["sources.two.lead.custom.Shoe size"]),
    }
    assert report.findings[0].sources == ["one", "two"]
    assert "Website" in report.findings[0].available
    assert report.error is None


def test_a_repaired_account_is_noticed_within_the_hour(world: World, account: Account) -> None:
    """An added label is noticed at the next hourly check, and not before."""
    world.look()
    body = {"name": "Summer", "color": "green"}
    account.http.post(
        "/v1/leadLabels", json=body, headers={"x-api-token": TOKEN}
    ).raise_for_status()
    calls = len(account.calls())
    world.ahead = 3000.0
    assert "Summer" in summarize(world.look())
    assert len(account.calls()) == calls
    world.ahead = 3700.0
    assert set(summarize(world.look())) == {"Shoe size"}


def test_the_report_follows_what_a_delivery_read(world: World, account: Account) -> None:
    """If a delivery has just read the names, the next check uses them without another call."""
    world.look()
    account.http.post(
        "/v1/leadLabels", json={"name": "Summer", "color": "green"}, headers={"x-api-token": TOKEN}
    ).raise_for_status()
    world.ahead = 60.0
    PipedriveClientFactory(world.settings, world.redis, Meter(), world.clock).metadata.refresh(
        [MetadataKind.LABELS]
    )
    calls = len(account.calls())
    assert set(summarize(world.look())) == {"Shoe size"}
    assert "labels.list" not in account.calls()[calls:]


def test_a_changed_source_file_is_checked_at_once(world: World) -> None:
    """A change of the source file does not wait for the hour."""
    world.look()
    assert (
        summarize(world.look({"one": LeadMapping("one", LeadSettings(labels=["Website"]))})) == {}
    )


def test_one_worker_of_several_checks(world: World, account: Account) -> None:
    """While one worker holds the lock, the others make no calls."""
    world.redis.set(keys.DEFAULT_ACCOUNT.drift_lock, b"1")
    world.guard().tick()
    assert account.calls() == []
    assert drift.last_report(world.redis) is None


def test_a_closed_gate_is_left_to_its_probe(world: World, account: Account) -> None:
    """While only a probe may ask Pipedrive, the guard makes no calls and keeps its last report."""
    report = world.look()
    calls = len(account.calls())
    world.ahead = 7200.0
    world.redis.hset(keys.DEFAULT_ACCOUNT.gate, "mode", "probe")
    assert world.look() == report
    assert len(account.calls()) == calls
    world.redis.delete(keys.DEFAULT_ACCOUNT.gate)
    assert world.look().at > report.at


def test_a_failed_check_is_repeated_soon(world: World, account: Account) -> None:
    """A partial check reports its error and its findings, and is repeated after five minutes."""
    account.fault({"operation": "labels.list"}, {"kind": "answer", "status": 500})
    report = world.look()
    assert (report.error, set(summarize(report))) == ("labels: unavailable", {"Shoe size"})
    account.heal()
    world.ahead = 301.0
    assert set(summarize(world.look())) == {"Summer", "Shoe size"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Forbidden", "give the API user the permission"),
        ("Scope and URL mismatch", "add the scope leads:full to the app and connect it again"),
    ],
)
def test_a_missing_permission_is_drift_too(
    world: World, account: Account, error: str, words: str
) -> None:
    """What the credentials may not read is reported with the permission or scope to grant."""
    account.fault(
        {"operation": "labels.list"},
        {"kind": "answer", "status": 403, "body": {"success": False, "error": error}},
    )
    messages = {each.kind: each.message for each in world.look().findings}
    assert words in messages["permission"]


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("", []),
        ("base leads:full contacts:full deals:read", []),
        ("base,leads:full,contacts:full,deals:full", []),
        ("base leads:read contacts:full admin", ["leads:full"]),
        ("base", ["leads:full", "contacts:full", "deals:read"]),
    ],
)
def test_scopes_that_were_not_granted(world: World, granted: str, missing: list[str]) -> None:
    """Granted scopes are compared with those that a delivery needs; unknown scopes are not."""
    world.redis.hset(keys.DEFAULT_ACCOUNT.oauth, "scopes", granted)
    assert [each.name for each in world.look({}).findings] == missing


def test_check_fails_on_a_scope_that_was_not_granted(redis: redis_py.Redis) -> None:
    """`leadline check` fails for each scope that the token endpoint did not grant."""
    assert check_scopes(drift.granted_scopes(redis)) == []
    redis.hset(keys.DEFAULT_ACCOUNT.oauth, "scopes", "base,leads:full,deals:read")
    [finding] = check_scopes(drift.granted_scopes(redis))
    assert (finding.level, finding.setting) == (Level.FAIL, "PIPEDRIVE_REFRESH_TOKEN")
    assert "contacts:full" in finding.message


def test_the_metric_separates_needed_names(world: World) -> None:
    """The metric counts missing names that kill submissions apart from the others."""
    world.look()
    report = drift.last_report(world.redis)
    assert report is not None
    text = expose({}, Gauges(redis_up=True, account_lacks={True: len(report.findings)})).decode()
    assert 'leadline_account_lacks{needed="true"} 2.0' in text
    assert 'leadline_account_lacks{needed="false"} 0.0' in text


def test_a_report_of_another_version_counts_as_none(redis: redis_py.Redis) -> None:
    """An unreadable report is ignored."""
    redis.set(keys.DEFAULT_ACCOUNT.drift, b'{"at": "x"}')
    assert drift.last_report(redis) is None
