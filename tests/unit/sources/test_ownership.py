"""A lead is never completed from somebody else's data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.sources.factories import form, json_post, lead_of
from worker.contract import Lead

# Whose data stand beside the lead's in what products send.
STRANGERS = (
    "user", "agent", "owner", "assignee", "recruiter", "host", "organiser", "organizer", "referrer",
    "receiver", "recipient", "site", "browser", "manager", "sales_rep", "location", "property",
    "account_manager", "assigned_to", "advisor", "seller", "vendor", "hotel", "emergency_contact",
    "spouse", "Vertreter", "Gastgeber", "vendeur", "verkoper", "säljare", "sprzedawca",
)  # fmt: skip
THEIRS = {
    "name": "Sam Sales",
    "first_name": "Sam",
    "last_name": "Sales",
    "email": "sam@sales.example",
    "phone": "+442071838750",
    "job_title": "Sales rep",
}
# What the lead has filled in; other fields are asked for and empty, or not asked for at all.
LEADS_OWN = (
    {"email": "ada@lead.example", "name": "", "phone": ""},
    {"email": "", "name": "Ada Lead", "phone": ""},
    {"email": "", "phone": "+12015550123", "first_name": "Ada"},
    {"email": "ada@lead.example"},
    {"name": "Ada Lead"},
)
OWN_IDS = ("only an e-mail", "only a name", "only a phone", "asks for an e-mail", "asks for a name")


def person_of(lead: Lead) -> dict[str, Any]:
    """What the lead says of a person and the firm."""
    fields = ("name", "first_name", "last_name", "email", "phone", "job_title", "company")
    return {field: value for field in fields if (value := getattr(lead, field))}


def filled(fields: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text}


@pytest.mark.parametrize("leads_own", LEADS_OWN, ids=OWN_IDS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_objects_of_others(stranger: str, leads_own: dict[str, str]) -> None:
    """Somebody else's object completes no lead, wherever it stands and whatever the lead lacks."""
    for payload in (
        {**leads_own, stranger: THEIRS},
        {stranger: THEIRS, **leads_own},
        {"contact": leads_own, stranger: THEIRS},
        {"data": {"lead": leads_own, "meta": {stranger: THEIRS}}},
        {"data": {**leads_own, f"{stranger}s": [THEIRS]}} if stranger != "user" else leads_own,
    ):
        assert person_of(lead_of(json_post(payload))) == filled(leads_own)


