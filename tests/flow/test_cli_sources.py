"""`leadline sources`: what is configured and received, and a new source from a capture."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from service.cli import output
from service.cli.main import main
from service.sources.source_file.loader import load_sources
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import State

SOURCES = """
[sources.contact]
honeypot = ["website"]
[sources.contact.lead]
labels = ["Website"]
[[sources.contact.rules]]
when = { utm_source = "google" }
channel = "Paid search"
[sources.typeform]
adapter = "typeform"
verify = { secret_env = "TYPEFORM_SECRET" }
[sources.crm]
adapter = "hubspot"
verify = { secret_env = "HUBSPOT_SECRET" }
"""
BODY = '{"event_id": "e", "form_response": {"token": "t", "form_id": "f", "answers": []}}'

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "sources.toml").write_text(SOURCES, "utf-8")

    def go(*words: str, body: str = "", env: dict[str, str] | None = None) -> Result:
        own = {
            "LEADLINE_CONFIG": str(tmp_path / "sources.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "none"),
        }
        blank = {"REDIS_URL": "", "LEADLINE_PUBLIC_URL": "https://leads.acme.example"}
        return CliRunner().invoke(
            main, ["sources", *words], input=body, env=blank | own | (env or {})
        )

    return go


def test_list_without_a_store(run: Run, tmp_path: Path) -> None:
    """Offline, every source is listed with verification and URL; no secret or Redis is needed."""
    result = run("list", "--offline", "--json")
    found = {item["source"]: item for item in json.loads(result.stdout)["items"]}
    assert {name: (item["adapter"], item["verify"]) for name, item in found.items()} == {
        "contact": ("form", "none"),
        "typeform": ("typeform", "hmac (Typeform-Signature)"),
        "crm": ("hubspot", "hubspot"),
    }
    assert found["crm"]["url"] == "https://leads.acme.example/in/crm"
    assert found["crm"]["stored"] is None
    assert not (tmp_path / "none").exists()
    assert "https://leads.acme.example/in/contact" in run("list", "--offline").stdout


def test_list_counts(
    run: Run,
    redis: redis_py.Redis,
    redis_url: str,
    aredis: Callable[[], AbstractAsyncContextManager[Any]],
) -> None:
    """The submissions of each source are counted, also of those no longer in the file."""
    kept = [
        submission(source="contact"),
        submission(State.DEAD, source="contact"),
        submission(source="old"),
    ]
    asyncio.run(accept(aredis, redis, kept))
    env = {"REDIS_URL": redis_url}
    told = json.loads(run("list", "--json", env=env).stdout)
    contact = next(item for item in told["items"] if item["source"] == "contact")
    assert (contact["stored"], contact["dead"], contact["last_received"]) == (
        2,
        1,
        "2023-11-14T22:13:20Z",
    )
    assert told["not_in_the_file"] == ["old"]
    assert "not in the source file: old" in run("list", env=env).stdout
    one = json.loads(run("show", "contact", "--json", env=env).stdout)
    assert one["states"] == {"queued": 1, "dead": 1}


def test_list_without_redis(run: Run) -> None:
    """Without Redis the list has no counts."""
    result = run("list", env={"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert result.exit_code == 0
    assert "no counts" in result.stderr
    assert "typeform" in result.stdout


def test_show(run: Run) -> None:
    """One source shows what differs from the defaults, and only the names of its secrets."""
    result = run("show", "contact", "--offline")
    assert 'labels = ["Website"]' in result.stdout
    assert 'utm_source = "google"' in result.stdout
    assert "TYPEFORM_SECRET" in run("show", "typeform", "--offline").stdout
    missing = run("show", "nowhere", "--offline")
    assert missing.exit_code == 1
    assert "contact, crm, typeform" in missing.stderr


def test_new_prints_lines_to_paste(run: Run, tmp_path: Path) -> None:
    """Standard output is a source file of its own, under a free name; the rest is on stderr."""
    result = run("new", "-", body=BODY)
    assert result.exit_code == 0, result.output
    [(name, source)] = load_sources(result.stdout, {"TYPEFORM_2_SECRET": "x"}).sources.items()
    assert (name, source.adapter) == ("typeform_2", "typeform")
    assert "form_response" in result.stderr
    both = tmp_path / "both.toml"
    both.write_text(SOURCES + result.stdout, "utf-8")
    assert len(load_sources(both, {}, secrets=()).sources) == 4


def test_new_with_a_secret(run: Run) -> None:
    """With the sender's secret the signature's form is found; the secret is never printed."""
    body = '{"email": "ada@example.com", "name": "Ada Lovelace"}'
    signature = hmac.new(b"s3cret", b"1700000000:" + body.encode(), hashlib.sha256).hexdigest()
    words = (
        "--header",
        f"X-Acme-Signature: {signature}",
        "--header",
        "X-Acme-Timestamp: 1700000000",
        "--name",
        "acme",
    )
    result = run("new", "-", *words, "--secret-env", "ACME", body=body, env={"ACME": "s3cret"})
    assert (
        load_sources(result.stdout, {"ACME_SECRET": "x"}).sources["acme"].verification.signed
        == "{timestamp}:{body}"
    )
    assert "s3cret" not in result.stdout + result.stderr
    assert "guessed" in run("new", "-", *words, body=body).stderr


def test_new_as_json(run: Run) -> None:
    """As JSON: the lines, the lead and what is open, in one object."""
    told = json.loads(run("new", "-", "--json", body="email=ada%40example.com&Team=x").stdout)
    assert (told["adapter"], told["lead"]["email"], told["unmapped"][0]["path"]) == (
        "form",
        "ada@example.com",
        "Team",
    )
    assert load_sources(told["toml"], {}).sources


def test_new_asks_on_a_terminal_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--ask` asks on a terminal, takes the answers, and is ignored in a pipe."""
    file = tmp_path / "body"
    file.write_text("email=ada%40example.com&Team=x&Size=L", "utf-8")
    assert "Name of the source" not in run("new", str(file), "--ask").stderr

    monkeypatch.setattr(output, "is_interactive", lambda: True)
    result = run("new", str(file), "--ask", body="brochure\ncompany\n\n")
    source = load_sources(result.stdout, {}).sources["brochure"]
    assert source.map == {"Team": "company"}
    again = run("new", str(file), "--ask", body="brochure\nno field\ncompany\n\n")
    assert "expected a field" in again.stderr
    assert load_sources(again.stdout, {}).sources["brochure"].map == {"Team": "company"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-", "--name", "no spaces"), "a name of letters"),
        (("-", "--header", "no colon"), "expected 'Name: value'"),
        (("-", "--secret-env", "NOT_SET_ANYWHERE"), "is not set"),
        (("/does/not/exist",), "does not exist"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, words: tuple[str, ...], said: str) -> None:
    """What cannot be read at all ends with 2 and prints no lines."""
    result = run("new", *words, body=BODY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
