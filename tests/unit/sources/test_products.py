"""What the products send beside their published samples: other events, odd parts, other spellings
of one question.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize, process_request
from service.sources.payload.unwrap import nest_brackets
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import ConfigError, Source
from tests.unit.sources.factories import FORM, JSON, NOW, form, json_post, post, source
from worker.contract import Lead

OPEN = '[sources.x.verify]\nscheme = "none"\n'


def read(adapter: str, body: Any, toml: str = "") -> NormalizationResult:
    request = body if isinstance(body, InboundRequest) else json_post(body)
    return process_request(
        source(f'[sources.x]\nadapter = "{adapter}"\n{toml}{OPEN}'), request, NOW
    )


def lead_of(adapter: str, body: Any, toml: str = "") -> Lead:
    [event] = read(adapter, body, toml).events
    assert event.lead is not None
    return event.lead


def typeform(
    *answers: dict[str, Any], fields: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    response = {
        "token": "t",
        "definition": {"fields": fields or []},
        "answers": list(answers),
        **more,
    }
    return {"event_id": "e", "event_type": "form_response", "form_response": response}


def tally(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"eventId": "e", "eventType": "FORM_RESPONSE", "data": {"fields": list(fields)}}


def jotform(**answers: Any) -> InboundRequest:
    return form(formID="1", submissionID="2", rawRequest=json.dumps(answers))


def mailchimp(kind: str, at: str = "2024-01-02 03:04:05") -> InboundRequest:
    return form(
        ("data[id]", "s1"),
        ("data[email]", "a@b.example"),
        ("data[merges][FNAME]", "Ada"),
        type=kind,
        fired_at=at,
    )


@pytest.mark.parametrize(
    ("adapter", "body", "reason"),
    [
        (
            "typeform",
            {"event_type": "form_response_partial", "form_response": {"token": "t"}},
            "form_response_partial",
        ),
        ("typeform", typeform(token="e"), "test"),
        (
            "tally",
            {"eventId": "e", "eventType": "FORM_PUBLISHED", "data": {"fields": []}},
            "FORM_PUBLISHED",
        ),
        (
            "webflow",
            {
                "triggerType": "site_publish",
                "payload": {"id": "1", "data": {"email": "a@b.example"}},
            },
            "site_publish",
        ),
        (
            "netlify",
            {"id": "1", "name": "my-site", "deploy_ssl_url": "https://x.example"},
            "deployment",
        ),
        *(
            (("mailchimp", mailchimp(kind), kind))
            for kind in ("unsubscribe", "profile", "cleaned", "upemail", "campaign")
        ),
    ],
)
def test_no_lead(adapter: str, body: Any, reason: str) -> None:
    """A genuine event that is no new lead is taken with success, and says why it makes none."""
    reading = read(adapter, body)
    assert (reading.outcome, reading.status) == (Outcome.NO_LEAD, 200)
    [event] = reading.events
    assert reason in (event.reason or "")


@pytest.mark.parametrize(
    ("adapter", "body"),
    [
        (
            "typeform",
            typeform(
                {"type": "email", "email": "test@test.com", "field": {"id": "1", "type": "email"}}
            ),
        ),
        (
            "tally",
            tally({"key": "q", "label": "Test", "type": "INPUT_EMAIL", "value": "test@test.com"}),
        ),
        (
            "webflow",
            {
                "name": "Test",
                "_id": "1",
                "test": True,
                "data": {"name": "Test", "email": "test@test.com"},
            },
        ),
        ("jotform", jotform(q1_email="test@test.com", q2_name="Test")),
        ("gravity-forms", {"id": "1", "1": "test@test.com", "2": "test"}),
        ("netlify", {"id": "1", "form_name": "test", "data": {"email": "test@test.com"}}),
        ("elementor", form(form_name="Test", email="test@test.com")),
        ("contact-form-7", {"your-email": "test@test.com", "your-name": "Test"}),
        ("unbounce", form(("data.json", '{"email": ["test@test.com"]}'), page_name="Test")),
        ("mailchimp", mailchimp("subscribe")),
    ],
)
def test_test_in_a_name(adapter: str, body: Any) -> None:
    """A name or an address with `test` in it proves nothing."""
    reading = read(adapter, body)
    assert (reading.outcome, reading.status) == (Outcome.LEAD, 200)
    assert not any(event.lead and event.lead.is_test for event in reading.events)


def test_mailchimp_tells_events_apart() -> None:
    """Somebody who leaves and comes back is three events; a second delivery of one is none more."""
    posts = [
        mailchimp("unsubscribe"),
        mailchimp("subscribe"),
        mailchimp("subscribe", "2024-02-01 00:00:00"),
        mailchimp("subscribe"),
    ]
    ids = [read("mailchimp", one).events[0].event_id for one in posts]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]


@pytest.mark.parametrize(
    ("query", "outcome", "status"),
    [("key=s3", "handshake", 200), ("key=S3", "refused", 403), ("", "refused", 403)],
)
def test_mailchimp_looks(query: str, outcome: str, status: int) -> None:
    """The look at the URL gets 200 where the URL is the right one; without a secret in it,
    always.
    """
    toml = '[sources.x]\nadapter = "mailchimp"\n'
    keyed = source(
        f'{toml}[sources.x.verify]\nscheme = "token"\nquery = "key"\nsecret_env = "K"', K="s3"
    )
    look = InboundRequest(method="GET", query=query, headers=[], body=b"")
    reading = process_request(keyed, look, NOW)
    assert (reading.outcome, reading.status) == (outcome, status)
    assert process_request(source(toml), look, NOW).outcome is Outcome.HANDSHAKE


@pytest.mark.parametrize("adapter", ["typeform", "tally", "webflow", "netlify"])
def test_scheme_needs_its_secret(adapter: str) -> None:
    """A product that signs is not taken unsigned by leaving the secret out: `none` must be
    written.
    """
    with pytest.raises(ConfigError, match="secret_env"):
        source(f'adapter = "{adapter}"')
    assert source(f'adapter = "{adapter}"\n{OPEN}').verification.header is None


def test_own_scheme_instead() -> None:
    """A source that describes another scheme takes nothing of the product's."""
    keyed = source(
        'adapter = "tally"\n[sources.x.verify]\nscheme = "token"\nquery = "key"\nsecret_env = "K"',
        K="s3",
    )
    body = json.dumps(tally({"key": "1", "type": "INPUT_EMAIL", "value": "a@b.example"})).encode()
    assert process_request(keyed, post(body, JSON, "key=s3"), NOW).outcome is Outcome.LEAD
    assert process_request(keyed, post(body, JSON), NOW).outcome is Outcome.REFUSED