@pytest.mark.parametrize("leads_own", LEADS_OWN, ids=OWN_IDS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_prefixes_of_others(stranger: str, leads_own: dict[str, str]) -> None:
    """Fields with somebody else's prefix or suffix complete no lead."""
    for pattern in ("{0}_{1}", "{1}_{0}", "{0} {1}", "{0}[{1}]"):
        theirs = {pattern.format(stranger, name): text for name, text in THEIRS.items()}
        lead = lead_of(form(**leads_own, **theirs))
        assert person_of(lead) == filled(leads_own)
        assert set(map(str, lead.answers.values())) == set(THEIRS.values())


def test_a_user_who_fills_in() -> None:
    """Where the payload asks nobody else for the same, the user is who fills in."""
    lead = lead_of(form(user_name="Ada L", user_email="ada@a.example", phone="+12015550123"))
    assert person_of(lead) == {
        "name": "Ada L",
        "email": "ada@a.example",
        "phone": "+12015550123",
    }
    lead = lead_of(json_post({"user": {"first_name": "Ada", "email": "ada@a.example"}}))
    assert person_of(lead) == {"first_name": "Ada", "email": "ada@a.example"}


@pytest.mark.parametrize(
    "path", ["site_email", "hotel_email", "friend_email", "event_email", "browser_email"]
)
def test_nobody_else_is_there(path: str) -> None:
    """An address under a strange name is the lead's where the payload asks for nobody else."""
    assert lead_of(form(**{path: "ada@a.example", "budget": "5"})).email == "ada@a.example"
    assert lead_of(form(**{path: "ada@a.example", "name": "Bo"})).email is None


# Who may stand in for the lead.

GUARDIANS = (
    ("child_name", "parent_name", "parent_email"),
    ("Name des Kindes", "Name der Eltern", "E-Mail der Eltern"),
    ("nom_enfant", "nom_parent", "email_parent"),
    ("学生姓名", "家长姓名", "家长邮箱"),
)


@pytest.mark.parametrize(("child", "name", "email"), GUARDIANS)
def test_guardians(child: str, name: str, email: str) -> None:
    """Who signs for a child is the lead, and the child's name stays an answer."""
    lead = lead_of(form(**{child: "Kim", name: "Pat Poe", email: "pat@p.example"}))
    assert person_of(lead) == {"name": "Pat Poe", "email": "pat@p.example"}
    assert lead.answers == {child: "Kim"}


def test_guardians_beside_a_lead() -> None:
    """A guardian completes nobody who has an address of one's own."""
    lead = lead_of(
        form(name="Kim", email="kim@k.example", parent_name="Pat Poe", parent_phone="+442071838750")
    )
    assert person_of(lead) == {"name": "Kim", "email": "kim@k.example"}


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("Name Tierhalter", "E-Mail Tierhalter"),
        ("owner_fullname", "owner_email"),
        ("nombre del amigo", "correo del amigo"),
    ],
)
def test_friends_and_owners_of_pets(name: str, email: str) -> None:
    """A friend or the owner of a pet is the lead only where nobody else is."""
    theirs = {name: "Fay Foe", email: "fay@f.example"}
    assert lead_of(form(**theirs, **{"pet_name": "Rex"})).email == "fay@f.example"
    leads_own = {"name": "Ada", "email": "ada@a.example"}
    assert person_of(lead_of(form(**leads_own, **theirs))) == leads_own
    assert person_of(lead_of(form(**theirs, **leads_own))) == leads_own
    assert person_of(lead_of(form(name="Ada", email="", **theirs))) == {"name": "Ada"}


# Several of one kind.


@pytest.mark.parametrize("kind", ["attendees", "guests", "participants", "contacts", "Teilnehmer"])
def test_the_second_attendee(kind: str) -> None:
    """The first of several people is the lead, and takes nothing from the others."""
    first = {"name": "Ada Lead", "email": "", "phone": "+12015550123"}
    lead = lead_of(json_post({kind: [first, THEIRS]}))
    assert person_of(lead) == {"name": "Ada Lead", "phone": "+12015550123"}
    brackets = {
        f"{kind}[{at}][{name}]": text
        for at, one in enumerate((first, THEIRS))
        for name, text in one.items()
    }
    assert person_of(lead_of(form(**brackets))) == person_of(lead)


@pytest.mark.parametrize("kind", ["attendee", "Gast", "participant", "invitado"])
@pytest.mark.parametrize("pattern", ["{0}_{1}_{2}", "{0}{1}_{2}", "{0} {1} – {2}"])
def test_the_second_attendee_of_a_form(kind: str, pattern: str) -> None:
    """Numbered fields of a second person complete no first one."""
    fields = {
        pattern.format(kind, number, name): text
        for number, one in ((1, {"name": "Ada Lead", "email": "ada@a.example"}), (2, THEIRS))
        for name, text in one.items()
    }
    assert person_of(lead_of(form(**fields))) == {"name": "Ada Lead", "email": "ada@a.example"}


@pytest.mark.parametrize(
    ("leads_own", "theirs"),
    [
        ("caller_number", "called_number"),
        ("from", "to"),
        ("caller_phone", "callee_phone"),
        ("caller.phone", "receiver.phone"),
        ("customer_phone_number", "agent_phone_number"),
    ],
)
def test_caller_and_callee(leads_own: str, theirs: str) -> None:
    """The number that was called is nobody's, even where the caller withheld the own one."""
    lead = lead_of(form(**{leads_own: "+12015550123", theirs: "+442071838750"}))
    assert lead.phone == "+12015550123"
    lead = lead_of(form(**{leads_own: "", theirs: "+442071838750", "city": "Ulm"}))
    assert lead.phone is None


