"""Products without an adapter need configuration alone: invented ones, shaped like real ones."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from msgspec import Struct, field

from service.sources.normalize import process_request
from service.sources.payload.tree import resolve
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome
from service.sources.schema import ConfigError
from tests.unit.sources.factories import FORM, JSON, NOW, post, source


class Product(Struct, frozen=True, kw_only=True):
    """What it sends, the source file that a person writes for it, and the leads that result."""

    name: str
    body: Any
    toml: str
    leads: list[dict[str, Any]]
    content_type: str = JSON
    ids: list[str | None] = field(default_factory=lambda: [None])

    @property
    def request(self) -> InboundRequest:
        is_form = self.content_type == FORM
        text = (
            self.body
            if isinstance(self.body, str)
            else urlencode(self.body)
            if is_form
            else json.dumps(self.body)
        )
        return post(text.encode(), self.content_type)

    def read(self, toml: str | None = None) -> NormalizationResult:
        return process_request(
            source(f"[sources.x]\n{toml or self.toml}", K="s3cret/+"), self.request, NOW
        )


PRODUCTS = [
    Product(
        name="wrapped: a CRM's envelope in the style of JSON:API",
        content_type="application/vnd.api+json; charset=utf-8",
        body={
            "data": {
                "type": "enquiry",
                "id": 9007199254740993123,
                "attributes": {
                    "given-name": "Ada",
                    "family-name": "Example",
                    "e-mail": "ADA@Example.org ",
                    "tel": 442079460018,
                    "budget": {"amount": 12500.50, "currency": "eur"},
                    "topics": ["CRM", "SEO"],
                },
                "relationships": {"owner": {"name": "Sales Rep", "email": "rep@seller.example"}},
            },
            "meta": {"sandbox": False, "page": "https://a.example/?utm_source=x&gclid=G1"},
        },
        toml="""adapter = "json"
map = { "budget.amount" = "value", "budget.currency" = "value.currency", "meta.page" = "page_url" }
[sources.x.read]
root = "data.attributes"
event_id = "data.id"
test = { at = "meta.sandbox" }
only = { at = "data.type", equals = ["enquiry", "demo"] }""",
        leads=[
            {
                "full_name": "Ada Example",
                "email": "ada@example.org",
                "phone": "442079460018",
                "value": {"amount": 12500.5, "currency": "EUR"},
                "utm": {"source": "x"},
                "click_ids": {"gclid": "G1"},
                "answers.topics": ["CRM", "SEO"],
                "answers.data.relationships.owner.email": "rep@seller.example",
            }
        ],
        ids=["9007199254740993123"],
    ),
    Product(
        name=(
            "pairs: questions with titles and answers in lists, the page's parameters in a second"
            " list"
        ),
        body={
            "submission": {
                "uid": "S-1",
                "items": [
                    {
                        "question": {"text": "Wie heißen Sie?"},
                        "answer": {"values": ["Zoë Beispiel"]},
                    },
                    {
                        "question": {"text": "Ihre E-Mail-Adresse"},
                        "answer": {"values": ["zoe@example.de"]},
                    },
                    {"question": {"text": "Welche Produkte?"}, "answer": {"values": ["A", "B"]}},
                    {"question": {"text": "Welche Produkte?"}, "answer": {"values": ["C"]}},
                    {"question": {"text": "Sonstiges"}, "answer": {"values": []}},
                ],
                "urlParameters": [
                    {"name": "utm_source", "value": "bing"},
                    {"name": "msclkid", "value": "M1"},
                ],
            }
        },
        toml="""adapter = "json"
