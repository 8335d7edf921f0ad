"""What `sources new` proposes reads a captured request as well as an expert's source would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from service.intake.content import content_digest
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize, normalize_record, process_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import SourceSecret
from service.sources.source_file.loader import load_sources
from service.sources.wizard.propose import Proposal, propose
from service.sources.wizard.toml import comment
from tests.providers.cases import Case, cases, name_of, request_of, source_of
from tests.unit.sources.factories import FORM, JSON, NOW, form, json_post, post
from tests.unit.sources.test_any_bytes import BODIES, HEADERS, TYPES
from tests.unit.sources.test_configured import PRODUCTS, Product
from worker.contract import Lead

SENT = [*cases(), *cases("api_response")]
VERIFIABLE = [
    case
    for case in SENT
    if case["kind"] == "request" and case.get("secret") and case["request"]["method"] == "POST"
]
# Case -> what no captured body can tell, so that a person has to.
NEEDS_PERSON = {
    "form-honeypot_filled": "which field people cannot see: honeypot",
    "gravity_forms-all_fields_json": "which number is the message: map",
}


def captured(case: Case) -> InboundRequest:
    if case["kind"] == "request":
        return request_of(case)
    return post(json.dumps(case["response"]["body_json"]).encode(), JSON)


def proposed(case: Case) -> Proposal:
    return propose(captured(case), now=NOW, name="case")


def of(proposal: Proposal, secret: str = "c2VjcmV0") -> Any:
    return load_sources(proposal.toml, dict.fromkeys(proposal.secrets, secret)).sources[
        proposal.name
    ]


@pytest.mark.parametrize("case", SENT, ids=name_of)
def test_the_product_is_recognised(case: Case) -> None:
    """Each captured request is recognised by its headers, its body or its handshake."""
    proposal = propose(captured(case), now=NOW)
    assert proposal.adapter == case["adapter"]
    assert of(proposal).adapter == proposal.adapter


@pytest.mark.parametrize(
    "case", [case for case in SENT if name_of(case) not in NEEDS_PERSON], ids=name_of
)
def test_it_reads_as_the_products_own_source(case: Case) -> None:
    """Outcome, ids and every field are those of the source that a person would write for the
    product.
    """
    request, proposal = captured(case), proposed(case)
    if not request.body:
        assert proposal.reading is None
        return
    is_record = case["kind"] != "request"
    expert_source = source_of(case | {"secret": "x"} if is_record else case)
    expected = (
        normalize_record(expert_source, request.body, NOW)
        if is_record
        else normalize(expert_source, request, NOW)
    )
    assert proposal.reading is not None
    assert proposal.reading.outcome is expected.outcome
    for mine, theirs in zip(proposal.reading.events, expected.events, strict=True):
        assert mine.event_id == theirs.event_id
        assert fields(mine, expected) == fields(theirs, expected)


def fields(event: SourceEvent, expected: NormalizationResult) -> dict[str, Any]:
    """The lead's fields but for when it says it happened, where the own source does not know;
    answers by what was answered.
    """
    if event.lead is None:
        return {}
    set_fields = {
        name
        for one in expected.events
        if one.lead
        for name in one.lead.__struct_fields__
        if getattr(one.lead, name)
    }
    lead: dict[str, Any] = msgspec.to_builtins(event.lead)
    answers = {
        label.rpartition(".")[2]
        for label in lead.pop("answers", {})
        if label.rpartition(".")[2] not in ("created", "id")
    }
    lead.pop("occurred_at", None) if "occurred_at" not in set_fields else None
    return lead | {"answers": answers - {"object", "type"}}


@pytest.mark.parametrize(
    "case", [case for case in SENT if name_of(case) in NEEDS_PERSON], ids=name_of
)
def test_the_rest_is_named(case: Case) -> None:
    """What only a person can say stands as a question in what is printed, and nothing else is
    missing.
    """
    proposal = proposed(case)
    assert proposal.lead is not None
    assert proposal.lead.email == case["expected"].get("email", proposal.lead.email)
    assert '# honeypot = ["website"]' in proposal.toml or [
        question.path for question in proposal.unmapped if question.path == "10"
    ]


@pytest.mark.parametrize("case", VERIFIABLE, ids=name_of)
def test_the_scheme_is_the_products(case: Case) -> None:
    """With the case's secret, the proposed scheme accepts and refuses as the product's own does."""
    request, proposal = request_of(case), proposed(case)
    now = float(case["verification"].get("now", NOW))
    reading = process_request(of(proposal, case["secret"]), request, now)
    assert (reading.outcome is Outcome.REFUSED) is not case["verification"]["valid"], proposal.toml


def label(product: Product) -> str:
    return product.name.partition(":")[2].strip()


CONFIGURED_HELP: dict[str, tuple[str, set[str]]] = {
    "labels in scripts that no vocabulary here has": (
        "the company is asked for in a script",
        {"company", "answers"},
    ),
    "each value in a list, as a landing-page builder sends them": (
        "`ok` is a consent",
        {"consent", "answers"},
    ),
    "a form builder's handshake key among numbered fields": (
        "Field1 and Field2 are a name",
        {"full_name", "answers"},
    ),
    "a framework's nested names in a form, somebody else's address beside it": (
        "names of answers",
        {"answers"},
    ),
    "keys that look like paths": ("the name of an answer", {"answers"}),
}
"""Product -> what needs a person, and the fields that it is about."""


@pytest.mark.parametrize("product", PRODUCTS, ids=label)
def test_products_without_an_adapter(product: Product) -> None:
    """Unwrapping, ids, tests and fields are found from one body alone, but for what is listed as
    needing a person.
    """
    proposal = propose(product.request, now=NOW)
    _, missing = CONFIGURED_HELP.get(label(product), ("", set()))
    assert proposal.reading is not None
    assert [event.event_id for event in proposal.reading.events] == product.ids
    for event, expected in zip(proposal.reading.events, product.leads, strict=True):
        assert event.lead is not None
        assert (event.outcome is Outcome.LEAD) is bool(expected)
        built = msgspec.to_builtins(event.lead) | {"full_name": event.lead.full_name}
        for name, value in expected.items():
            if name.startswith("answers."):
                label_end = f".{name.removeprefix('answers.')}"
                answers = event.lead.answers.items()
                assert [text for at, text in answers if f".{at}".endswith(label_end)] == [value]
            elif name not in missing:
                assert built.get(name, {} if isinstance(value, dict) else None) == value, (
                    name,
                    proposal.toml,
                )


@pytest.mark.parametrize("product", PRODUCTS, ids=label)
def test_open_questions_are_named(product: Product) -> None:
    """Everything that ends among the answers is named, by a path that `map` takes."""
    proposal = propose(product.request, now=NOW)
    open_paths = {question.path: "answers.open" for question in proposal.unmapped}
    again = propose(
        product.request,
        now=NOW,
        mapped={suggestion.path: suggestion.field for suggestion in proposal.guessed} | open_paths,
    )
    assert again.lead is not None
    assert set(again.lead.answers) <= {
        "open",
        *(suggestion.path for suggestion in proposal.guessed),
    }


def lines(proposal: Proposal) -> list[str]:
    """The lines of a proposal without what is behind them, but for the spaces."""
    return [line.partition("  #")[0].strip() for line in proposal.toml.splitlines()]


def read_again(proposal: Proposal, request: InboundRequest) -> Lead:
    """The lead of a request under the proposed source."""
    lead = normalize(of(proposal), request, NOW).events[0].lead
    assert lead is not None
    return lead


def test_questions_are_named_only_where_the_reader_does_not_find_them() -> None:
    """A list that the reader takes for questions by itself is not proposed; one inside a text that
    holds JSON is, because it would be no questions without.
    """
    questions = [
        {"label": "Your name", "value": "Ada Lovelace"},
        {"label": "E-mail", "value": "ada@example.com"},
    ]
    plain, nested = json_post({"fields": questions}), json_post({"d": json.dumps({"q": questions})})
    assert of(propose(plain, now=NOW)).read.pair_lists == []
    assert len(of(propose(nested, now=NOW)).read.pair_lists) == 1
    for request in (plain, nested):
        lead = read_again(propose(request, now=NOW), request)
        assert (lead.name, lead.email) == ("Ada Lovelace", "ada@example.com")


PARTS: list[tuple[InboundRequest, str, dict[str, Any]]] = [
    (
        form(Kontakt="Am besten per Mail an ada@example.com, danke", Firma="Beispiel GmbH"),
        'Kontakt = { to = "email", extract = "email" }',
        {"email": "ada@example.com", "company": "Beispiel GmbH"},
    ),
    (
        form(message="My address is ada@example.com, please do write to me there"),
        'message = { to = "email", extract = "email" }',
        {"email": "ada@example.com"},
    ),
    (
        form(Vorname="Ada", Notiz_x="Bitte erst abends unter 030 1234567 anrufen"),
        'Notiz_x = { to = "phone", extract = "phone" }',
        {"phone": "030 1234567", "first_name": "Ada"},
    ),
    (
        json_post({"form_id": "f:1234567", "email": "ada@example.com"}),
        'form_id = { to = "form_id", strip = "f:" }',
        {"form_id": "1234567", "email": "ada@example.com"},
    ),
    (
        json_post({"email": "e:ada@example.com", "phone": "p:+4930123456"}),
        'email = { to = "email", strip = "e:" }',
        {"email": "ada@example.com", "phone": "+4930123456"},
    ),
]


@pytest.mark.parametrize(("request_", "line", "expected"), PARTS, ids=[one[1] for one in PARTS])
def test_the_part_that_is_wanted_is_taken(
    request_: InboundRequest, line: str, expected: dict[str, Any]
) -> None:
    """An address or a number in a longer text, or behind a mark, becomes a field; decided by a
    person, the line stays the same.
    """
    proposal = propose(request_, now=NOW)
    assert line in lines(proposal)
    lead = read_again(proposal, request_)
    assert {name: getattr(lead, name) for name in expected} == expected
    decided = {suggestion.path: suggestion.line for suggestion in proposal.guessed}
    assert line in lines(propose(request_, now=NOW, mapped=decided))


@pytest.mark.parametrize(
    "request_",
    [
        form(email="ada@example.com", note_x="My friend bob@example.com told me of you"),
        form(name="Ada", friend="Please do write to bob@example.com about it too"),
        form(name="Ada", a="do write to me at a@example.com", b="or else to my own b@example.com"),
        form(name="Ada", email="ada@example.com", site="http:example.com", ref="a: b"),
    ],
    ids=["another address", "somebody else's", "two of them", "no mark"],
)
def test_no_part_is_taken_in_doubt(request_: InboundRequest) -> None:
    """Where there is an address already, several, or somebody else's, no part is proposed."""
    proposed_map = of(propose(request_, now=NOW)).map
    assert [line for line in proposed_map.values() if not isinstance(line, str)] == []


ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}
REP = {"name": "Rolf Rep", "email": "rolf@dealer.example", "firma": "Dealer GmbH"}


