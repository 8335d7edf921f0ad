"""Erasing a person during a delivery, and from the disk."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py
from msgspec import structs

from service.local.redis import EmbeddedRedis
from tests.flow.conftest import TOKEN, Account, Pipeline
from tests.polling import eventually
from tests.redis.store import submission
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Lead, State
from worker.encryption import Cipher
from worker.erasure.erasure import Erasure, erase
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue
from worker.store import keys
from worker.store.connection import connect, connect_async

KEY = base64.b64encode(bytes(range(7, 39))).decode()
CANARY = "canary8462"
MAY_NOT_REWRITE = ["+@all", "-bgrewriteaof", "-bgsave", "-config"]


class Moments:
    """Calls `happen` right before or after the `at`-th message from this thread to Redis."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.after = 0, 0, False
        self.happen: Any = None
        self._thread = threading.get_ident()
        for owner, name in (
            (redis_py.Redis, "execute_command"),
            (redis_py.client.Pipeline, "execute"),
        ):
            self._wrap(monkeypatch, owner, name)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        real = getattr(owner, name)

        def counted(this: Any, *arguments: Any, **options: Any) -> Any:
            self._count(after=False)
            answer = real(this, *arguments, **options)
            self._count(after=True)
            return answer

        monkeypatch.setattr(owner, name, counted)

    def _count(self, *, after: bool) -> None:
        if self.happen is None or threading.get_ident() != self._thread or after is not self.after:
            return
        self.count += 1
        if self.count == self.at:
            happen, self.happen = self.happen, None
            happen()


