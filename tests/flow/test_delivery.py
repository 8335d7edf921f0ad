from __future__ import annotations

from typing import Any

import pytest

from tests.flow.conftest import Account, Pipeline
from tests.polling import eventually
from worker.contract import Result, State, Utm
from worker.delivery.duplicates import DuplicateChecks, count_duplicates
from worker.settings.table import Settings
from worker.store import keys


def test_a_lead_arrives_with_its_attribution(pipeline: Pipeline, account: Account) -> None:
    """A submission becomes one lead of one person, with label, channel and origin_id."""
    record = pipeline.accept_and_deliver(utm=Utm(campaign="spring"), click_ids={"gclid": "x"})
    [lead], [person] = account.leads, account.persons
    labels = {label["id"]: label["name"] for label in account.state()["labels"]}
    assert (record.state, record.result, record.lead_id) == (
        State.DELIVERED,
        Result.CREATED,
        lead["id"],
    )
    assert [labels[label] for label in lead["label_ids"]] == ["Website"]
    assert (lead["channel"], lead["channel_id"], lead["origin_id"]) == (
        66,
        "spring",
        f"contact:{record.id}",
    )
    assert (lead["person_id"], person["name"]) == (person["id"], "Ada Lovelace")
    assert lead["title"] == "Ada Lovelace via contact"


def test_what_a_new_person_costs(pipeline: Pipeline, account: Account) -> None:
    """With the names known: a new person 35 tokens, a known one 10, labelling a known lead 12."""
    delivery = pipeline.delivery()
    pipeline.deliver(pipeline.accept(email="warm@example.com"), delivery)
    spent = account.tokens()
    pipeline.deliver(pipeline.accept(), delivery)
    assert account.tokens() - spent == 35
    spent = account.tokens()
    pipeline.settings(labels=["Website", "Hot"])
    labelled = pipeline.deliver(pipeline.accept(), pipeline.delivery())
    assert labelled.result is Result.LABELLED
    assert account.tokens() - spent == 12
    spent = account.tokens()
    pipeline.settings(existing="new")
    assert pipeline.accept_and_deliver().result is Result.CREATED
    assert account.tokens() - spent == 10


def test_an_open_lead_is_labelled_not_doubled(pipeline: Pipeline, account: Account) -> None:
    """A second enquiry extends the labels of the open lead and adds its message as a note."""
    pipeline.settings(note=True)
    first = pipeline.accept_and_deliver(message="first")
    pipeline.settings(labels=["Hot"])
    second = pipeline.accept_and_deliver(message="second")
    [lead] = account.leads
    labels = {label["id"]: label["name"] for label in account.state()["labels"]}
    assert {labels[label] for label in lead["label_ids"]} == {"Website", "Hot"}
    assert (first.result, second.result, second.lead_id) == (
        Result.CREATED,
        Result.LABELLED,
        first.lead_id,
    )
    assert len(account.persons) == 1
    assert sorted("first" in note["content"] for note in account.notes) == [False, True]


def test_an_open_lead_of_a_person_we_did_not_make_is_found(
    pipeline: Pipeline, account: Account
) -> None:
    """An existing person is found by e-mail, and its newest open lead is labelled."""
    http = account.http
    headers = {"x-api-token": "sandbox-token"}
    person = http.post(
        "/api/v2/persons",
        json={"name": "Ada", "emails": [{"value": "Ada@Example.com"}]},
        headers=headers,
    ).json()["data"]
    lead = http.post(
        "/v1/leads", json={"title": "old", "person_id": person["id"]}, headers=headers
    ).json()["data"]
    until_indexed(account, "ada@example.com")
    record = pipeline.accept_and_deliver()
    assert (record.result, record.lead_id, record.person_id) == (
        Result.LABELLED,
        lead["id"],
        person["id"],
    )
    assert len(account.persons) == 1


def until_indexed(account: Account, email: str) -> None:
    assert eventually(lambda: account.finds_person(email))


def test_an_old_lead_is_left_alone(pipeline: Pipeline, account: Account) -> None:
    """An enquiry after the window makes a lead of its own, for the same person."""
    pipeline.settings(existing_window="1h")
    pipeline.accept_and_deliver()
    pipeline.advance(7200)
    record = pipeline.accept_and_deliver()
    assert record.result is Result.CREATED
    assert (len(account.leads), len(account.persons)) == (2, 1)


def test_an_archived_lead_is_not_labelled(pipeline: Pipeline, account: Account) -> None:
    """When the lead we know was archived, the next enquiry is a new lead."""
    first = pipeline.accept_and_deliver()
    account.http.patch(
        f"/v1/leads/{first.lead_id}",
        json={"is_archived": True},
        headers={"x-api-token": "sandbox-token"},
    )
    second = pipeline.accept_and_deliver()
    assert second.result is Result.CREATED
    assert second.lead_id != first.lead_id