@pytest.mark.parametrize("header", ["X-Webflow-Signature", "X-Webflow-Timestamp"])
def test_webflow_without_a_header(header: str) -> None:
    """A hook made in the dashboard carries neither header, and is refused where a secret is set."""
    signed = source('adapter = "webflow"\n[sources.x.verify]\nsecret_env = "K"', K="s3")
    headers = {header.lower().replace("-", "_"): "1700000000000"}
    assert (
        process_request(
            signed, post(b'{"data": {"email": "a@b.example"}}', JSON, **headers), NOW
        ).status
        == 401
    )


QUESTION = {"id": "f1", "ref": "who", "title": "Wer sind Sie?", "type": "short_text"}
ANSWER = {"type": "text", "text": "Ada Example", "field": {"id": "f1"}}


@pytest.mark.parametrize("written", ["f1", "who", "Wer sind Sie?"])
def test_names_of_a_question(written: str) -> None:
    """The source file may name a question by its id, its reference or its title; the answer is not
    kept twice.
    """
    lead = lead_of(
        "typeform", typeform(ANSWER, fields=[QUESTION]), f'map = {{ "{written}" = "name" }}\n'
    )
    assert (lead.name, lead.answers) == ("Ada Example", {})


def test_typeform_shapes() -> None:
    """Questions in groups have titles too; other choices are kept; hidden fields that nobody filled
    are not.
    """
    group = {
        "id": "g",
        "type": "contact_info",
        "properties": {"fields": [{"id": "c", "title": "Company", "type": "short_text"}]},
    }
    lead = lead_of(
        "typeform",
        typeform(
            {"type": "text", "text": "Example Ltd", "field": {"id": "c"}},
            {
                "type": "phone_number",
                "phone_number": "+442079460018",
                "field": {"id": "p", "type": "phone_number"},
            },
            {"type": "choices", "choices": {"labels": ["A"], "other": "B"}, "field": {"id": "m"}},
            {"type": "choice", "choice": {"other": "C"}, "field": {"id": "o"}},
            fields=[group, {"id": "m", "title": "Topics"}, {"id": "o", "title": "Size"}],
            hidden={"utm_source": "x", "utm_medium": "xxxxx", "ref": "xxxxx"},
            calculated={"score": 3},
            variables=[{"key": "name", "text": "Nobody"}],
        ),
    )
    assert (lead.company, lead.phone, lead.name, lead.utm.source, lead.utm.medium) == (
        "Example Ltd",
        "+442079460018",
        None,
        "x",
        None,
    )
    assert lead.answers == {"Topics": ["A", "B"], "Size": "C"}


