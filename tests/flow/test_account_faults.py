"""The account, the address or a limit is at fault, and no lead: everything waits, nothing dies."""

from __future__ import annotations

from typing import Any

import pytest

from service.overview import describe_pause
from tests.flow.conftest import Account, Pipeline
from worker.contract import State
from worker.delivery import Delivery
from worker.delivery.client_factory import PipedriveClientFactory
from worker.settings.table import Settings
from worker.settings.types import Secret


def everybody(pipeline: Pipeline, ids: list[str], delivery: Delivery | None = None) -> None:
    """A worker takes whatever is due."""
    pipeline.sweeper.sweep()
    for one in ids:
        pipeline.deliver(one, delivery)


def accept_many(pipeline: Pipeline, count: int) -> list[str]:
    return [pipeline.accept(email=f"p{number}@example.com") for number in range(count)]


def fates(pipeline: Pipeline, ids: list[str]) -> set[tuple[State, str | None, int]]:
    records = [pipeline.record(one) for one in ids]
    return {(record.state, record.reason, record.attempts) for record in records}


@pytest.mark.parametrize(
    ("preset", "reason", "words"),
    [
        ("trial-over", "account", "open the account in Pipedrive"),
        ("feature-off", "plan", "choose a plan that has it"),
        ("wrong-host", "address", "set PIPEDRIVE_BASE_URL"),
        ("wrong-host-404", "address", "set PIPEDRIVE_BASE_URL"),
        ("wrong-host-json", "address", "set PIPEDRIVE_BASE_URL"),
        ("proxy-refuses", "address", "check the proxy in between"),
        ("endpoint-removed", "version", "update Leadline"),
        ("search-removed", "version", "update Leadline"),
        ("token-refused", "credentials", "set a valid PIPEDRIVE_API_TOKEN"),
    ],
)
def test_what_no_lead_is_to_blame_for_stops_all_deliveries(
    pipeline: Pipeline, account: Account, preset: str, reason: str, words: str
) -> None:
    """All wait, one call at growing intervals probes, the cause is named, and then all go on."""
    remembered = pipeline.accept_and_deliver(email="known@example.com")
    account.preset(preset)
    again = pipeline.accept(email="known@example.com")
    ids = [*accept_many(pipeline, 6), *([again] if preset != "endpoint-removed" else [])]
    before = len(account.calls())
    everybody(pipeline, ids)
    assert fates(pipeline, ids) == {(State.WAITING, reason, 0)}
    paused = describe_pause(pipeline.ledger.gate.find_pause())
    assert paused is not None
    assert paused.reason == reason
    assert words in (paused.advice or "")
    for _ in range(24):
        pipeline.advance(150)
        everybody(pipeline, ids)
    assert fates(pipeline, ids) == {(State.WAITING, reason, 0)}
    # Seven probes within an hour, at 30 s, 1, 2, 4, 8, 16 and 32 minutes, of three calls at most.
    assert len(account.calls()) - before <= 8 * 3
    account.heal()
    pipeline.advance(3601)
    everybody(pipeline, ids)
    everybody(pipeline, ids)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}
    assert len(account.persons) == 7
    if again in ids:
        assert pipeline.record(again).person_id == remembered.person_id


def test_a_page_in_place_of_one_answer_is_no_wrong_address(
    pipeline: Pipeline, account: Account
) -> None:
    """If Pipedrive answers another call, the page was an accident on the way, and is tried again.

    A create behind it may have happened and is looked for.
    """
    pipeline.accept_and_deliver(email="warm@example.com")
    page: dict[str, Any] = {"kind": "answer", "status": 200, "html": "<html>"}
    account.fault({"operation": "persons.search", "count": 1}, page)
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (State.WAITING, "retry")
    account.fault({"operation": "leads.add", "count": 1}, page | {"commit": True})
    settling = pipeline.deliver_later(record.id, 13)
    assert (settling.state, settling.reason) == (State.WAITING, "settle")
    assert pipeline.ledger.gate.find_pause() is None
    assert pipeline.deliver_later(record.id, 100).state is State.DELIVERED
    assert len(account.leads) == 2


