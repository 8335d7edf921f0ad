"""Bounded bytes to a payload tree, with one way to fail."""

from __future__ import annotations

import time

import pytest

from service.sources.payload.decode import decode_body
from service.sources.payload.tree import JsonNumber, UnreadableBody, Upload
from tests.unit.sources.factories import FORM, JSON, post

MULTIPART = "multipart/form-data; boundary=x"


def part(disposition: str, content: bytes = b"v", extra: str = "") -> bytes:
    return (
        f"--x\r\nContent-Disposition: form-data; {disposition}\r\n{extra}\r\n".encode()
        + content
        + b"\r\n"
    )


@pytest.mark.parametrize(
    ("content_type", "body", "fields"),
    [
        (FORM, b"a=1&b=x+y&c=%C3%A9", {"a": "1", "b": "x y", "c": "é"}),
        (FORM, b"a=1&a=2&b[]=3", {"a": ["1", "2"], "b[]": ["3"]}),
        (FORM, b"a&=b&&c=d=e", {"a": "", "": "b", "c": "d=e"}),
        (FORM + "; charset=UTF-8", b"contact[email]=a%40b.de", {"contact[email]": "a@b.de"}),
        (
            JSON,
            b'{"a": 19007199254740993, "b": [1.10, true, null]}',
            {"a": "19007199254740993", "b": ["1.10", True, None]},
        ),
        (JSON, b'{"a": 1, "a": 2}', {"a": "2"}),
        ('application/vnd.acme+json; charset="utf-8"', b'{"a": "b"}', {"a": "b"}),
        ("text/plain;charset=utf-8", b' {"a": "b"}\n', {"a": "b"}),
        (FORM, b'{"a": "b"}', {"a": "b"}),
        (FORM, b"%7B%22a%22%3A+%22b%22%7D", {"a": "b"}),
        (FORM, b'{"a": "b"}=', {"a": "b"}),
        (FORM, b"{a}=1&b=2", {"{a}": "1", "b": "2"}),
        ("text/plain", b"a=1&b=x+y", {"a": "1", "b": "x y"}),
        ("text/plain", b"a=x y\r\nb=50+5\r\n", {"a": "x y", "b": "50+5"}),
        ("text/plain", b"email=a@b.example", {"email": "a@b.example"}),
        ("", b"a=1&b=2", {"a": "1", "b": "2"}),
        ("", b'{"a": "b"}', {"a": "b"}),
        ("", b'[{"a": "b"}]', [{"a": "b"}]),
        ("", part('name="a"') + b"--x--\r\n", {"a": "v"}),
        ("multipart/form-data", part('name="a"') + b"--x--\r\n", {"a": "v"}),
        ("multipart/form-data; boundary=y", part('name="a"') + b"--x--\r\n", {"a": "v"}),
        ("text/plain", part('name="a"') + b"--x--\r\n", {"a": "v"}),
        ("multipart/form-data", b'{"a": "b"}', {"a": "b"}),
        (JSON, b'"{\\"a\\": \\"b\\"}"', {"a": "b"}),
        (JSON, b'"[{\\"a\\": 1}]"', [{"a": "1"}]),
        ("text/plain", b'"{\\"a\\": \\"b\\"}"', {"a": "b"}),
        (JSON, b'"text"', "text"),
        (MULTIPART, part('name="a"') + part('name="a"', b"w") + b"--x--\r\n", {"a": ["v", "w"]}),
        (MULTIPART, part('name="f"; filename=""', b"") + part('name="b"') + b"--x--", {"b": "v"}),
        (
            MULTIPART,
            part(
                'name="f"; filename="caf%22\u00e9.pdf"',
                b"%PDF\xff",
                "Content-Type: application/pdf\r\n",
            )
            + b"--x--",
            {"f": Upload('caf"é.pdf', "application/pdf", 5)},
        ),
        (
            MULTIPART,
            part("name=\"f\"; filename*=UTF-8''caf%C3%A9.pdf", b"%PDF") + b"--x--",
            {"f": Upload("café.pdf", "application/octet-stream", 4)},
        ),
        (
            MULTIPART,
            part("name=\"f\"; filename*=ISO-8859-1'en'caf%E9.pdf", b"%PDF") + b"--x--",
            {"f": Upload("café.pdf", "application/octet-stream", 4)},
        ),
    ],
)
def test_decodes(content_type: str, body: bytes, fields: dict[str, object]) -> None:
    """What a body is decides; names keep their repeats, numbers their digits, files their names."""
    assert decode_body(post(body, content_type)) == fields


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (FORM, b"", 400),
        (JSON, b"  ", 400),
        (FORM, b"&".join(b"a%d=1" % at for at in range(501)), 400),
        ("text/plain", b"\n".join(b"a%d=1" % at for at in range(501)), 400),
        (JSON, b"{", 400),
        (JSON, b"a=1", 400),
        (JSON, b"[" * 33 + b"]" * 33, 400),
        (JSON, b"[" * 200_000, 400),
        (JSON, b"{" + b",".join(b'"a%d":1' % at for at in range(501)) + b"}", 400),
        (JSON, b'{"a": "\\"}', 400),
        (JSON, b'{"a": NaN}', 400),
        (JSON, b'{"a": [-Infinity]}', 400),
        (JSON, b'"{\\"a\\": NaN}"', 400),
        (FORM, b'{"a": NaN}', 400),
        (FORM, b'{"a": ', 400),
        ("text/plain", b"Good morning", 400),
        ("", b"<a/>", 400),
        (MULTIPART, b"nothing", 400),
        (MULTIPART, part('name="a"'), 400),
        (MULTIPART, part('name="a"') * 501 + b"--x--", 400),
        ("multipart/form-data", b"--x", 400),
        ("multipart/form-data; boundary=", b"--x", 400),
        ("multipart/form-data; boundary=" + "y" * 300, b"a=1", 400),
        ("text/xml", b"<a/>", 415),
        ("text/html", b"a=1", 415),
        ("application/octet-stream", b"a=1", 415),
    ],
)
def test_refuses(content_type: str, body: bytes, status: int) -> None:
    """Only a broken, endless or deep body, and one of another media type, has no reading."""
    with pytest.raises(UnreadableBody) as caught:
        decode_body(post(body, content_type))
    assert caught.value.status == status