@pytest.mark.parametrize(("chosen", "consent"), [(["o"], True), (None, None)])
def test_tally_single_box(chosen: list[str] | None, consent: bool | None) -> None:
    """A tick box without a label is asked by the sentence beside it, and its own row says nothing
    more.
    """
    row = {"key": "q", "label": "Untitled checkboxes field", "type": "CHECKBOXES"}
    options = [{"id": "o", "text": "I agree to the privacy policy"}]
    box = {"key": "q_o", "label": "Untitled (I agree)", "type": "CHECKBOXES", "value": bool(chosen)}
    lead = lead_of("tally", tally({**row, "value": chosen, "options": options}, box))
    assert (lead.consent, lead.answers) == (consent, {})


@pytest.mark.parametrize(
    ("answers", "field", "value"),
    [
        (
            {"q3_phoneNumber": {"country": "44", "area": "20", "phone": "79460018"}},
            "phone",
            "44 20 79460018",
        ),
        ({"q3_phone": {"full": "(020) 7946 0018"}}, "phone", "(020) 7946 0018"),
        ({"q3_name": {"first": " Ada ", "last": "Example"}}, "full_name", "Ada Example"),
        ({"q3_name": {"first": "", "last": ""}, "q4_email": "a@b.example"}, "full_name", None),
        (
            {"q5_address": {"addr_line1": "1 High St", "city": "Leeds", "country": "France"}},
            "country",
            "France",
        ),
        (
            {"q5_address": {"addr_line1": "1 High St", "city": "Leeds"}},
            "answers",
            {"q5_address": "1 High St, Leeds"},
        ),
        (
            {"q6_date": {"month": "02", "day": "21", "year": "2026"}},
            "answers",
            {"q6_date": "2026-02-21"},
        ),
        (
            {
                "q6_when": {
                    "month": "2",
                    "day": "1",
                    "year": "2026",
                    "hour": "9",
                    "min": "30",
                    "ampm": "AM",
                }
            },
            "answers",
            {"q6_when": "2026-2-1 9:30 AM"},
        ),
        ({"q7_rate": {"Price": "Good", "Speed": ""}}, "answers", {"q7_rate": ["Price: Good"]}),
        (
            {"slug": "submit/1", "path": "/submit/1", "temp_upload": {"q1": ["a.png"]}},
            "answers",
            {},
        ),
    ],
)
def test_jotform_shapes(answers: dict[str, Any], field: str, value: Any) -> None:
    """Names, phones, addresses, dates and tables come in parts; bookkeeping is no answer."""
    assert getattr(lead_of("jotform", jotform(**answers)), field) == value


def test_elementor_types() -> None:
    """A type says what a field asks for, whatever its title; without a type, the title and then the
    id do.
    """
    pairs = [
        *[
            ("fields[f1][title]", "どこへ"),
            ("fields[f1][type]", "email"),
            ("fields[f1][value]", "a@b.example"),
        ],
        *[
            ("fields[f2][title]", "Número"),
            ("fields[f2][type]", "tel"),
            ("fields[f2][value]", "+34 911 222 333"),
        ],
        *[
            ("fields[name][title]", "名前"),
            ("fields[name][type]", "text"),
            ("fields[name][value]", "Ada"),
        ],
        *[
            ("fields[f3][title]", "条件"),
            ("fields[f3][type]", "acceptance"),
            ("fields[f3][value]", "on"),
        ],
        *[
            ("fields[f4][title]", "色"),
            ("fields[f4][type]", "textarea"),
            ("fields[f4][value]", "?"),
        ],
    ]
    lead = lead_of("elementor", form(*pairs))
    assert (lead.email, lead.phone, lead.name, lead.consent) == (
        "a@b.example",
        "+34911222333",
        "Ada",
        True,
    )
    assert lead.answers == {"色": "?"}


