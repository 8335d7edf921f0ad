"""What had to be guessed of a body, in words."""

from __future__ import annotations

import pytest

from service.sources.normalize import process_request
from service.sources.payload.decode import describe_guess
from service.sources.request import InboundRequest
from tests.unit.sources.factories import FORM, JSON, NOW, post, source

MULTIPART = "multipart/form-data; boundary=x"
FORM_PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n%b\r\nJos\xe9\r\n--x--\r\n'
DEFAULT = "Part of the body is not UTF-8; it was read as windows-1252, because no charset is named."


def named(charset: str, by: str) -> str:
    return f"Part of the body is not UTF-8; it was read as {charset}, which {by} names."


def other_type(kind: str, media_type: str) -> str:
    return f"The body is {kind}, though its Content-Type says {media_type}."


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (post(b"a=Jos%C3%A9"), None),
        (post('{"a": "José"}'.encode(), JSON), None),
        (post(b'{"a": 1}', "application/vnd.acme+json"), None),
        (post(b'{"a": 1}', ""), None),
        (post(b"a=1", "application/pdf"), None),
        (post(b"a=Jos%E9"), DEFAULT),
        (post(b"a=Jos\xe9"), DEFAULT),
        (post(b"a=Jos%E9", f"{FORM}; charset=utf-8"), DEFAULT),
        (post(b"a=%C8", f"{FORM}; charset=iso-8859-2"), named("iso-8859-2", "its Content-Type")),
        (post(b"a=%C8&_charset_=windows-1250"), named("windows-1250", "its field _charset_")),
        (post(b'{"a": "Jos\xe9"}', f"{JSON}; charset=latin1"), named("windows-1252", "its Content-Type")),
        (post(FORM_PART % b"", MULTIPART), DEFAULT),
        (post(FORM_PART % b"Content-Type: text/plain; charset=koi8-r\r\n", MULTIPART), named("koi8-r", "its part")),
        (post('{"a": 1}'.encode("utf-16"), JSON), "The body is UTF-16, as its byte order mark says."),
        (post(b'{"a": 1}', FORM), other_type("JSON", FORM)),
        (post(b'{"a": 1}', "text/plain"), other_type("JSON", "text/plain")),
        (post(b"a=1\r\nb=2", "text/plain"), other_type("a form", "text/plain")),
        (post(FORM_PART.replace(b"\xe9", b"e") % b"", FORM), other_type("multipart/form-data", FORM)),
        (post(b'"{\\"a\\": 1}"', JSON), "The body is JSON that was encoded twice."),
        (post(b"%7B%22a%22:1%7D="), "The body is JSON that was sent as a form."),
        (post(b"a=Jos%E9", "text/plain"), f"{other_type('a form', 'text/plain')} {DEFAULT}"),
    ],
)  # fmt: skip
def test_a_guess_in_words(request_: InboundRequest, sentence: str | None) -> None:
    """A charset that was taken, and a body that is not what its header says, are told; no others."""
    assert describe_guess(request_) == sentence


def test_a_body_that_names_its_charsets_needs_no_guess() -> None:
    """A product that says the charset of each text itself is not said to have been guessed."""
    toml = '[sources.x]\nadapter = "sendgrid-inbound"\nverify = { scheme = "none" }'
    body = b"&".join(
        (b"from=Jos%E9+<a@example.com>", b"envelope={}", b'charsets={"from":"latin1"}')
    )
    result = process_request(source(toml), post(body), NOW, explain=True)
    assert result.events
    assert result.guessed is None
