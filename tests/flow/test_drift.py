"""The drift guard against the served sandbox: what the account lacks is known before the first lead
fails of it.
"""

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
    """A guard whose clock a test moves."""

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


def said(report: DriftReport) -> dict[str | None, tuple[str, bool, list[str]]]:
    return {each.name: (each.kind, each.needed, each.settings) for each in report.findings}


def test_what_is_missing_is_named_with_every_place(world: World) -> None:
    """Each missing name is one entry, with its kind, the settings it stands in and the names there
    are instead.
    """
    report = world.look()
    assert said(report) == {
        "Summer": ("label", True, ["sources.one.lead.labels", "sources.two.lead.labels"]),
        "Shoe size": ("custom field", True, ["sources.two.lead.custom.Shoe size"]),
    }
    assert report.findings[0].sources == ["one", "two"]
    assert "Website" in report.findings[0].available
    assert report.error is None


def test_a_mended_account_is_seen_within_the_hour(world: World, account: Account) -> None:
    """A label that was added is missing no more at the next hourly look, and not looked for
    before.
    """
    world.look()
    body = {"name": "Summer", "color": "green"}
    account.http.post(
        "/v1/leadLabels", json=body, headers={"x-api-token": TOKEN}
    ).raise_for_status()
    calls = len(account.calls())
    world.ahead = 3000.0
    assert "Summer" in said(world.look())
    assert len(account.calls()) == calls
    world.ahead = 3700.0
    assert set(said(world.look())) == {"Shoe size"}


def test_what_a_retry_finds_mended_is_said_to_lack_no_more(world: World, account: Account) -> None:
    """Once a delivery has read the names again, the next look goes by what it read, and does not
    read it once more.
    """
    world.look()
    account.http.post(
        "/v1/leadLabels", json={"name": "Summer", "color": "green"}, headers={"x-api-token": TOKEN}
    ).raise_for_status()
    world.ahead = 60.0
    PipedriveClientFactory(world.settings, world.redis, Meter(), world.clock).metadata.refresh(
        [MetadataKind.LABELS]
    )
    calls = len(account.calls())
    assert set(said(world.look())) == {"Shoe size"}
    assert "labels.list" not in account.calls()[calls:]


def test_another_source_file_is_looked_at_at_once(world: World) -> None:
    """A change of the source file does not wait for the hour."""
    world.look()
    assert said(world.look({"one": LeadMapping("one", LeadSettings(labels=["Website"]))})) == {}


def test_one_worker_of_several_looks(world: World, account: Account) -> None:
    """While one has its turn the others leave Pipedrive alone."""
    world.redis.set(keys.DEFAULT_ACCOUNT.drift_lock, b"1")
    world.guard().tick()
    assert account.calls() == []
    assert drift.last_report(world.redis) is None


def test_an_account_that_does_not_answer_is_asked_again_soon(
    world: World, account: Account
) -> None:
    """A look that could not see everything says why, keeps what it saw, and is repeated after five
    minutes.
    """
    account.fault({"operation": "labels.list"}, {"kind": "answer", "status": 500})
    report = world.look()
    assert (report.error, set(said(report))) == ("labels: unavailable", {"Shoe size"})
    account.heal()
    world.ahead = 301.0
    assert set(said(world.look())) == {"Summer", "Shoe size"}


def test_a_permission_that_is_missing_is_drift_too(world: World, account: Account) -> None:
    """What the credentials may not read is named, with what to give them."""
    account.fault(
        {"operation": "labels.list"},
        {"kind": "answer", "status": 403, "body": {"success": False, "error": "Forbidden"}},
    )
    found = {each.kind: each.message for each in world.look().findings}
    assert "give the API user the permission" in found["permission"]


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
    """The scopes the token endpoint named are compared with those a delivery needs; where it named
    none, nothing is said.
    """
    world.redis.hset(keys.DEFAULT_ACCOUNT.oauth, "scopes", granted)
    assert [each.name for each in world.look({}).findings] == missing


def test_check_fails_on_a_scope_that_was_not_granted(redis: redis_py.Redis) -> None:
    """`leadline check` names each missing scope as a fault, by what the token endpoint said
    last.
    """
    assert check_scopes(drift.granted_scopes(redis)) == []
    redis.hset(keys.DEFAULT_ACCOUNT.oauth, "scopes", "base,leads:full,deals:read")
    [finding] = check_scopes(drift.granted_scopes(redis))
    assert (finding.level, finding.setting) == (Level.FAIL, "PIPEDRIVE_REFRESH_TOKEN")
    assert "contacts:full" in finding.message


def test_the_metric_counts_what_is_needed_apart(world: World) -> None:
    """Monitoring sees how many names are missing, those that kill submissions apart from the
    others.
    """
    world.look()
    report = drift.last_report(world.redis)
    assert report is not None
    text = expose({}, Gauges(redis_up=True, account_lacks={True: len(report.findings)})).decode()
    assert 'leadline_account_lacks{needed="true"} 2.0' in text
    assert 'leadline_account_lacks{needed="false"} 0.0' in text


def test_a_report_of_another_version_counts_as_none(redis: redis_py.Redis) -> None:
    """What cannot be read is looked for anew, and stops nothing."""
    redis.set(keys.DEFAULT_ACCOUNT.drift, b'{"at": "x"}')
    assert drift.last_report(redis) is None
