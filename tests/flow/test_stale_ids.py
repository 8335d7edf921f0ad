"""Ids that we remembered and Pipedrive refuses: they are resolved afresh before a lead is dead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from service.sandbox.account.stock import custom_key, label_id
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.flow.conftest import TOKEN, Account, Pipeline
from tests.polling import eventually
from worker.contract import Result, State
from worker.lead.settings import ValueTemplates
from worker.ledger import Record
from worker.store import keys

HEADERS = {"x-api-token": TOKEN}
STATUSES = [400, 403, 404, 410, 422]
SIZE_KEY = custom_key("deal", "Company size")
MAX_DELIVERIES = 12


def meanwhile(change: str, status: int | None = None) -> dict[str, Any]:
    effect = {"kind": "meanwhile", "change": change}
    return effect if status is None else effect | {"status": status}


def refusal(status: int, error: str) -> dict[str, Any]:
    return {"kind": "answer", "status": status, "body": {"success": False, "error": error}}


def settle(pipeline: Pipeline, submission_id: str, seconds: float = 5) -> Record:
    """Deliver as often as it takes to end, some seconds apart."""
    record = pipeline.deliver(submission_id)
    for _ in range(MAX_DELIVERIES):
        if record.state not in (State.QUEUED, State.WAITING):
            return record
        record = pipeline.deliver_later(submission_id, seconds)
    raise AssertionError(f"still {record.state}: {record.cause}")


def accept_and_settle(pipeline: Pipeline, **fields: Any) -> Record:
    return settle(pipeline, pipeline.accept(**fields))


def label_names(account: Account, lead: dict[str, Any]) -> list[str | None]:
    """The names of a lead's labels; None for one that does not exist."""
    names = {label["id"]: label["name"] for label in account.state()["labels"]}
    return sorted((names.get(label) for label in lead["label_ids"]), key=str)


def attempts(pipeline: Pipeline, record: Record) -> list[tuple[str, str, str | None]]:
    return [(each.step, each.outcome, each.detail) for each in pipeline.ledger.attempts(record.id)]


# -- names of the source file


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("change", "listing"),
    [
        ("remake-label", "labels.list"),
        ("remake-channel", "deal_fields.get"),
        ("remake-option", "deal_fields.list"),
    ],
)
def test_what_was_made_again_under_its_name_is_read_again(
    change: str, listing: str, status: int, pipeline: Pipeline, account: Account
) -> None:
    """A label, channel or option with a new id is read once more, whatever the refusal's status."""
    pipeline.settings(custom={"Company size": "11-50"}, existing="new")
    accept_and_settle(pipeline, email="warm@example.com")
    before = account.calls(listing)
    account.fault({"operation": "leads.add", "count": 1}, meanwhile(change, status))
    record = accept_and_settle(pipeline)
    assert record.state is State.DELIVERED, record.cause
    lead = account.leads[-1]
    assert label_names(account, lead) == ["Website"]
    fresh = {
        "remake-label": lead["label_ids"] != [label_id("Website")],
        "remake-channel": lead["channel"] > 1000,
        "remake-option": lead[SIZE_KEY] > 1000,
    }
    assert fresh[change]
    assert len(account.calls(listing)) == len(before) + 1
    spent = account.tokens()
    assert accept_and_settle(pipeline).state is State.DELIVERED
    assert account.tokens() - spent == 10


def test_a_currency_that_was_switched_off_is_left_out(pipeline: Pipeline, account: Account) -> None:
    """A currency that the account had an hour ago is read again, and the lead flows without it."""
    pipeline.settings(value=ValueTemplates("{answers.budget}", "CHF"), existing="new")
    accept_and_settle(pipeline, answers={"budget": "5"})
    account.http.post("/_sandbox/inactive-currencies", json=["CHF"]).raise_for_status()
    record = accept_and_settle(pipeline, answers={"budget": "5"})
    assert record.state is State.DELIVERED, record.cause
    assert [lead["value"] and lead["value"]["currency"] for lead in account.leads] == ["CHF", None]