[sources.x.read]
event_id = "submission.uid"
unwrap_lists = true
pairs = [
  { at = "submission.items", key = "question.text", value = "answer.values" },
  { at = "submission.urlParameters" },
]""",
        leads=[
            {
                "name": "Zoë Beispiel",
                "email": "zoe@example.de",
                "utm": {"source": "bing"},
                "click_ids": {"msclkid": "M1"},
                "answers.Welche Produkte?": ["A", "B", "C"],
            }
        ],
        ids=["S-1"],
    ),
    Product(
        name="by id: fields as objects under the numbers of a WordPress plugin",
        body={
            "entry_id": 77,
            "form": {"name": "Angebot"},
            "fields": {
                "1": {"label": "Name", "value": "Max Muster", "type": "name"},
                "2": {"label": "E-Mail", "value": "max@example.de", "type": "email"},
                "3": {"label": "Ich stimme zu", "value": "1", "type": "gdpr"},
                "9": {"label": "Wunschtermin", "value": "morgen", "type": "text"},
            },
        },
        toml="""adapter = "json"
[sources.x.read]
root = "fields"
pairs = { at = "fields", key = "label" }
event_id = "entry_id\"""",
        leads=[
            {
                "name": "Max Muster",
                "email": "max@example.de",
                "consent": True,
                "form_name": "Angebot",
                "answers.Wunschtermin": "morgen",
            }
        ],
        ids=["77"],
    ),
    Product(
        name="JSON in JSON: an automation that puts its document into a text, twice",
        body={
            "hook": "new",
            "payload": json.dumps(
                {
                    "id": "n-1",
                    "contact": json.dumps({"Mail": "a@b.example", "Firma": "Beispiel GmbH"}),
                }
            ),
        },
        toml="""adapter = "json"
[sources.x.read]
json_param = ["payload", "payload.contact"]
root = "payload.contact"
event_id = "payload.id\"""",
        leads=[{"email": "a@b.example", "company": "Beispiel GmbH"}],
        ids=["n-1"],
    ),
    Product(
        name="JSON in a form: a chat's export with the conversation beside it",
        content_type=FORM,
        body={
            "payload": json.dumps({"visitor": {"email": "v@example.fr", "prénom": "Zoé"}}),
            "channel": "chat",
            "_id": "c1",
        },
        toml="""adapter = "form"
[sources.x.read]
json_param = "payload"
root = "payload.visitor"
event_id = "_id\"""",
        leads=[{"email": "v@example.fr", "first_name": "Zoé", "answers.channel": "chat"}],
        ids=["c1"],
    ),
    Product(
        name="localised: labels in scripts that no vocabulary here has",
        body={
            "ชื่อ": "山田 太郎",
            "อีเมล": "taro@example.jp",
            "โทรศัพท์": "03-1234-5678",
            "คำถาม": "納期は?",
            "บริษัท": "例株式会社",
        },
        toml="""adapter = "json"
[sources.x.read.labels]
name = ["ชื่อ", "ชื่อ-สกุล"]
email = ["อีเมล"]
phone = ["โทรศัพท์"]
company = ["บริษัท"]""",
        leads=[
            {
                "name": "山田 太郎",
                "email": "taro@example.jp",
                "phone": "03-1234-5678",
                "company": "例株式会社",
                "message": None,
                "answers": {"คำถาม": "納期は?"},
            }
        ],
    ),
    Product(
        name="lists: each value in a list, as a landing-page builder sends them",
        body={
            "form_data": {
                "email": ["l@example.com"],
                "full_name": ["Lee Example"],
                "size": ["S", "M"],
                "note": [""],
                "ok": [True],
            }
        },
        toml="""adapter = "json"
map = { "ok" = "consent" }
[sources.x.read]
root = "form_data"
unwrap_lists = true""",
        leads=[
            {
                "name": "Lee Example",
                "email": "l@example.com",
                "consent": True,
                "answers": {"size": ["S", "M"]},
            }
        ],
    ),
    Product(
        name="secret in the body: a form builder's handshake key among numbered fields",
        content_type=FORM,
        body={
            "Field1": "Ann",
            "Field2": "Example",
            "Field5": "ann@example.com",
            "EntryId": "31",
            "HandshakeKey": "s3cret/+",
            "IP": "x",
        },
        toml="""adapter = "form"
map = { Field1 = "first_name", Field2 = "last_name", Field5 = "email", IP = "answers.Address" }
read = { event_id = "EntryId" }
[sources.x.verify]
scheme = "token"
field = "HandshakeKey"
secret_env = "K\"""",
        leads=[
            {"full_name": "Ann Example", "email": "ann@example.com", "answers": {"Address": "x"}}
        ],
        ids=["31"],
    ),
    Product(
        name="secret in the body: nested, in JSON",
        body={
            "auth": {"secret": "s3cret/+"},
            "lead": {"fullName": "Ann Example", "mobilePhone": "+44 20 7946 0018"},
        },
        toml="""adapter = "json"
[sources.x.verify]
scheme = "token"
field = "auth.secret"
secret_env = "K\"""",
        leads=[{"name": "Ann Example", "phone": "+442079460018", "answers": {}}],
    ),
    Product(
        name="brackets: a framework's nested names in a form, somebody else's address beside it",
        content_type=FORM,
        body=[
            ("lead[contact][nom]", "Dupont"),
            ("lead[contact][prenom]", "Zoé"),
            ("lead[contact][mail]", "zoe@example.fr"),
            ("lead[besoins][]", "SEO"),
            ("lead[besoins][]", "Ads"),
            ("commercial[mail]", "vendeur@example.fr"),
            ("lead[ref]", "r-9"),
        ],
        toml="""adapter = "form"
map = { "lead[contact][nom]" = "last_name", "commercial.mail" = "answers.Commercial" }
[sources.x.read]
root = "lead"
event_id = "lead.ref\"""",
        leads=[
            {
                "full_name": "Zoé Dupont",
                "email": "zoe@example.fr",
                "answers": {"besoins": ["SEO", "Ads"], "Commercial": "vendeur@example.fr"},
            }
        ],
        ids=["r-9"],
    ),
    Product(
        name="brackets: numbered name/value pairs in a form",
        content_type=FORM,
        body=[
            ("fields[0][name]", "Your e-mail"),
            ("fields[0][value]", "b@example.com"),
            ("fields[1][name]", "utm_campaign"),
            ("fields[1][value]", "spring"),
            ("form_name", "Brochure"),
        ],
        toml="""adapter = "form"
read = { root = "fields", pairs = { at = "fields" } }""",
        leads=[
            {
                "email": "b@example.com",
                "utm": {"campaign": "spring"},
                "form_name": "Brochure",
                "answers": {},
            }
        ],
    ),
    Product(
        name="events: several at once, each with its own answers, ids and tells",
        body={
            "account": "acme",
            "events": [
                {
                    "id": "e1",
                    "kind": "lead",
                    "answers": [
                        {"q": "Email", "a": "one@example.com"},
                        {"q": "Phone", "a": 15550000000},
                    ],
                },
                {"id": "e2", "kind": "lead", "answers": [{"q": "Email", "a": "two@example.com"}]},
                {"id": "e3", "kind": "view", "answers": []},
            ],
        },
        toml="""adapter = "json"
[sources.x.read]
root = "events"
event_id = "id"
only = { at = "kind", equals = "lead" }
pairs = { at = "answers", key = "q", value = "a" }""",
        leads=[
            {"email": "one@example.com", "phone": "15550000000"},
            {"email": "two@example.com"},
            {},
        ],
        ids=["e1", "e2", "e3"],
    ),
    Product(
        name="events: a bare list, each with JSON inside",
        body=[
            {"id": 1, "data": '{"mail": "one@example.com"}'},
            {"id": 2, "data": '{"mail": "two@example.com"}'},
        ],
        toml="""adapter = "json"
read = { json_param = "data", root = "data", event_id = "id" }""",
        leads=[{"email": "one@example.com"}, {"email": "two@example.com"}],
        ids=["1", "2"],
    ),
    Product(
        name="parts: a name, a phone and a time in pieces, with blanks and unfilled templates",
        content_type="text/plain",
        body={
            "person": {
                "name": {"title": "Dr.", "given": "Ada", "family": "Example"},
                "tel": {"cc": "+44", "no": "20 7946 0018"},
            },
            "mail": " ada@example.org\n",
            "campaign": {"src": "{{utm.source}}", "name": "spring"},
            "when": 1700000000,
            "agree": "Ja",
        },
        toml="""adapter = "json"
[sources.x.map]
"person.name" = "name"
"person.tel" = "phone"
"campaign.src" = "utm_source"
"campaign.name" = "utm.campaign"
when = "occurred_at"
agree = "consent\"""",
        leads=[
            {
                "name": "Dr. Ada Example",
                "first_name": "Ada",
                "last_name": "Example",
                "email": "ada@example.org",
                "phone": "+442079460018",
                "utm": {"campaign": "spring"},
                "occurred_at": "1700000000",
                "consent": True,
            }
        ],
    ),
    Product(
        name="dots and spaces: keys that look like paths",
        body={"contact.email": "d@example.com", "First Name ": "Dee", "q.1": {"a.b": "Large"}},
        toml="""adapter = "json"
map = { "q.1.a.b" = "answers.Size" }""",
        leads=[{"first_name": "Dee", "email": "d@example.com", "answers": {"Size": "Large"}}],
    ),
]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name.partition(":")[0])
def test_product(product: Product) -> None:
    """The lead is what a person would write down; no machinery is among its answers."""
    result = product.read()
    assert result.events, result
    assert [event.event_id for event in result.events] == product.ids
    for event, expected in zip(result.events, product.leads, strict=True):
        assert (event.outcome is Outcome.LEAD) is bool(expected)
        assert event.lead is not None
        built = msgspec.to_builtins(event.lead) | {"full_name": event.lead.full_name}
        for name, value in expected.items():
            if name.startswith("answers."):
                assert event.lead.answers.get(name.removeprefix("answers.")) == value
            else:
                assert built.get(name, {} if isinstance(value, dict) else None) == value, (
                    name,
                    event.lead,
                )