@pytest.mark.parametrize(
    "request_",
    [
        json_post({**ADA, "zust": REP}),
        json_post({"customer": ADA, "zust": REP}),
        form(**ADA, **{f"zust[{name}]": text for name, text in REP.items()}),
    ],
    ids=["beside the lead's fields", "beside the lead's object", "in a form"],
)
def test_another_persons_object_is_ignored(request_: InboundRequest) -> None:
    """Somebody whose object has a name that says nothing of it gives the lead no company."""
    proposal = propose(request_, now=NOW)
    assert of(proposal).ignore == ["zust"]
    lead = read_again(proposal, request_)
    assert (lead.name, lead.email, lead.company) == (ADA["name"], ADA["email"], None)


@pytest.mark.parametrize(
    "payload",
    [
        {**ADA, "agent": REP},
        {**ADA, "zust": {"name": "Rolf Rep", "email": "rolf@dealer.example"}},
        {**ADA, "company": {"name": "Ada's Ltd", "email": "info@ada.example"}},
        {**ADA, "form": {"id": "7", "name": "Contact"}, "page": {"url": "https://a.example/"}},
        {"zust": ADA},
    ],
    ids=["known words", "nothing taken", "the lead's company", "no person", "the only person"],
)
def test_nothing_is_ignored_without_need(payload: dict[str, Any]) -> None:
    """What the reader leaves alone by itself, and what is the lead's own, is not proposed."""
    proposal = propose(json_post(payload), now=NOW)
    assert "ignore = " not in proposal.toml