def test_many_leads_share_one_reading(pipeline: Pipeline, account: Account) -> None:
    """However many leads an old id was refused for, the names are read once for all of them."""
    pipeline.settings(existing="new")
    accept_and_settle(pipeline, email="warm@example.com")
    account.fault({"operation": "leads.add", "count": 1}, meanwhile("remake-label"))
    ids = [pipeline.accept(email=f"p{number}@example.com") for number in range(5)]
    deliveries = [pipeline.delivery() for _ in ids]
    for delivery, one in zip(deliveries, ids, strict=True):
        pipeline.deliver(one, delivery)
    assert {settle(pipeline, one).state for one in ids} == {State.DELIVERED}
    assert len(account.calls("labels.list")) == 2


def test_an_owner_who_was_deactivated_is_named_as_such(
    pipeline: Pipeline, account: Account
) -> None:
    """A refused owner is looked up again; the cause says that he is deactivated."""
    pipeline.settings(owner_id="robin@sandbox.example")
    accept_and_settle(pipeline, email="warm@example.com")
    account.fault({"operation": "persons.add", "count": 1}, meanwhile("deactivate-owner"))
    record = accept_and_settle(pipeline)
    assert (record.state, account.calls("users.list")) == (State.DEAD, ["users.list"] * 2)
    assert record.cause is not None
    assert (record.cause.code, record.cause.field) == ("unknown-name", "owner")
    assert "is deactivated" in record.cause.detail
    assert "activate the user" in (record.cause.hint or "")


def test_a_refusal_that_reading_does_not_mend_is_bounded(
    pipeline: Pipeline, account: Account
) -> None:
    """Leads refused for a reason that nobody gives die, and the names are read ever more rarely."""
    pipeline.settings(existing="new")
    accept_and_settle(pipeline, email="warm@example.com")
    account.fault({"operation": "leads.add"}, refusal(400, "Couldn't create lead, body is invalid"))
    ids = [pipeline.accept(email=f"p{number}@example.com") for number in range(12)]
    for one in ids:
        pipeline.deliver(one)
    for one in ids:
        record = settle(pipeline, one, 60)
        assert record.state is State.DEAD
        assert record.cause is not None
        assert (record.cause.code, record.cause.status) == ("invalid", 400)
    assert len(account.calls("leads.add")) == 1 + 2 * 12
    assert len(account.calls("labels.list")) <= 3
    assert len(account.persons) == 13


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": '"title" length must be less than or equal to 255 characters long'}),
        (422, {"error": "invalid", "error_info": '"value.currency" must be a currency'}),
        (403, {"error": "The limit is reached", "code": "feature_capping_deals_limit"}),
        (403, {"error": "You've reached the leads per company limit."}),
        (403, {"error": "You do not have the permission to add leads"}),
    ],
)
def test_what_no_id_can_mend_costs_no_further_call(
    status: int, body: dict[str, Any], pipeline: Pipeline, account: Account
) -> None:
    """A refusal about another field, a limit or a right is final at once."""
    pipeline.settings(existing="new")
    accept_and_settle(pipeline)
    before = account.calls()
    effect = {"kind": "answer", "status": status, "body": {"success": False} | body}
    account.fault({"operation": "leads.add"}, effect)
    assert accept_and_settle(pipeline).state is State.DEAD
    called = account.calls()[len(before) :]
    assert called == ["leads.add"] + ["users.me"] * (status == 403)


