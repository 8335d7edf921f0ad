"""Whether a request comes from its source."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from service.sources.request import InboundRequest
from service.sources.verification.common import decode_base64, decode_hex
from service.sources.verification.jwt import verify_jwt
from service.sources.verification.token import has_valid_token
from service.sources.verification.verify import verify
from tests.providers.cases import vectors
from tests.unit.sources.factories import JSON, NOW, post, source

BODY = b'{"email": "a@b.example"}'
SECRET = "k\u00e9y"


def is_verified(toml: str, request: InboundRequest, now: float = NOW, secret: str = SECRET) -> bool:
    config = source(
        f'[sources.x.verify]\nsecret_env = ["OLD", "NEW"]\n{toml}', OLD="retired", NEW=secret
    )
    return verify(request, config, now).ok


def sign(text: bytes, algorithm: str = "sha256", secret: str = SECRET) -> bytes:
    return hmac.digest(secret.encode(), text, algorithm)


@pytest.mark.parametrize(
    ("toml", "request_", "passes"),
    [
        ('header = "X-Key"', post(BODY, JSON, x_key="k\u00c3\u00a9y"), True),
        ('header = "X-Key"', post(BODY, JSON, x_key="retired"), True),
        ('header = "X-Key"', post(BODY, JSON, x_key="Retired"), False),
        ('header = "X-Key"', post(BODY, JSON), False),
        ('header = "X-Key"', post(BODY, JSON, x_key=""), False),
        ('header = "X-Key"', post(BODY, JSON, x_key="retired\udc80"), False),
        ('header = "Authorization"', post(BODY, JSON, authorization="Bearer retired"), True),
        ('header = "Authorization"', post(BODY, JSON, authorization="retired"), True),
        ('query = "key"', post(BODY, JSON, query="a=1&key=k%C3%A9y"), True),
        ('query = "key"', post(BODY, JSON, query="key=no&key=retired"), False),
        ('query = "key"', post(BODY, JSON, query="%ff=%ff&&=&key"), False),
        ('field = "auth.key"', post(b'{"auth": {"key": "retired"}}', JSON), True),
        ('field = "auth.key"', post(b'{"auth": {"key": ["x"]}}', JSON), False),
        ('field = "auth.key"', post(b"\xff", JSON), False),
        ('field = "k"', post(b"k=k%C3%A9y"), True),
    ],
)
def test_token(toml: str, request_: InboundRequest, passes: bool) -> None:
    """A shared secret in a header, the query or a field; any of several during a change."""
    assert is_verified(f'scheme = "token"\n{toml}', request_) is passes


HMAC = 'scheme = "hmac"\nheader = "X-Signature"\n'
STAMPED = (
    HMAC + 'prefix = "sha256="\nsigned = "{timestamp}.{body}"\ntimestamp_header = "X-Timestamp"\n'
)
STRIPE = HMAC + 'list = "t=,v1="\nsigned = "{timestamp}.{body}"\n'
AT = str(int(NOW))
STAMP = sign(f"{AT}.".encode() + BODY).hex()


@pytest.mark.parametrize(
    ("toml", "headers", "passes"),
    [
        (HMAC, {"x_signature": sign(BODY).hex()}, True),
        (HMAC, {"x_signature": sign(BODY).hex().upper()}, True),
        (HMAC, {"x_signature": sign(BODY, secret="retired").hex()}, True),
        (HMAC, {"x_signature": sign(BODY, secret="other").hex()}, False),
        (HMAC, {"x_signature": sign(BODY + b" ").hex()}, False),
        (HMAC, {}, False),
        (HMAC, {"x_signature": "sha256=" + sign(BODY).hex()}, False),
        (HMAC + 'prefix = "sha256="', {"x_signature": "SHA256=" + sign(BODY).hex()}, True),
        (HMAC + 'algorithm = "sha1"', {"x_signature": sign(BODY, "sha1").hex()}, True),
        (
            HMAC + 'encoding = "base64"',
            {"x_signature": base64.b64encode(sign(BODY)).decode()},
            True,
        ),
        (
            HMAC + 'encoding = "base64"',
            {"x_signature": base64.urlsafe_b64encode(sign(BODY)).decode().rstrip("=")},
            True,
        ),
        (HMAC + 'encoding = "base64"', {"x_signature": "!!!!"}, False),
        (
            HMAC + 'signed = "{method}{url}{body}"',
            {"x_signature": sign(b"POSThttps://a.example/in/x" + BODY).hex()},
            True,
        ),
        (
            HMAC + 'signed = "{id}.{body}"\nid_header = "X-Id"',
            {"x_signature": sign(b"i1." + BODY).hex(), "x_id": "i1"},
            True,
        ),
        (
            HMAC + 'signed = "{id}.{body}"\nid_header = "X-Id"',
            {"x_signature": sign(b"." + BODY).hex()},
            False,
        ),
        (STAMPED, {"x_signature": f"sha256={STAMP}", "x_timestamp": AT}, True),
        (STAMPED, {"x_signature": f"sha256={STAMP}", "x_timestamp": str(int(NOW) + 1)}, False),
        (STAMPED, {"x_signature": f"sha256={STAMP}"}, False),
        (STAMPED, {"x_signature": f"sha256={STAMP}", "x_timestamp": "yesterday"}, False),
        (STAMPED, {"x_signature": "sha256=" + "é" * 64, "x_timestamp": AT}, False),
        (STRIPE, {"x_signature": f"t={AT},v1={STAMP}"}, True),
        (STRIPE, {"x_signature": f"t={AT}, v1=00ff, v0={STAMP}, v1={STAMP}"}, True),
        (STRIPE, {"x_signature": f"t={AT},v0={STAMP}"}, False),
        (STRIPE, {"x_signature": f"v1={STAMP}"}, False),
        (STRIPE, {"x_signature": f"t={AT},t={AT},v1={STAMP}"}, False),
        (STRIPE, {"x_signature": "," * 8_000}, False),
    ],
)
def test_hmac(toml: str, headers: dict[str, str], passes: bool) -> None:
    """An HMAC in every form that a source file can describe; rubbish counts as wrong."""
    assert is_verified(toml, post(BODY, JSON, url="https://a.example/in/x", **headers)) is passes


@pytest.mark.parametrize(
    ("seconds", "passes"),
    [(0, True), (300, True), (301, False), (-300, True), (-301, False), (86_400, False)],
)
@pytest.mark.parametrize("unit", [1, 1000])
def test_freshness(seconds: int, passes: bool, unit: int) -> None:
    """A timestamp is valid for the tolerance both ways, in seconds or in milliseconds."""
    at = str(int(NOW) * unit)
    headers = {"x_signature": "sha256=" + sign(f"{at}.".encode() + BODY).hex(), "x_timestamp": at}
    assert is_verified(STAMPED, post(BODY, JSON, **headers), NOW + seconds) is passes


def test_two_signatures_of_one_name() -> None:
    """A header that is sent twice with different values proves nothing."""
    request = post(BODY, JSON, x_key="retired")
    twice = InboundRequest(
        method="POST", query="", headers=[*request.headers, ("x-key", "other")], body=BODY
    )
    assert not is_verified('scheme = "token"\nheader = "X-Key"', twice)


@pytest.mark.parametrize(
    "vector",
    [one for one in vectors() if one["scheme"] == "standard_webhooks"],
    ids=lambda one: str(one["name"]),
)
def test_standard_webhooks_vectors(vector: dict[str, Any]) -> None:
    """The published vectors pass under both spellings of the headers, and fail with a byte more."""
    for prefix in ("webhook", "svix"):
        names = {
            name.lower().replace("webhook-", f"{prefix}-"): value
            for name, value in vector["headers"].items()
        }
        body = vector["body_text"].encode()
        now = float(names[f"{prefix}-timestamp"])
        request = InboundRequest(method="POST", query="", headers=list(names.items()), body=body)
        assert is_verified('scheme = "standard-webhooks"', request, now, vector["secret"])
        changed = InboundRequest(
            method="POST", query="", headers=list(names.items()), body=body + b" "
        )
        assert not is_verified('scheme = "standard-webhooks"', changed, now, vector["secret"])


def build_token(
    claims: dict[str, Any], secret: str = SECRET, head: dict[str, Any] | None = None
) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (head or {"alg": "HS256"}, claims)
    ]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts), secret=secret)).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    ("sent", "passes"),
    [
        (build_token({"iss": "netlify", "sha256": DIGEST}), True),
        ("Bearer " + build_token({"sha256": DIGEST.upper()}), True),
        ("bearer " + build_token({"sha256": DIGEST}), True),
        ("Basic " + build_token({"sha256": DIGEST}), False),
        (build_token({"sha256": DIGEST}, secret="other"), False),
        (build_token({"sha256": "0" * 64}), False),
        (build_token({"sha256": DIGEST}, head={"alg": "none"}), False),
        (build_token({"sha256": DIGEST}, head={"alg": "HS384"}), False),
        (build_token({"sha256": DIGEST}, head={"alg": ["HS256"]}), False),
        (build_token({"sha256": DIGEST}, head={"alg": "HS256", "crit": ["x"]}), False),
        (
            build_token({"sha256": DIGEST}, head={"alg": "HS256", "crit": ["b64"], "b64": True}),
            False,
        ),
        (build_token({"sha256": DIGEST}, head={"alg": "HS256", "crit": []}), False),
        (build_token({"sha256": "\ud800"}), False),
        (build_token({"exp": NOW + 1}), True),
        (build_token({"exp": NOW - 301}), False),
        (build_token({"iat": NOW - 299}), True),
        (build_token({"iat": NOW - 301}), False),
        (build_token({"nbf": NOW + 301, "sha256": DIGEST}), False),
        (build_token({"exp": "soon", "sha256": DIGEST}), False),
        (build_token({"exp": 10**400}), False),
        (build_token({}), False),
        ("a.b.c", False),
        ("..", False),
        ("", False),
    ],
)
def test_jwt(sent: str, passes: bool) -> None:
    """HS256 alone counts, bound to the body or at least fresh."""
    assert (
        is_verified(
            'scheme = "jwt"\nheader = "X-Webhook-Signature"',
            post(BODY, JSON, x_webhook_signature=sent),
        )
        is passes
    )


def test_missing_secret_refuses() -> None:
    """A source without its secret accepts nothing, rather than everything."""
    config = source(
        '[sources.x.verify]\nscheme = "token"\nheader = "X-Key"\nsecret_env = "KEY"', KEY="k"
    )
    stripped = type(config)(name="x", verify=config.verify)
    assert not verify(post(BODY, JSON, x_key=""), stripped, NOW).ok
    assert not verify_jwt(post(BODY, JSON), config.verification, (), NOW).ok


def test_shows_token() -> None:
    """A lookup may show the source's token without a body; a signing source has none to show."""
    config = source(
        '[sources.x.verify]\nscheme = "token"\nheader = "X-Key"\nsecret_env = "KEY"', KEY="k"
    )
    assert has_valid_token(post(b"", "", x_key="k"), config)
    assert not has_valid_token(post(b"", "", x_key="no"), config)
    assert not has_valid_token(post(b"", "", x_key=""), source())


@pytest.mark.parametrize("text", ["", "g0", "0", "00 11", "é" * 2, "0x00", "00" * 200])
def test_no_hex(text: str) -> None:
    """Text that is not a hex digest decodes to None."""
    assert decode_hex(text) is None


@pytest.mark.parametrize("text", ["", "=", "a", "é", "a b c d", "AAAA\x00"])
def test_no_base64(text: str) -> None:
    """Text that is not base64 decodes to None."""
    assert decode_base64(text) is None
