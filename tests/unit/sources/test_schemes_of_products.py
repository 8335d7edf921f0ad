"""The products' own schemes: HubSpot's signatures, handshakes, a key in the body, rubbish."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.adapters.hubspot import scheme
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import (
    CustomResponse,
    InboundRequest,
    NormalizationResult,
    Outcome,
    SourceEvent,
)
from service.sources.schema import Source, VerifySettings
from service.sources.verification.verify import verify
from tests.providers.cases import vectors
from tests.unit.sources.factories import JSON, NOW, json_post, post, source
from tests.unit.sources.test_any_bytes import BODIES, TREES, TYPES
from worker.contract import Money

NAMES = (
    "calendly",
    "google-ads",
    "hubspot",
    "intercom",
    "linkedin",
    "meta-lead-ads",
    "shopify",
    "standard-webhooks",
)
SECRET = "whsec_c2VjcmV0"
ADAPTER = {"typeform": "typeform", "standard_webhooks": "standard-webhooks"}
URL = "https://leads.example.com/in/x"


@cache
def signed_source(adapter: str, *, secret: str = SECRET, challenge: str | None = None) -> Source:
    """A source with the product's own scheme and two secrets, of which the second is in use."""
    env = {"OLD": "retired", "NEW": secret} | ({"TOKEN": challenge} if challenge else {})
    asks = '\nchallenge_env = "TOKEN"' if challenge else ""
    return source(
        f'[sources.x]\nadapter = "{adapter}"\n[sources.x.verify]\nsecret_env = ["OLD",'
        f' "NEW"]{asks}',
        **env,
    )


@cache
def unverified_source(adapter: str) -> Source:
    return source(f'[sources.x]\nadapter = "{adapter}"\nverify = {{ scheme = "none" }}')


def get_request(query: str) -> InboundRequest:
    return InboundRequest(method="GET", query=query, headers=[], body=b"", url=URL)


@pytest.mark.parametrize("vector", vectors(), ids=lambda one: str(one["name"]))
def test_published_vectors(vector: dict[str, Any]) -> None:
    """Every published signature passes; a byte more, another secret or no URL is refused."""
    headers = [(name.lower(), value) for name, value in vector["headers"].items()]
    stamp = next((value for name, value in headers if name.endswith("timestamp")), str(NOW))
    now = float(stamp) / (1000 if len(stamp) > 12 else 1)
    config = signed_source(ADAPTER.get(vector["scheme"], "hubspot"), secret=vector["secret"])
    adapter_scheme = ADAPTERS[config.adapter].scheme
    request = InboundRequest(
        method=vector.get("method", "POST"),
        query="",
        headers=headers,
        body=vector["body_text"].encode(),
        url=vector.get("uri"),
    )
    assert verify(request, config, now, adapter_scheme).ok
    assert not verify(
        msgspec.structs.replace(request, body=request.body + b" "), config, now, adapter_scheme
    ).ok
    assert not verify(
        request, signed_source(config.adapter, secret="other"), now, adapter_scheme
    ).ok
    if "uri" in vector:
        for url in (None, vector["uri"] + "/"):
            assert not verify(
                msgspec.structs.replace(request, url=url), config, now, adapter_scheme
            ).ok