def test_two_strangers_are_left_to_a_person() -> None:
    """Where nothing says which of two people is the lead, the other one stands in a comment; with
    it in force, the lead stays who it is.
    """
    request = json_post({"blip": ADA, "zust": REP | {"firma": ""}})
    proposal = propose(request, now=NOW)
    assert of(proposal).ignore == []
    assert '# ignore = ["zust"]' in lines(proposal)
    in_force = structs.replace(of(proposal), ignore=["zust"])
    assert read_again(proposal, request).email == ADA["email"]
    [event] = normalize(in_force, json_post({"zust": REP}), NOW).events
    assert event.outcome is Outcome.NO_CONTACT


def test_a_root_is_never_somebody_elses() -> None:
    """An object that has more to say than the lead's own fields does not become the root."""
    assert of(propose(json_post({**ADA, "zust": REP}), now=NOW)).read.root is None
    assert of(propose(json_post({"customer": ADA, "zust": REP}), now=NOW)).read.root == "customer"


def test_a_missing_country_is_said() -> None:
    """A phone number without its country brings a line to fill in; a country or a + does not."""
    line = '# default_country = "XX"'
    national = {"email": "ada@example.com", "phone": "030 1234567"}
    proposal = propose(form(**national), now=NOW)
    assert line in lines(proposal)
    filled = proposal.toml.replace(line, 'default_country = "DE"')
    source = load_sources(filled, dict.fromkeys(proposal.secrets, "x")).sources[proposal.name]
    lead = normalize(source, form(**national), NOW).events[0].lead
    assert lead is not None
    assert lead.phone == "+49301234567"
    for fields in (national | {"country": "Germany"}, national | {"phone": "+49 30 1234567"}, ADA):
        assert "default_country" not in propose(form(**fields), now=NOW).toml


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1700000000123", "1700000001456"),
        ("2023-11-14T22:13:27Z", "2023-11-14T22:13:29Z"),
        ("6f1c2a90-3b7d-4e52-9c11-0a8be4d7f013", "0b2d9c44-77a1-4c3e-8f60-5d19a2c3e4f5"),
        ("03AGdBq25tqX9KpQwZ8Yx7Lm4Vn2R", "03AGdBq25hT6sWe1Jk8Uy3Ob7Cd5M"),
    ],
    ids=["Unix time", "time", "UUID", "token"],
)
def test_what_differs_by_post_makes_no_two_leads(first: str, second: str) -> None:
    """A time, a nonce or a token under a name that says nothing of it is left out of what tells two
    posts apart; what was said is not.
    """
    posts = [form(email="a@example.com", stand=text, wish="A") for text in (first, second)]
    source = of(propose(posts[0], now=NOW))
    assert source.dedupe_ignore == ["stand"]
    leads = [normalize(source, one, NOW).events[0].lead for one in posts]
    other = normalize(source, form(email="a@example.com", stand=first, wish="B"), NOW).events[0]
    digests = [content_digest(source, lead) for lead in (*leads, other.lead) if lead]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "1700000000123", "csrf_token": "03AGdBq25tqX9KpQwZ8Yx7Lm4Vn2R"},
        {"visit": "2023-11-20T10:00:00"},
        {"tax": "1772345678", "vat": "DE123456789012345678"},
        {"model": "Model-X200-BlackEdition-2024", "site": "https://a.example/x1Y2z3A4b5C6"},
    ],
    ids=["built in", "a time that was chosen", "numbers", "words"],
)
def test_what_was_said_tells_two_posts_apart(fields: dict[str, str]) -> None:
    """What the built-in rules know already, and what a person may have written, is not proposed."""
    assert "dedupe_ignore" not in propose(form(email="a@example.com", **fields), now=NOW).toml