def test_elementor_flattened() -> None:
    """Labels as names, with the page's address and without what the browser says of itself."""
    pairs = [
        ("Your E-Mail", "a@b.example"),
        ("Page URL", "https://a.example/?gclid=g"),
        ("Remote IP", "192.0.2.1"),
        ("Date", "1 May 2026"),
    ]
    lead = lead_of("elementor", form(*pairs, ("Powered by", "Elementor")))
    assert (lead.email, lead.click_ids, lead.occurred_at, lead.answers) == (
        "a@b.example",
        {"gclid": "g"},
        "1 May 2026",
        {},
    )


def test_contact_form_7_tags() -> None:
    """Names that the editor makes are recognised; what the plugin adds is bookkeeping."""
    body = {
        "tel-123": "+442079460018",
        "email-9": "a@b.example",
        "acceptance-456": ["1"],
        "checkbox-7": ["A"],
        "_wpcf7": "12",
        "_remote_ip": "x",
    }
    lead = lead_of("contact-form-7", body)
    assert (lead.phone, lead.email, lead.consent, lead.form_id) == (
        "+442079460018",
        "a@b.example",
        True,
        "12",
    )
    assert lead.answers == {"checkbox-7": ["A"]}


def test_contact_form_7_broken_body() -> None:
    """A template of the plugin's own into which a quote was pasted is no JSON, and is said to be
    unreadable.
    """
    assert (
        read("contact-form-7", post(b'{"name": "Ada "the" Example"}', "text/plain")).status == 400
    )


def test_gravity_spam_and_address() -> None:
    """What the site marked as spam is quarantined; the only address among numbered fields is the
    sender's, one of two is not.
    """
    assert (
        read("gravity-forms", {"id": "1", "status": "spam", "4": "a@b.example"}).outcome
        is Outcome.SPAM
    )
    assert lead_of("gravity-forms", {"id": "1", "4": "A@b.example"}).email == "a@b.example"
    assert (
        lead_of("gravity-forms", {"id": "1", "4": "a@b.example", "5": "c@d.example"}).email is None
    )
    named = lead_of(
        "gravity-forms",
        {"id": "1", "1.3": "Ada", "1.6": "Example"},
        'map = { "1.3" = "first_name", "1.6" = "last_name" }\n',
    )
    assert (named.full_name, named.answers) == ("Ada Example", {})


def test_netlify_titles_and_files() -> None:
    """Answers have the titles that Netlify shows; a file is its address."""
    body = {
        "id": "1",
        "site_url": "https://a.example",
        "data": {
            "email": "a@b.example",
            "team-size": "5",
            "cv": {"filename": "cv.pdf", "url": "https://f.example/cv.pdf"},
        },
        "ordered_human_fields": [{"title": "Team Size", "name": "team-size", "value": "5"}],
    }
    lead = lead_of("netlify", body)
    assert lead.answers == {"Team Size": "5", "cv": "https://f.example/cv.pdf"}
    assert lead.page_url == "https://a.example"
    visited = lead_of(
        "netlify",
        {
            **body,
            "data": {"email": "a@b.example", "referrer": "https://a.example/x", "ip": "192.0.2.1"},
        },
    )
    assert (visited.page_url, visited.referrer, visited.answers) == (
        "https://a.example/x",
        None,
        {},
    )