@pytest.mark.parametrize("status", [400, 406, 413, 451])
def test_a_page_that_refuses_one_content_is_about_that_lead(
    status: int, pipeline: Pipeline, account: Account
) -> None:
    """What a filter on the way refuses of one lead is that lead's dead letter, and stops no other."""
    pipeline.settings(existing="new")
    pipeline.accept_and_deliver(email="warm@example.com")
    page: dict[str, Any] = {"kind": "answer", "status": status, "html": "<html>"}
    account.fault({"operation": "persons.add", "body_contains": "ada@"}, page)
    record = pipeline.accept_and_deliver()
    assert (record.state, pipeline.ledger.gate.find_pause()) == (State.DEAD, None)
    assert pipeline.accept_and_deliver(email="grace@example.com").state is State.DELIVERED


def test_a_create_that_a_wrong_host_answered_is_looked_for_later(
    pipeline: Pipeline, account: Account
) -> None:
    """If the answer to a create is another website's, the gate closes, and it is not repeated."""
    pipeline.accept_and_deliver(email="warm@example.com")
    page: dict[str, Any] = {"kind": "answer", "status": 200, "html": "<html>"}
    account.fault({"operation": "leads.add"}, page | {"commit": True})
    account.fault({"operation": "users.me"}, page)
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason, record.announced) == (State.WAITING, "address", "lead")
    account.heal()
    assert pipeline.deliver_later(record.id, 100).state is State.DELIVERED
    assert len(account.leads) == 2


def app(pipeline: Pipeline) -> Delivery:
    """A slot that is signed in as an app."""
    settings = Settings(
        pipedrive_client_id=Secret("sandbox-client"),
        pipedrive_client_secret=Secret("sandbox-secret"),
        pipedrive_refresh_token=Secret("sandbox-refresh"),
        pipedrive_oauth_url=f"{pipeline.account.url}/oauth/token",
        pipedrive_base_url=pipeline.account.url,
        pipedrive_plan="unlimited",
    )
    clients = PipedriveClientFactory(settings, pipeline.redis, pipeline.meter, pipeline.clock)
    return Delivery(pipeline.build_context()[0], clients.new_client)


@pytest.mark.parametrize(
    ("preset", "reason", "words"),
    [
        ("oauth-trial-over", "account", "open the account in Pipedrive"),
        ("oauth-wrong-host", "address", "set PIPEDRIVE_OAUTH_URL"),
        ("token-refused", "credentials", "set the new PIPEDRIVE_REFRESH_TOKEN"),
    ],
)
def test_an_app_is_told_of_what_is_an_apps(
    pipeline: Pipeline, account: Account, preset: str, reason: str, words: str
) -> None:
    """At the URL for access tokens the same holds; no app is told to set an API token."""
    pipeline.accept_and_deliver(email="warm@example.com")
    account.preset(preset)
    record = pipeline.deliver(pipeline.accept(), app(pipeline))
    assert (record.state, record.reason, record.attempts) == (State.WAITING, reason, 0)
    assert record.cause is not None
    assert words in (record.cause.hint or "")
    assert "API_TOKEN" not in (record.cause.hint or "")
    account.heal()
    pipeline.advance(31)
    pipeline.sweeper.sweep()
    assert pipeline.deliver(record.id, app(pipeline)).state is State.DELIVERED


# -- limits


def test_a_budget_that_is_back_early_is_used_at_once(pipeline: Pipeline, account: Account) -> None:
    """25 stated seconds are 25 s, although the answer says that no token is left today."""
    delivery = limited(pipeline)
    account.preset("budget-early")
    ids = accept_many(pipeline, 10)
    everybody(pipeline, ids, delivery)
    assert fates(pipeline, ids) == {(State.WAITING, "budget", 0)}
    assert len(account.calls()) == 1
    account.heal()
    pipeline.advance(24)
    everybody(pipeline, ids, delivery)
    assert len(account.calls()) == 1
    pipeline.advance(1.5)
    everybody(pipeline, ids, delivery)
    everybody(pipeline, ids, delivery)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}