BODY = json.dumps(
    {"id": "e-1", "data": {"email": "ada@example.com", "name": "Ada Lovelace"}}
).encode()
KEY = b"s3cret"


def signed(text: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(KEY, text, algorithm)


TIME = "1700000000"
SCHEMES: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"X-Acme-Signature": signed(BODY).hex()}, {"scheme": "hmac", "encoding": "hex"}),
    ({"X-Acme-Signature": "sha256=" + signed(BODY).hex()}, {"scheme": "hmac", "prefix": "sha256="}),
    (
        {"X-Hub-Signature": "sha1=" + signed(BODY, "sha1").hex()},
        {"scheme": "hmac", "algorithm": "sha1", "prefix": "sha1="},
    ),
    (
        {"X-Acme-Hmac": base64.b64encode(signed(BODY)).decode()},
        {"scheme": "hmac", "encoding": "base64"},
    ),
    (
        {"X-Sig": base64.b64encode(signed(BODY)).decode().rstrip("=")},
        {"scheme": "hmac", "encoding": "base64"},
    ),
    (
        {"X-Signature": signed(TIME.encode() + b"." + BODY).hex(), "X-Timestamp": TIME},
        {"scheme": "hmac", "timestamp_header": "X-Timestamp", "signed": "{timestamp}.{body}"},
    ),
    (
        {"X-Signature": f"t={TIME},v1={signed(TIME.encode() + b'.' + BODY).hex()}"},
        {"scheme": "hmac", "list_prefixes": "t=,v1=", "signed": "{timestamp}.{body}"},
    ),
    (
        {
            "X-Slack-Signature": "v0=" + signed(f"v0:{TIME}:".encode() + BODY).hex(),
            "X-Slack-Request-Timestamp": TIME,
        },
        {"scheme": "hmac", "prefix": "v0=", "signed": "v0:{timestamp}:{body}"},
    ),
    (
        {"Webhook-Id": "m", "Webhook-Timestamp": TIME, "Webhook-Signature": "v1,AAAA"},
        {"scheme": "standard-webhooks"},
    ),
    (
        {"Svix-Id": "m", "Svix-Timestamp": TIME, "Svix-Signature": "v1,AAAA"},
        {"scheme": "standard-webhooks"},
    ),
    (
        {"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c2ln"},
        {"scheme": "jwt", "header": None},
    ),
    (
        {"Authorization": "bearer eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c2ln"},
        {"scheme": "jwt", "header": None},
    ),
    ({"X-Jwt": "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c2ln"}, {"scheme": "jwt", "header": "X-Jwt"}),
    ({"Authorization": "Bearer s3cret"}, {"scheme": "token", "header": "Authorization"}),
    ({"X-Api-Key": "s3cret"}, {"scheme": "token", "header": "X-Api-Key"}),
    ({"X-Acme-Token": "s3cret"}, {"scheme": "token", "header": "X-Acme-Token"}),
    ({"X-Request-Id": "r-1"}, {"scheme": "token", "query": "key"}),
]


