"""What the bytes of a stranger may cost in processor time."""

from __future__ import annotations

import pytest

from service.sources.redact import redact_request
from tests.unit.sources.factories import FORM, post, source
from tests.unit.sources.hostile_bodies import SIZE
from tests.unit.sources.test_cpu import MAX_CPU_SECONDS, measure_cpu_seconds

SECRET = "0123456789abcdef"
# What once was read again from each place at which the field's name or the secret stands.
REPEATED = {
    "names": b'key"',
    "names of parts": b'key";',
    "lines": b"key\r\n",
    "blanks": b'key"' + b" " * 60,
    "parts without a value": b'; name="key"\r\n\r\n',
    "secrets": SECRET.encode(),
    "secrets of other fields": b"x=" + SECRET.encode() + b"&",
    "secrets after blanks": b":" + b" " * 60 + SECRET.encode(),
    "secrets after heads": b"\r\n\r\n" + SECRET.encode(),
    "beginnings of the secret": SECRET[:-1].encode(),
}


@pytest.mark.parametrize("piece", REPEATED.values(), ids=REPEATED)
def test_a_secret_is_removed_in_time(piece: bytes) -> None:
    """However often a body repeats the field's name or its secret, it is read once."""
    config = source(
        '[sources.x.verify]\nscheme = "token"\nsecret_env = "K"\nfield = "key"', K=SECRET
    )
    body = (piece * (SIZE // len(piece)))[:SIZE]
    request = post(body, FORM)
    assert measure_cpu_seconds(lambda: redact_request(config, request)) <= MAX_CPU_SECONDS