def sign_v3(text: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


AT = str(int(NOW * 1000))
BODY = b'{"email": "a@b.example"}'


@pytest.mark.parametrize(
    ("url", "as_signed", "late", "passes"),
    [
        (URL, URL, 0, True),
        (URL, URL, 300, True),
        (URL, URL, 301, False),
        (URL, URL, -301, False),
        (f"{URL}?a=1%2F2&b=%2A", f"{URL}?a=1/2&b=*", 0, True),
        (f"{URL}?a=1%2F2", f"{URL}?a=1%2F2", 0, True),
        (f"{URL}?a=1%262", f"{URL}?a=1&2", 0, False),
        ("http://10.0.0.5:8000/in/x", URL, 0, False),
        (None, URL, 0, False),
    ],
)
def test_hubspot_v3(url: str | None, as_signed: str, late: float, passes: bool) -> None:
    """Over the public URL, as it came or as HubSpot decodes it, and for five minutes either way."""
    headers = {
        "x_hubspot_request_timestamp": AT,
        "x_hubspot_signature_v3": sign_v3(f"POST{as_signed}".encode() + BODY + AT.encode()),
    }
    assert (
        scheme(
            post(BODY, JSON, url=url, **headers),
            VerifySettings(),
            signed_source("hubspot").secrets,
            NOW + late,
        ).ok
        is passes
    )


V1 = hashlib.sha256(SECRET.encode() + BODY).hexdigest()
V2 = hashlib.sha256(f"{SECRET}POST{URL}".encode() + BODY).hexdigest()


@pytest.mark.parametrize(
    ("signature", "version", "passes"),
    [
        (V1, "v1", True),
        (V2, "v2", True),
        (V2.upper(), "V2", True),
        (V1, None, True),
        (V2, None, True),
        (V1, "v2", False),
        (V2, "v1", False),
        (V1, "v9", False),
        (V1[:-1], "v1", False),
        ("é" * 64, "v1", False),
    ],
)
def test_hubspot_v1_and_v2(signature: str, version: str | None, passes: bool) -> None:
    """The older versions count only without version 3, by their name or, unnamed, either."""
    named = {"x_hubspot_signature": signature} | (
        {"x_hubspot_signature_version": version} if version else {}
    )
    secrets = signed_source("hubspot").secrets
    assert scheme(post(BODY, JSON, url=URL, **named), VerifySettings(), secrets, NOW).ok is passes
    newer = {"x_hubspot_request_timestamp": AT, "x_hubspot_signature_v3": "AAAA"}
    assert not scheme(
        post(BODY, JSON, url=URL, **named, **newer), VerifySettings(), secrets, NOW
    ).ok


CODE = "890e4665-4dfe-4ab1-b689-ed553bceeed0"
META = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="


@pytest.mark.parametrize(
    ("adapter", "query", "status"),
    [
        ("meta-lead-ads", META + "token", 200),
        ("meta-lead-ads", META + "t%6Fken", 200),
        ("meta-lead-ads", META + "Token", 403),
        ("meta-lead-ads", META, 403),
        ("meta-lead-ads", META + SECRET, 403),
        ("meta-lead-ads", META.replace("subscribe", "x") + "token", 403),
        ("meta-lead-ads", "hub.mode=subscribe&hub.verify_token=token", 403),
        ("meta-lead-ads", "hub.challenge=1", 405),
        ("meta-lead-ads", "", 405),
        ("linkedin", f"challengeCode={CODE}", 200),
        ("linkedin", f"applicationId=7&challengeCode={CODE.upper()}", 200),
        ("linkedin", f"challengeCode={CODE.replace('-4ab1', '-1ab1')}", 403),
        ("linkedin", f"challengeCode={CODE}%0A", 403),
        ("linkedin", f"challengeCode={CODE}x", 403),
        ("linkedin", "challengeCode=hmacsha256%3D%7B%7D", 403),
        ("linkedin", "challengeCode=", 403),
        ("linkedin", "challengeCode=%D9%A8" + CODE[2:], 403),
        ("linkedin", "", 405),
        ("hubspot", "challengeCode=" + CODE, 405),
    ],
)
def test_handshakes(adapter: str, query: str, status: int) -> None:
    """Only what the product itself would send is answered; nothing else is echoed or signed."""
    result = process_request(signed_source(adapter, challenge="token"), get_request(query), NOW)
    assert (result.status, result.outcome is Outcome.HANDSHAKE) == (status, status == 200)
    assert (result.response is not None) is (status == 200)


def test_handshake_answers() -> None:
    """Meta gets the bare challenge as text, LinkedIn the code with its HMAC."""
    assert process_request(
        signed_source("meta-lead-ads", challenge="t"), get_request(META + "t"), NOW
    ).response == CustomResponse(200, "1158201444", "text/plain")
    expected = hmac.new(b"retired", CODE.encode(), hashlib.sha256).hexdigest()
    body = {"challengeCode": CODE, "challengeResponse": expected}
    assert process_request(
        signed_source("linkedin"), get_request(f"challengeCode={CODE}"), NOW
    ).response == CustomResponse(200, body)


def test_handshake_without_a_secret() -> None:
    """Without secrets no handshake is answered; without a verify token the secret serves."""
    for adapter, query in (("linkedin", f"challengeCode={CODE}"), ("meta-lead-ads", META)):
        assert process_request(unverified_source(adapter), get_request(query), NOW).status == 403
    assert (
        process_request(signed_source("meta-lead-ads"), get_request(META + SECRET), NOW).status
        == 200
    )


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        (SECRET, Outcome.LEAD),
        ("retired", Outcome.LEAD),
        ("no", Outcome.REFUSED),
        (None, Outcome.REFUSED),
    ],
)
def test_google_key(key: str | None, outcome: Outcome) -> None:
    """The key in the body verifies the request, also during a change, and is not kept."""
    body = {
        "lead_id": "1",
        "user_column_data": [{"column_id": "EMAIL", "string_value": "a@b.example"}],
    }
    request = json_post(body if key is None else {**body, "google_key": key})
    result = process_request(signed_source("google-ads"), request, NOW)
    assert result.outcome is outcome
    assert (key or "-").encode() not in redact_request(
        signed_source("google-ads"), request
    ).body or outcome is Outcome.REFUSED
    assert SECRET not in msgspec.json.encode(result).decode()


