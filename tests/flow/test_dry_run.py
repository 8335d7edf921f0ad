"""A dry run predicts the delivery that follows, without a call to Pipedrive."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.conftest import Account, Pipeline
from tests.unit.test_uploads import PDF, form
from worker.contract import Lead, State
from worker.delivery.dry_run import DryRun, DryRunner
from worker.lead.settings import LeadMapping


def predict(pipeline: Pipeline, submission_id: str, **edit: Any) -> DryRun:
    record = pipeline.record(submission_id)
    assert record.lead is not None
    lead = Lead(
        **{name: edit.get(name, getattr(record.lead, name)) for name in Lead.__struct_fields__}
    )
    mappings = {"contact": LeadMapping("contact", pipeline.lead_settings)}
    return DryRunner(pipeline.redis, mappings, pipeline.clock).run(record, lead)


def warm(pipeline: Pipeline) -> None:
    """Delivers a first lead, with which the account's names are read."""
    pipeline.accept_and_deliver(name="Warm Up", email="warm@example.com")


def test_the_prediction_for_a_new_person(pipeline: Pipeline, account: Account) -> None:
    """Bodies, steps and the highest cost are those of the delivery that follows.

    The dry run itself makes no call.
    """
    warm(pipeline)
    pipeline.settings(note=True)
    waiting = pipeline.accept(message="Hello", company="Analytical Engines")
    calls, tokens = len(account.calls()), account.tokens()
    dry_run = predict(pipeline, waiting)
    assert len(account.calls()) == calls
    assert [(step.step, step.what) for step in dry_run.steps] == [
        ("organization", "search"), ("person", "search"), ("lead", "create"), ("note", "create"),
    ]  # fmt: skip
    assert (dry_run.problems, dry_run.left_out) == ([], [])
    pipeline.deliver(waiting)
    assert account.tokens() - tokens <= dry_run.tokens
    lead = account.leads[-1]
    body = next(step.body for step in dry_run.steps if step.step == "lead")
    assert body is not None
    sent = {name: lead[name] for name in ("title", "label_ids", "channel", "origin_id")}
    assert sent == {name: body[name] for name in sent}
    note = next(step.body for step in dry_run.steps if step.step == "note")
    assert note is not None
    assert account.notes[-1]["content"] == note["content"]


def test_the_prediction_of_days(pipeline: Pipeline, account: Account) -> None:
    """Days are those of the account's time zone as last read; in UTC before it was ever read."""
    pipeline.settings(title="{received_date}", expected_close="24h", existing="new")
    pipeline.frozen_at = 1_800_052_200.0  # half past ten in the evening, UTC
    waiting = pipeline.accept()
    assert predict(pipeline, waiting).title == "2027-01-15"
    warm(pipeline)
    dry_run = predict(pipeline, waiting)
    [body] = [step.body for step in dry_run.steps if step.step == "lead"]
    pipeline.deliver(waiting)
    assert body is not None
    assert (dry_run.title, body["expected_close_date"]) == ("2027-01-16", "2027-01-17")
    assert account.leads[-1]["expected_close_date"] == "2027-01-17"


def test_the_prediction_for_a_known_person(pipeline: Pipeline, account: Account) -> None:
    """For a cached person with an open lead, it predicts the label and the cost."""
    warm(pipeline)
    waiting = pipeline.accept(email="warm@example.com")
    dry_run = predict(pipeline, waiting)
    assert [(step.step, step.what) for step in dry_run.steps] == [
        ("person", "none"),
        ("lead", "label"),
    ]
    assert dry_run.tokens == 12
    assert pipeline.deliver(waiting).result == "labelled"
    assert len(account.leads) == 1


def test_the_prediction_of_all_that_may_be_set(pipeline: Pipeline, account: Account) -> None:
    """With every setting on, what it predicts is the most that the delivery costs."""
    warm(pipeline)
    pipeline.settings(
        match=["email", "phone"], enrich="empty", existing_deals=True, files=True, note=True,
        owner_id=[12, 1], person_labels=["Customer"], marketing=True,
        custom={"organization.address": "{answers.street}"},
    )  # fmt: skip
    pipeline.accept_and_deliver(email="names@example.com")
    details = {"phone": "+491711234567", "company": "Acme", "answers": {"street": "1 High St"}}
    for email, whats in (
        ("new@example.com", ["search", "search", "create", "create", "create"]),
        ("new@example.com", ["enrich", "enrich", "label", "create", "create"]),
    ):
        waiting = pipeline.accept_request(form(("cv.pdf", PDF)), email=email, **details)
        dry_run, tokens = predict(pipeline, waiting), account.tokens()
        assert [step.what for step in dry_run.steps] == whats
        assert (dry_run.problems, dry_run.owner) == ([], "12, 1 in turns")
        assert pipeline.deliver(waiting).state is State.DELIVERED
        assert account.tokens() - tokens <= dry_run.tokens