@pytest.mark.parametrize(
    "product",
    [one for one in PRODUCTS if "secret" in one.name],
    ids=lambda product: product.content_type,
)
def test_secret_is_not_kept(product: Product) -> None:
    """A secret in the body verifies the request, and is neither an answer nor stored."""
    config = source(f"[sources.x]\n{product.toml}", K="s3cret/+")
    assert b"s3cret" not in redact_request(config, product.request).body
    assert b"s3cret" not in msgspec.json.encode(product.read().events)
    assert (
        process_request(
            source(f"[sources.x]\n{product.toml}", K="S3cret/+"), product.request, NOW
        ).outcome
        is Outcome.REFUSED
    )


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ('pairs = [{ at = "a" }, { at = "" }]', r"pairs\[2\]\.at"),
        ('pairs = [{ at = "a", kye = "b" }]', r"pairs\[1\]\.kye"),
        ('pairs = [{ key = "b" }]', r"the key at"),
        ('pairs = { at = "a", value = "b..c" }', r"pairs\.value"),
        ('pairs = "a"', r"read\.pairs"),
        ('labels = { email = ["?!"] }', r"labels\.email\[1\]"),
    ],
)
def test_faults(toml: str, where: str) -> None:
    """A fault in one of several lists of pairs, or in a label, is named by its place."""
    with pytest.raises(ConfigError, match=where):
        source(f"[sources.x.read]\n{toml}")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("a.b", (("a[b]",), "1")),
        ("c[d]", (("c", "d"), "2")),
        ("c[d][]", (("c", "d"), "2")),
        ("e[]", (("e[]",), ["3"])),
        ("a[b]", (("a[b]",), "1")),
        ("a[b", None),
        ("x[y]", None),
    ],
)
def test_brackets_are_paths(path: str, match: object) -> None:
    """Brackets and dots lead to the same place; a literal key wins."""
    assert resolve({"a[b]": "1", "c": {"d": "2"}, "e[]": ["3"]}, path) == match