def test_content_coding() -> None:
    """A compressed body is refused before anything is unpacked."""
    with pytest.raises(UnreadableBody) as caught:
        decode_body(post(b"\x1f\x8b", JSON, content_encoding="gzip"))
    assert caught.value.status == 415


def test_limits_hold_exactly() -> None:
    """500 fields and 32 levels are taken."""
    assert len(decode_body(post(b"&".join(b"a%d=1" % at for at in range(500)), FORM))) == 500
    assert decode_body(post(b"[" * 32 + b"]" * 32, JSON)) is not None


@pytest.mark.parametrize("number", ["9" * 6_000, "1e400", "-0.0", "706405506930370084"])
def test_numbers_stay_as_written(number: str) -> None:
    """No number passes through int() or a float, however long or odd it is."""
    value = decode_body(post(f'{{"a": {number}}}'.encode(), JSON))["a"]
    assert value == number
    assert isinstance(value, JsonNumber)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"a=1&" * 250_000),
        (JSON, b'["' + b'\\"' * 500_000),
        (JSON, b'"' * 1_000_000),
        (JSON, b"[" + b"1," * 500_000 + b"1]"),
        (MULTIPART, b"--x\r\n" * 200_000),
        (MULTIPART, part('name="a"', b"\r\n-" * 300_000)),
    ],
)
def test_time_is_linear(content_type: str, body: bytes) -> None:
    """A megabyte of the worst is refused in well under a second."""
    started = time.thread_time()
    with pytest.raises(UnreadableBody):
        decode_body(post(body, content_type))
    assert time.thread_time() - started < 0.7