@pytest.mark.parametrize(
    ("headers", "expected"), SCHEMES, ids=lambda value: next(iter(value.values()))[:18]
)
def test_the_scheme_is_detected_by_the_headers(
    headers: dict[str, str], expected: dict[str, Any]
) -> None:
    """They are detected by name, length and alphabet; without any, the URL gets a secret."""
    check = of(propose(post(BODY, JSON, **headers), now=NOW)).verification
    assert {name: getattr(check, name) for name in expected} == expected
    assert check.secret_env


@pytest.mark.parametrize(
    "text",
    ["{body}", "{timestamp}:{body}", "{timestamp}{body}", "{url}{body}", "{id}.{timestamp}.{body}"],
)
def test_what_is_signed_is_found_with_the_secret(text: str) -> None:
    """Where the secret is at hand, what is signed is found by trying, and the proposal takes the
    captured request.
    """
    url, parts = "https://leads.acme.example/in/acme", {"timestamp": TIME, "id": "evt_1"}
    message = text.encode().replace(b"{url}", url.encode()).replace(b"{body}", BODY)
    for name, value in parts.items():
        message = message.replace(f"{{{name}}}".encode(), value.encode())
    headers = {"X-Signature": signed(message).hex(), "X-Timestamp": TIME, "X-Event-Id": "evt_1"}
    request = post(BODY, JSON, url=url, **headers)
    proposal = propose(request, now=NOW, name="acme", secrets=[SourceSecret("ACME", "s3cret")])
    assert of(proposal, "s3cret").verification.signed == text
    assert process_request(of(proposal, "s3cret"), request, float(TIME)).outcome is Outcome.LEAD
    assert "s3cret" not in proposal.toml