def limited(pipeline: Pipeline) -> Delivery:
    """A slot that keeps to a plan's limits, by the pipeline's clock."""
    settings = Settings(
        pipedrive_api_token=Secret("sandbox-token"),
        pipedrive_base_url=pipeline.account.url,
        pipedrive_plan="ultimate",
    )
    clients = PipedriveClientFactory(
        settings, pipeline.redis, pipeline.meter, pipeline.clock, lambda s: pipeline.advance(s)
    )
    clients._limiter._clock = pipeline.clock
    context, _ = pipeline.build_context()
    return Delivery(context, clients.new_client)


def test_tokens_that_are_bought_are_used_within_the_hour(
    pipeline: Pipeline, account: Account
) -> None:
    """Six stated hours are probed once an hour; the first that succeeds lets everybody go."""
    delivery = limited(pipeline)
    account.preset("budget-bought")
    ids = accept_many(pipeline, 5)
    everybody(pipeline, ids, delivery)
    for hour in (1, 2, 3):
        pipeline.advance(3540)
        everybody(pipeline, ids, delivery)
        assert len(account.calls()) == hour
        pipeline.advance(65)
        if hour == 3:
            account.heal()
        everybody(pipeline, ids, delivery)
    everybody(pipeline, ids, delivery)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}
    assert {pipeline.record(one).attempts for one in ids} == {1}


def test_a_limit_without_a_stated_wait_is_probed_ever_less_often(
    pipeline: Pipeline, account: Account
) -> None:
    """An hour of 429 without a word costs a dozen calls, whoever waits; then all go on."""
    delivery = limited(pipeline)
    account.preset("rate-limit-silent")
    ids = accept_many(pipeline, 8)
    for _ in range(720):
        everybody(pipeline, ids, delivery)
        pipeline.advance(5)
    assert 8 <= len(account.calls()) <= 12
    assert fates(pipeline, ids) == {(State.WAITING, "limit", 0)}
    account.heal()
    pipeline.advance(3601)
    everybody(pipeline, ids, delivery)
    everybody(pipeline, ids, delivery)
    assert {pipeline.record(one).state for one in ids} == {State.DELIVERED}


# -- advice


@pytest.mark.parametrize(
    ("preset", "settings", "field", "setting", "words"),
    [
        ("entity-limit", {}, None, None, "archive or delete open leads and deals"),
        ("scope-mismatch", {}, None, None, "the app lacks the scope leads:full"),
        (
            "visibility-refused",
            {"visible_to": "5"},
            "visible_to",
            "sources.contact.lead.visible_to",
            "does not have this visibility",
        ),
        (
            "channel-refused",
            {},
            "channel",
            "sources.contact.lead.channel",
            "correct `channel` of [sources.contact.lead]",
        ),
        ("email-refused", {}, "emails", "sources.contact.map", "edit the lead's `email`"),
        (
            "users-scope-missing",
            {"owner_id": "robin@sandbox.example"},
            "owner",
            "sources.contact.lead.owner_id",
            "add the scope users:read",
        ),
    ],
)
def test_a_dead_letter_has_the_right_advice(
    pipeline: Pipeline,
    account: Account,
    preset: str,
    settings: dict[str, Any],
    field: str | None,
    setting: str | None,
    words: str,
) -> None:
    """What is a lead's or a setting's fault is dead, and says what to mend and where.

    A channel is read again before that, because its id may have changed.
    """
    pipeline.settings(**settings)
    account.preset(preset)
    record = pipeline.accept_and_deliver()
    if record.state is State.WAITING:
        record = pipeline.deliver_later(record.id, 5)
    assert (record.state, record.attempts) == (State.DEAD, 1)
    assert record.cause is not None
    assert (record.cause.field, record.cause.setting) == (field, setting)
    assert words in (record.cause.hint or "")
    assert pipeline.ledger.gate.find_pause() is None