@pytest.mark.parametrize(
    "columns", [None, [], "x", [{"column_id": "EMAIL"}], [{"string_value": {"a": 1}}]]
)
def test_google_leads_without_contact(columns: Any) -> None:
    """A 4xx would be final: a genuine lead with nobody to reach is answered 200 and `{}`."""
    result = process_request(
        signed_source("google-ads"),
        json_post({"google_key": SECRET, "lead_id": "1", "user_column_data": columns}),
        NOW,
    )
    assert (result.outcome, result.status, result.response) == (
        Outcome.NO_CONTACT,
        200,
        CustomResponse(200, {}),
    )


CALENDLY = {"event": "invitee.created", "payload": {
    "email": "ann@b.example", "name": "Ann", "uri": "https://api.calendly.com/new",
    "old_invitee": "https://api.calendly.com/old", "rescheduled": False, "scheduled_event": {
        "name": "Call", "event_memberships": [{"user_email": "host@acme.example"}],
        "event_guests": [{"email": "guest@c.example"}]},
}}  # fmt: skip


def process_unsigned(adapter: str, tree: Any, **headers: str) -> NormalizationResult:
    body = json.dumps(tree).encode()
    return process_request(unverified_source(adapter), post(body, JSON, **headers), NOW)


def test_calendly_bookings() -> None:
    """A rescheduled meeting is a booking of the same person, never of the host or a guest."""
    [event] = process_unsigned("calendly", CALENDLY).events
    assert event.lead is not None
    assert (event.lead.email, event.lead.form_name, event.event_id) == (
        "ann@b.example",
        "Call",
        "https://api.calendly.com/new",
    )
    assert event.lead.answers["old_invitee"] == "https://api.calendly.com/old"
    assert msgspec.json.encode(event).count(b"@") == 1
    [ended] = process_unsigned("calendly", {**CALENDLY, "event": "invitee.canceled"}).events
    assert (ended.outcome, ended.event_id) == (
        Outcome.NO_LEAD,
        "https://api.calendly.com/new#canceled",
    )


