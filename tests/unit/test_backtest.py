"""Stored submissions under a changed source file: read again, compared field by field."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from msgspec import structs

from service.reports.backtest import (
    MAX_FIELDS_COUNTED,
    BacktestResult,
    BacktestTotals,
    BacktestVerdict,
    backtest,
)
from service.reports.changes import BacktestChange
from service.sources.request import InboundRequest, Outcome
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources
from tests.flow.arrivals import build_submissions_of
from tests.providers.cases import Case, cases, name_of, request_of, source_of
from tests.unit.sources.factories import JSON, NOW, form, json_post, post, source
from worker.contract import Lead, State
from worker.ledger import Record
from worker.ledger.record import spooled_record

ADA = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "Firma": "Engines Ltd",
    "utm_source": "google",
}


def records(config: Source, request: InboundRequest) -> list[Record]:
    return [spooled_record(one) for one in build_submissions_of(config, request, NOW)]


def one(config: Source, request: InboundRequest, **changes: Any) -> Record:
    [record] = records(config, request)
    return structs.replace(record, **changes)


def run_backtest(record: Record, now: str, before: str | None = None) -> BacktestResult:
    return backtest(
        record, source(now), source(before) if before is not None else None, reveal=True
    )


@pytest.mark.parametrize("case", list(cases()), ids=name_of)
def test_an_unchanged_file_changes_nothing(case: Case) -> None:
    """What every product sent reads again as it was stored, long after its signature expired."""
    config, now = source_of(case), float(case.get("verification", {}).get("now", NOW))
    if case["request"]["method"] != "POST":
        return
    for submission in build_submissions_of(config, request_of(case), now):
        if submission.lead is None:
            continue
        result = backtest(spooled_record(submission), config, reveal=True)
        assert result.verdict is (
            BacktestVerdict.FAILS if result.outcome is Outcome.NO_CONTACT else BacktestVerdict.SAME
        ), result
        assert not result.new_failure
        assert result.fields == result.writing == []


def test_fields_before_and_after() -> None:
    """Each field that a new map or label changes is named with its old and new value."""
    record = one(source(), form(**ADA, Team="x"))
    result = run_backtest(record, 'map = { Team = "job_title" }')
    assert result.verdict is BacktestVerdict.CHANGED
    assert [(c.field, c.before, c.after) for c in result.fields] == [
        ("answers.Team", "x", None),
        ("job_title", None, "x"),
    ]


def test_a_plan_changes_with_the_lead() -> None:
    """A lead that reads differently is written differently: title, rule, labels, channel."""
    record = one(source(), form(**ADA, Team="x"))
    rules = (
        'map = { Team = "company" }\n[[sources.x.rules]]\nwhen = { company = "x" }\nlabels ='
        ' ["Hot"]\nchannel = "C"'
    )
    writing = {
        change.field: (change.before, change.after)
        for change in run_backtest(record, f"[sources.x]\n{rules}").writing
    }
    assert writing["rule"] == (None, {"number": 1, "when": {"company": "x"}})
    assert writing["labels"] == ([], ["Hot"])
    assert writing["channel"] == (None, "C")
    assert writing["title"] == ("Engines Ltd via x", "x via x")


def test_changed_rules_show_against_the_file_as_it_was() -> None:
    """With the earlier file its settings write the earlier lead, so that changed rules show."""
    record = one(source(), form(**ADA))
    old = '[sources.x]\n[[sources.x.rules]]\nwhen = { utm_source = "google" }\nchannel = "Ads"'
    moved = old.replace(
        "[[", '[[sources.x.rules]]\nwhen = { utm_source = "bing" }\nchannel = "B"\n[[', 1
    )
    assert run_backtest(record, moved, old).verdict is BacktestVerdict.SAME
    result = run_backtest(record, old.replace("Ads", "Paid search"), old)
    assert result.verdict is BacktestVerdict.WRITTEN
    assert [(c.field, c.before, c.after) for c in result.writing] == [
        ("channel", "Ads", "Paid search")
    ]


@pytest.mark.parametrize(
    ("toml", "fails"),
    [
        ("read = { json_param = 'name' }", True),
        ('read = { only = { at = "name", equals = "x" } }', False),
    ],
    ids=["unreadable", "no lead"],
)
def test_what_would_fail(toml: str, fails: bool) -> None:
    """What can no longer be read fails, and is new if it did not fail before."""
    result = run_backtest(one(source(), form(**ADA)), toml)
    assert (result.verdict is BacktestVerdict.FAILS, result.new_failure) == (fails, fails)
    assert result.why
    assert fails or result.verdict is BacktestVerdict.NO_LEAD_NOW


def test_nobody_to_reach_any_more() -> None:
    """A map that removes the only contact fails."""
    result = run_backtest(
        one(source(), form(email="a@example.com")), 'map = { email = "answers.B" }'
    )
    assert (result.verdict, result.outcome, result.new_failure) == (
        BacktestVerdict.FAILS,
        Outcome.NO_CONTACT,
        True,
    )


def test_a_source_that_is_gone() -> None:
    """A submission whose source is gone fails."""
    result = backtest(one(source(), form(**ADA)), None)
    assert (result.verdict, result.new_failure) == (BacktestVerdict.FAILS, True)
    assert result.why is not None
    assert "no such source" in result.why


def test_what_failed_before_is_not_new() -> None:
    """A dead letter without contact stays one, or becomes a lead by a better map."""
    dead = one(source(), form(mystery="call ada@example.com", field1="2079460018"))
    assert dead.state is State.DEAD
    same = run_backtest(dead, "")
    assert (same.verdict, same.new_failure) == (BacktestVerdict.FAILS, False)
    assert run_backtest(dead, 'map = { field1 = "phone" }').verdict is BacktestVerdict.LEAD_NOW


def test_what_cannot_be_written() -> None:
    """A plan that the worker would refuse is a failure, with the setting."""
    config = source()
    record = one(config, form(**ADA))
    broken = structs.replace(config, lead=structs.replace(config.lead, origin_id="{name}"))
    result = backtest(record, broken, config)
    assert (result.verdict, result.new_failure) == (BacktestVerdict.FAILS, True)
    assert "origin_id" in (result.why or "")


def test_an_edited_lead_is_named() -> None:
    """An edit is not a change of the file; with the earlier file both readings are compared."""
    record = one(source(), form(**ADA))
    assert record.lead is not None
    mended = structs.replace(
        record, lead=structs.replace(record.lead, phone="+442079460018"), edited_by="ada"
    )
    result = run_backtest(mended, "")
    assert (result.verdict, result.edited_by) == (BacktestVerdict.EDITED, "ada")
    assert [(c.field, c.after) for c in result.fields] == [("phone", None)]
    assert run_backtest(mended, "", "").verdict is BacktestVerdict.SAME
    assert (
        run_backtest(mended, 'map = { Firma = "answers.F" }', "").verdict is BacktestVerdict.CHANGED
    )


def test_events_of_one_request_are_told_apart() -> None:
    """Each submission of a batch is compared with its own event, by id or by equal fields."""
    config = source('adapter = "json"\nread = { root = "all", event_id = "id" }')
    request = json_post(
        {"all": [{"id": n, "email": f"{n}@example.com", "name": f"Name {n}"} for n in "abc"]}
    )
    for record in records(config, request):
        assert backtest(record, config).verdict is BacktestVerdict.SAME
        other = source('adapter = "json"\nread = { root = "all", event_id = "name" }')
        result = backtest(record, other, reveal=True)
        assert result.verdict is BacktestVerdict.CHANGED
        assert "email" not in [change.field for change in result.fields]


def test_ids_of_verified_headers() -> None:
    """An event id from a signed header is found again without the signature."""
    toml = (
        '[sources.x]\nadapter = "json"\nverify = { scheme = "hmac", header = "X-S", id_header ='
        ' "X-Id", secret_env = "K" }'
    )
    body = json.dumps(ADA).encode()
    config = source(toml, K="k")
    request = post(body, JSON, X_S=hmac.new(b"k", body, hashlib.sha256).hexdigest(), X_Id="evt-9")
    record = one(config, request)
    assert record.lead is not None
    assert record.lead.event_id == "evt-9"
    later = load_sources(toml, {}, secrets=()).sources["x"]
    assert (
        backtest(structs.replace(record, received_at=record.received_at + 1e7), later).verdict
        is BacktestVerdict.SAME
    )


def test_what_was_fetched_is_compared_as_it_is_stored() -> None:
    """The bytes of an ids-only event do not hold the lead: its plan is compared, not its fields."""
    case = next(
        case for case in cases() if name_of(case) == "meta_lead_ads-leadgen_notification_signed"
    )
    config = source_of(case)
    waiting = one(config, request_of(case))
    assert backtest(waiting, config).verdict is BacktestVerdict.SAME
    fetched = structs.replace(waiting, lead=Lead(name="Ada", email="ada@example.com"), fetch=None)
    assert backtest(fetched, config).verdict is BacktestVerdict.SAME
    labelled = structs.replace(config, lead=structs.replace(config.lead, labels=["Meta"]))
    assert [change.field for change in backtest(fetched, labelled, config).writing] == ["labels"]


def test_spam_and_tests_stay_what_they_are() -> None:
    """What was quarantined or ignored stays the same, even after a person accepted it."""
    config = source('honeypot = ["hp"]')
    spam = one(config, form(**ADA, hp="x"))
    assert backtest(spam, config).verdict is BacktestVerdict.SAME
    assert (
        backtest(structs.replace(spam, state=State.DELIVERED), config).verdict
        is BacktestVerdict.SAME
    )
    assert backtest(spam, source()).verdict is BacktestVerdict.LEAD_NOW


def test_erased_content_is_counted_alone() -> None:
    """Erased content cannot be judged."""
    assert (
        backtest(one(source(), form(**ADA), raw=None, lead=None), source()).verdict
        is BacktestVerdict.NO_CONTENT
    )


SECRETS = (
    "Ada Lovelace",
    "Ada",
    "Lovelace",
    "ada@example.com",
    "+442079460018",
    "Quite private",
    "7 Hidden Lane",
)


@pytest.mark.parametrize(
    "toml",
    [
        'map = { name = "answers.A", Firma = "name" }',
        (
            'map = { street = "company", Firma = "answers.F" }\n[sources.x.lead]\nchannel_id ='
            ' "{email}"\ntitle = "{name} {phone}"'
        ),
        (
            'map = { email = "answers.B", phone = "answers.C", name = "answers.D", Firma ='
            ' "answers.E", street = "email" }'
        ),
        "read = { json_param = 'message' }",
        (
            '[sources.x.lead]\ncustom = { Street = "{answers.street}", "person.X" = "{message}"'
            ' }\ntitle = "{answers.street}"'
        ),
    ],
)
def test_personal_data_are_masked(toml: str) -> None:
    """A result holds no personal data unless asked to reveal it."""
    sent = ADA | {"phone": "+442079460018", "message": "Quite private", "street": "7 Hidden Lane"}
    text = f"[sources.x]\n{toml}"
    for before in (None, source()):
        result = backtest(one(source(), form(**sent)), source(text), before)
        encoded = msgspec.json.encode(result).decode()
        assert result.verdict in (
            BacktestVerdict.CHANGED,
            BacktestVerdict.FAILS,
            BacktestVerdict.WRITTEN,
            BacktestVerdict.SAME,
        )
        assert [
            secret
            for secret in SECRETS
            if f'"{secret}' in encoded or f" {secret}" in encoded or f"{secret} " in encoded
        ] == []


def test_totals_are_bounded() -> None:
    """The counts by field stay bounded, however strangers name their questions."""
    result, totals = (
        run_backtest(one(source(), form(**ADA, Team="x")), 'map = { Team = "job_title" }'),
        BacktestTotals(),
    )
    for number in range(3_000):
        totals.add(structs.replace(result, fields=[BacktestChange(f"answers.{number}", None, "x")]))
    assert totals.looked_at == 3_000
    assert len(totals.fields) <= MAX_FIELDS_COUNTED + 1
    assert totals.fields["x", "others"] == 3_000 - MAX_FIELDS_COUNTED