@pytest.mark.parametrize("change", ["remake-label", "remake-field"])
def test_a_retry_by_a_person_reads_the_names_again(
    change: str, pipeline: Pipeline, account: Account
) -> None:
    """Even where Pipedrive refuses nothing: it ignores a custom field that was deleted."""
    pipeline.settings(custom={"Budget": "5000"}, existing="new")
    accept_and_settle(pipeline, email="warm@example.com")
    account.fault({"operation": "leads.add", "count": 1}, refusal(400, '"title" is odd'))
    dead = accept_and_settle(pipeline)
    assert dead.state is State.DEAD
    account.fault({"operation": "leads.add", "count": 1}, meanwhile(change))
    accept_and_settle(pipeline, email="other@example.com")
    calls = len(account.calls("leads.add"))
    pipeline.sweeper.replay(dead.id, "kim", "", None)
    assert settle(pipeline, dead.id).state is State.DELIVERED
    lead = account.leads[-1]
    assert (label_names(account, lead), "5000" in lead.values()) == (["Website"], True)
    assert len(account.calls("leads.add")) == calls + 1


def test_a_custom_field_that_was_made_again_is_written_again(
    pipeline: Pipeline, account: Account
) -> None:
    """Pipedrive ignores a deleted field without an error; the lead gets the new one all the same."""
    pipeline.settings(custom={"Budget": "5000", "Company size": "11-50"}, existing="new")
    accept_and_settle(pipeline)
    account.fault({"operation": "leads.add", "count": 1}, meanwhile("remake-field"))
    for _ in range(2):
        pipeline.advance(60)
        assert accept_and_settle(pipeline).state is State.DELIVERED
    fields = [value for lead in account.leads for value in lead.values()]
    assert (fields.count("5000"), len(account.calls("leads.update"))) == (3, 1)


def test_what_every_lead_lacks_is_not_read_for_every_lead(
    pipeline: Pipeline, account: Account
) -> None:
    """A field that Pipedrive never returns is read again once in a while, and nothing is written."""
    pipeline.settings(custom={"Budget": "5000"}, existing="new")
    accept_and_settle(pipeline)
    hidden = {f"data.{custom_key('deal', 'Budget')}": None}
    account.fault({"operation": "leads.add"}, {"kind": "alter", "set": hidden})
    pipeline.advance(60)
    for _ in range(5):
        assert accept_and_settle(pipeline).state is State.DELIVERED
    assert len(account.calls("deal_fields.list")) == 2
    assert account.calls("leads.update") == []


# -- persons, organisations and leads


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("change", ["merge-person", "delete-person"])
def test_a_person_who_is_refused_is_resolved_afresh(
    change: str, status: int, pipeline: Pipeline, account: Account
) -> None:
    """A merged person becomes the survivor, a deleted one a new person, although search lags.

    The next lead of the person costs what it always does.
    """
    pipeline.settings(existing="new")
    first = accept_and_settle(pipeline)
    assert eventually(lambda: account.finds_person("ada@example.com"))
    account.fault({"operation": "leads.add", "count": 1}, meanwhile(change, status))
    record = accept_and_settle(pipeline)
    assert record.state is State.DELIVERED, record.cause
    [person] = account.persons
    assert record.person_id == person["id"] != first.person_id
    assert account.leads[-1]["person_id"] == person["id"]
    spent = account.tokens()
    assert accept_and_settle(pipeline).person_id == person["id"]
    assert account.tokens() - spent == 10


def test_a_person_known_by_e_mail_and_phone_is_forgotten_by_both(
    pipeline: Pipeline, account: Account
) -> None:
    """Whom a source finds by e-mail or phone is resolved afresh by both, and remembered by both."""
    pipeline.settings(existing="new", match=["email", "phone"])
    contact = {"email": "ada@example.com", "phone": "+4917112345678"}
    first = accept_and_settle(pipeline, **contact)
    account.fault({"operation": "leads.add", "count": 1}, meanwhile("merge-person", 400))
    record = accept_and_settle(pipeline, **contact)
    assert record.state is State.DELIVERED, record.cause
    [person] = account.persons
    assert record.person_id == person["id"] != first.person_id
    searches = len(account.calls("persons.search"))
    for fields in ({"email": "ada@example.com"}, {"email": None, "phone": "+4917112345678"}):
        assert accept_and_settle(pipeline, **fields).person_id == person["id"]
    assert len(account.calls("persons.search")) <= searches + 1
    assert len(account.persons) == 1