@pytest.mark.parametrize(
    ("adapter", "tree", "headers", "outcome"),
    [
        ("intercom", {"topic": "contact.lead.created", "data": {"item": {"type": "contact", "email": None}}}, {}, "no_contact"),
        ("intercom", {"topic": "contact.user.created", "data": {"item": {"type": "user", "phone": "+442079460018"}}}, {}, "lead"),
        ("intercom", {"topic": "contact.deleted", "data": {"item": {"type": "contact", "email": "a@b.example"}}}, {}, "no_lead"),
        ("intercom", {"topic": "contact.lead.tag.created", "data": {"item": {"type": "contact"}}}, {}, "no_lead"),
        ("intercom", {"topic": "ticket.created", "data": {"item": {"type": "ticket", "email": "a@b.example"}}}, {}, "no_lead"),
        ("shopify", {"email": "a@b.example"}, {}, "lead"),
        ("shopify", {"email": "a@b.example"}, {"x_shopify_topic": "customers/create"}, "lead"),
        ("shopify", {"email": "a@b.example"}, {"x_shopify_topic": "customers/redact"}, "no_lead"),
        ("shopify", {"email": "a@b.example"}, {"x_shopify_topic": "products/create"}, "no_lead"),
        ("shopify", {"email": "a@b.example"}, {"x_shopify_test": "true"}, "no_lead"),
        ("shopify", {"email": "a@b.example"}, {"x_shopify_test": "false"}, "lead"),
        ("calendly", {"event": "invitee_no_show.created", "payload": {"uri": "u"}}, {}, "no_lead"),
        ("calendly", {"event": "routing_form_submission.created", "payload": {
            "questions_and_answers": [{"question": "Work email", "answer": "a@b.example"}]}}, {}, "lead"),
        ("hubspot", {"properties": {"email": "a@b.example"}}, {}, "lead"),
        ("hubspot", {"email": "a@b.example", "firstname": "Ann"}, {}, "lead"),
        ("standard-webhooks", {"data": [{"email": "a@b.example"}, {"email": "b@b.example"}]}, {"webhook_id": "m"}, "lead"),
    ],
)  # fmt: skip
def test_kinds_of_events(adapter: str, tree: Any, headers: dict[str, str], outcome: str) -> None:
    """A product's event makes a lead only if it is about somebody new."""
    assert process_unsigned(adapter, tree, **headers).outcome.value == outcome


@pytest.mark.parametrize(
    ("adapter", "tree"),
    [
        ("shopify", {"id": 1, "staff": {"email": "host@acme.example", "name": "Host"}}),
        ("calendly", {"event": "invitee.created", "payload": {"uri": "u", "assigned": {"email": "host@acme.example"}}}),
        ("intercom", {"topic": "contact.created", "data": {"item": {"type": "contact", "owner": {"email": "host@a.example"}}}}),
        ("google-ads", {"lead_id": "1", "google_key": "k", "advertiser": {"email": "host@acme.example"}}),
    ],
)  # fmt: skip
def test_somebody_elses_address(adapter: str, tree: Any) -> None:
    """Somebody else's address is an answer and nobody's contact; a key is not even that."""
    [event] = process_unsigned(adapter, tree).events
    assert event.outcome is Outcome.NO_CONTACT
    assert event.lead is not None
    assert any("host@" in str(text) for text in event.lead.answers.values())
    assert "k" not in event.lead.answers.values()


def test_shopify_orders() -> None:
    """An order has an amount and its origin; a customer's currency alone is no amount."""
    order = {
        "email": "a@b.example",
        "total_price": "10.00",
        "currency": "EUR",
        "landing_site": "/?utm_source=x",
        "id": 2**60 + 1,
    }
    [event] = process_unsigned("shopify", order, x_shopify_topic="orders/create").events
    assert event.lead is not None
    assert (event.lead.value, event.lead.utm.source) == (Money(amount=10.0, currency="EUR"), "x")
    assert event.lead.answers["id"] == "1152921504606846977"


def test_standard_webhooks_ids() -> None:
    """Several events of one message have ids of their own, also under svix; `root` is respected."""
    pair = {"data": [{"email": "a@b.example"}, {"email": "b@b.example"}]}
    assert [
        event.event_id for event in process_unsigned("standard-webhooks", pair, svix_id="m").events
    ] == ["m#0", "m#1"]
    toml = (
        '[sources.x]\nadapter = "standard-webhooks"\nread = { root = "deep" }\nverify = { scheme ='
        ' "none" }'
    )
    body = json.dumps({"deep": {"email": "a@b.example"}, "data": {"email": "z@b.example"}}).encode()
    [event] = process_request(source(toml), post(body, JSON, webhook_id="m"), NOW).events
    assert event.lead is not None
    assert (event.lead.email, event.event_id) == ("a@b.example", "m")


PRODUCT_HEADERS = ["x-hubspot-signature", "x-hubspot-signature-v3", "x-hubspot-signature-version", "x-hubspot-request-timestamp",
       "x-hub-signature", "x-hub-signature-256", "x-li-signature", "calendly-webhook-signature",
       "x-shopify-hmac-sha256",
       "x-shopify-topic", "x-shopify-test", "x-shopify-webhook-id", "webhook-id",
       "webhook-timestamp", "webhook-signature",
       "svix-id"]  # fmt: skip
