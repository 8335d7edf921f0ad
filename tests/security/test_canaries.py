"""Whatever a sender says appears only where it must: a canary in every field, header and key.

Each test posts the canaries through every kind of answer there is, and then searches an output for
any of them: answers, logs, metrics, Redis with its files, the spool, what a viewer sees.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import redis as redis_py
from litestar.testing import TestClient

from service import context as contexts
from service.app import create_app
from service.context import ServiceContext
from tests.flow.ops_world import OPERATOR, TOKENS, VIEWER, bearer
from tests.polling import eventually
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Attempt, Cause, DuplicateKey, State, Submission
from worker.encryption import Cipher
from worker.ledger.audit import AuditTrail
from worker.settings.table import Settings

KEY = base64.b64encode(bytes(range(9, 41))).decode()
SOURCES = """
[sources.contact]
honeypot = ["website2"]
[sources.contact.lead]
labels = ["Website"]
[sources.partner]
adapter = "json"
[sources.partner.verify]
scheme = "token"
header = "X-Key"
secret_env = "PARTNER_KEY"
[sources.product]
adapter = "typeform"
verify = { secret_env = "PARTNER_KEY" }
"""
# In these a viewer may see a canary: they say nothing of a person.
SHOWN_FIELDS = ("company", "utm_campaign", "utm_source", "utm_medium", "job_title")
PERSONAL_FIELDS = (
    "name", "email", "phone", "message", "Favourite colour", "page_url", "referrer", "nested[a][b]",
)  # fmt: skip


class World(NamedTuple):
    client: TestClient[Any]
    context: ServiceContext
    answers: list[Any]
    dead: str


class Canaries:
    """Gives out a new canary for each place, as a text that no program makes by itself."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def new(self, place: str) -> str:
        canary = f"canary{len(self.places) + 100}zq"
        self.places[canary] = place
        return canary

    def find(self, data: bytes | str) -> list[str]:
        """The places whose canary stands in the data, as text, escaped or in base64."""
        text = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        texts = [text.lower(), *(_decoded(text))]
        return [
            place
            for canary, place in self.places.items()
            if any(canary.encode() in each for each in texts)
        ]