def test_a_person_who_was_refused_for_no_reason_is_not_made_twice(
    pipeline: Pipeline, account: Account
) -> None:
    """If Pipedrive still has the person whom it refused, the lead is dead and nobody is created."""
    pipeline.settings(existing="new")
    first = accept_and_settle(pipeline)
    account.fault({"operation": "leads.add", "count": 2}, refusal(400, '"person_id" is invalid'))
    record = accept_and_settle(pipeline)
    assert (record.state, len(account.persons)) == (State.DEAD, 1)
    pipeline.sweeper.replay(record.id, "kim", "", None)
    assert settle(pipeline, record.id).person_id == first.person_id


def test_a_person_who_keeps_being_refused_does_not_stop_later_leads(
    pipeline: Pipeline, account: Account
) -> None:
    """The memory of a person is dropped with the refusal; a later lead finds the survivor."""
    pipeline.settings(existing="new")
    first = accept_and_settle(pipeline)
    match = {"operation": "leads.add", "body_contains": f'"person_id":{first.person_id},'}
    account.fault(match, refusal(400, "Couldn't create lead, body is invalid."))
    assert accept_and_settle(pipeline).state is State.DEAD
    account.http.delete(f"/api/v2/persons/{first.person_id}", headers=HEADERS).raise_for_status()
    record = accept_and_settle(pipeline)
    assert (record.state, record.person_id) == (State.DELIVERED, account.persons[0]["id"])


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", ["persons.add", "leads.add"])
@pytest.mark.parametrize("change", ["merge-organization", "delete-organization"])
def test_an_organisation_that_is_refused_is_resolved_afresh(
    change: str, operation: str, status: int, pipeline: Pipeline, account: Account
) -> None:
    """Whether it is refused with a new person or with the lead, one organisation is left."""
    pipeline.settings(existing="new")
    first = accept_and_settle(pipeline, company="Acme Ltd")
    account.fault({"operation": operation, "count": 1}, meanwhile(change, status))
    record = accept_and_settle(pipeline, email="bob@example.com", company="Acme Ltd")
    assert record.state is State.DELIVERED, record.cause
    [organization] = account.state()["organizations"]
    assert record.organization_id == organization["id"] != first.organization_id
    assert account.leads[-1]["organization_id"] == organization["id"]
    assert len(account.persons) == 2