RUBBISH = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    [
        "",
        "sha256=",
        "sha1=zz",
        "t=,v1=",
        "t=1,v1=",
        "v1,",
        "v1,=== v1a,x",
        "t=1700000000,v1=é",
        AT,
        "v1",
        "v2",
        "A" * 9_000,
        ",",
    ]
)
HEADERS = st.lists(st.tuples(st.sampled_from(PRODUCT_HEADERS), RUBBISH), max_size=8)
QUERIES = st.text(max_size=60) | st.sampled_from(
    ["challengeCode=%ff", "hub.mode=%00&hub.verify_token=%ff", "=&&=", META]
)


@pytest.mark.parametrize("adapter", NAMES)
@settings(deadline=None)
@given(
    headers=HEADERS,
    body=BODIES,
    content_type=TYPES,
    query=QUERIES,
    url=st.none() | st.text(max_size=30),
)
def test_any_rubbish_is_refused(
    adapter: str,
    headers: list[tuple[str, str]],
    body: bytes,
    content_type: str,
    query: str,
    url: str | None,
) -> None:
    """Whoever knows no secret is refused: 401, or 403 and 405 for handshakes."""
    config = signed_source(adapter, challenge="token")
    fields = [("content-type", content_type), *headers]
    posted = process_request(
        config, InboundRequest(method="POST", query=query, headers=fields, body=body, url=url), NOW
    )
    assert (posted.outcome, posted.status) == (Outcome.REFUSED, 401)
    fetched = process_request(
        config, InboundRequest(method="GET", query=query, headers=fields, body=b"", url=url), NOW
    )
    assert (fetched.outcome, fetched.status in (403, 405)) == (Outcome.REFUSED, True)


KEYS = {
    "calendly": ("event", "payload", "email", "uri", "questions_and_answers", "tracking"),
    "google-ads": ("lead_id", "user_column_data", "is_test", "gcl_id"),
    "hubspot": ("properties", "form-submissions", "subscriptionType", "objectId", "email"),
    "intercom": ("topic", "data", "item", "type", "id", "created_at"),
    "linkedin": ("leadGenFormResponse", "leadAction", "occurredAt"),
    "meta-lead-ads": ("entry", "changes", "field", "value", "leadgen_id"),
    "shopify": ("email", "default_address", "note", "accepts_marketing"),
    "standard-webhooks": ("data", "type", "timestamp"),
}


@pytest.mark.parametrize("adapter", NAMES)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), tree=TREES, headers=HEADERS)
def test_any_json(
    adapter: str, data: st.DataObject, tree: Any, headers: list[tuple[str, str]]
) -> None:
    """Any JSON under the product's keys gives storable events or is unreadable; it never raises."""
    nested = data.draw(
        st.dictionaries(
            st.sampled_from(KEYS[adapter]), TREES | st.lists(TREES, max_size=3), max_size=5
        )
    )
    inner = {key: [nested, tree] for key in KEYS[adapter]} | nested
    config = unverified_source(adapter)
    for value in (tree, [tree], nested, [nested], dict.fromkeys(KEYS[adapter], nested), inner):
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        result = process_request(
            config,
            InboundRequest(
                method="POST", query="", headers=[("content-type", JSON), *headers], body=body
            ),
            NOW,
        )
        assert result.outcome is Outcome.UNREADABLE or result.events
        assert (
            msgspec.json.decode(msgspec.json.encode(result.events), type=list[SourceEvent])
            == result.events
        )


@pytest.mark.parametrize("adapter", NAMES)
@pytest.mark.parametrize("place", ['header = "X-Key"', 'query = "key"', 'field = "auth.key"'])
def test_another_scheme_than_the_products(adapter: str, place: str) -> None:
    """A source's own token replaces the product's scheme, of which nothing then counts."""
    toml = (
        f'[sources.x]\nadapter = "{adapter}"\n[sources.x.verify]\nscheme = "token"\nsecret_env ='
        f' "K"\n{place}'
    )
    body = json.dumps({"auth": {"key": "k"}}).encode()
    request = post(body, JSON, query="key=k", x_key="k")
    assert process_request(source(toml, K="k"), request, NOW).outcome is not Outcome.REFUSED
    assert process_request(source(toml, K="other"), request, NOW).outcome is Outcome.REFUSED