@pytest.mark.parametrize(
    ("request_", "line", "answer"),
    [
        (
            json_post({"token": "t0ken", "challenge": "3eZbrw1aBm2", "type": "url_verification"}),
            'when = { at = "type", equals = "url_verification" }',
            "3eZbrw1aBm2",
        ),
        (json_post({"challenge": "3eZbrw1aBm2"}), 'echo = "challenge"', "3eZbrw1aBm2"),
        (
            post(b"", "text/plain", query="validationToken=Validation%3A+ok"),
            'query = "validationToken"',
            "Validation: ok",
        ),
        (post(b"{}", JSON, X_Hook_Secret="b537207f20cb"), 'header = "X-Hook-Secret"', None),
    ],
    ids=["a kind of event", "alone", "in the query", "in a header"],
)
def test_a_challenge_is_proposed_to_be_answered(
    request_: InboundRequest, line: str, answer: str | None
) -> None:
    """What is to be sent back is found in the body, the query or a header, and sent back without a
    secret; nothing of it is taken for a field or for a secret.
    """
    proposal = propose(request_, now=NOW)
    source = of(proposal)
    assert line in lines(proposal)
    assert (source.map, source.read.event_id, source.verification.query) == ({}, None, "key")
    reading = process_request(source, request_, NOW)
    assert reading.outcome is Outcome.HANDSHAKE
    assert reading.response is not None
    assert reading.response.body == answer
    assert reading.response.headers == ({} if answer else {"X-Hook-Secret": "b537207f20cb"})


@pytest.mark.parametrize(
    "request_",
    [
        json_post({"email": "ada@example.com", "challenge": "Leadership"}),
        json_post({"name": "Ada", "challenge": "Leadership"}),
        post(b"email=ada%40example.com", query="challenge=30-days"),
        json_post({"email": "ada@example.com", "question": "Is this a challenge?"}),
    ],
    ids=lambda request: request.body.decode()[:20] + request.query,
)
def test_a_submission_is_no_challenge(request_: InboundRequest) -> None:
    """Somebody's data are never sent back, whatever a field or a parameter is called."""
    proposal = propose(request_, now=NOW)
    assert of(proposal).handshake is None
    assert proposal.lead is not None


def test_an_unreadable_signature_is_a_warning() -> None:
    """A header that looks like a signature but cannot be checked is reported."""
    proposal = propose(post(BODY, JSON, X_Signature=hashlib.sha512(BODY).hexdigest()), now=NOW)
    assert any("X-Signature looks like a signature" in warning for warning in proposal.warnings)


def test_an_unreadable_body_is_a_warning() -> None:
    """Then the proposal is the adapter alone."""
    proposal = propose(post(b"{", JSON), now=NOW)
    assert proposal.warnings[0].startswith("the body cannot be read: not JSON")
    assert of(proposal).adapter == "json"


@pytest.mark.parametrize("adapter", sorted(set(ADAPTERS) - {"form"}))
def test_nothing_is_proposed_open(adapter: str) -> None:
    """Only a browser's form is proposed without a secret."""
    for case in SENT:
        if case["adapter"] == adapter:
            assert of(proposed(case)).verification.secret_env, name_of(case)


def test_origins_and_traps() -> None:
    """A browser's page is the form's origin, a certain trap is set, a likely one is left to a
    person.
    """
    certain = propose(
        post(b"email=a%40example.com&_gotcha=", FORM, Origin="https://www.acme.example"), now=NOW
    )
    assert (of(certain).origins, of(certain).honeypot) == (
        ["https://www.acme.example"],
        ["_gotcha"],
    )
    likely = propose(post(b"email=a%40example.com&website=", FORM), now=NOW)
    assert of(likely).honeypot == []
    assert '# honeypot = ["website"]' in likely.toml