@pytest.mark.parametrize(
    "payload",
    [
        {"customer": {"email": "ada@a.example"}, "shipping": THEIRS},
        {"billing": {"first_name": "", "email": "ada@a.example"}, "shipping": THEIRS},
        {"email": "ada@a.example", "Entry": {"User": THEIRS}},
        {
            "email": "ada@a.example",
            "event": {"name": "Sam Sales"},
            "product": {"name": "Sam Sales"},
        },
        {"email": "ada@a.example", "browser": {"name": "Chrome"}, "device": {"name": "Pixel"}},
        {"email": "ada@a.example", "referred_by": "Sam Sales", "cc": "sam@sales.example"},
        {"email": "ada@a.example", "form": {"owner": THEIRS, "name": "Contact"}},
    ],
    ids=lambda payload: " ".join(payload),
)
def test_objects_of_products(payload: dict[str, Any]) -> None:
    """What products tell besides of accounts, shipments and machines is no person's."""
    assert person_of(lead_of(json_post(payload))) == {"email": "ada@a.example"}


# Firms.


@pytest.mark.parametrize("key", ["company", "organization", "Firma", "entreprise", "bedrijf"])
def test_objects_of_firms(key: str) -> None:
    """A firm's name is the company, never the person's, and its address never beats the own one."""
    firm = {"name": "ACME", "email": "info@acme.example"}
    lead = lead_of(json_post({key: firm, "contact": {"name": "Ada", "email": "ada@a.example"}}))
    assert person_of(lead) == {"name": "Ada", "email": "ada@a.example", "company": "ACME"}
    lead = lead_of(json_post({key: firm, "first_name": "Ada"}))
    assert person_of(lead) == {
        "first_name": "Ada",
        "email": "info@acme.example",
        "company": "ACME",
    }


def test_a_firms_contact() -> None:
    """The contact's number wins over that of the firm, and a contact's name is no firm's."""
    fields = {"phone": "+442071838750", "contact_phone": "+12015550123", "contact_name": "Ada"}
    lead = lead_of(form(company_phone="+442071838750", company="ACME", **fields))
    assert person_of(lead)["name"] == "Ada"
    lead = lead_of(form(**{"Company contact name": "Ada", "email": "ada@a.example"}))
    assert person_of(lead) == {"email": "ada@a.example"}


def test_full_numbers_of_one_person() -> None:
    """Two objects that agree on a person are one person."""
    payload = {
        "contact": {"email": "ada@a.example", "phone": "020 7183 8750"},
        "customer": {"email": "ada@a.example", "phone": "+44 20 7183 8750", "name": "Ada"},
    }
    lead = lead_of(json_post(payload))
    assert person_of(lead) == {
        "name": "Ada",
        "email": "ada@a.example",
        "phone": "+442071838750",
    }


def test_two_people_who_contradict_each_other() -> None:
    """Two persons' objects with different addresses are never mixed: the richest is the lead."""
    payload = {
        "contact": {"email": "ada@a.example"},
        "customer": {"email": "bo@b.example", "phone": "+12015550123", "name": "Bo"},
    }
    assert person_of(lead_of(json_post(payload))) == {
        "name": "Bo",
        "email": "bo@b.example",
        "phone": "+12015550123",
    }


def test_answers_keep_what_is_left() -> None:
    """Nothing of somebody else is lost: it is among the answers, under its own name."""
    lead = lead_of(json_post(msgspec.to_builtins({"email": "ada@a.example", "host": THEIRS})))
    assert lead.answers == {f"host.{name}": text for name, text in THEIRS.items()}
