"""What a source may ask of its leads beyond the defaults: each with its effect and its price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.flow.conftest import TOKEN, Account, Pipeline
from tests.polling import eventually
from tests.unit.test_uploads import PDF, PNG, form
from worker.contract import Result, State

PHONE = "+491711234567"


def post(account: Account, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = account.http.post(path, json=body, headers={"x-api-token": TOKEN})
    return dict(answer.raise_for_status().json()["data"])


def add_person(account: Account, **body: Any) -> int:
    """Add a person to the account by hand, and wait until the search knows them."""
    person = post(account, "/api/v2/persons", {"name": "Ada", **body})
    kind = "email" if body.get("emails") else "phone"
    [entry] = body[f"{kind}s"]

    def is_indexed() -> bool:
        query = {"term": entry["value"], "fields": kind, "exact_match": "true"}
        answer = account.http.get(
            "/api/v2/persons/search", params=query, headers={"x-api-token": TOKEN}
        )
        hits = answer.raise_for_status().json()["data"]["items"]
        return person["id"] in [hit["item"]["id"] for hit in hits]

    assert eventually(is_indexed)
    return int(person["id"])


def person_of(account: Account, person_id: int | None) -> dict[str, Any]:
    [person] = [person for person in account.persons if person["id"] == person_id]
    return person


def spend(pipeline: Pipeline, account: Account, **fields: Any) -> int:
    """Deliver a lead and return the tokens that it cost."""
    before = account.tokens()
    assert pipeline.accept_and_deliver(**fields).state is State.DELIVERED
    return account.tokens() - before


def warm(pipeline: Pipeline) -> None:
    """Read the account's names, so that they are no part of a later price."""
    pipeline.accept_and_deliver(email="warm@example.com")


STORED = (
    "+491711234501",
    "+49 171 1234502",
    "+49\u00a0171\u00a01234503",
    "+49 (0)171 1234504",
    "00491711234505",
    "0049 171 1234506",
    "01711234507",
    "0171 1234508",
    "0171/1234509",
    "+49 171 1234510 ext. 5",
)


def test_a_phone_is_found_however_it_is_stored(pipeline: Pipeline, account: Account) -> None:
    """A phone that is all there is finds the person in E.164, with 00, nationally, with blanks."""
    persons = [
        post(account, "/api/v2/persons", {"name": "Ada", "phones": [{"value": stored}]})["id"]
        for stored in STORED
    ]
    add_person(account, phones=[{"value": "+491719999999"}])
    warm(pipeline)
    for number, person_id in enumerate(persons, 501):
        spent = account.tokens()
        record = pipeline.accept_and_deliver(email=None, phone=f"+491711234{number}")
        assert (record.person_id, record.state) == (person_id, State.DELIVERED)
        # At most two searches, the look for open leads, and the lead.
        assert account.tokens() - spent <= 20 + 20 + 20 + 10
    assert len(account.persons) == len(persons) + 2


def test_what_a_phone_costs(pipeline: Pipeline, account: Account) -> None:
    """A new person with nothing but a phone costs one search more than one with an e-mail."""
    warm(pipeline)
    assert spend(pipeline, account, phone="+491711234567") == 35
    assert spend(pipeline, account, email=None, phone="+491717654321") == 35 + 20


def test_an_email_is_compared_without_blanks(pipeline: Pipeline, account: Account) -> None:
    """A hit whose e-mail was stored with a blank is the same person."""
    person_id = add_person(account, emails=[{"value": " Ada@example.com"}])
    record = pipeline.accept_and_deliver()
    assert (record.person_id, len(account.persons)) == (person_id, 1)


def test_by_default_an_email_is_all_that_counts(pipeline: Pipeline, account: Account) -> None:
    """Without `match`, a person with another e-mail is somebody else, whatever the phone."""
    earlier = add_person(account, phones=[{"value": PHONE}])
    record = pipeline.accept_and_deliver(phone=PHONE)
    assert record.person_id != earlier