def test_decided_fields_and_kinds() -> None:
    """What a person decided stands in the proposal as it was decided."""
    body = json.dumps(
        {"type": "lead.created", "email": "a@example.com", "Budget": "5", "Team": "x"}
    ).encode()
    only = {"at": "type", "equals": ["lead.created"]}
    proposal = propose(
        post(body, JSON), now=NOW, mapped={"Budget": "value", "Team": "answers.Group"}, only=only
    )
    assert of(proposal).map == {"Budget": "value", "Team": "answers.Group"}
    assert proposal.lead is not None
    assert proposal.lead.answers["Group"] == "x"
    assert of(proposal).read.only.equals == ["lead.created"]


@pytest.mark.parametrize("name", ["no spaces", "", "x" * 65, 'a"]\n[sources.b'])
def test_a_wrong_name_is_refused(name: str) -> None:
    """A name that no source can have is said, not printed."""
    if name:
        with pytest.raises(ValueError, match="a name of letters"):
            propose(post(BODY, JSON), now=NOW, name=name)


KEYS = st.text(st.characters(codec=None), min_size=1, max_size=12) | st.sampled_from(
    ["email", "name", "value", "id", "data", "a.b", "q[1]"]
)
VALUES = (
    st.text(st.characters(codec=None), max_size=20)
    | st.booleans()
    | st.integers()
    | st.just("a@example.com")
    | st.none()
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(tree=TREES, headers=HEADERS)
def test_any_json_gives_lines_that_load(tree: Any, headers: list[tuple[str, str]]) -> None:
    """Whatever was captured, what is printed is a source file that loads, with nothing of the body
    in force but names.
    """
    body = json.dumps(tree).encode()
    proposal = propose(
        InboundRequest(
            method="POST", query="", headers=[("content-type", JSON), *headers], body=body
        ),
        now=NOW,
    )
    assert of(proposal)


@settings(deadline=None, max_examples=150)
@given(body=BODIES, content_type=TYPES, headers=HEADERS, query=st.text(max_size=30))
def test_any_bytes_give_lines_that_load(
    body: bytes, content_type: str, headers: list[tuple[str, str]], query: str
) -> None:
    """Neither broken bodies nor broken headers are an exception."""
    request = InboundRequest(
        method="POST", query=query, headers=[("content-type", content_type), *headers], body=body
    )
    assert of(propose(request, now=NOW))


@settings(deadline=None, max_examples=60)
@given(
    fields=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
        st.text(max_size=10),
        max_size=6,
    )
)
def test_any_form_gives_lines_that_load(fields: dict[str, str]) -> None:
    """The same for forms, with any names of fields."""
    assert of(propose(post(urlencode(fields).encode()), now=NOW))


def test_comments_stay_comments() -> None:
    """A field's name cannot end its line and become a setting."""
    proposal = propose(
        post(urlencode({"a\nscheme = 1": "x", "email": "a@example.com"}).encode()), now=NOW
    )
    assert (
        of(proposal).verification.scheme is None
        or "scheme = 1" not in proposal.toml.replace("#", "").splitlines()
    )
    assert "\n" not in comment("a\nb\u2028c")


CONTACT = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}


@pytest.mark.parametrize(
    ("payload", "event_id"),
    [
        ({"form": {"id": "f-77", "fields": CONTACT}}, None),
        ({"Campaign": {"uuid": "c1", "lead": CONTACT}}, None),
        ({"id": "901", "form": {"id": "f-77", "fields": CONTACT}}, "id"),
        ({"entry": {"id": "901", "fields": CONTACT}}, "entry.id"),
    ],
)
def test_the_id_of_a_form_is_no_event_id(payload: dict[str, Any], event_id: str | None) -> None:
    """An id that every submission of a form has would make them all one lead: it is not proposed."""
    assert of(propose(json_post(payload), now=NOW)).read.event_id == event_id
