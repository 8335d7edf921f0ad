"""`leadline sources`: configured sources with their counts, and a new one from a capture."""

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
        paths = {
            "LEADLINE_CONFIG": str(tmp_path / "sources.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "none"),
        }
        blank = {"REDIS_URL": "", "LEADLINE_PUBLIC_URL": "https://leads.acme.example"}
        return CliRunner().invoke(
            main, ["sources", *words], input=body, env=blank | paths | (env or {})
        )

    return go


def test_list_without_a_store(run: Run, tmp_path: Path) -> None:
    """Offline, each source is listed with verification and URL, without secrets or Redis."""
    result = run("list", "--offline", "--json")
    sources = {item["source"]: item for item in json.loads(result.stdout)["items"]}
    assert {name: (item["adapter"], item["verify"]) for name, item in sources.items()} == {
        "contact": ("form", "none"),
        "typeform": ("typeform", "hmac (Typeform-Signature)"),
        "crm": ("hubspot", "hubspot"),
    }
    assert sources["crm"]["url"] == "https://leads.acme.example/in/crm"
    assert sources["crm"]["stored"] is None
    assert not (tmp_path / "none").exists()
    assert "https://leads.acme.example/in/contact" in run("list", "--offline").stdout


def test_list_counts(
    run: Run,
    redis: redis_py.Redis,
    redis_url: str,
    aredis: Callable[[], AbstractAsyncContextManager[Any]],
) -> None:
    """Submissions are counted by source, including sources no longer in the file."""
    submissions = [
        submission(source="contact"),
        submission(State.DEAD, source="contact"),
        submission(source="old"),
    ]
    asyncio.run(accept(aredis, redis, submissions))
    env = {"REDIS_URL": redis_url}
    listing = json.loads(run("list", "--json", env=env).stdout)
    contact = next(item for item in listing["items"] if item["source"] == "contact")
    assert (contact["stored"], contact["dead"], contact["last_received"]) == (
        2,
        1,
        "2023-11-14T22:13:20Z",
    )
    assert listing["not_in_the_file"] == ["old"]
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
    """Shows what differs from the defaults, and only the names of secrets."""
    result = run("show", "contact", "--offline")
    assert 'labels = ["Website"]' in result.stdout
    assert 'utm_source = "google"' in result.stdout
    assert "TYPEFORM_SECRET" in run("show", "typeform", "--offline").stdout
    missing = run("show", "nowhere", "--offline")
    assert missing.exit_code == 1
    assert "contact, crm, typeform" in missing.stderr


def test_new_prints_lines_to_paste(run: Run, tmp_path: Path) -> None:
    """Standard output is a valid source file with a free name; the rest is on stderr."""
    result = run("new", "-", body=BODY)
    assert result.exit_code == 0, result.output
    [(name, source)] = load_sources(result.stdout, {"TYPEFORM_2_SECRET": "x"}).sources.items()
    assert (name, source.adapter) == ("typeform_2", "typeform")
    assert "form_response" in result.stderr
    both = tmp_path / "both.toml"
    both.write_text(SOURCES + result.stdout, "utf-8")
    assert len(load_sources(both, {}, secrets=()).sources) == 4


def test_new_with_a_secret(run: Run) -> None:
    """With the sender's secret the signature scheme is detected; the secret is never printed."""
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
    """The JSON object has the TOML, the lead and the open questions."""
    proposal = json.loads(run("new", "-", "--json", body="email=ada%40example.com&Team=x").stdout)
    assert (proposal["adapter"], proposal["lead"]["email"], proposal["unmapped"][0]["path"]) == (
        "form",
        "ada@example.com",
        "Team",
    )
    assert load_sources(proposal["toml"], {}).sources


def test_new_asks_only_on_a_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--ask` prompts on a terminal and is ignored in a pipe."""
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
    ("words", "message"),
    [
        (("-", "--name", "no spaces"), "a name of letters"),
        (("-", "--header", "no colon"), "expected 'Name: value'"),
        (("-", "--secret-env", "NOT_SET_ANYWHERE"), "is not set"),
        (("/does/not/exist",), "does not exist"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, words: tuple[str, ...], message: str) -> None:
    """Wrong use exits with 2 and prints no TOML."""
    result = run("new", *words, body=BODY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
