"""Any headers and body give a result, never an exception."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from tests.unit.sources.factories import FORM, JSON, NOW, source

READ = """
[sources.x]
honeypot = ["hp"]
min_fill_seconds = 3
map = { "a.b" = "email", "name" = "phone", "x" = "value", "0.y" = "consent" }
[sources.x.read]
root = "data"
json_param = ["j", "data.j"]
pairs = { at = "data.p" }
unwrap_lists = true
event_id = "id"
test = { at = "t" }
only = { at = "o.0", equals = [1, "x", true] }
labels = { country = ["wo"] }
"""
SCHEMES = (
    'scheme = "token"\nheader = "X-A"',
    'scheme = "token"\nquery = "a"',
    'scheme = "token"\nfield = "a.0"',
    (
        'scheme = "hmac"\nheader = "X-A"\ntimestamp_header = "X-B"\nid_header = "X-C"\nsigned ='
        ' "{id}{timestamp}{url}{body}"'
    ),
    'scheme = "hmac"\nheader = "X-A"\nlist = "t=,v1="\nencoding = "base64"\nprefix = "v1="',
    'scheme = "standard-webhooks"',
    'scheme = "jwt"\nheader = "X-A"',
)
SOURCES = [
    source(),
    source(READ),
    *(source(f'[sources.x.verify]\nsecret_env = "K"\n{one}', K="whsec_a2V5") for one in SCHEMES),
]

NAMES = [
    "x-a",
    "x-b",
    "x-c",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "svix-signature",
    "content-encoding",
    "referer",
]
HEADERS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.text(st.characters(codec=None), max_size=60)), max_size=6
)
KEYS = st.sampled_from(
    [
        "email",
        "phone",
        "name",
        "data",
        "a",
        "b",
        "p",
        "j",
        "id",
        "t",
        "o",
        "hp",
        "_started",
        "consent",
        "page_url",
        "utm",
        "0",
        "",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=40)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=25,
)
TYPES = st.sampled_from(
    [
        FORM,
        JSON,
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
        "a/b+json",
        JSON + "; charset=utf-7",
    ]
) | st.text(max_size=40)
PIECES = [
    b"--x\r\n",
    b"\r\n",
    b"--x--",
    b'Content-Disposition: form-data; name="email"',
    b'; filename="',
    b"a=",
    b"&",
    b"%e9",
    b"%",
    b"[]",
    b"{",
    b'"',
]
BODIES = (
    st.binary(max_size=200)
    | TREES.map(lambda tree: json.dumps(tree).encode("utf-8", "surrogatepass"))
    | st.lists(st.sampled_from(PIECES) | st.binary(max_size=12), max_size=20).map(b"".join)
)


@pytest.mark.parametrize("config", SOURCES, ids=lambda config: config.verification.scheme or "none")
@settings(deadline=None)
@given(
    headers=HEADERS,
    content_type=TYPES,
    body=BODIES,
    query=st.text(max_size=30),
    method=st.sampled_from(["POST", "GET", "é"]),
)
def test_any_request(
    config: Source,
    headers: list[tuple[str, str]],
    content_type: str,
    body: bytes,
    query: str,
    method: str,
) -> None:
    """Every result is one that the intake can answer, and what it keeps can be stored."""
    request = InboundRequest(
        method=method, query=query, headers=[("content-type", content_type), *headers], body=body
    )
    result = process_request(config, request, NOW)
    assert isinstance(result, NormalizationResult)
    if result.outcome in (Outcome.REFUSED, Outcome.UNREADABLE):
        assert result.status in (400, 401, 405, 413, 415)
        assert not result.events
    else:
        assert result.events
    assert (
        msgspec.json.decode(msgspec.json.encode(result.events), type=list[SourceEvent])
        == result.events
    )
    assert isinstance(redact_request(config, request).body, bytes)