@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
@pytest.mark.parametrize("refuses", [True, False])
def test_a_lost_answer_and_a_person_who_is_merged_make_one_lead(
    refuses: bool, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """A lead that moved to the survivor of a merge is adopted there, and not created again.

    Whether Pipedrive refuses to list the leads of the merged person, or lists none.
    """
    pipeline.settings(existing="new")
    accept_and_settle(pipeline)
    account.fault({"operation": "leads.add", "count": 1}, {"kind": kind})
    record = pipeline.accept_and_deliver()
    assert (record.state, record.reason) == (State.WAITING, "settle")
    account.fault({"operation": "leads.list", "count": 1}, meanwhile("merge-person"))
    if refuses:
        account.fault({"operation": "leads.archived", "count": 1}, refusal(404, "not found"))
    pipeline.advance(200)
    done = settle(pipeline, record.id, 100)
    assert done.state is State.DELIVERED, done.cause
    assert [lead["origin_id"] for lead in account.leads].count(f"contact:{record.id}") == 1


def test_a_late_refusal_does_not_forget_the_organisation_that_replaced_the_old_one(
    pipeline: Pipeline, account: Account
) -> None:
    """Leads of one organisation that are refused at the same time make one new organisation."""
    pipeline.settings(existing="new")
    first = accept_and_settle(pipeline, company="Acme")
    late = pipeline.accept(email="late@example.com", company="Acme")
    account.fault(
        {"operation": "leads.add", "body_contains": late, "count": 1},
        {"kind": "delay", "seconds": 1.5},
    )
    nothing = {"kind": "alter", "set": {"data.items": []}}
    account.fault({"operation": "organizations.search"}, nothing)  # the search index lags
    calls = len(account.calls("leads.add"))
    thread = threading.Thread(target=pipeline.delivery(), args=(late,))
    thread.start()
    assert eventually(lambda: len(account.calls("leads.add")) > calls)
    path = f"/api/v2/organizations/{first.organization_id}"
    account.http.delete(path, headers=HEADERS).raise_for_status()
    record = accept_and_settle(pipeline, email="bob@example.com", company="Acme")
    thread.join()
    assert settle(pipeline, late).organization_id == record.organization_id
    [organization] = account.state()["organizations"]
    assert organization["id"] == record.organization_id


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", ["leads.get", "leads.update"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_lead_that_is_refused_is_not_labelled_but_made_anew(
    ours: bool, operation: str, status: int, pipeline: Pipeline, account: Account
) -> None:
    """A remembered lead that we may not read or update any more makes the enquiry a lead anew.

    Of a person whom others created, the refused lead is still in the list of open leads.
    """
    first = accept_and_settle(pipeline)
    if not ours:
        pipeline.redis.hset(keys.DEFAULT_ACCOUNT.person("email", "ada@example.com"), "created", 0)
    pipeline.settings(labels=["Hot"])
    account.fault({"operation": operation}, refusal(status, "No access to this lead"))
    record = accept_and_settle(pipeline)
    assert (record.state, record.result) == (State.DELIVERED, Result.CREATED), record.cause
    assert record.lead_id != first.lead_id
    account.heal()
    again = accept_and_settle(pipeline)
    assert (again.result, again.lead_id) == (Result.LABELLED, record.lead_id)


# -- races with people


@pytest.mark.parametrize("status", [None, *STATUSES])
@pytest.mark.parametrize("change", ["archive-lead", "convert-lead", "delete-lead"])
def test_a_lead_that_went_between_reading_and_labelling_is_made_anew(
    change: str, status: int | None, pipeline: Pipeline, account: Account
) -> None:
    """A lead archived, converted or deleted right before its update makes the enquiry a lead."""
    pipeline.settings(note=True)
    first = accept_and_settle(pipeline, message="first")
    pipeline.settings(labels=["Hot"])
    account.fault({"operation": "leads.update", "count": 1}, meanwhile(change, status))
    record = accept_and_settle(pipeline, message="second")
    assert (record.state, record.result) == (State.DELIVERED, Result.CREATED), record.cause
    assert record.lead_id != first.lead_id
    assert [note["lead_id"] for note in account.notes][-1] == record.lead_id
    assert len(account.persons) == 1


@pytest.mark.parametrize("status", [None, *STATUSES])
@pytest.mark.parametrize("reason", [True, False])
def test_a_deleted_label_on_the_open_lead_is_left_out(
    reason: bool, status: int | None, pipeline: Pipeline, account: Account
) -> None:
    """Where the open lead has a label that no longer exists, the others and the new one remain."""
    pipeline.settings(labels=["Warm", "Website"])
    first = accept_and_settle(pipeline)
    pipeline.settings(labels=["Hot"])
    account.fault({"operation": "leads.update", "count": 1}, meanwhile("orphan-label", status))
    if not reason and status in (400, 422):
        account.heal()
        account.http.delete(f"/v1/leadLabels/{label_id('Warm')}", headers=HEADERS)
        account.fault({"operation": "leads.update", "count": 1}, refusal(status, "Bad request"))
    record = accept_and_settle(pipeline)
    assert (record.state, record.result) == (State.DELIVERED, Result.LABELLED), record.cause
    [lead] = account.leads
    assert (record.lead_id, label_names(account, lead)) == (first.lead_id, ["Hot", "Website"])