@pytest.mark.parametrize("is_known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.timeout(600)
def test_an_erasure_at_any_moment_of_a_delivery(
    pipeline: Pipeline,
    account: Account,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
    is_known: bool,
) -> None:
    """The submission ends erased, and the report lists what exists in Pipedrive."""
    monkeypatch.setattr(
        "worker.erasure.erasure.CALL_WAIT_SECONDS", 0.0
    )  # the delivery stands still in this very thread
    pipeline.settings(note=True, organization=True)
    moments = Moments(monkeypatch)
    moments.after = after
    delivery, lead_counts = pipeline.delivery(), set()
    for at in range(1, 60):
        account.http.post("/_sandbox/reset").raise_for_status()
        email, done = f"ada{at}@example.com", list[Erasure]()
        if is_known:
            pipeline.deliver(pipeline.accept(email=email), delivery)
        mine = pipeline.accept(email=email, company=f"Acme {at}", message="hello")
        moments.count, moments.at = 0, at
        moments.happen = lambda email=email, done=done: done.append(
            erase(pipeline.ledger, ("email", email), "kim")
        )
        pipeline.deliver(mine, delivery)
        if not done:
            break
        lead_counts.add(check(pipeline, account, redis, mine, email))
    assert not done, "the delivery has no end"
    assert at > 15
    assert lead_counts == ({1} if is_known else {0, 1})


def check(
    pipeline: Pipeline, account: Account, redis: redis_py.Redis, submission_id: str, email: str
) -> int:
    """Returns the account's number of leads, all of which a repeated erasure must report."""
    record = pipeline.record(submission_id)
    assert (record.state, record.lead, record.raw) == (State.ERASED, None, None)
    assert not redis.exists(keys.DEFAULT_ACCOUNT.person("email", email))
    assert not any(redis.exists(key) for key in (keys.LEASES, keys.DUE))
    repeated = erase(pipeline.ledger, ("email", email), "kim")
    assert {lead["id"] for lead in account.leads} <= set(repeated.leads)
    assert {person["id"] for person in account.persons} <= set(repeated.persons)
    assert (repeated.unanswered, repeated.unfinished) == ([], [])
    return len(account.leads)


# -- from the disk
# --------------------------------------------------------------------------------------------------


@contextmanager
def leadline_env(data: Path, url: str | None, *keys_: str) -> Iterator[dict[str, str]]:
    yield {
        "LEADLINE_DATA_DIR": str(data),
        "LEADLINE_ENCRYPTION_KEYS": ",".join(keys_),
        "PATH": "/usr/bin:/bin",
    } | ({"REDIS_URL": url} if url else {})


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "service.cli.main", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def find_files_with(folder: Path, *needles: bytes) -> list[str]:
    """Returns the names of the files that contain any of `needles`."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(needle in path.read_bytes() for needle in needles)]


def encrypted_bytes(store: redis_py.Redis, submission_id: str) -> list[bytes]:
    """Returns parts of the encrypted content, as they are stored on disk."""
    values = cast("list[bytes]", store.hmget(keys.submission(submission_id), "lead", "raw"))
    return [value[-24:] for value in values]


@pytest.mark.parametrize("secrets", [(), (KEY,)], ids=["plain", "encrypted"])
@pytest.mark.timeout(600)
def test_the_bytes_are_gone_from_disk(tmp_path: Path, secrets: tuple[str, ...]) -> None:
    """The content is gone from append-only file, snapshots and spool when the command returns."""
    data, cipher = tmp_path / "data", Cipher(secrets)
    with EmbeddedRedis(data) as server, connect(server.url, timeout=5.0) as store:
        mine = [put(store, server.url, cipher, f"{CANARY}{number}") for number in range(3)]
        others = put(store, server.url, cipher, "bob")
        store.bgsave()
        assert eventually(lambda: not store.info("persistence")["rdb_bgsave_in_progress"])
        spool = Spool(data / SPOOL_FOLDER, 1_000_000, cipher)
        spool.put([submission(email=f"{CANARY}@example.com", body=CANARY.encode())], 0.0)
        needles = [needle for each in mine for needle in encrypted_bytes(store, each)]
        needles += [spool.oldest(1)[0].id.encode()] if secrets else [CANARY.encode()]
        spool.close()
        before = find_files_with(data, *needles)
        assert any(name.endswith(".incr.aof") for name in before)
        assert any(name.endswith(".sqlite") or name.endswith("-wal") for name in before)
        if not secrets:
            assert "dump.rdb" in before
        with leadline_env(data, server.url, *secrets) as env:
            done = run(env, "erase", "--email", f"{CANARY}@Example.com", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["erased"] == 4
        gone = needles[:6] + ([] if secrets else [CANARY.encode()])
        assert find_files_with(data, *gone) == []
        ledger = Ledger(store, cipher)
        assert [
            record.lead is None for each in (*mine, others) if (record := ledger.get(each))
        ] == [True] * 3 + [False]
        assert ledger.counts()[State.ERASED] == 4
    assert find_files_with(data, *gone) == []


def put(store: redis_py.Redis, url: str, cipher: Cipher, message: str) -> str:
    """Accepts a submission, its content encrypted with `cipher`, and returns its id."""
    name = CANARY if message.startswith(CANARY) else "bob"
    mine = structs.replace(
        submission(body=f"email={name}%40example.com&m={message}".encode()),
        lead=Lead(email=f"{name}@example.com", message=message),
    )

    async def accepted() -> None:
        async with connect_async(url, timeout=5.0) as client:
            acceptor = Acceptor(client, open_queue(store), cipher)
            await acceptor.start()
            await acceptor.accept([mine])
            await acceptor.stop()

    asyncio.run(accepted())
    return mine.id


def test_a_redis_that_may_not_rewrite_is_reported(
    redis: redis_py.Redis, redis_url: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    """If Redis refuses a rewrite, the content is erased, but the command fails with a hint."""
    mine = pipeline.accept(email=f"{CANARY}@example.com")
    redis.acl_setuser(
        "hosted",
        enabled=True,
        passwords=["+secret"],
        keys=["*"],
        channels=["*"],
        commands=MAY_NOT_REWRITE,
    )
    try:
        url = redis_url.replace("unix://", "unix://hosted:secret@")
        with leadline_env(tmp_path, url) as env:
            done = run(env, "erase", "--email", f"{CANARY}@example.com", "--yes")
    finally:
        redis.acl_deluser("hosted")
    assert pipeline.record(mine).state is State.ERASED
    assert (
        done.returncode,
        "BGREWRITEAOF" in done.stderr,
        CANARY in done.stdout + done.stderr,
    ) == (1, True, False)


def test_a_rewrite_under_way_is_followed_by_another(redis: redis_py.Redis) -> None:
    """A rewrite that began earlier may contain erased content, so another one follows it."""
    done = (
        int(redis.info("stats").get("aof_rewrites", 0))
        if "aof_rewrites" in redis.info("stats")
        else None
    )
    redis.bgrewriteaof()
    rewrite_files(redis)
    assert redis.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    if done is not None:
        assert int(redis.info("stats")["aof_rewrites"]) >= done + 2


def test_a_failed_rewrite_is_reported(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some attempts, a full disk is reported."""
    real = redis_py.Redis.info

    def failing(self: redis_py.Redis, *arguments: Any, **options: Any) -> Any:
        info = real(self, *arguments, **options)
        return info | {"aof_last_bgrewrite_status": "err"} if isinstance(info, dict) else info

    monkeypatch.setattr(redis_py.Redis, "info", failing)
    with pytest.raises(FilesKept, match="disk full"):
        rewrite_files(redis)


def test_dry_run_and_wrong_use(redis_url: str, pipeline: Pipeline, tmp_path: Path) -> None:
    """A dry run reports the count and changes nothing; a missing address is wrong use."""
    mine = pipeline.accept(email=f"{CANARY}@example.com")
    with leadline_env(tmp_path, redis_url) as env:
        trial = run(env, "erase", "--email", f"{CANARY}@example.com", "--dry-run", "--json")
        assert run(env, "erase").returncode == 2
    assert json.loads(trial.stdout) == {
        "would_erase": 1,
        "ids": [mine],
        "would_redact": 0,
        "redacted_ids": [],
    }
    assert pipeline.record(mine).state is State.QUEUED


@pytest.mark.parametrize("in_pipedrive", [False, True])
def test_leads_that_we_made_can_go_with_it(
    pipeline: Pipeline, account: Account, redis_url: str, tmp_path: Path, in_pipedrive: bool
) -> None:
    """With `--in-pipedrive` the leads that we created are deleted; persons stay listed."""
    mine, other = pipeline.accept(email="ada@example.com"), pipeline.accept(email="bob@example.com")
    for each in (mine, other):
        pipeline.deliver(each)
    [person_id] = [pipeline.record(mine).person_id]
    options = ["--yes", "--json", *["--in-pipedrive"] * in_pipedrive]
    with leadline_env(tmp_path, redis_url) as env:
        credentials = {
            "PIPEDRIVE_API_TOKEN": TOKEN,
            "PIPEDRIVE_BASE_URL": account.url,
            "PIPEDRIVE_PLAN": "unlimited",
        }
        run_erase = run(env | credentials, "erase", "--email", "ada@example.com", *options)
    assert run_erase.returncode == 0, run_erase.stderr
    done = json.loads(run_erase.stdout)
    leads = {lead["id"] for lead in account.leads}
    others = {pipeline.record(other).lead_id}
    assert pipeline.record(mine).state is State.ERASED
    assert done["persons"] == [person_id]
    assert len(leads - others) == len(done["leads"]) == (0 if in_pipedrive else 1)
    assert others <= leads
