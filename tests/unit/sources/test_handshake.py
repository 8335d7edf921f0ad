"""Challenges that a source describes, and pings: what is answered, and what is never signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from service.sources.normalize import process_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome
from tests.unit.sources.factories import FORM, JSON, NOW, json_post, post, read, source

SIGNED = """
adapter = "json"
[sources.x.verify]
scheme = "hmac"
header = "X-Sig"
secret_env = ["OLD", "NEW"]
[sources.x.handshake]
"""
ZOOM = (
    SIGNED
    + """
when = { at = "event", equals = "url.check" }
answer = { plain = "{payload.plain}", token = "v1:{hmac-sha256-hex:payload.plain}" }
"""
)
CHALLENGE = {"event": "url.check", "payload": {"plain": "abc"}}


def digest(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signed_read(toml: str, payload: Any, secret: str | None) -> NormalizationResult:
    """What becomes of a payload that is signed with a secret, or not at all."""
    body = json.dumps(payload).encode()
    headers = {"X-Sig": digest(secret, body)} if secret else {}
    return process_request(source(toml, OLD="o", NEW="n"), post(body, JSON, **headers), NOW)


@pytest.mark.parametrize("secret", ["o", "n"])
def test_a_challenge_is_answered(secret: str) -> None:
    """The answer takes values of the payload, and digests by the secret that it was signed with."""
    result = signed_read(ZOOM, CHALLENGE, secret)
    assert (result.outcome, result.status, result.events) == (Outcome.HANDSHAKE, 200, [])
    assert result.response is not None
    assert result.response.body == {"plain": "abc", "token": "v1:" + digest(secret, b"abc")}


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_nothing_is_signed_for_strangers(secret: str | None) -> None:
    """Without the right signature there is no digest: it could be the signature of a forged post."""
    assert signed_read(ZOOM, CHALLENGE, secret).outcome is Outcome.REFUSED


def test_other_events_are_leads() -> None:
    """What `when` does not describe is read as always."""
    payload = {"event": "signup", "payload": {"plain": "abc"}, "email": "a@b.example"}
    assert signed_read(ZOOM, payload, "o").outcome is Outcome.LEAD


@pytest.mark.parametrize(
    ("rules", "setting"),
    [
        ('answer = { token = "{hmac-sha256-hex:payload.plain}" }', "answer.token"),
        ('answer = { plain = "x{payload.plain}" }', "answer.plain"),
        ('echo = "payload.plain"', "echo"),
    ],
)
def test_a_challenge_without_the_value_to_answer(rules: str, setting: str) -> None:
    """It is refused with the setting whose path leads nowhere, and never read as a lead."""
    toml = SIGNED + f'when = {{ at = "event", equals = "url.check" }}\n{rules}'
    payload = {"event": "url.check", "payload": {"Plain": "abc"}, "email": "a@b.example"}
    result = signed_read(toml, payload, "o")
    assert (result.outcome, result.status) == (Outcome.UNREADABLE, 400)
    assert result.reason == f"handshake.{setting}: the challenge has no value at 'payload.plain'"
    [error] = result.field_errors
    assert error.field == "payload.plain"


def test_echo() -> None:
    """The value at a path is answered as text, unsigned or signed, but never with a wrong signature."""
    toml = SIGNED + 'echo = "challenge"'
    for secret in (None, "o"):
        result = signed_read(toml, {"type": "check", "challenge": "xyz"}, secret)
        assert result.response is not None
        assert (result.response.body, result.response.media_type.split(";")[0]) == (
            "xyz",
            "text/plain",
        )
    assert signed_read(toml, {"challenge": "xyz"}, "wrong").outcome is Outcome.REFUSED
    assert signed_read(toml, {"email": "a@b.example"}, None).outcome is Outcome.REFUSED


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_query(method: str) -> None:
    """The parameter of a GET or a POST is answered as text."""
    toml = 'adapter = "json"\n[sources.x.handshake]\nquery = "validationToken"'
    request = InboundRequest(method=method, query="validationToken=a+%3Cb", headers=[], body=b"")
    result = process_request(source(toml), request, NOW)
    assert result.outcome is Outcome.HANDSHAKE
    assert result.response is not None
    assert result.response.body == "a <b"
    request = InboundRequest(method="GET", query="", headers=[], body=b"")
    assert process_request(source(toml), request, NOW).status == 405


def test_header() -> None:
    """The header is sent back, with an empty body."""
    toml = 'adapter = "json"\n[sources.x.handshake]\nheader = "X-Hook-Secret"'
    result = read(post(b"{}", JSON, X_Hook_Secret="s3cret"), toml)
    assert result.outcome is Outcome.HANDSHAKE
    assert result.response is not None
    assert (result.response.headers, result.response.body) == ({"X-Hook-Secret": "s3cret"}, None)
    assert read(json_post({"email": "a@b.example"}), toml).outcome is Outcome.LEAD


@pytest.mark.parametrize("payload", [{}, {"ping": "1"}])
def test_an_unsigned_ping_is_accepted(payload: dict[str, str]) -> None:
    """With `ping` an unsigned post without a lead is answered; a lead needs the signature."""
    toml = SIGNED + "ping = true"
    assert signed_read(toml, payload, None).outcome is Outcome.HANDSHAKE
    assert signed_read(toml, payload, "wrong").outcome is Outcome.REFUSED
    assert signed_read(toml, {"email": "a@b.example"}, None).outcome is Outcome.REFUSED
    assert signed_read(toml, {"email": "a@b.example"}, "n").outcome is Outcome.LEAD
    assert signed_read(SIGNED + 'echo = "c"', payload, None).outcome is Outcome.REFUSED


def test_an_empty_body_of_json_is_a_ping() -> None:
    """A webhook without a body is accepted and ignored; an empty form is refused."""
    for toml in ('adapter = "json"', 'adapter = "tally"\nverify = { scheme = "none" }'):
        assert read(post(b"", JSON), toml).outcome is Outcome.NO_LEAD
    assert read(post(b" \n", "application/json; charset=utf-8"), 'adapter = "json"').status == 202
    for request, toml in ((post(b"", JSON), ""), (post(b"", FORM), 'adapter = "json"')):
        assert (read(request, toml).outcome, read(request, toml).status) == (
            Outcome.UNREADABLE,
            400,
        )