def test_the_same_person_is_known_before_the_search_index_knows(
    pipeline: Pipeline, account: Account
) -> None:
    """Two submissions right after each other make one person, although the index lags."""
    pipeline.settings(existing="new")
    pipeline.accept_and_deliver()
    pipeline.accept_and_deliver()
    assert len(account.persons) == 1
    assert len(account.leads) == 2


def test_a_company_becomes_one_organisation(pipeline: Pipeline, account: Account) -> None:
    """Two people of one company share its organisation, and the new persons belong to it."""
    pipeline.accept_and_deliver(company="Acme Ltd")
    pipeline.accept_and_deliver(email="bob@example.com", company="ACME  ltd")
    state = account.state()
    [organisation] = state["organizations"]
    assert {person["org_id"] for person in state["persons"]} == {organisation["id"]}
    assert {lead["organization_id"] for lead in state["leads"]} == {organisation["id"]}


def test_one_note_says_what_has_no_field(pipeline: Pipeline, account: Account) -> None:
    """The note holds message and answers, escaped."""
    pipeline.settings(note=True)
    pipeline.accept_and_deliver(
        message="<script>alert(1)</script>\nline two", answers={"Colour": "blue & red"}
    )
    [note] = account.notes
    assert "&lt;script&gt;" in note["content"]
    assert "<script" not in note["content"]
    assert "blue &amp; red" in note["content"]


def test_custom_fields_are_written_in_their_type(pipeline: Pipeline, account: Account) -> None:
    """Texts go into custom fields of lead and person; the note says what does not fit."""
    pipeline.settings(
        note=True,
        custom={
            "Budget": "{answers.budget}",
            "Company size": "{answers.size}",
            "person.Newsletter": "{consent}",
        },
    )
    pipeline.accept_and_deliver(answers={"budget": "5000", "size": "a dozen"}, consent=True)
    [lead], [person], [note] = account.leads, account.persons, account.notes
    assert "5000" in lead.values()
    assert "yes" in (person.get("custom_fields") or {}).values()
    assert "Company size" in note["content"]


@pytest.mark.parametrize(
    ("change", "kind", "setting"),
    [
        ({"labels": ["Nope"]}, "label", "sources.contact.lead.labels"),
        ({"channel": "Nope"}, "channel", "sources.contact.lead.channel"),
        ({"owner_id": 999}, "owner", "sources.contact.lead.owner_id"),
        ({"custom": {"Nope": "x"}}, "custom field", "sources.contact.lead.custom.Nope"),
    ],
)
def test_an_unknown_name_is_a_dead_letter_that_says_what_to_mend(
    change: dict[str, Any], kind: str, setting: str, pipeline: Pipeline, account: Account
) -> None:
    """A name that the account lacks ends the delivery before anything is created.

    Fixed and replayed, the lead arrives once.
    """
    good = pipeline.lead_settings
    pipeline.settings(**change)
    record = pipeline.accept_and_deliver()
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.code, record.cause.field, record.cause.setting) == (
        "unknown-name",
        kind,
        setting,
    )
    assert account.persons == []
    pipeline.lead_settings = good
    pipeline.sweeper.replay(record.id, "kim", "mended", None)
    assert pipeline.deliver(record.id).state is State.DELIVERED
    assert (len(account.persons), len(account.leads)) == (1, 1)


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_label_added_after_the_death_is_seen_by_the_replay(
    pipeline: Pipeline, account: Account, seconds: float
) -> None:
    """A replay reads the names again, so a label that was just added in Pipedrive is found."""
    pipeline.settings(labels=["Webinar"])
    record = pipeline.accept_and_deliver()
    assert record.state is State.DEAD
    account.http.post(
        "/v1/leadLabels",
        json={"name": "Webinar", "color": "blue"},
        headers={"x-api-token": "sandbox-token"},
    )
    pipeline.advance(seconds)
    pipeline.sweeper.replay(record.id, "kim", "mended", None)
    assert pipeline.deliver(record.id).state is State.DELIVERED


def test_missing_labels_are_made_where_the_source_says_so(
    pipeline: Pipeline, account: Account
) -> None:
    """With create_labels a missing label is created once."""
    pipeline.settings(labels=["Fresh"], create_labels=True, label_color="green", existing="new")
    pipeline.accept_and_deliver()
    pipeline.accept_and_deliver()
    labels = [label for label in account.state()["labels"] if label["name"] == "Fresh"]
    assert [label["color"] for label in labels] == ["green"]