@pytest.mark.parametrize("match", [["email", "phone"], ["phone", "email"], ["phone"]])
def test_a_phone_counts_where_match_says_so(
    match: list[Any], pipeline: Pipeline, account: Account
) -> None:
    """With `match`, the phone finds the person although a new e-mail was given; 20 tokens more."""
    earlier = add_person(account, phones=[{"value": "0171 1234567"}])
    warm(pipeline)
    pipeline.settings(match=match, existing="new")
    record = pipeline.accept_and_deliver(phone=PHONE)
    assert (record.person_id, len(account.persons)) == (earlier, 2)
    assert spend(pipeline, account, phone=PHONE) == 10
    new = {"email": "new@example.com", "phone": "+491717654321"}
    assert spend(pipeline, account, **new) == 35 + 20


def test_the_order_of_match_decides(pipeline: Pipeline, account: Account) -> None:
    """If e-mail and phone belong to two persons, the first in `match` is taken."""
    by_phone = add_person(account, phones=[{"value": PHONE}])
    by_email = add_person(account, emails=[{"value": "ada@example.com"}])
    pipeline.settings(match=["phone", "email"])
    assert pipeline.accept_and_deliver(phone=PHONE).person_id == by_phone
    pipeline.settings(match=["email", "phone"])
    assert pipeline.accept_and_deliver(email="ada@example.com").person_id == by_email
    # Each is still remembered by what is theirs.
    pipeline.settings(match=["phone"])
    assert pipeline.accept_and_deliver(email="eve@example.com", phone=PHONE).person_id == by_phone


def test_match_by_email_alone(pipeline: Pipeline, account: Account) -> None:
    """With `match = ["email"]` a shared phone never makes two people one."""
    add_person(account, phones=[{"value": PHONE}])
    pipeline.settings(match=["email"])
    spent = account.calls("persons.search")
    assert pipeline.accept_and_deliver(email=None, phone=PHONE).state is State.DELIVERED
    assert account.calls("persons.search") == spent
    assert len(account.persons) == 2


def test_one_person_by_phone_for_two_emails_at_once(pipeline: Pipeline, account: Account) -> None:
    """With `match`, two new e-mails with one new phone wait for each other, and are one person."""
    pipeline.settings(match=["email", "phone"])
    first = pipeline.accept(phone=PHONE)
    second = pipeline.accept(email="lovelace@example.com", phone="0049 171 1234567")
    account.fault({"operation": "persons.add", "count": 1}, {"kind": "commit-then-drop"})
    assert pipeline.deliver(first).state is State.WAITING
    assert pipeline.deliver(second).reason == "person-queue"
    done = [pipeline.deliver_later(one, 200) for one in (first, second)]
    assert [record.result for record in done] == [Result.CREATED, Result.LABELLED]
    assert (len(account.persons), len(account.leads)) == (1, 1)


def test_the_open_lead_is_found_by_either(pipeline: Pipeline, account: Account) -> None:
    """A lead that came by phone with another e-mail is found by the first e-mail too."""
    pipeline.settings(match=["email", "phone"])
    first = pipeline.accept_and_deliver(phone=PHONE)
    account.http.patch(
        f"/v1/leads/{first.lead_id}", json={"is_archived": True}, headers={"x-api-token": TOKEN}
    )
    second = pipeline.accept_and_deliver(email="lovelace@example.com", phone=PHONE)
    third = pipeline.accept_and_deliver(phone=PHONE)
    assert (second.result, second.person_id) == (Result.CREATED, first.person_id)
    assert (third.result, third.lead_id) == (Result.LABELLED, second.lead_id)


def test_a_phone_whose_create_was_lost_is_adopted(pipeline: Pipeline, account: Account) -> None:
    """A person without e-mail is found among the newest by the number, however it is written."""
    account.fault({"operation": "persons.add", "count": 1}, {"kind": "commit-then-drop"})
    record = pipeline.accept_and_deliver(email=None, phone="0171 / 123 45 67")
    assert pipeline.deliver_later(record.id, 200).state is State.DELIVERED
    assert len(account.persons) == 1


# -- what is written of person and organisation


def fields_of(account: Account, path: str, **query: str) -> dict[str, Any]:
    answer = account.http.get(path, params=query, headers={"x-api-token": TOKEN})
    return dict(answer.raise_for_status().json()["data"])


