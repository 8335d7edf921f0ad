"""Answers give nothing away: who else has posted, and what was taken for spam."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.local.redis import EmbeddedRedis
from tests.serve_process import ServeProcess, get, post, statuses

KEY = "partners-key-of-this-test"
SOURCES = """
[sources.contact]
rate_limit = "off"
honeypot = ["website"]
[sources.partner]
adapter = "json"
dedupe_window = "10m"
verify = { scheme = "token", header = "X-Key", secret_env = ["PARTNER_KEY"] }
"""


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    running = ServeProcess(
        tmp_path_factory.mktemp("answers"),
        redis_server.url,
        SOURCES,
        PARTNER_KEY=KEY,
        LEADLINE_OPS_TOKENS="kim:operator:a-token-of-24-characters-or-more",
    )
    yield running
    running.stop()


def send(
    server: ServeProcess, body: str, address: str, *headers: bytes, to: str = "contact"
) -> Any:
    """The answer to a post from an address, with its headers' names in lower case."""
    answer = server.talk(post(*headers, body=body.encode(), path=f"/in/{to}".encode()), address)
    assert statuses(answer) == [202]
    head, _, content = answer.partition(b"\r\n\r\n")
    return json.loads(content) | {"replayed": b"\r\nidempotent-replayed:" in head.lower()}


def test_a_stranger_does_not_learn_who_has_posted(server: ServeProcess) -> None:
    """The same content from another address is answered like any first post; from the same, as a
    double click.
    """
    body = '{"email": "ada@acme.example", "message": "please call"}'
    first = send(server, body, "127.0.3.1")
    again = send(server, body, "127.0.3.1")
    assert (again["duplicate"], again["replayed"], again["id"]) == (True, True, first["id"])
    stranger = send(server, body, "127.0.3.2")
    assert (stranger["duplicate"], stranger["replayed"]) == (False, False)
    assert stranger["id"] != first["id"]


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        pytest.param("contact", [b"Idempotency-Key: c0ffee-1"], id="the same key"),
        pytest.param("partner", [b"X-Key: " + KEY.encode()], id="a verified sender"),
    ],
)
def test_whoever_shows_that_it_is_theirs_is_told(
    server: ServeProcess, source: str, headers: list[bytes]
) -> None:
    """From another address too."""
    body = f'{{"email": "{source}@acme.example"}}'
    first = send(server, body, "127.0.3.3", *headers, to=source)
    again = send(server, body, "127.0.3.4", *headers, to=source)
    assert (first["duplicate"], again["duplicate"], again["id"]) == (False, True, first["id"])


def test_spam_is_answered_like_any_other(server: ServeProcess) -> None:
    """The answer, its headers and the receipt differ in ids and times alone."""
    genuine = '{"email": "bob@acme.example", "website": ""}'
    spam = '{"email": "bot@acme.example", "website": "http://spam.example"}'
    views = []
    for body in (genuine, spam):
        answer = send(server, body, "127.0.3.5")
        receipt = server.talk(get(answer["status_url"].encode()), "127.0.3.5")
        view = json.loads(receipt.partition(b"\r\n\r\n")[2])
        assert view["updated_at"] == view["received_at"]
        views.append((answer["state"], answer["duplicate"], view["state"], view["result"]))
    assert views[0] == views[1]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/docs/openapi.json"),
        ("GET", "/docs/style.css"),
        ("GET", "/nowhere"),
        ("GET", "//metrics"),
        ("GET", "/ops"),
        ("GET", "/ops/sign-in"),
        ("GET", "/ops/api/overview"),
        ("GET", "/in/contact"),
        ("OPTIONS", "/in/contact"),
        ("OPTIONS", "/healthz"),
        ("OPTIONS", "/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("GET", "/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("DELETE", "/metrics"),
    ],
)
def test_every_answer_is_inert(server: ServeProcess, method: str, path: str) -> None:
    """No answer is sniffed, framed, or tells where its reader came from."""
    request = get(path.encode()).replace(b"GET", method.encode(), 1)
    head = server.talk(request, "127.0.3.6").partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-content-type-options: nosniff" in head
    assert b"\r\nreferrer-policy: no-referrer" in head or b"referrer-policy: same-origin" in head
    assert b"frame-ancestors 'none'" in head
    assert b"\r\ncache-control: " in head
    assert b"\r\nserver: " not in head
