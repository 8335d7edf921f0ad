"""A stored request holds none of the secrets that verified it."""

from __future__ import annotations

import json

import pytest

from service.sources.redact import redact_request
from service.sources.request import InboundRequest
from tests.unit.sources.factories import FORM, JSON, post, source

SECRET = 's3cr/et "é" 1'
TOKEN_FIELD = '[sources.x.verify]\nscheme = "token"\nsecret_env = "KEY"\nfield = "key"'
MULTIPART = "multipart/form-data; boundary=x"
PART = (
    '--x\r\nContent-Disposition: form-data; name="key"\r\nContent-Type:'
    f" text/plain\r\n\r\n{SECRET}\r\n--x--".encode()
)


@pytest.mark.parametrize(
    ("place", "request_", "body"),
    [
        (
            'header = "X-Key"',
            post(b"name=A", FORM, x_key=SECRET, authorization=SECRET, cookie=SECRET, x_other="1"),
            b"name=A",
        ),
        (
            'query = "key"',
            post(b"name=A", FORM, query="a=1&key=s3cr%2Fet+%22%C3%A9%22+1&b"),
            b"name=A",
        ),
        (
            'field = "key"',
            post(b"name=A&key=s3cr%2Fet+%22%C3%A9%22+1&b=2"),
            b"name=A&key=[removed]&b=2",
        ),
        (
            'field = "key"',
            post(json.dumps({"key": SECRET}).encode(), JSON),
            b'{"key": "[removed]"}',
        ),
        (
            'field = "a.key"',
            post(b'{"a": {"key" : "s3cr\\/et \\"\\u00e9\\" 1"}}', JSON),
            b'{"a": {"key" : "[removed]"}}',
        ),
        ('field = "key"', post(PART, MULTIPART), PART.replace(SECRET.encode(), b"[removed]")),
    ],
)
def test_secrets_are_removed(place: str, request_: InboundRequest, body: bytes) -> None:
    """`[removed]` replaces the secret wherever it was sent; everything else stays."""
    raw = redact_request(
        source(f'[sources.x.verify]\nscheme = "token"\nsecret_env = "KEY"\n{place}', KEY=SECRET),
        request_,
    )
    assert raw.body == body
    stored = json.dumps([raw.headers, raw.query])
    assert "s3cr" not in stored
    if "x-key" in dict(raw.headers):
        assert raw.headers[1:] == [
            ("x-key", "[removed]"),
            ("authorization", "[removed]"),
            ("cookie", "[removed]"),
            ("x-other", "1"),
        ]
    if request_.query:
        assert raw.query == "a=1&key=[removed]&b"


@pytest.mark.parametrize(
    ("secret", "body", "stored"),
    [
        ("s3cret", b"key=s3cret&key=s3cret", b"key=[removed]&key=[removed]"),
        ("s3cret", b"name=s3cret&key=s3cret", b"name=s3cret&key=[removed]"),
        ("key", b"key=key&x=key", b"key=[removed]&x=key"),
        ("e", b"key=e&key2=e", b"key=[removed]&key2=e"),
        ("12345", b'{"key" :\n 12345, "phone": 12345}', b'{"key" :\n [removed], "phone": 12345}'),
        ("12345", b'{"key": ["12345"], "a": "12345"}', b'{"key": ["12345"], "a": "12345"}'),
    ],
)
def test_only_the_field_is_removed(secret: str, body: bytes, stored: bytes) -> None:
    """A text that happens to equal the secret stays wherever the field's name is not before it."""
    config = source(TOKEN_FIELD, KEY=secret)
    assert redact_request(config, post(body, FORM)).body == stored


def test_a_secret_that_is_no_text() -> None:
    """A secret of any bytes is removed as well."""
    config = source(TOKEN_FIELD, KEY="\udcff\udcfe1")
    assert redact_request(config, post(b"key=%FF%FE1")).body == b"key=[removed]"
    assert redact_request(config, post(b"key=\xff\xfe1")).body == b"key=[removed]"


def test_signature_header() -> None:
    """A signature goes too; its timestamp and id stay, for normalising the request again."""
    toml = (
        '[sources.x.verify]\nscheme = "hmac"\nsecret_env = "K"\nheader = "X-Sig"\nid_header ='
        ' "X-Id"'
    )
    raw = redact_request(source(toml, K="k"), post(b"a", FORM, x_sig="ff", x_id="7"))
    assert raw.headers[1:] == [("x-sig", "[removed]"), ("x-id", "7")]
