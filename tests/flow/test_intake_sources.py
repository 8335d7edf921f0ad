"""From a source file to a record: the intake with the real adapters, signatures and mapping."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from litestar import Litestar
from litestar.testing import TestClient

from service.app import create_app
from service.context import ServiceContext, build
from worker.contract import State
from worker.ledger import Record
from worker.settings.table import Settings
from worker.store import keys

CONFIG = """
[sources.contact]
honeypot = ["website"]
origins = ["https://www.acme.example"]
redirect_origins = ["https://www.acme.example"]
[sources.partner]
adapter = "json"
[sources.partner.verify]
scheme = "token"
header = "X-Key"
secret_env = ["PARTNER_KEY"]
[sources.signed]
adapter = "json"
[sources.signed.verify]
scheme = "hmac"
header = "X-Signature"
secret_env = ["SIGNED_SECRET"]
"""
SECRETS = {"PARTNER_KEY": "partner-key", "SIGNED_SECRET": "signed-secret"}


class Service:
    def __init__(self, client: TestClient[Litestar], context: ServiceContext) -> None:
        self.client = client
        self.context = context

    def record(self, answer: Any) -> Record:
        record = self.context.ledger.get(answer.json()["id"])
        assert record is not None
        return record


@pytest.fixture
def service(redis_url: str, tmp_path: Any) -> Iterator[Service]:
    path = tmp_path / "leadline.toml"
    path.write_text(CONFIG)
    context = build(
        Settings.for_service({"REDIS_URL": redis_url, "LEADLINE_CONFIG": str(path)}), SECRETS
    )
    with TestClient(create_app(context)) as client:
        yield Service(client, context)


def stored(redis: redis_py.Redis) -> int:
    return sum(redis.zcard(keys.state(state)) for state in State)


def test_a_form_becomes_a_lead(service: Service) -> None:
    """Common spellings of fields are recognised, and a double click is one submission.

    So it is as multipart, where each click has a new boundary.
    """
    fields = {"your-name": "Ada Acme", "your-email": "ADA@acme.example", "message": "Hello"}
    answer = service.client.post("/in/contact", data=fields)
    assert answer.status_code == 202
    lead = service.record(answer).lead
    assert lead is not None
    assert (lead.email, lead.full_name, lead.message) == ("ada@acme.example", "Ada Acme", "Hello")
    again = service.client.post(
        "/in/contact", files={name: (None, value) for name, value in fields.items()}
    )
    assert again.json() == answer.json() | {"duplicate": True}


def test_a_filled_honeypot_is_quarantined(service: Service) -> None:
    """Spam gets the usual answer."""
    answer = service.client.post(
        "/in/contact", data={"email": "spam@acme.example", "website": "http://spam.example"}
    )
    assert answer.json()["state"] == "queued"
    assert service.record(answer).state is State.QUARANTINED


def test_a_forms_own_redirect(service: Service) -> None:
    """`_redirect` in the form is followed to a listed origin."""
    fields = {"email": "ada@acme.example", "_redirect": "https://www.acme.example/danke"}
    answer = service.client.post(
        "/in/contact", data=fields, headers={"accept": "text/html"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "https://www.acme.example/danke",
    )


def test_a_partner_with_the_token_may_look_it_up(service: Service) -> None:
    """The same header authorises a post and its receipt, and is not stored."""
    body, headers = {"email": "ada@acme.example"}, {"X-Key": "partner-key"}
    answer = service.client.post("/in/partner", json=body, headers=headers)
    assert answer.status_code == 202
    raw = service.record(answer).raw
    assert raw is not None
    assert "partner-key" not in str(raw)
    assert "attempts" in service.client.get(answer.json()["status_url"], headers=headers).json()
    assert "attempts" not in service.client.get(answer.json()["status_url"]).json()


def test_whoever_proved_his_origin_is_on_record(service: Service) -> None:
    """A record says whether its source demanded a proof; anybody may have posted the others."""
    partner = service.client.post(
        "/in/partner", json={"email": "ada@acme.example"}, headers={"X-Key": "partner-key"}
    )
    stranger = service.client.post("/in/contact", data={"email": "ada@acme.example"})
    assert [service.record(partner).verified, service.record(stranger).verified] == [True, False]


@pytest.mark.parametrize(("secret", "status"), [("signed-secret", 202), ("other", 401)])
def test_the_exact_bytes_are_signed(
    service: Service, redis: redis_py.Redis, secret: str, status: int
) -> None:
    """A signature over the raw body is accepted; a wrong one stores nothing."""
    body = b'{"email":  "ada@acme.example"}'
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-signature": signature}
    assert service.client.post("/in/signed", content=body, headers=headers).status_code == status
    assert (
        service.client.post(
            "/in/signed", content=body.replace(b"  ", b" "), headers=headers
        ).status_code
        == 401
    )
    assert stored(redis) == (1 if status == 202 else 0)


HOSTILE_BODIES: list[tuple[str, bytes]] = [
    ("application/json", b""),
    ("application/json", b"{}"),
    ("application/json", b"[]"),
    ("application/json", b"null"),
    ("application/json", b'{"email": '),
    ("application/json", b"\xff\xfe{\x00}\x00"),
    ("application/json; charset=utf-16", '{"email": "a@b.example"}'.encode("utf-16")[:-1]),
    ("application/json", b'{"a":' * 33 + b"1" + b"}" * 33),
    ("application/json", b"[" * 100_000),
    ("application/json", b'{"n": ' + b"9" * 6_000 + b"}"),
    ("application/json", b'{"n": NaN}'),
    ("application/x-www-form-urlencoded", b""),
    ("application/x-www-form-urlencoded", b"a=%ff"),
    ("application/x-www-form-urlencoded", b"a=1&" * 600),
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=", b"x"),
    ("multipart/form-data; boundary=b", b"--b\r\n\r\n"),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--\r\n',
    ),
    ("text/plain", b"hello"),
]


def test_hostile_bodies_are_refused(service: Service, redis: redis_py.Redis) -> None:
    """Empty, broken, deep, huge and mis-encoded bodies are 4xx, and nothing is stored."""
    for kind, body in HOSTILE_BODIES:
        answer = service.client.post("/in/contact", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert stored(redis) == 0