def _decoded(text: bytes) -> Iterator[bytes]:
    for token in re.findall(rb"[A-Za-z0-9+/]{16,}", text):
        for skip in range(4):
            yield base64.b64decode(token[skip:][: (len(token) - skip) // 4 * 4])


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def world(redis_url: str, tmp_path: Path, canaries: Canaries) -> Iterator[World]:
    """The service with a source file and an encryption key, after everything was posted."""
    (tmp_path / "leadline.toml").write_text(SOURCES)
    env = TOKENS | {
        "LEADLINE_CONFIG": str(tmp_path / "leadline.toml"), "LEADLINE_DATA_DIR": str(tmp_path),
        "LEADLINE_ENCRYPTION_KEYS": KEY, "REDIS_URL": redis_url, "PARTNER_KEY": "s3cret-" * 4,
    }  # fmt: skip
    context = contexts.build(Settings.for_service(env), env)
    with TestClient(create_app(context)) as client:
        answers = list(_post_everything(client, canaries))
        ids = [each.json()["id"] for each in answers if each.status_code == 202]
        _deliver_badly(context, ids[0], canaries)
        assert eventually(lambda: client.get("/readyz").status_code == 200)
        yield World(client, context, answers, ids[0])


def _post_everything(client: TestClient[Any], canaries: Canaries) -> Iterator[Any]:
    """Accepted, duplicate, quarantined, refused and unreadable requests, each full of canaries."""

    def fields(kind: str) -> dict[str, str]:
        values = {
            name: canaries.new(f"{kind}: {name}") for name in (*PERSONAL_FIELDS, *SHOWN_FIELDS)
        }
        return values | {
            "email": f"{values['email']}@example.com",
            "phone": "+49 30 1234567",
            "page_url": f"https://x.example/p?e={values['page_url']}",
            "referrer": f"https://x.example/r?e={values['referrer']}",
        }

    def headers(kind: str) -> dict[str, str]:
        names = ("cookie", "user-agent", "x-custom", "accept-language", "authorization")
        return {name: canaries.new(f"{kind}: {name}") for name in names}

    def post(kind: str, source: str, body: bytes, content_type: str, **more: str) -> Any:
        query = urlencode({"q": canaries.new(f"{kind}: query")})
        sent = headers(kind) | {"content-type": content_type} | more
        return client.post(f"/in/{source}?{query}", content=body, headers=sent)

    form, kind = "application/x-www-form-urlencoded", "accepted"
    body = urlencode(fields(kind)).encode()
    yield post(kind, "contact", body, form)
    yield post("duplicate", "contact", body, form)
    spam = fields("spam") | {"website2": canaries.new("spam: honeypot")}
    yield post("spam", "contact", urlencode(spam).encode(), form)
    key = canaries.new("the name of a field") + "@example.com"
    yield post("a key", "contact", urlencode({"email": "a@b.example", key: "x"}).encode(), form)
    data = json.dumps(fields("unsigned")).encode()
    yield post("unsigned", "partner", data, "application/json")
    yield post("wrong key", "partner", data, "application/json", **{"x-key": canaries.new("key")})
    yield post("unsigned product", "product", data, "application/json")
    yield post("no contact", "contact", urlencode({"x": canaries.new("alone")}).encode(), form)
    yield post(
        "unreadable", "partner", b'{"a": ' + canaries.new("half").encode(), "application/json"
    )
    yield post(
        "media type", "contact", canaries.new("zip").encode(), f"application/{canaries.new('type')}"
    )
    yield post("long key", "contact", body, form, **{"idempotency-key": canaries.new("long") * 40})
    yield client.post(f"/in/{canaries.new('source')}", content=b"a=b")
    yield client.get(f"/in/contact?{canaries.new('get')}=1")


def _deliver_badly(context: ServiceContext, submission_id: str, canaries: Canaries) -> None:
    """Pipedrive's answers quote what was sent: a viewer sees them without addresses."""
    ledger = context.ledger
    assert ledger.claim(submission_id, "t", 30)
    ledger.finish(
        submission_id, "t", State.DEAD, why=f"“{canaries.new('dead: why')}@example.com”",
        cause=Cause(step="lead", code="invalid", detail=f"{canaries.new('dead: cause')}@example.com"),
        attempts=[Attempt(at=1.0, step="leads.add", outcome="invalid", detail=f"{canaries.new('attempt')}@a.example")],
        facts={"fetch": json.dumps({"id": canaries.new("dead: fetch")}).encode()},
    )  # fmt: skip


def test_answers_repeat_nothing(world: World, canaries: Canaries) -> None:
    """No answer to a sender, no page of problems, health or metrics has anything of what was sent.

    Only the name of a field that is at fault, and the path that was asked for, come back.
    """
    outputs = [each.text + str(dict(each.headers)) for each in world.answers[:-2]]
    outputs += [world.client.get(path).text for path in ("/metrics", "/readyz", "/healthz")]
    assert {place for text in outputs for place in canaries.find(text)} <= {"alone"}
    assert sorted({each.status_code for each in world.answers}) == [
        202,
        400,
        401,
        404,
        405,
        415,
        422,
    ]


def test_with_keys_nothing_that_was_sent_is_stored_in_plain(
    world: World, canaries: Canaries, redis: redis_py.Redis
) -> None:
    """With a key no name of a key, no value and no byte of Redis's files has a canary."""
    redis.config_set("rdbcompression", "no")
    assert eventually(lambda: redis.exists("leadline:metrics"))
    stored = {name: name + (redis.dump(name) or b"") for name in redis.scan_iter()}
    assert {name: places for name, data in stored.items() if (places := canaries.find(data))} == {}
    redis.bgrewriteaof()
    assert eventually(lambda: not redis.info("persistence")["aof_rewrite_in_progress"])
    folder = Path(str(redis.config_get("dir")["dir"]))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".aof" for path in files)
    assert [path for path in files if canaries.find(path.read_bytes())] == []
    record = world.context.ledger.find_history(world.dead)
    assert record is not None
    assert "dead: why" in canaries.find(str(record))  # it is there, for whoever has the key


def test_with_keys_the_spool_shows_nothing(
    world: World, canaries: Canaries, tmp_path: Path
) -> None:
    """What waits on disk for Redis is sealed as well, its duplicate key a digest."""
    record = world.context.ledger.get(world.dead)
    assert record is not None
    assert record.raw is not None
    item = Submission(
        id=record.id, source="contact", state=State.QUEUED, received_at=1.0, lead=record.lead,
        raw=record.raw, cause=record.cause, why="x", duplicate_key=DuplicateKey("event", "d", "f"),
    )  # fmt: skip
    spool = Spool(tmp_path / "spooled" / SPOOL_FOLDER, 1_000_000, Cipher([KEY]))
    spool.put([item], 1.0)
    files = [path for path in (tmp_path / "spooled").rglob("*") if path.is_file()]
    assert [path for path in files if canaries.find(path.read_bytes())] == []
    spool.close()


def test_logs_have_ids_and_outcomes_only(
    canaries: Canaries, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Nothing that was sent is in any line of the log."""
    request.getfixturevalue("world")
    out, err = capfd.readouterr()
    assert canaries.find(out + err) == []


def test_a_viewer_sees_no_person(world: World, canaries: Canaries) -> None:
    """Lists, details, causes, exports and the audit trail show a viewer no canary of a person."""
    AuditTrail(world.context.redis).record("kim", "look", world.dead)
    paths = [
        "overview", "causes", "submissions", f"submissions/{world.dead}", "export.csv", "export.jsonl",
        "audit", f"submissions/{world.dead}/reading", f"submissions/{world.dead}/dry-run",
    ]  # fmt: skip
    visible: dict[str, list[str]] = {}
    for path in paths:
        answer = world.client.get(f"/ops/api/{path}", headers=bearer(VIEWER))
        places = canaries.find(answer.text)
        visible[path] = [each for each in places if not each.endswith(SHOWN_FIELDS)]
    assert {path: places for path, places in visible.items() if places} == {}
    answer = world.client.get(
        f"/ops/api/submissions/{world.dead}?reveal=1", headers=bearer(OPERATOR)
    )
    assert "accepted: message" in canaries.find(answer.text)