DETAILS: dict[str, Any] = {
    "person_labels": ["Hot lead", "customer"],
    "person_visible_to": "1",
    "organization_visible_to": "7",
    "marketing": True,
    "was_seen": True,
    "custom": {
        "organization.Address": "{answers.street}, {answers.town}",
        "organization.website": "{website}",
        "person.Newsletter": "{consent}",
    },
}
ACME: dict[str, Any] = {
    "company": "Acme",
    "website": "https://acme.example",
    "consent": True,
    "answers": {"street": "1 High Street", "town": "Oxford"},
}


def test_a_new_person_and_organisation_get_all_that_is_set(
    pipeline: Pipeline, account: Account
) -> None:
    """Labels, visibility, marketing status, address and website go with the creates, at no cost."""
    pipeline.settings(**DETAILS)
    pipeline.accept_and_deliver(email="warm@example.com", consent=True)
    spent = account.tokens()
    record = pipeline.accept_and_deliver(**ACME)
    assert account.tokens() - spent == 35 + 25
    person = fields_of(
        account, f"/api/v2/persons/{record.person_id}", include_fields="marketing_status"
    )
    [organization] = account.state()["organizations"]
    assert (person["label_ids"], person["visible_to"]) == ([6, 5], 1)
    assert person["marketing_status"] == "subscribed"
    assert organization["visible_to"] == 7
    assert organization["address"]["value"] == "1 High Street, Oxford"
    assert organization["website"] == "https://acme.example"
    assert account.leads[-1]["was_seen"] is True


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"consent": True}, "subscribed"),
        ({"consent": False}, "no_consent"),
        ({}, "no_consent"),
        ({"consent": True, "email": None, "phone": PHONE}, "no_consent"),
    ],
)
def test_marketing_status_follows_consent(
    fields: dict[str, Any], status: str, pipeline: Pipeline, account: Account
) -> None:
    """Who consents is subscribed; without consent, or an address, the status stays as it is."""
    pipeline.settings(marketing=True)
    record = pipeline.accept_and_deliver(**fields)
    path = f"/api/v2/persons/{record.person_id}"
    assert fields_of(account, path, include_fields="marketing_status")["marketing_status"] == status


def test_a_label_of_persons_that_is_unknown(pipeline: Pipeline, account: Account) -> None:
    """A label that persons do not have is a dead letter that names the setting."""
    pipeline.settings(person_labels=["Website"])
    record = pipeline.accept_and_deliver()
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.field, record.cause.setting) == (
        "label of persons",
        "sources.contact.lead.person_labels",
    )
    assert account.persons == []


def test_who_exists_gets_what_is_missing(pipeline: Pipeline, account: Account) -> None:
    """With `enrich`, phone, organisation, labels, status and custom fields are added once."""
    organization = post(
        account, "/api/v2/organizations", {"name": "Acme", "website": "old.example"}
    )
    person_id = add_person(account, emails=[{"value": "ada@example.com"}])
    warm(pipeline)
    pipeline.settings(enrich="empty", **DETAILS)
    record = pipeline.accept_and_deliver(phone=PHONE, **ACME)
    assert (record.person_id, record.organization_id) == (person_id, organization["id"])
    path = f"/api/v2/persons/{person_id}"
    person = fields_of(account, path, include_fields="marketing_status")
    assert [phone["value"] for phone in person["phones"]] == [PHONE]
    assert (person["org_id"], person["label_ids"]) == (organization["id"], [6, 5])
    assert person["marketing_status"] == "subscribed"
    assert list(person["custom_fields"].values()) == ["yes"]
    assert (person["name"], person["visible_to"]) == ("Ada", 3)
    [stored] = account.state()["organizations"]
    assert stored["address"]["value"] == "1 High Street, Oxford"
    assert (stored["website"], stored["visible_to"]) == ("old.example", 3)
    updates = account.calls("persons.update"), account.calls("organizations.update")
    again = spend(pipeline, account, phone="+491719999999", **ACME)
    # The reads of person, organisation and lead: nothing is missing.
    assert again == 1 + 1 + 2
    assert (account.calls("persons.update"), account.calls("organizations.update")) == updates
    assert person_of(account, person_id)["phones"] == person["phones"]