@pytest.mark.parametrize(
    ("setting", "value", "place"),
    [
        ("labels", ["Nope"], "sources.contact.lead.labels"),
        ("channel", "Nope", "sources.contact.lead.channel"),
        ("owner_id", 424242, "sources.contact.lead.owner_id"),
        ("owner_id", [424242, 424243], "sources.contact.lead.owner_id"),
        ("custom", {"Nope": "{email}"}, "sources.contact.lead.custom.Nope"),
    ],
)
def test_what_would_be_refused_is_a_problem(
    pipeline: Pipeline, setting: str, value: Any, place: str
) -> None:
    """Each name that the account lacks is a problem with its setting, as in the delivery."""
    warm(pipeline)
    for unknown in (
        {"owner_id": 424242},
        {"custom": {"Nope": "x"}},
    ):  # so that owners and fields have been read
        pipeline.settings(**{"owner_id": None} | unknown)
        pipeline.accept_and_deliver(email="second@example.com")
    pipeline.settings(owner_id=None, custom={})
    pipeline.settings(**{setting: value})
    waiting = pipeline.accept(email="third@example.com")
    [problem] = predict(pipeline, waiting).problems
    assert problem.setting == place
    record = pipeline.deliver(waiting)
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.code, record.cause.setting, record.cause.hint) == (
        problem.code,
        problem.setting,
        problem.hint,
    )


def test_all_problems_are_reported_at_once(pipeline: Pipeline) -> None:
    """A delivery fails at the first problem; the dry run reports all of them."""
    warm(pipeline)
    pipeline.settings(labels=["Nope", "Neither"], channel="Nor")
    assert len(predict(pipeline, pipeline.accept(email="third@example.com")).problems) == 3


def test_a_label_that_will_be_created_is_no_problem(pipeline: Pipeline) -> None:
    """With `create_labels`, a missing label is shown by name until it has an id."""
    warm(pipeline)
    pipeline.settings(labels=["Brand new"], create_labels=True)
    dry_run = predict(pipeline, pipeline.accept(email="third@example.com"))
    assert dry_run.problems == []
    assert dry_run.steps[-1].body is not None
    assert dry_run.steps[-1].body["label_ids"] == ["Brand new"]


def test_an_edit_can_be_tried_before_it_is_saved(pipeline: Pipeline) -> None:
    """The dry run uses the lead that it is passed, and changes nothing stored."""
    warm(pipeline)
    waiting = pipeline.accept(name=None, email=None, phone=None)
    assert [problem.code for problem in predict(pipeline, waiting).problems] == ["unmappable"]
    mended = predict(pipeline, waiting, email="grace@example.com")
    assert (mended.problems, [step.step for step in mended.steps]) == ([], ["person", "lead"])
    assert pipeline.record(waiting).lead == Lead()


def test_unread_names_are_no_problem(pipeline: Pipeline) -> None:
    """Until the account has been read, nothing is known to be missing."""
    dry_run = predict(pipeline, pipeline.accept())
    assert (dry_run.problems, dry_run.names_read_at) == ([], None)


def test_finished_steps_cost_nothing(pipeline: Pipeline) -> None:
    """Steps recorded by earlier attempts are shown as done and cost nothing."""
    warm(pipeline)
    done = pipeline.accept_and_deliver(email="third@example.com")
    dry_run = predict(pipeline, done.id)
    assert [(step.step, step.what) for step in dry_run.steps] == [
        ("person", "done"),
        ("lead", "done"),
    ]
    assert dry_run.tokens == 0


def test_a_removed_source_is_a_problem(pipeline: Pipeline) -> None:
    """For a submission whose source is no longer in the file, that is the problem."""
    waiting = pipeline.record(pipeline.accept())
    assert waiting.lead is not None
    [problem] = DryRunner(pipeline.redis, {}, pipeline.clock).run(waiting, waiting.lead).problems
    assert problem.setting == "sources.contact"
