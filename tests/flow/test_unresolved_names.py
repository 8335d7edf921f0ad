"""What a worker says at its start of names that the account does not have."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from structlog.testing import capture_logs

from service.sources.fetched_records import SourceRecords
from tests.flow.conftest import TOKEN, Account
from tests.flow.intake_world import FixedSources
from tests.polling import eventually
from worker.delivery.client_factory import PipedriveClientFactory
from worker.drift import unresolved_names
from worker.lead.settings import LeadMapping, LeadSettings, Rule
from worker.main import build_slots
from worker.metrics import Meter
from worker.pipedrive.metadata import NameResolver
from worker.settings.table import Settings
from worker.settings.types import Secret

MAPPINGS = {
    "one": LeadMapping(
        "one", LeadSettings(labels=["Nope"], owner_id="grace@sandbox.example"), line=3
    ),
    "two": LeadMapping(
        "two",
        LeadSettings(labels=["Hot"]),
        [Rule(when={"utm_source": "x"}, labels=["Nope", "Warm"])],
        line=9,
    ),
}


def settings(url: str) -> Settings:
    return Settings(
        pipedrive_api_token=Secret(TOKEN),
        pipedrive_base_url=url,
        pipedrive_plan="unlimited",
        slots=1,
    )


def test_each_missing_name_is_a_warning(redis: redis_py.Redis, account: Account) -> None:
    """A warning names kind, name and settings; an owner's name stays out of the log."""
    clients = PipedriveClientFactory(settings(account.url), redis, Meter())
    with capture_logs() as logs:
        unresolved_names.log_unresolved(MAPPINGS, clients.metadata)
    warnings = [line for line in logs if line["event"] == "name does not resolve"]
    assert warnings == [
        {
            "event": "name does not resolve", "log_level": "warning", "kind": "label",
            "needed": True, "name": "Nope",
            "settings": ["sources.one.lead.labels", "sources.two.rules[1].labels"],
        },
        {
            "event": "name does not resolve", "log_level": "warning", "kind": "owner",
            "needed": True,
            "settings": ["sources.one.lead.owner_id"],
        },
    ]  # fmt: skip
    assert "grace" not in str(warnings)


def test_an_account_that_does_not_answer_is_no_obstacle(redis: redis_py.Redis) -> None:
    """Where names cannot be looked up, that is a warning of its own."""
    clients = PipedriveClientFactory(settings("http://127.0.0.1:1"), redis, Meter())
    with capture_logs() as logs:
        unresolved_names.log_unresolved(MAPPINGS, clients.metadata)
    assert [(line["event"], line["error"]) for line in logs] == [
        ("could not check the names", "not-sent")
    ]


def test_a_worker_looks_at_its_start(
    redis_url: str, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A starting worker checks the names with its metadata cache, whatever it finds."""
    lookups: list[Any] = []

    def look(mappings: Any, metadata: NameResolver) -> None:
        lookups.append((mappings, isinstance(metadata, NameResolver)))
        raise RuntimeError("never mind")

    monkeypatch.setattr(unresolved_names, "log_unresolved", look)
    slots = build_slots(
        replace(settings(account.url), data_dir=tmp_path),
        redis_url,
        MAPPINGS,
        SourceRecords(FixedSources({})),
    )
    thread = threading.Thread(target=slots.run)
    thread.start()
    try:
        assert eventually(lambda: lookups)
        assert lookups == [(MAPPINGS, True)]
        assert thread.is_alive()
    finally:
        slots.stop()
        thread.join(20)
    assert not thread.is_alive()


def test_who_takes_turns_may_be_missing(redis: redis_py.Redis, account: Account) -> None:
    """Of owners who take turns a missing one is said, but no lead dies of it.

    A missing label of persons is needed; the organisation's fields are no names to look up.
    """
    lead = LeadSettings(
        owner_id=[12, 999], person_labels=["Website"], custom={"organization.address": "x"}
    )
    names = PipedriveClientFactory(settings(account.url), redis, Meter()).metadata
    unresolved = unresolved_names.find_unresolved({"one": LeadMapping("one", lead)}, names)
    assert [(one.kind, one.name, one.needed) for one in unresolved] == [
        ("owner", "999", False),
        ("label of persons", "Website", True),
    ]
    assert "the other owners take the turns" in unresolved[0].message