def test_nobody_is_enriched_unasked(pipeline: Pipeline, account: Account) -> None:
    """By default a person who exists stays as they are."""
    person_id = add_person(account, emails=[{"value": "ada@example.com"}])
    before = person_of(account, person_id)
    pipeline.accept_and_deliver(phone=PHONE, job_title="Countess")
    assert person_of(account, person_id) == before


def test_a_person_by_phone_gets_their_email(pipeline: Pipeline, account: Account) -> None:
    """A person found by phone who has no e-mail gets the one that was given."""
    person_id = add_person(account, phones=[{"value": "0171 1234567"}])
    pipeline.settings(match=["email", "phone"], enrich="empty")
    assert pipeline.accept_and_deliver(phone=PHONE).person_id == person_id
    person = person_of(account, person_id)
    assert [email["value"] for email in person["emails"]] == ["ada@example.com"]
    assert [phone["value"] for phone in person["phones"]] == ["0171 1234567"]


@pytest.mark.parametrize("status", [400, 403])
def test_a_refused_addition_stops_no_lead(
    status: int, pipeline: Pipeline, account: Account
) -> None:
    """Who may not change a person still gets the lead; the attempt says what was left out."""
    add_person(account, emails=[{"value": "ada@example.com"}])
    pipeline.settings(enrich="empty")
    body = {"success": False, "error": "not allowed"}
    account.fault(
        {"operation": "persons.update"}, {"kind": "answer", "status": status, "body": body}
    )
    record = pipeline.accept_and_deliver(phone=PHONE)
    assert record.state is State.DELIVERED
    outcomes = [(attempt.step, attempt.outcome) for attempt in pipeline.ledger.attempts(record.id)]
    assert ("person", "left out") in outcomes


@pytest.fixture(scope="module")
def synced_url() -> Iterator[str]:
    """A sandbox whose persons have the fields of contact sync."""
    with serve_in_thread(SandboxSettings(port=0, contact_sync=True)) as url:
        yield url


def test_a_job_title_is_written_where_the_account_has_it(
    pipeline: Pipeline, synced_url: str
) -> None:
    """With contact sync a new person gets the job title, and a known one who has none."""
    account = pipeline.account = Account(synced_url)
    pipeline.settings(enrich="empty")
    first = pipeline.accept_and_deliver(job_title="Countess")
    assert person_of(account, first.person_id)["job_title"] == "Countess"
    pipeline.accept_and_deliver(job_title="Duchess")
    assert person_of(account, first.person_id)["job_title"] == "Countess"
    person_id = add_person(account, emails=[{"value": "grace@example.com"}])
    pipeline.accept_and_deliver(email="grace@example.com", job_title="Admiral")
    assert person_of(account, person_id)["job_title"] == "Admiral"


def test_a_job_title_stops_no_lead(pipeline: Pipeline, account: Account) -> None:
    """Without contact sync the job title is only in the note."""
    pipeline.settings(note=True)
    assert pipeline.accept_and_deliver(job_title="Countess").state is State.DELIVERED
    assert "job_title" not in account.persons[0]
    assert "Countess" in account.notes[0]["content"]


# -- owners who take turns


def owners_of(account: Account) -> list[int]:
    return [lead["owner_id"] for lead in account.leads]


@pytest.mark.parametrize(
    ("setting", "owners"),
    [
        ([12, 1], [12, 1, 12, 1]),
        (["robin@sandbox.example", "Sandbox Admin"], [12, 1, 12, 1]),
        ({"12": 2, "1": 1}, [12, 1, 12, 12]),
        ([12, 999, 1], [12, 1, 12, 1]),
        ([999, 12], [12, 12, 12, 12]),
    ],
)
def test_owners_take_turns(
    setting: Any, owners: list[int], pipeline: Pipeline, account: Account
) -> None:
    """Owners take turns, by weight, and who is no active user is skipped; it costs nothing."""
    pipeline.settings(owner_id=setting)
    first = pipeline.accept_and_deliver(email="0@example.com")
    rest = [spend(pipeline, account, email=f"{number}@example.com") for number in (1, 2, 3)]
    assert (owners_of(account), rest) == (owners, [35] * 3)
    assert [person["owner_id"] for person in account.persons] == owners
    assert pipeline.record(first.id).owner_id == owners[0]