def test_unbounce_values() -> None:
    """Each value comes in a list; only several are one in the lead."""
    lead = lead_of(
        "unbounce",
        form(
            (
                "data.json",
                (
                    '{"email": ["a@b.example"], "size": ["S"], "topics": ["A", "B"], "ip_address":'
                    ' ["x"]}'
                ),
            )
        ),
    )
    assert (lead.email, lead.answers) == ("a@b.example", {"size": "S", "topics": ["A", "B"]})


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_other_shape(adapter: str) -> None:
    """What is not of the product's shape is never lost by an exception."""
    reading = normalize(
        source(f'adapter = "{adapter}"\n{OPEN}'),
        json_post({"email": "a@b.example", "name": "Ada"}),
        NOW,
    )
    assert isinstance(reading, NormalizationResult)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"a[b][c]": 1, "a[d]": 2}, {"a": {"b": {"c": 1}, "d": 2}}),
        ({"a": 1, "a[b]": 2}, {"a": 1, "a[b]": 2}),
        ({"a[b]": 1, "a[b][c]": 2}, {"a": {"b": 1}, "a[b][c]": 2}),
        ({"a[]": [1]}, {"a[]": [1]}),
        ({"a[b][]": [1, 2]}, {"a": {"b": [1, 2]}}),
        ({"[a]": 1, "a[b": 2, "a[b]c": 3, "a]b[": 4}, {"[a]": 1, "a[b": 2, "a[b]c": 3, "a]b[": 4}),
        ({"a" + "[b]" * 50: 1}, {"a" + "[b]" * 50: 1}),
    ],
)
def test_nested(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Names with brackets become objects; nothing that does not fit is lost."""
    assert nest_brackets(fields) == expected


WORDS = st.sampled_from(
    [
        *[
            "event_id",
            "event_type",
            "form_response",
            "definition",
            "fields",
            "answers",
            "field",
            "id",
            "type",
            "text",
            "hidden",
        ],
        *[
            "eventType",
            "FORM_RESPONSE",
            "data",
            "key",
            "label",
            "value",
            "options",
            "rows",
            "columns",
            "payload",
            "triggerType",
        ],
        *[
            "choices",
            "labels",
            "rawRequest",
            "q1_name",
            "first",
            "year",
            "month",
            "day",
            "addr_line1",
            "form",
            "meta",
            "merges",
        ],
        *[
            "page_url",
            "title",
            "name",
            "url",
            "email",
            "status",
            "1",
            "1.3",
            "ordered_human_fields",
            "data.json",
            "fired_at",
        ],
        *[
            "fields[a][value]",
            "fields[a]",
            "data[merges][EMAIL]",
            "data[id]",
            "subscribe",
            "properties",
            "entry",
            "leadgen_id",
        ],
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(st.characters(codec=None), max_size=20)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=30,
)
SHAPES = st.one_of(
    TREES,
    TREES.map(
        lambda tree: {
            "event_id": "e",
            "event_type": "form_response",
            "form_response": {"answers": tree, "definition": tree},
        }
    ),
    st.fixed_dictionaries(
        {
            "eventType": st.just("FORM_RESPONSE"),
            "data": st.fixed_dictionaries({"fields": st.lists(TREES, max_size=3)}),
        }
    ),
    TREES.map(
        lambda tree: {
            "payload": {"data": tree},
            "data": tree,
            "type": "subscribe",
            "fired_at": tree,
        }
    ),
    TREES.map(lambda tree: {"rawRequest": tree, "data.json": tree, "submissionID": tree}),
    TREES.map(lambda tree: {"rawRequest": json.dumps(tree), "data.json": json.dumps(tree)}),
)


@pytest.mark.parametrize(
    "config",
    [source(f'adapter = "{name}"\n{OPEN}') for name in sorted(ADAPTERS)],
    ids=sorted(ADAPTERS),
)
@settings(deadline=None, max_examples=30)
@given(tree=SHAPES)
def test_any_json(config: Source, tree: Any) -> None:
    """Whatever JSON comes to a product's source, it gets a verdict that can be stored and
    answered.
    """
    for content_type in (JSON, FORM):
        request = post(json.dumps(tree).encode("utf-8", "surrogatepass"), content_type)
        reading = normalize(config, request, NOW)
        assert (
            reading.status in (200, 202)
            if reading.events
            else reading.status in (400, 413, 415, 422)
        )
        assert (
            msgspec.json.decode(msgspec.json.encode(reading.events), type=list[SourceEvent])
            == reading.events
        )
        assert isinstance(redact_request(config, request).body, bytes)
