"""Tokens cannot be guessed: one lock-out for every place that takes one, and a least length."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.generated_secrets import SECRETS_FILE, load_or_create
from service.local.redis import EmbeddedRedis
from service.local.stack import leadline_argv
from tests.serve_process import PATIENCE, ROOT, ServeProcess, post, statuses

OPERATOR = "operators-token-of-this-test"
SOURCE_KEY = "partners-key-of-this-test"
SOURCES = """
[sources.contact]
adapter = "json"
[sources.partner]
adapter = "json"
verify = { scheme = "token", header = "X-Key", secret_env = ["PARTNER_KEY"] }
"""
ALLOWED_TRIES = 20


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    running = ServeProcess(
        tmp_path_factory.mktemp("tokens"),
        redis_server.url,
        SOURCES,
        LEADLINE_OPS_TOKENS=f"kim:operator:{OPERATOR}",
        PARTNER_KEY=SOURCE_KEY,
    )
    yield running
    running.stop()


def bearer(token: str) -> bytes:
    return f"Authorization: Bearer {token}".encode()


def key(token: str) -> bytes:
    return f"X-Key: {token}".encode()


def receipt_path(server: ServeProcess, source: str) -> bytes:
    answer = server.talk(post(key(SOURCE_KEY), path=f"/in/{source}".encode()))
    assert statuses(answer) == [202]
    path: str = json.loads(answer.partition(b"\r\n\r\n")[2])["status_url"]
    return path.encode()


@pytest.mark.parametrize(
    ("place", "address"), [("receipt", "127.0.2.1"), ("api", "127.0.2.2"), ("key", "127.0.2.3")]
)
def test_guessing_in_one_place_locks_out_in_all(
    server: ServeProcess, place: str, address: str
) -> None:
    """After twenty wrong tokens, at whatever door, the right one opens none of them there."""
    path = receipt_path(server, "partner")
    target, header = {
        "receipt": (path, bearer),
        "api": (b"/ops/api/overview", bearer),
        "key": (path, key),
    }[place]
    answers = [
        server.get(target, header(f"wrong-{number}"), source=address)
        for number in range(ALLOWED_TRIES + 1)
    ]
    assert answers[-1] == [429]
    assert [429] not in answers[:ALLOWED_TRIES]
    assert server.get(path, bearer(OPERATOR), source=address) == [429]
    assert server.get(path, key(SOURCE_KEY), source=address) == [429]
    assert server.get(b"/ops/api/overview", bearer(OPERATOR), source=address) == [429]
    assert server.get(path, source=address) == [200]  # who shows no token is not concerned
    assert server.get(path, bearer(OPERATOR), source="127.0.2.9") == [200]


def test_a_token_is_worth_what_it_is_worth(server: ServeProcess) -> None:
    """The right ones show the delivery, a wrong one shows what anybody sees."""
    path = receipt_path(server, "partner")

    def shows_delivery(*headers: bytes) -> bool:
        return b'"attempts"' in server.talk(
            b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            + b"".join(header + b"\r\n" for header in headers) + b"\r\n",
            "127.0.2.4",
        )  # fmt: skip

    assert shows_delivery(bearer(OPERATOR))
    assert shows_delivery(key(SOURCE_KEY))
    assert not shows_delivery(bearer(SOURCE_KEY))
    assert not shows_delivery(key(OPERATOR))
    assert not shows_delivery()


def test_a_short_ops_token_stops_the_start(redis_url: str, tmp_path: Path) -> None:
    """`serve` names the setting and the least length, and does not show the token."""
    short = "a-token-of-23-characters"[:23]
    env = os.environ | {
        "REDIS_URL": redis_url,
        "LEADLINE_PORT": "0",
        "LEADLINE_DATA_DIR": str(tmp_path),
        "LEADLINE_OPS_TOKENS": f"kim:operator:{short}",
    }
    ended = subprocess.run(
        leadline_argv("serve"), env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    output = ended.stdout + ended.stderr
    assert "LEADLINE_OPS_TOKENS: expected tokens of at least 24 characters" in output
    assert short not in output


def test_up_shows_no_token_to_a_journal(tmp_path: Path) -> None:
    """Others read a service's journal: `up` names the file there, which is its owner's."""
    journal, ours = os.pipe()
    status = os.fstat(ours)
    env = os.environ | {
        "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
        "LEADLINE_DATA_DIR": str(tmp_path),
        "LEADLINE_PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    running = subprocess.Popen(
        leadline_argv("up"),
        env=env,
        cwd=tmp_path,
        stdout=ours,
        stderr=subprocess.STDOUT,
    )
    os.close(ours)
    lines: list[str] = []
    with open(journal, encoding="utf-8") as output_lines:
        for line in output_lines:
            lines.append(line)
            if line.startswith("Try:"):
                running.terminate()
    running.wait(timeout=PATIENCE)
    stored = tmp_path / SECRETS_FILE
    assert stored.stat().st_mode & 0o077 == 0
    secrets = json.loads(stored.read_text())
    assert {"operator_token", "PARTNER_KEY"} <= set(secrets)
    output = "".join(lines)
    assert str(stored) in output
    assert not any(secret in output for secret in secrets.values())
    assert load_or_create(tmp_path, list(secrets)) == secrets