def test_owners_who_are_all_unknown(pipeline: Pipeline) -> None:
    """If nobody is left to take a turn, the dead letter names the setting."""
    pipeline.settings(owner_id=[998, 999])
    record = pipeline.accept_and_deliver()
    assert record.cause is not None
    assert (record.state, record.cause.setting) == (State.DEAD, "sources.contact.lead.owner_id")


@pytest.mark.parametrize("operation", ["persons.add", "leads.add"])
@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
def test_a_submission_keeps_its_owner(
    operation: str, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """A retry, or a create whose answer was lost, changes no owner; others go on taking turns."""
    pipeline.settings(owner_id=[12, 1])
    account.fault({"operation": operation, "count": 1}, {"kind": kind})
    record = pipeline.accept_and_deliver()
    assert record.state is State.WAITING
    for number in (1, 2):
        other = pipeline.accept_and_deliver(email=f"{number}@example.com")
        assert other.state is State.DELIVERED
    assert pipeline.deliver_later(record.id, 200).state is State.DELIVERED
    owners = {lead["origin_id"]: lead["owner_id"] for lead in account.leads}
    assert owners[f"contact:{record.id}"] == 12
    assert sorted(owners.values()) == [1, 12, 12]
    assert sorted(person["owner_id"] for person in account.persons) == [1, 12, 12]


def test_a_label_takes_no_turn(pipeline: Pipeline, account: Account) -> None:
    """Labelling an open lead changes no owner, and the next new lead is the next owner's."""
    pipeline.settings(owner_id=[12, 1])
    pipeline.accept_and_deliver()
    assert pipeline.accept_and_deliver().result is Result.LABELLED
    pipeline.accept_and_deliver(email="next@example.com")
    assert owners_of(account) == [12, 1]


# -- open deals


def add_deal(account: Account, person_id: int) -> int:
    """Make an open deal of the person, as their lead becomes one."""
    lead = post(account, "/v1/leads", {"title": "Engine", "person_id": person_id})
    post(account, f"/api/v2/leads/{lead['id']}/convert/deal", {})
    return int(account.state()["deals"][-1]["id"])


def test_an_open_deal_gets_the_note(pipeline: Pipeline, account: Account) -> None:
    """With no lead open, the person's deal gets labels and note; its price is 10 for the look."""
    person_id = add_person(account, emails=[{"value": "ada@example.com"}])
    deal_id = add_deal(account, person_id)
    pipeline.settings(existing_deals=True, note=True, labels=["Website", "Warm"])
    warm(pipeline)
    leads = len(account.leads)
    first = pipeline.accept_and_deliver(message="How much is it?")
    assert (first.result, first.lead_id) == (Result.LABELLED, f"deal:{deal_id}")
    assert (len(account.leads), account.leads[0]["person_id"] == person_id) == (leads, False)
    [note] = [note for note in account.notes if note["deal_id"] == deal_id]
    assert "How much is it?" in note["content"]
    [deal] = account.state()["deals"]
    # Deals have no label "Warm".
    assert deal["label_ids"] == [202]
    # The look for open leads, that for deals, and the note: the labels are there.
    assert spend(pipeline, account, message="And when?") == 20 + 10 + 10
    assert len([note for note in account.notes if note["deal_id"] == deal_id]) == 2


def test_a_note_on_a_deal_is_not_doubled(pipeline: Pipeline, account: Account) -> None:
    """A note on a deal whose answer was lost is looked for on the deal."""
    deal_id = add_deal(account, add_person(account, emails=[{"value": "ada@example.com"}]))
    pipeline.settings(existing_deals=True, note=True)
    account.fault({"operation": "notes.add", "count": 1}, {"kind": "commit-then-drop"})
    record = pipeline.accept_and_deliver(message="How much is it?")
    assert record.state is State.WAITING
    assert pipeline.deliver_later(record.id, 200).state is State.DELIVERED
    assert [note["deal_id"] for note in account.notes] == [deal_id]
    assert pipeline.accept_and_deliver().lead_id == f"deal:{deal_id}"


@pytest.mark.parametrize("change", [{"existing_deals": False}, {"existing": "new"}])
def test_a_deal_counts_only_where_asked(
    change: dict[str, Any], pipeline: Pipeline, account: Account
) -> None:
    """Without `existing_deals`, or with `existing = "new"`, a person with a deal gets a lead."""
    add_deal(account, add_person(account, emails=[{"value": "ada@example.com"}]))
    pipeline.settings(**{"existing_deals": True} | change)
    assert pipeline.accept_and_deliver().result is Result.CREATED
    assert account.calls("deals.list") == []


@pytest.mark.parametrize("change", [{"status": "won"}, {"status": "lost"}, {"is_archived": True}])
def test_a_closed_deal_is_left_alone(
    change: dict[str, Any], pipeline: Pipeline, account: Account
) -> None:
    """A deal that is won, lost or archived takes no note: the enquiry is a new lead."""
    deal_id = add_deal(account, add_person(account, emails=[{"value": "ada@example.com"}]))
    account.http.patch(
        f"/api/v2/deals/{deal_id}", json=change, headers={"x-api-token": TOKEN}
    ).raise_for_status()
    pipeline.settings(existing_deals=True)
    assert pipeline.accept_and_deliver().result is Result.CREATED


def test_an_old_deal_is_left_alone(pipeline: Pipeline, account: Account) -> None:
    """A deal that nobody has touched within the window takes no note."""
    add_deal(account, add_person(account, emails=[{"value": "ada@example.com"}]))
    pipeline.settings(existing_deals=True, existing_window="1h")
    pipeline.advance(7200)
    assert pipeline.accept_and_deliver().result is Result.CREATED


def test_a_new_person_has_no_deals(pipeline: Pipeline, account: Account) -> None:
    """The deals of a person whom this submission created are not looked for: 35 tokens."""
    warm(pipeline)
    pipeline.settings(existing_deals=True)
    warm(pipeline)
    assert spend(pipeline, account, email="new@example.com") == 35


def test_a_lead_that_became_a_deal_takes_the_next_enquiry(
    pipeline: Pipeline, account: Account
) -> None:
    """The next enquiry after our own lead was converted goes to its deal."""
    pipeline.settings(existing_deals=True, note=True)
    first = pipeline.accept_and_deliver(message="first")
    post(account, f"/api/v2/leads/{first.lead_id}/convert/deal", {})
    second = pipeline.accept_and_deliver(message="second")
    [deal] = account.state()["deals"]
    assert (second.result, second.lead_id) == (Result.LABELLED, f"deal:{deal['id']}")
    assert {note["deal_id"] for note in account.notes} == {deal["id"]}


# -- files


def accept_form(pipeline: Pipeline, *files: tuple[str, bytes], **fields: Any) -> str:
    """Accept a lead whose request was a form with these files."""
    return pipeline.accept_request(form(*files), **fields)


def test_files_are_attached(pipeline: Pipeline, account: Account) -> None:
    """Files posted with a form are attached to the lead, for 10 tokens each; others are said."""
    warm(pipeline)
    pipeline.settings(files=True, note=True)
    before = account.tokens()
    record = pipeline.deliver(
        accept_form(pipeline, ("cv.pdf", PDF), ("photo.png", PNG), ("run.exe", b"MZ\x90\x00"))
    )
    assert account.tokens() - before == 35 + 10 + 2 * 10
    files = account.state()["files"]
    assert [(file["name"], file["lead_id"]) for file in files] == [
        ("cv.pdf", record.lead_id),
        ("photo.png", record.lead_id),
    ]
    assert [file["file_size"] for file in files] == [len(PDF), len(PNG)]
    [note] = account.notes
    assert "run.exe" in note["content"]
    assert "run.exe" not in repr(pipeline.ledger.attempts(record.id))


def test_files_are_attached_only_where_asked(pipeline: Pipeline, account: Account) -> None:
    """By default no file is attached."""
    pipeline.deliver(accept_form(pipeline, ("cv.pdf", PDF)))
    assert account.state()["files"] == []


@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
def test_a_file_whose_answer_is_lost_is_attached_once(
    kind: str, pipeline: Pipeline, account: Account
) -> None:
    """A lost answer is looked into, and each file is attached once."""
    pipeline.settings(files=True)
    account.fault({"operation": "files.add", "count": 1}, {"kind": kind})
    record = pipeline.deliver(accept_form(pipeline, ("cv.pdf", PDF), ("photo.png", PNG)))
    assert (record.state, record.reason) == (State.WAITING, "settle")
    assert pipeline.deliver_later(record.id, 200).state is State.DELIVERED
    assert [file["name"] for file in account.state()["files"]] == ["cv.pdf", "photo.png"]
    assert len(account.leads) == 1


def test_a_refused_file_stops_no_lead(pipeline: Pipeline, account: Account) -> None:
    """A file that Pipedrive refuses is left out, and the next one is attached."""
    pipeline.settings(files=True)
    account.fault(
        {"operation": "files.add", "count": 1},
        {"kind": "answer", "status": 400, "body": {"success": False, "error": "too large"}},
    )
    record = pipeline.deliver(accept_form(pipeline, ("cv.pdf", PDF), ("photo.png", PNG)))
    assert record.state is State.DELIVERED
    assert [file["name"] for file in account.state()["files"]] == ["photo.png"]
    assert ("file", "left out") in [
        (attempt.step, attempt.outcome) for attempt in pipeline.ledger.attempts(record.id)
    ]


def test_files_go_to_a_deal_in_the_leads_place(pipeline: Pipeline, account: Account) -> None:
    """Where the enquiry goes to an open deal, so do its files."""
    deal_id = add_deal(account, add_person(account, emails=[{"value": "ada@example.com"}]))
    pipeline.settings(files=True, existing_deals=True)
    pipeline.deliver(accept_form(pipeline, ("cv.pdf", PDF)))
    assert [file["deal_id"] for file in account.state()["files"]] == [deal_id]


@pytest.mark.parametrize(
    ("change", "field"), [("convert-lead", "deal_id"), ("delete-lead", "person_id")]
)
@pytest.mark.parametrize("call", [{"operation": "notes.add"}, {"operation": "files.add"}])
def test_files_follow_their_lead(
    call: dict[str, Any], change: str, field: str, pipeline: Pipeline, account: Account
) -> None:
    """If the lead is converted before its files, the deal gets them, else the person.

    They go where the note went, which was looked up once, and the attempts say where.
    """
    pipeline.settings(files=True, note=call["operation"] == "notes.add")
    account.fault({**call, "count": 1}, {"kind": "meanwhile", "change": change})
    files = [("cv.pdf", PDF), ("photo.png", PNG)]
    record = pipeline.deliver(accept_form(pipeline, *files, message="my CV"))
    assert record.state is State.DELIVERED
    state = account.state()
    target = state["deals"][0]["id"] if field == "deal_id" else record.person_id
    assert [(file["name"], file.get(field)) for file in state["files"]] == [
        ("cv.pdf", target),
        ("photo.png", target),
    ]
    assert account.calls("deals.list") == ["deals.list"]
    moved = [each.step for each in pipeline.ledger.attempts(record.id) if each.outcome == "moved"]
    assert moved[-2:] == ["file", "file"]


@pytest.mark.parametrize("kind", ["commit-then-drop", "drop-before"])
@pytest.mark.parametrize("change", ["convert", "delete"])
def test_a_lost_answer_and_a_lead_that_goes_make_one_file(
    change: str, kind: str, pipeline: Pipeline, account: Account
) -> None:
    """A file is attached once, whatever became of its lead and of the answer."""
    pipeline.settings(files=True)
    account.fault({"operation": "files.add", "count": 1}, {"kind": kind})
    record = pipeline.deliver(accept_form(pipeline, ("cv.pdf", PDF), ("photo.png", PNG)))
    path = f"/v1/leads/{record.lead_id}"
    if change == "convert":
        post(account, f"/api/v2/leads/{record.lead_id}/convert/deal", {})
    else:
        account.http.delete(path, headers={"x-api-token": TOKEN}).raise_for_status()
    assert pipeline.deliver_later(record.id, 200).state is State.DELIVERED
    assert [file["name"] for file in account.state()["files"]] == ["cv.pdf", "photo.png"]
