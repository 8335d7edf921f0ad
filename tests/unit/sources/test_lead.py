"""From a form or JSON post to the canonical lead."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.unit.sources.factories import JSON, form, json_post, lead_of, post
from worker.contract import Lead, Money


def to_set_fields(lead: Lead) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(lead)
    return {key: value for key, value in fields.items() if value not in ({}, None)}


@pytest.mark.parametrize(
    ("fields", "lead"),
    [
        (
            {"name": " Ann  Lee ", "email": " Ann@ACME.example "},
            {"name": "Ann Lee", "email": "ann@acme.example"},
        ),
        (
            {"email": "not an address", "phone": "12345"},
            {"phone": "12345", "answers": {"email": "not an address"}},
        ),
        ({"email": "", "your-email": "a@b.example"}, {"email": "a@b.example"}),
        (
            {"email": "a@b.example", "email2": "c@d.example"},
            {"email": "a@b.example", "answers": {"email2": "c@d.example"}},
        ),
        (
            {"Workshop name": "Pots", "name": "Ann"},
            {"name": "Ann", "answers": {"Workshop name": "Pots"}},
        ),
        ({"form-name": "contact", "company": "ACME"}, {"form_name": "contact", "company": "ACME"}),
        (
            {"name": "true@x", "company": "ACME"},
            {"company": "ACME", "answers": {"name": "true@x"}},
        ),
        ({"message": "a\r\nb\r\n"}, {"message": "a\nb"}),
        (
            {"first_name": "Zo\u0065\u0308", "note": "x\x00y\x1b[0m"},
            {"first_name": "Zoë", "message": "xy[0m"},
        ),
        ({"name": "A\u200bnn\u202e Lee"}, {"name": "Ann Lee"}),
        ({"email": "a\u200b@b.example"}, {"email": "a@b.example"}),
        ({"company": "x" * 300}, {"answers": {"company": "x" * 300}}),
        ({"website": "none", "name": "A"}, {"name": "A", "answers": {"website": "none"}}),
        (
            {"first_name": "{{lead.first_name}}", "email": "a@b.example"},
            {"email": "a@b.example", "answers": {"first_name": "{{lead.first_name}}"}},
        ),
        (
            {
                "password": "hunter2",
                "g-recaptcha-response": "03A",
                "_started": "1",
                "_redirect": "/x",
                "name": "A",
            },
            {"name": "A"},
        ),
    ],
)
def test_recognised(fields: dict[str, str], lead: dict[str, Any]) -> None:
    """A matched value is cleaned into its field; anything else is an answer under its label."""
    assert to_set_fields(lead_of(form(**fields))) == lead


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"Prénom": "Zoé", "Nom": "Petit"}, ("Zoé", "Petit", None)),
        ({"Nom": "Zoé Petit"}, (None, None, "Zoé Petit")),
        ({"Vorname": "Ann", "Name": "von Au"}, ("Ann", "von Au", None)),
        ({"Nombre": "Ana María", "Apellidos": "Ruiz Gil"}, ("Ana María", "Ruiz Gil", None)),
        ({"nome": "Ada", "cognome": "Neri"}, ("Ada", "Neri", None)),
        ({"first_name": "Ann", "name": "Ann Lee"}, ("Ann", None, "Ann Lee")),
        ({"first_name": "Ann", "name": "Lee"}, ("Ann", "Lee", None)),
        ({"name": "Ann", "surname": "Lee"}, ("Ann", "Lee", None)),
        (
            {"first_name": "John", "last_name": "Doe", "name": "John Doe"},
            ("John", "Doe", "John Doe"),
        ),
    ],
)
def test_names(fields: dict[str, str], names: tuple[str | None, ...]) -> None:
    """A lone `nom` is a full name; beside `prénom` it is the family name, as in other languages."""
    lead = lead_of(form(**fields))
    assert (lead.first_name, lead.last_name, lead.name) == names


@pytest.mark.parametrize(
    ("typed", "country", "phone"),
    [
        ("+44 20 7946 0018", None, "+442079460018"),
        ("0044 20 7946 0018", None, "+442079460018"),
        ("+44 (0)20 7946-0018", None, "+442079460018"),
        ("tel:+12025550143", None, "+12025550143"),
        ("030 901820", "DE", "+4930901820"),
        ("030 901820", "Deutschland", "+4930901820"),
        ("020 7946 0018", "United Kingdom", "+442079460018"),
        ("06 12 34 56 78", "Francia", "+33612345678"),
        ("+1 202 555 0143 x 12", None, "+12025550143 ext. 12"),
        ("030 901820", None, "030 901820"),
        ("030 901820", "Atlantis", "030 901820"),
        ("+99 1", None, None),
        ("+999999999999999999", None, "+999999999999999999"),
        ("call me maybe", None, None),
        ("1" * 6_000, None, None),
    ],
)
def test_phones(typed: str, country: str | None, phone: str | None) -> None:
    """E.164 where number or country determine it, else as typed; a sentence is no phone."""
    fields = {"name": "A", "phone": typed} | ({"country": country} if country else {})
    lead = lead_of(form(**fields))
    assert lead.phone == phone
    assert lead.country == country
    assert ("phone" in lead.answers) == (phone is None)


@pytest.mark.parametrize(
    ("label", "value", "consent"),
    [
        ("consent", "on", True),
        ("gdpr", "true", True),
        ("Datenschutz", "Ja", True),
        ("acceptance-privacy", "1", True),
        ("RGPD", "J'accepte la politique", True),
        ("consent", "no", False),
        ("consent", "0", False),
        ("Einwilligung", "nein", False),
        ("I agree to receive mail from ACME", "I agree to receive mail from ACME", True),
        ("consent", "perhaps", None),
        ("consent", "I do not mind", True),
        ("privacy", "I agree. You may withdraw your consent whenever you like.", True),
        # A refusal is no consent, whether the label or the value says it.
        ("consent", "I refuse to accept the terms", None),
        ("gdpr", "consent denied", None),
        ("samtykke", "Jeg accepterer ikke", None),
        ("Datenschutz", "Ich akzeptiere die Datenschutzerklärung nicht", None),
        ("I do not agree to be contacted", "on", None),
        ("Opt out of marketing emails", "on", None),
        ("consent_withdrawn", "true", None),
        ("decline_terms", "1", None),
        ("Je ne souhaite pas recevoir d'offres", "on", None),
        ("Ik wil geen nieuwsbrief ontvangen", "on", None),
        ("Nie wyrażam zgody na marketing", "tak", None),
        ("No acepto recibir publicidad", "on", None),
        ("Ich widerspreche der Datenverarbeitung", "on", None),
        ("Я не против получать рассылку", "да", True),
    ],
)
def test_consent(label: str, value: str, consent: bool | None) -> None:
    """A box is ticked, unticked, or neither; what is neither is an answer."""
    lead = lead_of(form((label, value), name="A"))
    assert lead.consent is consent
    assert (label in lead.answers) == (consent is None)


def test_unticked_box() -> None:
    """An unticked box is absent; with the usual hidden field of its name, it means no."""
    assert lead_of(form(name="A")).consent is None
    assert lead_of(form(("consent", "0"), name="A")).consent is False
    assert lead_of(form(("consent", "0"), ("consent", "1"), name="A")).consent is True


@pytest.mark.parametrize(
    ("fields", "utm", "clicks"),
    [
        (
            {"utm_source": "google", "utmMedium": "cpc", "UTM Campaign": "spring sale"},
            {"source": "google", "medium": "cpc", "campaign": "spring sale"},
            {},
        ),
        (
            {"utm[source]": "x", "gclid": "G1", "li_fat_id": "L", "ttclid": "T"},
            {"source": "x"},
            {"gclid": "G1", "li_fat_id": "L", "ttclid": "T"},
        ),
        (
            {"page_url": "https://a.example/?utm_source=fb&fbclid=F+1#x"},
            {"source": "fb"},
            {"fbclid": "F 1"},
        ),
        (
            {"utm_source": "own", "page_url": "https://a.example/?utm_source=url&utm_term=t"},
            {"source": "own", "term": "t"},
            {},
        ),
        (
            {"landing_page": "https://a.example/?gclid=G2", "page_url": "https://a.example/p"},
            {},
            {"gclid": "G2"},
        ),
        (
            {"referrer": "https://b.example/?utm_source=r&msclkid=M"},
            {"source": "r"},
            {"msclkid": "M"},
        ),
        ({"page_url": "https://a.example/#/p?wbraid=W"}, {}, {"wbraid": "W"}),
        (
            {
                "utm_source": "{{campaign.name}}",
                "utm_term": "xxxxx",
                "utm_medium": "{lead.utm}",
                "utm_content": "[utm_source]",
            },
            {},
            {},
        ),
        (
            {
                "utm_source": "(not set)",
                "gclid": "{gclid}",
                "page_url": "https://a.example/?utm_source=%7B%7Bx%7D%7D&gclid=__CLICK__",
            },
            {},
            {},
        ),
        ({"source": "friend", "campaign": "c"}, {}, {}),
    ],
)
def test_attribution(fields: dict[str, str], utm: dict[str, str], clicks: dict[str, str]) -> None:
    """Fields come first, then page, landing page and referrer; unfilled templates never count."""
    lead = lead_of(form(**fields, name="A"))
    assert msgspec.to_builtins(lead.utm) == utm
    assert lead.click_ids == clicks


def test_placeholders_are_kept() -> None:
    """An unfilled template token is no campaign, yet is not lost."""
    lead = lead_of(form(name="A", utm_campaign="{{campaign.name}}"))
    assert lead.answers == {"utm_campaign": "{{campaign.name}}"}


def test_referer_is_the_page() -> None:
    """The header names the page where the form does not; `json` ignores it."""
    request = post(b"name=A", referer="https://a.example/lp?utm_source=x")
    lead = lead_of(request)
    assert (lead.page_url, lead.utm.source) == ("https://a.example/lp?utm_source=x", "x")
    assert lead_of(request, 'adapter = "json"').page_url is None


def test_answers_keep_order_and_repeats() -> None:
    """Answers keep their order; several values of a name are a list, empty ones are left out."""
    lead = lead_of(
        form(
            ("topic[]", "SEO"),
            ("name", "A"),
            ("size", "10"),
            ("topic[]", "Ads"),
            ("empty", ""),
            ("size", "20"),
        )
    )
    assert list(lead.answers.items()) == [("topic", ["SEO", "Ads"]), ("size", ["10", "20"])]


def test_nested_answers() -> None:
    """Nested JSON keeps its path as its label; big numbers and lists stay as sent."""
    body = {
        "person": {"email": "a@b.example"},
        "deal": {
            "id": 706405506930370084,
            "tags": ["x", "y"],
            "items": [{"n": 1.50}],
            "none": None,
        },
    }
    lead = lead_of(post(json.dumps(body).encode().replace(b"1.5", b"1.50"), JSON))
    assert lead.email == "a@b.example"
    assert lead.answers == {
        "deal.id": "706405506930370084",
        "deal.tags": ["x", "y"],
        "deal.items.0.n": "1.50",
    }


def test_two_values_for_one_field() -> None:
    """The first readable value is taken, and all stay among the answers."""
    lead = lead_of(form(("email", "nobody"), ("email", "a@b.example"), ("email", "c@d.example")))
    assert lead.email == "a@b.example"
    assert lead.answers == {"email": ["nobody", "a@b.example", "c@d.example"]}


MAP = """
[sources.x.map]
"1.3" = "first_name"
"contact[nom]" = "last_name"
"lead.contact.mobilePhone" = "phone"
"people.1.mail" = "email"
"deal.amount" = "value"
"deal.money" = "value.currency"
"q" = "answers.Your question"
"utm.s" = "utm.source"
"click" = "gclid"
"other" = "click_ids.foo"
"""


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"deal value": 1.234, "currency": "eur"}, Money(amount=1.234, currency="EUR")),
        ({"deal value": "1.234", "currency": "€"}, Money(amount=1234, currency="EUR")),
        ({"deal value": "1.234"}, Money(amount="1.234", currency=None)),
        ({"deal value": "1.234", "currency": "KWD"}, Money(amount=1.234, currency="KWD")),
        ({"deal value": "€ 5.900,-"}, Money(amount=5900, currency="EUR")),
        ({"Auftragswert": "2,5 Mio. EUR"}, Money(amount=2_500_000, currency="EUR")),
        ({"deal value": "€ 50", "currency": "USD"}, Money(amount="€ 50", currency="USD")),
        ({"deal value": "$50", "country": "Canada"}, Money(amount=50, currency="CAD")),
        ({"deal value": "10k - 20k"}, None),
        ({"deal value": "59.00", "currency": "Euro"}, Money(amount=59.0, currency="EUR")),
        ({"deal value": "0.500", "currency": "XYZ"}, Money(amount=0.5, currency="XYZ")),
        ({"deal value": "5 000 kr.", "currency": "kr"}, Money(amount=5000, currency="SEK")),
        ({"deal value": "۵۰۰۰", "currency": "$"}, Money(amount=5000, currency=None)),
        ({"deal_value_usd": "5000"}, Money(amount=5000, currency=None)),
        ({"Deal value (USD)": "5000"}, Money(amount=5000, currency=None)),
        # Several amounts, one in thousands or of a month, and those of another contract.
        ({"deal value": ["5000", "9000"]}, None),
        ({"deal value": "5000,9000"}, None),
        ({"deal_value_min": "5000"}, None),
        ({"Deal value (k€)": "5"}, None),
        ({"Auftragswert (TEUR)": "5"}, None),
        ({"Deal value (monthly)": "5"}, None),
        ({"Deal value / month": "5"}, None),
        ({"What is your average deal size?": "5000"}, None),
        ({"Ihr durchschnittlicher Auftragswert": "5000"}, None),
        ({"Current contract value": "5000"}, None),
        ({"company": {"name": "Acme", "estimated_revenue": "5000000"}}, None),
    ],
)
def test_amounts_and_currencies(body: dict[str, Any], value: Money | None) -> None:
    """A typed amount becomes a number with the currency beside it, and stays as typed in doubt."""
    assert lead_of(json_post({"email": "a@b.example"} | body)).value == value


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"country": "-- Select country --"}, "country"),
        ({"Land": "Bitte wählen"}, "country"),
        ({"país": "Seleccione un país"}, "country"),
        ({"country": "yes"}, "country"),
        ({"land": "2 acres"}, "country"),
        ({"job_title": "Please select"}, "job_title"),
        ({"company": "Choose an option"}, "company"),
        ({"company": "not applicable"}, "company"),
        ({"company": "#N/A"}, "company"),
        ({"surname": "[not provided]"}, "last_name"),
        ({"surname": "nan"}, "last_name"),
    ],
)
def test_what_nobody_chose(fields: dict[str, str], target: str) -> None:
    """The first entry of a list, and a word for nothing, is no value, and stays an answer."""
    lead = lead_of(form(firstname="Ada", **fields))
    assert getattr(lead, target) is None
    assert lead.answers == fields


def test_map() -> None:
    """A literal key wins over a path, digits index lists, brackets may be part of a name."""
    body = {
        "1": {"3": "wrong"},
        "1.3": "Ann",
        "contact[nom]": "Petit",
        "lead": {"contact": {"mobilePhone": 442079460018}},
        "people": [{"mail": "x@y.example"}, {"mail": "a@b.example"}],
        "deal": {"amount": 1200.5, "money": "eur"},
        "q": "Why?",
        "utm.s": "s",
        "click": "c1",
        "other": "o1",
    }
    lead = lead_of(json_post(body), MAP)
    assert (lead.first_name, lead.last_name, lead.phone, lead.email) == (
        "Ann",
        "Petit",
        "442079460018",
        "a@b.example",
    )
    assert lead.value == Money(amount=1200.5, currency="EUR")
    assert (lead.utm.source, lead.click_ids) == ("s", {"gclid": "c1", "foo": "o1"})
    assert lead.answers == {"Your question": "Why?", "1.3": "wrong", "people.0.mail": "x@y.example"}


def test_map_wins_over_names() -> None:
    """A mapped field is not overwritten by a matching name, which becomes an answer."""
    lead = lead_of(
        form(email="shop@b.example", buyer="ann@b.example"), '[sources.x.map]\nbuyer = "email"'
    )
    assert lead.email == "ann@b.example"
    assert lead.answers == {"email": "shop@b.example"}


def test_mapped_value_that_is_none() -> None:
    """An empty or wrong mapped value leaves its field to matching, and is not lost."""
    lead = lead_of(
        form(mail2="", who="see below", email="a@b.example"),
        '[sources.x.map]\nmail2 = "email"\nwho = "email"',
    )
    assert lead.email == "a@b.example"
    assert lead.answers == {"who": "see below"}


def test_name_object() -> None:
    """A mapped name that comes as an object fills its parts."""
    lead = lead_of(
        json_post({"q11": {"prefix": "Dr.", "first": "Ada", "last": "Neri"}}),
        '[sources.x.map]\nq11 = "name"',
    )
    assert (lead.first_name, lead.last_name) == ("Ada", "Neri")


def test_upload_is_an_answer() -> None:
    """A file is an answer of name, type and size, whatever its field is called."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="message";'
        b' filename="../../a.pdf"\r\n\r\n12345\r\n--x--'
    )
    lead = lead_of(post(body, "multipart/form-data; boundary=x"))
    assert lead.message is None
    assert lead.answers == {"message": "../../a.pdf (application/octet-stream, 5 bytes)"}


def test_one_value_under_several_names() -> None:
    """A repetition of a field is not an answer as well."""
    lead = lead_of(
        json_post(
            {
                "email": "a@b.example",
                "data": {"Email": "A@B.example"},
                "human": {"email": "c@d.example"},
            }
        )
    )
    assert lead.answers == {"human.email": "c@d.example"}


def test_wrapped_values() -> None:
    """A field that comes as an object with a `value` is matched by the object's name."""
    lead = lead_of(form(("fields[name][id]", "name"), ("fields[name][value]", "Ann Lee")))
    assert (lead.name, lead.answers) == ("Ann Lee", {"fields[name][id]": "name"})


def test_event_id_is_no_answer() -> None:
    """What the source names as the event's id is not an answer."""
    lead = lead_of(json_post({"id": "e1", "name": "A"}), '[sources.x.read]\nevent_id = "id"')
    assert (lead.event_id, lead.answers) == ("e1", {})