# -- the note of a lead that was converted or deleted


@pytest.mark.parametrize("status", [None, *STATUSES])
@pytest.mark.parametrize("result", [Result.CREATED, Result.LABELLED])
@pytest.mark.parametrize(
    ("change", "field"), [("convert-lead", "deal_id"), ("delete-lead", "person_id")]
)
def test_a_note_follows_its_lead(
    change: str,
    field: str,
    result: Result,
    status: int | None,
    pipeline: Pipeline,
    account: Account,
) -> None:
    """If the lead was converted before its note, the deal gets it; if it was deleted, the person.

    The attempt says where it went, and there is no second lead.
    """
    if result is Result.LABELLED:
        accept_and_settle(pipeline)
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add", "count": 1}, meanwhile(change, status))
    record = accept_and_settle(pipeline, message="hello")
    assert (record.state, record.result) == (State.DELIVERED, result), record.cause
    state = account.state()
    [note] = state["notes"]
    target = state["deals"][0]["id"] if field == "deal_id" else record.person_id
    assert (note[field], note["lead_id"], record.note_id) == (target, None, note["id"])
    assert "hello" in note["content"]
    assert (state["leads"], len(account.calls("leads.add"))) == ([], 1)
    place = f"{'deal' if field == 'deal_id' else 'person'} {target}"
    moved = ("note", "moved", f"the lead is gone: added to the {place}")
    assert attempts(pipeline, record)[-1] == moved


@pytest.mark.parametrize(
    ("change", "field"), [("convert-lead", "deal_id"), ("delete-lead", "org_id")]
)
def test_a_note_without_a_person_goes_to_the_deal_or_the_organisation(
    change: str, field: str, pipeline: Pipeline, account: Account
) -> None:
    """A lead of an organisation alone has its note on the deal, else on the organisation."""
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add", "count": 1}, meanwhile(change))
    record = accept_and_settle(pipeline, name=None, email=None, company="Acme", message="hello")
    assert record.state is State.DELIVERED, record.cause
    [note] = account.notes
    assert note[field] is not None


def test_a_note_is_nowhere_only_with_its_dead_letter(pipeline: Pipeline, account: Account) -> None:
    """If the lead and the person are both deleted, a new person gets the note, and no new lead."""
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add", "count": 1}, meanwhile("delete-lead"))
    account.fault(
        {"operation": "notes.add", "count": 1, "body_contains": "person_id"},
        meanwhile("delete-person"),
    )
    record = accept_and_settle(pipeline, message="hello")
    assert record.state is State.DELIVERED, record.cause
    [note], [person] = account.notes, account.persons
    assert (note["person_id"], account.leads) == (person["id"], [])


@pytest.mark.parametrize("labelled", [True, False])
def test_a_note_that_is_refused_for_itself_is_sent_nowhere_else(
    labelled: bool, pipeline: Pipeline, account: Account
) -> None:
    """Where the lead is there, a note that Pipedrive refuses ends the delivery."""
    if labelled:
        accept_and_settle(pipeline)
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add"}, refusal(400, "Bad request"))
    record = accept_and_settle(pipeline, message="hello")
    assert record.state is State.DEAD
    assert account.calls("notes.add") == ["notes.add"]
    account.heal()
    pipeline.sweeper.replay(record.id, "kim", "", None)
    assert settle(pipeline, record.id).state is State.DELIVERED
    assert (len(account.leads), len(account.notes)) == (1, 1)


