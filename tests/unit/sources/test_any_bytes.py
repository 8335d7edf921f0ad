"""Any headers and body give a result, never an exception."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.request import InboundRequest
from service.sources.schema import Source
from tests.fuzz.reading import check_reading, configured_sources
from tests.unit.sources.factories import FORM, JSON

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


@pytest.mark.parametrize(
    "config", configured_sources(), ids=lambda config: config.verification.scheme or "none"
)
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
    check_reading(config, request)