@pytest.mark.parametrize(
    "operation", ["persons.add", "leads.add", "notes.add", "organizations.add"]
)
@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
def test_a_create_whose_answer_is_lost_is_not_repeated_blindly(
    operation: str, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """After a lost response the create settles, then is adopted or repeated: one lead each."""
    pipeline.settings(note=True)
    account.fault({"operation": operation, "count": 1}, {"kind": kind})
    record = pipeline.accept_and_deliver(company="Acme", message="hello")
    assert (record.state, record.reason) == (State.WAITING, "settle")
    assert pipeline.deliver_later(record.id, 30).state is State.WAITING
    done = pipeline.deliver_later(record.id, 100)
    assert done.state is State.DELIVERED
    state = account.state()
    assert [len(state[kind]) for kind in ("persons", "organizations", "leads", "notes")] == [
        1,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("operation", "kind"), [("leads.add", "leads"), ("persons.add", "persons")]
)
def test_a_commit_after_the_look_is_reported(
    operation: str, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """What Pipedrive commits only after we repeated it is found, by count and by submission."""
    account.fault({"operation": operation, "count": 1}, {"kind": "late-commit", "seconds": 2})
    record = pipeline.accept_and_deliver()
    done = pipeline.deliver_later(record.id, 200)
    assert done.state is State.DELIVERED
    assert eventually(lambda: len(account.state()[kind]) == 2)
    duplicate = DuplicateChecks(
        pipeline.redis, pipeline.ledger, pipeline.build_context()[1].new_client()
    )
    duplicate.tick()
    assert count_duplicates(pipeline.redis) == 0
    pipeline.advance(800)
    duplicate.tick()
    assert count_duplicates(pipeline.redis) == 1
    assert pipeline.redis.hkeys(keys.DUPLICATES) == [record.id.encode()]
    assert pipeline.redis.zcard(keys.DUPLICATE_CHECKS) == 0


def test_what_was_made_again_and_is_alone_is_not_reported(
    pipeline: Pipeline, account: Account
) -> None:
    """A suspect that exists once is cleared after its last look."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "drop-before"})
    pipeline.deliver_later(pipeline.accept_and_deliver().id, 200)
    assert pipeline.redis.zcard(keys.DUPLICATE_CHECKS) == 2
    pipeline.advance(800)
    DuplicateChecks(
        pipeline.redis, pipeline.ledger, pipeline.build_context()[1].new_client()
    ).tick()
    assert (pipeline.redis.zcard(keys.DUPLICATE_CHECKS), count_duplicates(pipeline.redis)) == (0, 0)


def test_days_are_those_of_the_account(pipeline: Pipeline, account: Account) -> None:
    """A day begins as in the account's time zone, which is read once and not for each lead."""
    pipeline.settings(title="{received_date}", expected_close="24h", existing="new")
    # Half past ten in the evening, UTC; half past midnight in Tallinn.
    pipeline.frozen_at = 1_800_052_200.0
    for name in ("Ada", "Ben", "Cy"):
        pipeline.accept_and_deliver(name=name, email=f"{name}@example.com")
    assert {(lead["title"], lead["expected_close_date"]) for lead in account.leads} == {
        ("2027-01-16", "2027-01-17")
    }
    assert account.calls("users.me") == ["users.me"]


def test_a_converted_lead_is_found_among_the_deals(pipeline: Pipeline, account: Account) -> None:
    """A lead whose response was lost and that was then converted is adopted, not created again."""
    account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    record = pipeline.accept_and_deliver()
    [lead] = account.leads
    headers = {"x-api-token": "sandbox-token"}
    account.http.post(
        f"/api/v2/leads/{lead['id']}/convert/deal", json={}, headers=headers
    ).raise_for_status()
    done = pipeline.deliver_later(record.id, 200)
    assert (done.state, done.lead_id) == (State.DELIVERED, lead["id"])
    assert account.leads == []


@pytest.mark.parametrize(
    ("effect", "state", "reason"),
    [
        ({"kind": "answer", "status": 503}, State.WAITING, "retry"),
        (
            {"kind": "answer", "status": 429, "headers": {"retry-after": "2"}},
            State.WAITING,
            "limit",
        ),
        ({"kind": "answer", "status": 401}, State.WAITING, "credentials"),
        (
            {"kind": "answer", "status": 403, "html": "<html>blocked</html>"},
            State.WAITING,
            "blocked",
        ),
        (
            {"kind": "answer", "status": 400, "body": {"success": False, "error": "no"}},
            State.DEAD,
            None,
        ),
    ],
)
def test_each_answer_has_its_fate(
    effect: dict[str, Any], state: State, reason: str | None, pipeline: Pipeline, account: Account
) -> None:
    """Answers of the search decide what becomes of the delivery, and after the fault it arrives."""
    pipeline.accept_and_deliver(email="warm@example.com")
    account.fault({"operation": "persons.search"}, effect)
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (state, reason)
    account.heal()
    if state is State.DEAD:
        pipeline.sweeper.replay(record.id, "kim", "", None)
    assert pipeline.deliver_later(record.id, 3700).state is State.DELIVERED
    assert len(account.persons) == 2


def test_an_outage_is_waited_out_by_all_and_heals_within_a_minute(
    pipeline: Pipeline, account: Account
) -> None:
    """During an outage all wait without using attempts, one probes, and then all continue."""
    pipeline.accept_and_deliver(email="warm@example.com")
    account.fault({}, {"kind": "answer", "status": 503})
    waiting = [
        pipeline.accept_and_deliver(email=f"p{number}@example.com").id for number in range(3)
    ]
    for _ in range(20):
        everybody(pipeline, waiting, 3600)
    assert {pipeline.record(one).reason for one in waiting} == {"outage"}
    assert {pipeline.record(one).state for one in waiting} == {State.WAITING}
    assert max(pipeline.record(one).attempts for one in waiting) <= 2
    account.heal()
    everybody(pipeline, waiting, 46)
    everybody(pipeline, waiting, 1)
    assert {pipeline.record(one).state for one in waiting} == {State.DELIVERED}


def everybody(pipeline: Pipeline, ids: list[str], seconds: float) -> None:
    """Some time later, a worker takes whatever is dispatched."""
    pipeline.advance(seconds)
    pipeline.sweeper.sweep()
    for one in ids:
        pipeline.deliver(one)


def test_one_poisonous_submission_is_no_outage(pipeline: Pipeline, account: Account) -> None:
    """A submission on which Pipedrive fails each time dies alone, and stops nobody else."""
    account.fault({"operation": "persons.search"}, {"kind": "answer", "status": 500})
    record = pipeline.accept_and_deliver(email="poison@example.com")
    for _ in range(3):
        record = pipeline.deliver_later(record.id, 100)
    assert record.state is State.DEAD
    assert pipeline.ledger.gate.find_pause() is None


def test_retries_end_in_a_dead_letter(pipeline: Pipeline, account: Account) -> None:
    """A delivery that never succeeds dies after its last delay, with the attempts on record."""
    account.fault({"operation": "persons.search"}, {"kind": "answer", "status": 500})
    record = pipeline.accept_and_deliver()
    for _ in range(2):
        assert record.state is State.WAITING
        record = pipeline.deliver_later(record.id, 100)
    assert record.state is State.DEAD
    assert record.attempts == 3
    assert [
        attempt.status
        for attempt in pipeline.ledger.attempts(record.id)
        if attempt.step == "persons.search"
    ] == [500] * 3


def test_a_person_that_is_gone_is_resolved_afresh(pipeline: Pipeline, account: Account) -> None:
    """When the person we remember was deleted, it is forgotten and made again; the lead arrives.

    That the search still lists the deleted person for a while does not matter.
    """
    first = pipeline.accept_and_deliver()
    until_indexed(account, "ada@example.com")
    headers = {"x-api-token": "sandbox-token"}
    account.http.delete(f"/v1/leads/{first.lead_id}", headers=headers).raise_for_status()
    account.http.delete(f"/api/v2/persons/{first.person_id}", headers=headers).raise_for_status()
    record = pipeline.accept_and_deliver()
    assert record.state is State.QUEUED
    record = pipeline.deliver(record.id)
    assert record.state is State.DELIVERED
    assert record.person_id != first.person_id


def test_a_paused_worker_creates_nothing(pipeline: Pipeline, account: Account) -> None:
    """While an operator has paused delivery, Pipedrive is not called."""
    pipeline.ledger.gate.pause("audit", "kim")
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (State.WAITING, "paused")
    assert account.calls() == []
    pipeline.ledger.gate.resume()
    assert pipeline.deliver_later(record.id, 1).state is State.DELIVERED


def test_nothing_personal_stands_in_keys_or_counters(pipeline: Pipeline, redis: Any) -> None:
    """Keys, counters and queue hold no e-mail or name."""
    pipeline.accept_and_deliver()
    names = b"\n".join(redis.keys("*")) + b"".join(redis.hkeys("leadline:metrics"))
    assert b"ada@" not in names.lower()


def test_the_settings_of_these_tests_are_the_products_own() -> None:
    """The delays and the settle time of the product are the contract's."""
    assert Settings().settle_seconds == 90
    assert Settings().retry_delays == (10, 60, 300, 1800, 7200, 21600, 43200, 86400)
