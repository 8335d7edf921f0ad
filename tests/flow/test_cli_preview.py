"""`leadline preview`: what a raw body would become, as JSON, without a running service."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from tests.flow.intake_world import HTML, open_world
from tests.providers.cases import (
    OUTCOMES,
    Case,
    cases,
    name_of,
    request_of,
    secrets_of,
    source_file_of,
)
from tests.unit.test_uploads import PDF, form

NOW = 1_800_000_000
SOURCES = """
[sources.contact]
origins = ["https://www.acme.example"]
redirect = "https://www.acme.example/thanks"
honeypot = ["website"]
max_body = "1KiB"
[sources.contact.lead]
labels = ["Website"]
channel = "Web forms"
note = false
value = { amount = "{answers.budget}", currency = "EUR" }
[sources.webhook]
adapter = "json"
verify = { scheme = "hmac", secret_env = ["HOOK_SECRET"], header = "X-Signature", signed = "{url}{body}" }
read = { event_id = "id", test = { at = "live", equals = false } }
[sources.jobs.lead]
files = true
note = true
[sources.other]
verify = { scheme = "token", header = "X-Key", secret_env = ["OTHER_SECRET"] }
"""
ADA = {"name": "Ada Lovelace", "email": "Ada@Example.com"}

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `leadline preview` without Redis and credentials, in an environment of its own."""
    (tmp_path / "sources.toml").write_text(SOURCES, "utf-8")

    def go(*words: str, body: bytes | str = b"", env: dict[str, str] | None = None) -> Result:
        paths = {
            "LEADLINE_CONFIG": str(tmp_path / "sources.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "none"),
        }
        blank = {"REDIS_URL": "", "PIPEDRIVE_API_TOKEN": "", "LEADLINE_PUBLIC_URL": ""}
        return CliRunner().invoke(
            main, ["preview", *words], input=body, env=blank | paths | (env or {})
        )

    return go


def parse_output(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    preview: dict[str, Any] = json.loads(result.stdout)
    assert list(preview) == ["outcome", "response", "submissions", "problems"]
    assert list(preview["response"]) == ["status", "body"]
    return preview


def test_a_form_becomes_a_lead(run: Run, tmp_path: Path) -> None:
    """A form gives one object with lead, response and calls, and nothing is stored."""
    preview = parse_output(
        run(
            "contact", "-", body="your-email=Ada%40Example.com&name=Ada+Lovelace&budget=500", env={}
        )
    )
    [one] = preview["submissions"]
    assert (preview["outcome"], preview["response"]["status"], preview["problems"]) == (
        "lead",
        202,
        [],
    )
    assert one["lead"]["email"] == "ada@example.com"
    assert one["lead"]["answers"] == {"budget": "500"}
    assert [(call["method"], call["path"].partition("?")[0]) for call in one["calls"]] == [
        ("GET", "/api/v2/persons/search"),
        ("POST", "/api/v2/persons"),
        ("POST", "/v1/leads"),
    ]
    lead = one["calls"][-1]["body"]
    assert (lead["label_ids"], lead["channel"], lead["value"]) == (
        ["Website"],
        "Web forms",
        {"amount": 500, "currency": "EUR"},
    )
    assert preview["response"]["body"]["id"] in lead["origin_id"]
    assert not (tmp_path / "none").exists()


def test_files_of_a_form_are_among_the_calls(run: Run) -> None:
    """Each file that would be attached is a call, without its content; others are problems."""
    raw = form(("cv.pdf", PDF), ("run.exe", b"MZ\x90"))
    preview = parse_output(run("jobs", "-", "--content-type", raw.content_type, body=raw.body))
    [one] = preview["submissions"]
    assert one["calls"][-1] == {
        "method": "POST",
        "path": "/v1/files",
        "body": {
            "lead_id": "{lead.id}",
            "file": f"cv.pdf (application/pdf, {len(PDF)} bytes)",
        },
    }
    assert "run.exe" in one["calls"][-2]["body"]["content"]
    [problem] = preview["problems"]
    assert "run.exe" in problem["message"]


def test_each_field_is_explained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --explain each submission says how its fields were read, as a table on a terminal."""
    words, body = ("contact", "-", "--explain"), b"E-Mail=ada%40example.com&Ort=K%F6ln&website="
    preview = parse_output(run(*words, body=body))
    [one] = preview["submissions"]
    assert list(one) == ["event_id", "lead", "calls", "explanation"]
    assert one["explanation"][0] == {
        "field": "E-Mail",
        "value": "ada@example.com",
        "became": "email",
        "why": '"e mail"',
        "others": [],
    }
    assert [each["became"] for each in one["explanation"]] == ["email", "answer", "hidden"]
    [problem] = preview["problems"]
    assert problem["field"] == "body"
    monkeypatch.setattr("service.cli.output.is_terminal", lambda: True)
    assert parse_output(run(*words, "--json", body=body)) == preview
    lines = [line.split() for line in run(*words, body=body).output.splitlines()]
    assert lines[0] == ["outcome", "lead"]
    assert lines[1][:2] == ["body", "Part"]
    assert ["E-Mail", "ada@example.com", "email", '"e', 'mail"'] in lines


def test_several_files_give_a_line_each(run: Run, tmp_path: Path) -> None:
    """Each of several files is processed separately and printed on one line."""
    for name, body in (
        ("one", "email=a@example.com"),
        ("two", '{"phone": "+442079460018"}'),
        ("three", "{"),
    ):
        (tmp_path / name).write_text(body, "utf-8")
    result = run("contact", *(str(tmp_path / name) for name in ("one", "two", "three")))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["outcome"] for line in lines] == ["lead", "lead", "unreadable"]
    assert "\n" in run("contact", str(tmp_path / "one")).stdout.rstrip()


def test_the_source_file_is_read_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source file is read as often for many files as for one."""
    from service.sources.source_file import loader

    reads: list[object] = []

    def load(path: Path, *words: Any, **options: Any) -> Any:
        reads.append(path)
        return loader.load_sources(path, *words, **options)

    monkeypatch.setattr("service.cli.preview.load_sources", load)
    (tmp_path / "one").write_text("email=a@example.com", "utf-8")
    run("contact", str(tmp_path / "one"))
    for_one = len(reads)
    many = run("contact", *[str(tmp_path / "one")] * 60)
    assert len(many.stdout.splitlines()) == 60
    assert len(reads) == 2 * for_one


@pytest.mark.parametrize(
    ("words", "body", "outcome", "status"),
    [
        ((), "website=x&email=a@example.com", "spam", 202),
        ((), "hello=1", "no_contact", 422),
        ((), "", "unreadable", 400),
        ((), "email=" + "a" * 2000, "unreadable", 413),
        (("--content-type", "text/csv"), "email=a@example.com", "unreadable", 415),
        (("--header", "Content-Type: application/json"), "email=a@example.com", "unreadable", 400),
        (("--header", "Origin: https://evil.example"), "email=a@example.com", "refused", 403),
        (("--header", "Idempotency-Key: ä"), "email=a@example.com", "unreadable", 400),
        (("--method", "GET"), "email=a@example.com", "refused", 405),
        (("--method", "put"), "email=a@example.com", "refused", 405),
    ],
)
def test_refusals_are_previewed_too(
    run: Run, words: tuple[str, ...], body: str, outcome: str, status: int
) -> None:
    """A refusal is printed with its response and reason, and the exit code is 0."""
    preview = parse_output(run("contact", "-", *words, body=body))
    assert (preview["outcome"], preview["response"]["status"]) == (outcome, status)
    assert preview["problems"]
    assert all(one["calls"] == [] for one in preview["submissions"])
    if status >= 400:
        assert preview["response"]["body"]["status"] == status


def test_the_response_is_that_of_the_service(
    run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status and body equal those of the running service, for programs and browsers."""
    from service.intake import endpoint
    from service.sources import normalize as judging
    from service.sources.source_file.loader import load_sources

    with open_world(redis_url, monkeypatch) as world:
        monkeypatch.setattr(endpoint, "process_request", judging.process_request)
        for name, source in load_sources(SOURCES, {}, secrets=()).sources.items():
            world.context.sources.sources[name] = source
        for body in (
            "email=a@example.com",
            "hello=1",
            "",
            "website=x&email=a@example.com",
            "a" * 2000,
        ):
            for accept in ("application/json", HTML):
                kind = {"Content-Type": "application/x-www-form-urlencoded", "Accept": accept}
                real = world.client.post(
                    "/in/contact", content=body, headers=kind, follow_redirects=False
                )
                preview = parse_output(
                    run(
                        "contact",
                        "-",
                        *(f"--header={name}: {value}" for name, value in kind.items()),
                        body=body,
                    )
                )
                assert preview["response"]["status"] == real.status_code
                assert shape(preview["response"]["body"]) == shape(real.text), (body, accept)


def shape(body: Any) -> Any:
    """The part that is the same in every request."""
    if isinstance(body, str) and body.startswith("{"):
        body = json.loads(body)
    if isinstance(body, dict):
        return {
            key: value
            for key, value in body.items()
            if key not in ("id", "status_url", "instance", "duplicate")
        }
    return (body or "")[:300]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "https://leads.acme.example/in/webhook?a=1",
            ("--url", "https://leads.acme.example/in/webhook?a=1"),
        ),
        ("https://leads.acme.example/in/webhook?a=1", ("--query", "a=1")),
        ("https://leads.acme.example/in/webhook", ()),
    ],
)
def test_a_signature_over_the_url(run: Run, url: str, words: tuple[str, ...]) -> None:
    """The public URL that a scheme signs comes from --url, or from the settings and --query."""
    body = json.dumps(ADA | {"id": "evt-1"})
    signature = hmac.new(b"s3cret", f"{url}{body}".encode(), hashlib.sha256).hexdigest()
    env = {"HOOK_SECRET": "s3cret", "LEADLINE_PUBLIC_URL": "https://leads.acme.example"}
    header = ("--header", f"X-Signature: {signature}")
    preview = parse_output(run("webhook", "-", *words, *header, body=body, env=env))
    assert (preview["outcome"], preview["submissions"][0]["event_id"]) == ("lead", "evt-1")
    wrong = parse_output(
        run(
            "webhook",
            "-",
            *header,
            "--url",
            "https://leads.acme.example/in/other",
            body=body,
            env=env,
        )
    )
    assert (wrong["outcome"], wrong["response"]["status"], wrong["submissions"]) == (
        "refused",
        401,
        [],
    )
    assert "s3cret" not in str(preview) + str(wrong)


def test_a_test_event_makes_no_calls(run: Run, tmp_path: Path) -> None:
    """A genuine event that gives no lead is previewed with the reason and without calls."""
    body = json.dumps(ADA | {"live": False})
    signature = hmac.new(b"s3cret", body.encode(), hashlib.sha256).hexdigest()
    config = tmp_path / "own.toml"
    config.write_text(SOURCES.replace("{url}{body}", "{body}"), "utf-8")
    env = {"HOOK_SECRET": "s3cret", "LEADLINE_CONFIG": str(config)}
    preview = parse_output(
        run("webhook", "-", "--header", f"X-Signature: {signature}", body=body, env=env)
    )
    assert (preview["outcome"], preview["submissions"][0]["calls"]) == ("no_lead", [])
    assert "test event" in preview["problems"][0]["message"]


def test_what_cannot_be_written_is_a_problem(run: Run) -> None:
    """A lead value that is not a number is left out and reported."""
    preview = parse_output(run("contact", "-", body="email=a@example.com&budget=plenty"))
    assert preview["outcome"] == "lead"
    assert "plenty" in preview["problems"][0]["message"]
    assert "value" not in preview["submissions"][0]["calls"][-1]["body"]


def test_the_time_is_an_argument(run: Run, tmp_path: Path) -> None:
    """Whatever depends on the time follows --now."""
    config = tmp_path / "close.toml"
    config.write_text('[sources.contact.lead]\nexpected_close = "2d"\nnote = false\n', "utf-8")
    words = ("contact", "-", "--now", str(NOW))
    preview = parse_output(
        run(*words, body="email=a@example.com", env={"LEADLINE_CONFIG": str(config)})
    )
    assert preview["submissions"][0]["calls"][-1]["body"]["expected_close_date"] == "2027-01-17"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "-"), "no source 'nowhere'"),
        (("contact",), "Missing argument"),
        (("contact", "/does/not/exist"), "does not exist"),
        (("contact", "-", "--header", "no colon"), "expected 'Name: value'"),
        (("contact", "-", "--header", "X: a\r\nY: b"), "expected 'Name: value'"),
        (("contact", "-", "--now", "tomorrow"), "--now"),
        (("contact", "-", "--method", "BREW"), "--method"),
        (("webhook", "-"), "HOOK_SECRET"),
        (("contact", "-", "--api-response"), "no records to read"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, words: tuple[str, ...], message: str) -> None:
    """Wrong use exits with 2 and the reason, and prints no JSON."""
    result = run(*words, body="email=a@example.com")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_source_file_with_faults_ends_with_2(run: Run, tmp_path: Path) -> None:
    """Each fault of the source file is printed."""
    broken = tmp_path / "broken.toml"
    broken.write_text('[sources.contact]\nadaptor = "form"\nreply = 700\n', "utf-8")
    result = run("contact", "-", env={"LEADLINE_CONFIG": str(broken)})
    assert result.exit_code == 2
    assert "adaptor" in result.stderr
    assert "700" in result.stderr


SENT = list(cases())
GENERIC = [case for case in SENT if case["adapter"] in ("form", "json")]


def outcomes(case: Case) -> set[str]:
    expected = case["expected"]
    return {
        OUTCOMES.get(word, word)
        for word in (expected["outcome"], *expected.get("accept", {}).get("outcome", []))
    }


@pytest.mark.parametrize("case", SENT, ids=name_of)
def test_what_real_senders_send(run: Run, tmp_path: Path, case: Case) -> None:
    """A captured request is processed as the service would."""
    (tmp_path / "case.toml").write_text(source_file_of(case), "utf-8")
    request = request_of(case)
    words = [f"--header={name}: {value}" for name, value in request.headers if name != "origin"]
    words += ["--query", request.query, "--method", request.method]
    words += [
        "--now",
        str(case.get("verification", {}).get("now", NOW)),
        *(["--url", request.url] if request.url else []),
    ]
    env = secrets_of(case) | {"LEADLINE_CONFIG": str(tmp_path / "case.toml")}
    preview = parse_output(run("case", "-", *words, body=request.body, env=env))
    assert preview["outcome"] in outcomes(case)
    assert preview["response"]["status"] in case["expected"].get(
        "status", [preview["response"]["status"]]
    )
    if preview["outcome"] == "lead":
        [one] = preview["submissions"]
        assert one["lead"].get("email") == case["expected"].get("email", one["lead"].get("email"))
        assert one["calls"][-1]["path"] in ("/v1/leads", "/v1/notes")
    for member in case["expected"].get("response_json_has", []):
        assert member in preview["response"]["body"]


@pytest.mark.parametrize("case", list(cases("api_response")), ids=name_of)
def test_a_fetched_record(run: Run, tmp_path: Path, case: Case) -> None:
    """A record of a product's API is processed without a request and without secrets."""
    (tmp_path / "case.toml").write_text(source_file_of(case | {"secret": "x"}), "utf-8")
    record, env = tmp_path / "record.json", {"LEADLINE_CONFIG": str(tmp_path / "case.toml")}
    record.write_text(json.dumps(case["response"]["body_json"]), "utf-8")
    preview = parse_output(run("case", str(record), "--api-response", env=env))
    [one] = preview["submissions"]
    assert (preview["outcome"], one["event_id"]) == (
        case["expected"]["outcome"],
        case["expected"]["event_id"],
    )
    assert bool(one["calls"]) is (preview["outcome"] == "lead")
    both = run("case", str(record), str(record), "--api-response", env=env)
    assert [json.loads(line)["outcome"] for line in both.stdout.splitlines()] == [
        preview["outcome"]
    ] * 2
    none = parse_output(run("case", "-", "--api-response", body="{}", env=env))
    assert (none["outcome"], none["submissions"], bool(none["problems"])) == (
        "unreadable",
        [],
        True,
    )


@pytest.mark.parametrize(
    "case", [case for case in GENERIC if "form" not in case["request"]], ids=name_of
)
def test_the_media_type_is_guessed(run: Run, tmp_path: Path, case: Case) -> None:
    """Without --content-type, JSON and multipart are recognized by the body."""
    (tmp_path / "case.toml").write_text(source_file_of(case), "utf-8")
    request = request_of(case)
    words = [
        f"--header={name}: {value}"
        for name, value in request.headers
        if name not in ("origin", "content-type")
    ]
    words += ["--query", request.query, "--now", str(case.get("verification", {}).get("now", NOW))]
    env = secrets_of(case) | {"LEADLINE_CONFIG": str(tmp_path / "case.toml")}
    preview = parse_output(run("case", "-", *words, body=request.body, env=env))
    assert preview["outcome"] == OUTCOMES.get(
        case["expected"]["outcome"], case["expected"]["outcome"]
    )