def test_a_note_of_a_lead_that_we_may_not_see_goes_to_the_person(
    pipeline: Pipeline, account: Account
) -> None:
    """Where neither the note nor a look at its lead is allowed, the person gets the note."""
    accept_and_settle(pipeline)
    pipeline.settings(note=True)
    account.fault({"operation": "notes.add", "body_contains": "lead_id"}, refusal(403, "forbidden"))
    account.fault({"operation": "leads.get", "after": 1}, refusal(403, "forbidden"))
    record = accept_and_settle(pipeline, message="hello")
    assert record.state is State.DELIVERED, record.cause
    assert [note["person_id"] for note in account.notes] == [record.person_id]
    assert len(account.calls("leads.add")) == 1


@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
@pytest.mark.parametrize("change", ["convert", "delete"])
@pytest.mark.parametrize("operation", ["leads.add", "notes.add"])
def test_a_lost_answer_and_a_lead_that_goes_make_one_note(
    operation: str, change: str, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """Whatever was lost, and whatever became of the lead meanwhile, there is one note."""
    pipeline.settings(note=True)
    account.fault({"operation": operation, "count": 1}, {"kind": kind})
    record = pipeline.accept_and_deliver(message="hello")
    for lead in account.leads:
        if change == "convert":
            account.http.post(f"/api/v2/leads/{lead['id']}/convert/deal", json={}, headers=HEADERS)
        elif operation == "notes.add":
            account.http.delete(f"/v1/leads/{lead['id']}", headers=HEADERS)
    done = pipeline.deliver_later(record.id, 200)
    assert done.state is State.DELIVERED, done.cause
    state = account.state()
    assert (len(state["notes"]), done.note_id) == (1, state["notes"][0]["id"])
    assert len(state["leads"]) + len(state["deals"]) <= 1


# -- large field lists, fields of contact sync


@pytest.mark.parametrize("options", [10, 10_000])
def test_fields_with_thousands_of_options_are_read(
    options: int, pipeline: Pipeline, account: Account
) -> None:
    """However many options the account's fields have, a lead arrives with its custom fields."""
    account.fault({"operation": "*_fields.list"}, {"kind": "many-options", "options": options})
    pipeline.settings(custom={"Company size": "11-50", "person.Preferred contact": "Phone"})
    record = accept_and_settle(pipeline)
    assert record.state is State.DELIVERED, record.cause
    assert account.leads[0][SIZE_KEY] == 102
    assert account.calls("deal_fields.list") == ["deal_fields.list"]


@pytest.fixture(scope="module")
def synced_url() -> Iterator[str]:
    with serve_in_thread(SandboxSettings(port=0, contact_sync=True)) as url:
        yield url


def test_fields_of_contact_sync_are_written(pipeline: Pipeline, synced_url: str) -> None:
    """They go by name or key like custom fields, and stand beside the person's own fields."""
    pipeline.account = Account(synced_url)
    pipeline.settings(
        custom={
            "person.Job title": "Engineer",
            "person.birthday": "1985-12-10",
            "person.Postal address": "1 Main St, Tallinn",
            "person.Notes": "met at the fair",
            "person.im": "ada.l",
            "person.Newsletter": "yes",
        }
    )
    record = accept_and_settle(pipeline)
    assert record.state is State.DELIVERED, record.cause
    [person] = pipeline.account.persons
    written = {name: person[name] for name in ("job_title", "birthday", "notes", "im")}
    assert written == {
        "job_title": "Engineer",
        "birthday": "1985-12-10",
        "notes": "met at the fair",
        "im": [{"value": "ada.l", "primary": True}],
    }
    assert person["postal_address"]["value"] == "1 Main St, Tallinn"
    assert person["custom_fields"] == {custom_key("person", "Newsletter"): "yes"}


def test_without_contact_sync_its_fields_are_named(pipeline: Pipeline) -> None:
    """An account without contact sync lacks the field, and the cause says so."""
    pipeline.settings(custom={"person.Job title": "Engineer"})
    record = accept_and_settle(pipeline)
    assert record.cause is not None
    assert (record.state, record.cause.code) == (State.DEAD, "unknown-name")
    assert pipeline.redis.hlen(keys.DEFAULT_ACCOUNT.metadata) > 0
