"""Erasing a person in the store: records in any state, our memory, what waits elsewhere, and what
is left afterwards.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest
import redis as redis_py
from msgspec import structs

from service.ops.reading import REQUEST_ERASED, why_no_request
from tests.polling import eventually
from tests.redis.store import one_request, submission
from tests.redis.test_accept import accept
from tests.settable_clock import SettableClock
from tests.tools.erasure import plain_texts
from worker.accept.acceptor import Acceptor
from worker.accept.encoding import encode_submissions
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Attempt, Cause, Lead, Raw, State, Submission
from worker.encryption import Cipher
from worker.erasure.erasure import erase, erase_if_marked, find_submissions
from worker.erasure.retention import (
    MAX_PER_TICK,
    RECEIPT_SECONDS,
    REWRITE_RETRY_SECONDS,
    RetentionSweep,
)
from worker.erasure.stored_mentions import StoredMentions
from worker.errors import LeaseLost, NotAllowed
from worker.ledger import ClaimResult, Ledger
from worker.ledger.audit import AuditTrail
from worker.ledger.bulk import BulkActions
from worker.ledger.contact_cache import ContactCache
from worker.ledger.email_search import EmailPattern
from worker.ledger.identifiers import Identifier
from worker.metrics import SUBMISSIONS, series
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.store.connection import connect_async
from worker.store.scripts import DUPLICATE_KEY_SECONDS

Client = Callable[[], AbstractAsyncContextManager[Any]]
ADA: Identifier = ("email", "ada@example.com")
NOW = 1_800_000_000.0
DAY = 86_400.0
RETENTION = {
    State.DELIVERED: 30 * DAY,
    State.DEAD: None,
    State.QUARANTINED: 14 * DAY,
    State.IGNORED: 7 * DAY,
    State.DISCARDED: 7 * DAY,
}
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CALL = Attempt(at=NOW, step="leads.add", outcome="invalid", detail="to ada@example.com")
CAUSE = Cause(step="lead", code="invalid", detail="“ada@example.com” is no e-mail")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def ledger(redis: redis_py.Redis, clock: SettableClock) -> Ledger:
    return Ledger(redis, Cipher(()), clock)


@pytest.fixture
def store(aredis: Client, redis: redis_py.Redis) -> Callable[..., str]:
    """Accepts one submission and returns its id."""

    def take(item: Submission | None = None, **options: Any) -> str:
        mine = item or submission(**options)
        asyncio.run(accept(aredis, redis, [mine]))
        return mine.id

    return take


def put(ledger: Ledger, store: Callable[..., str], state: State) -> str:
    """A submission in that state, by the moves that lead there."""
    if state in (State.QUARANTINED, State.IGNORED):
        return store(state=state, key="k")
    mine = store(key="k")
    if state is State.QUEUED:
        return mine
    ledger.claim(mine, "t", 30, person_queue=keys.DEFAULT_ACCOUNT.person_queue(*ADA))
    if state is State.WAITING:
        ledger.finish(
            mine,
            "t",
            State.WAITING,
            why="ada@example.com",
            next_at=NOW + 99,
            reason="retry",
            cause=CAUSE,
        )
    elif state in (State.DEAD, State.DISCARDED):
        call = Attempt(at=NOW, step="leads.add", outcome="invalid", detail="ada@example.com")
        ledger.finish(mine, "t", State.DEAD, why="ada@example.com", cause=CAUSE, attempts=[call])
    elif state is State.DELIVERED:
        ledger.finish(
            mine, "t", State.DELIVERED, facts={"person_id": 7, "lead_id": "L1", "result": "created"}
        )
    if state is State.DISCARDED:
        ledger.discard(mine, "kim", "it was ada@example.com")
    assert ledger.counts()[state] == 1
    return mine


def everything(redis: redis_py.Redis) -> bytes:
    """All keys and values there are, as they are."""
    redis.config_set("rdbcompression", "no")
    return b"\n".join(part for key in redis.scan_iter() for part in (key, redis.dump(key) or b""))


def books(redis: redis_py.Redis, ledger: Ledger) -> tuple[int, int]:
    """Accepted, and the sum of states."""
    accepted = redis.hget(keys.METRICS, series(SUBMISSIONS, source="contact", outcome="accepted"))
    return int(float(accepted or 0)), sum(ledger.counts().values())


@pytest.mark.parametrize("state", [state for state in State if state is not State.ERASED])
def test_from_every_state(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis, state: State
) -> None:
    """In any state, content, reasons and answers go; receipt, times and duplicate key stay."""
    mine = put(ledger, store, state)
    done = erase(ledger, ("email", " ADA@example.com "), "kim")
    record = ledger.get(mine)
    assert record is not None
    assert (done.erased, done.unfinished, record.state) == (1, [], State.ERASED)
    assert (record.lead, record.raw, record.cause, record.next_at) == (None, None, None, None)
    assert b"ada@" not in everything(redis).lower()
    assert ledger.attempts(mine) == []
    timeline = ledger.timeline(mine)
    assert (timeline[0].by, timeline[-1].state, timeline[-1].by) == ("intake", State.ERASED, "kim")
    assert not any(
        redis.exists(key)
        for key in (
            keys.DUE,
            keys.LEASES,
            keys.DEFAULT_ACCOUNT.outage,
            *redis.scan_iter("leadline:account:*:person_queue:*"),
        )
    )
    [key] = redis.scan_iter("leadline:duplicate:*")
    assert 0 < redis.ttl(key) <= DUPLICATE_KEY_SECONDS
    assert books(redis, ledger) == (1, 1)


def test_nothing_leaves_erased(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis
) -> None:
    """No worker, no sweeper and no person brings it back."""
    mine = put(ledger, store, State.DELIVERING)
    ledger.announce(mine, "t", 30, "lead")
    erase(ledger, ADA, "kim", pause=lambda _: _answered(ledger, mine))
    sweeper = Sweeper(ledger, open_queue(redis))
    assert ledger.claim(mine, "u", 30) is ClaimResult.NOT_WANTED
    assert ledger.renew(mine, "t", 30) is False
    for move in (
        lambda: ledger.announce(mine, "t", 30, "note"),
        lambda: ledger.learn(mine, "t", "", {"note_id": 3}),
        lambda: ledger.finish(mine, "t", State.DELIVERED),
    ):
        with pytest.raises(LeaseLost):
            move()
    with pytest.raises(NotAllowed):
        sweeper.replay(mine, "kim", "", Lead(email="ada@example.com"))
    sweeper.dispatch([mine])
    record = ledger.get(mine)
    assert record is not None
    assert (record.state, record.lead) == (State.ERASED, None)


def _answered(ledger: Ledger, submission_id: str) -> None:
    with pytest.raises(LeaseLost):
        ledger.learn(submission_id, "t", "lead", {"lead_id": "L9", "result": "created"})


def test_a_lead_made_meanwhile_is_told(ledger: Ledger, store: Callable[..., str]) -> None:
    """A create in flight records what it made; erasure says what to remove, even if repeated."""
    mine = put(ledger, store, State.DELIVERING)
    ledger.announce(mine, "t", 30, "lead")
    done = erase(ledger, ADA, "kim", pause=lambda _: _answered(ledger, mine))
    again = erase(ledger, ADA, "kim")
    assert (done.leads, done.unanswered, again.leads, again.erased) == (["L9"], [], ["L9"], 0)


def test_a_create_that_is_never_answered_is_told_as_unknown(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """Where a create was never answered, a person is told how to look for it."""
    mine = put(ledger, store, State.DELIVERING)
    ledger.announce(mine, "t", 30, "lead")

    def time_goes_by(seconds: float) -> None:
        clock.now += 10 * seconds

    done = erase(ledger, ADA, "kim", pause=time_goes_by)
    assert [(each.id, each.step) for each in done.unanswered] == [(mine, "lead")]


def test_our_memory_of_the_person_goes_with_it(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis
) -> None:
    """The cached contact is forgotten and reported; a delivery in flight does not cache it again."""
    memory = ContactCache(redis)
    mine = store(
        structs.replace(submission(), lead=Lead(email="ada@example.com", phone="+49301234567"))
    )
    memory.remember_person("email", "ada@example.com", 7, created=True)
    memory.remember_lead("email", "ada@example.com", "L1", NOW)
    memory.remember_person("phone", "+49301234567", 8, created=True)
    memory.remember_person("email", "bob@example.com", 9, created=True)
    done = erase(ledger, ADA, "kim")
    assert (done.persons, done.leads) == ([7, 8], ["L1"])
    memory.for_submission(mine).remember_person("email", "ada@example.com", 7, created=True)
    memory.for_submission(mine).remember_lead("email", "ada@example.com", "L1", NOW)
    assert (memory.find_person(*ADA), memory.find_person("phone", "+49301234567")) == (None, None)
    assert memory.find_person("email", "bob@example.com") is not None


FORM = "application/x-www-form-urlencoded"
MULTIPART = 'multipart/form-data; boundary="b0"'
PART = '--b0\r\nContent-Disposition: form-data; name="mail"\r\n\r\nAda@Example.com\r\n--b0--\r\n'
HERS = {
    "a field": (Lead(email="ada@example.com"), FORM, ""),
    "an answer": (Lead(name="A", answers={"Second e-mail": "Ada@example.com"}), FORM, ""),
    "one of several": (
        Lead(name="A", answers={"E-mails": ["x@example.com", "ada@example.com"]}),
        FORM,
        "",
    ),
    "the form": (Lead(email="eve@example.com"), FORM, urlencode({"e": "ADA@example.com"})),
    "json": (None, "application/json", '{"a": [{"b": "ada\\u0040example.com"}]}'),
    "json as text": (None, "text/plain", '{"e": "ada@example.com"}'),
    "json in a field": (None, FORM, urlencode({"data": '{"email": "ada@example.com"}'})),
    "multipart": (None, MULTIPART, PART),
    "with a name": (Lead(name="A", answers={"From": "Ada <ada@example.com>"}), FORM, ""),
    "a list": (
        Lead(email="eve@example.com"),
        FORM,
        urlencode({"to": "x@example.com; Ada <ada@example.com>"}),
    ),
    "a sentence without any other contact": (
        Lead(name="A", message="I am ada@example.com"),
        FORM,
        "",
    ),
}
MENTIONED = {
    "a sentence": (
        Lead(email="bob@example.com", message="ask ada@example.com"),
        FORM,
        urlencode({"m": "ask ada@example.com!"}),
    ),
    "a name before it": (Lead(email="bob@example.com", answers={"To": "Ms Ada ada@example.com"}), FORM, ""),
    "the name of a field": (
        Lead(phone="+49301234567", answers={"ada@example.com": "yes"}), FORM, urlencode({"ada@example.com": "yes"}),
    ),
    "the page": (Lead(email="bob@example.com", page_url="https://x.example/?e=ada%40example.com&a=1"), FORM, ""),
    "base64 in a field": (
        Lead(email="bob@example.com"), FORM, urlencode({"t": b64encode(b'{"by": "ada@example.com"}')}),
    ),
    "quoted-printable": (
        Lead(email="bob@example.com"), MULTIPART, PART.replace("Ada@Example.com", "from ada=40exam=\r\nple.com"),
    ),
    "json with escapes": (Lead(email="bob@example.com"), "application/json", '{"a": "by ada\\u0040example.com"}'),
}  # fmt: skip
NOT_HERS = {
    "another's": (Lead(email="ada@example.com.org"), FORM, ""),
    "longer": (Lead(email="nada@example.com"), FORM, urlencode({"e": "nada@example.com"})),
    "with a tag": (
        Lead(email="ada+news@example.com"),
        FORM,
        urlencode({"e": "ada+news@example.com"}),
    ),
    "rubbish": (None, "application/json", "{{{"),
}


@pytest.mark.parametrize("where", [*HERS, *MENTIONED, *NOT_HERS])
def test_by_what_a_submission_is_hers(
    ledger: Ledger, store: Callable[..., str], where: str
) -> None:
    """An address that is a value of its own counts; a mere mention in another's lead does not."""
    lead, content_type, body = (HERS | MENTIONED | NOT_HERS)[where]
    raw = Raw("POST", "", content_type, [], body.encode())
    mine = store(structs.replace(submission(state=State.QUARANTINED), lead=lead, raw=raw))
    mentions = find_submissions(ledger, ADA)
    assert mentions.erased == ([mine] if where in HERS else [])
    assert mentions.redacted == ([mine] if where in MENTIONED else [])


@pytest.mark.parametrize("secrets", [(), (KEY,)], ids=["plain", "encrypted"])
@pytest.mark.parametrize("where", MENTIONED)
def test_a_mention_goes_and_the_lead_stays(
    redis: redis_py.Redis,
    aredis: Client,
    clock: SettableClock,
    where: str,
    secrets: tuple[str, ...],
) -> None:
    """A lead of somebody else that mentions her keeps everything but the address."""
    ledger = Ledger(redis, Cipher(secrets), clock)
    lead, content_type, body = MENTIONED[where]
    pairs = [("cookie", "id=ada%40example.com"), ("x-user", "Ada@example.com"), ("accept", "*/*")]
    raw = Raw("POST", "by=ada%2540example.com&a=1", content_type, pairs, body.encode())
    item = structs.replace(submission(), lead=lead, raw=raw)
    asyncio.run(accept(aredis, redis, [item], cipher=ledger.cipher))
    ledger.claim(item.id, "t", 30)
    ledger.finish(item.id, "t", State.DEAD, why="ada@example.com", cause=CAUSE, attempts=[CALL])
    done = erase(ledger, ADA, "kim")
    record = ledger.get(item.id)
    assert record is not None
    assert (done.erased, done.redacted, done.unfinished) == (0, 1, [])
    assert (record.state, record.lead and record.lead.email) == (State.DEAD, lead.email)
    assert record.raw is not None
    contents = [record, ledger.attempts(item.id), ledger.timeline(item.id)]
    texts = [*plain_texts(str(contents).encode()), *plain_texts(record.raw.body)]
    assert [text for text in texts if b"ada@example" in text] == []
    assert record.raw.headers[2] == ("accept", "*/*")
    assert b"ada@" not in everything(redis).lower()


def test_what_people_wrote_elsewhere_goes_too(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis
) -> None:
    """Reasons in the audit trail, a pause, a bulk edit, alerts: the address goes, the entry stays."""
    other = store(email="bob@example.com")
    trail = AuditTrail(redis)
    for number in range(3):
        trail.record("kim", "note", f"t{number}", ["", "as Ada@example.com asked", "no"][number])
    ledger.claim(other, "t", 30)
    ledger.finish(other, "t", State.DEAD)
    ledger.gate.pause("until ada@example.com calls", "kim")
    bulk = BulkActions(ledger).create(
        "retry", [other], 1, "kim", edit={"message": "from ada@example.com"}
    )
    redis.set(keys.ALERTS, b'{"text": "ada\\u0040example.com"}', ex=99)
    redis.rpush(keys.refusals("contact"), b"a", b"b ada@example.com", b"c")
    before, _, _ = trail.read_page()
    done = erase(ledger, ADA, "kim")
    after, _, _ = trail.read_page()
    assert (done.erased, done.unfinished) == (0, [])
    assert not EmailPattern(ADA[1]).occurs_in(everything(redis))
    assert [(each.at, each.target) for each in after] == [(each.at, each.target) for each in before]
    assert "as [erased] asked" in [each.detail for each in after]
    assert (redis.ttl(keys.ALERTS) > 0, redis.lrange(keys.refusals("contact"), 0, -1)[1]) == (
        True,
        b"b [erased]",
    )
    fields = cast("dict[bytes, bytes]", redis.hgetall(keys.BULK + bulk))
    assert b"from [erased]" in fields[b"edit"]


def test_an_entry_that_changes_meanwhile_is_not_overwritten(
    ledger: Ledger, redis: redis_py.Redis
) -> None:
    """What was read is replaced only if it still stands there; else it is read again."""
    redis.rpush(keys.refusals("contact"), b"ada@example.com")
    stored = StoredMentions(ledger, EmailPattern(ADA[1]))
    real: Any = stored._replace

    def late(*arguments: Any) -> bool:
        if redis.llen(keys.refusals("contact")) == 1:
            redis.lpush(keys.refusals("contact"), b"newer")
        return bool(real(*arguments))

    stored._replace = late  # type: ignore[method-assign,assignment]
    stored.rewrite()
    assert redis.lrange(keys.refusals("contact"), 0, -1) == [b"newer", b"[erased]"]


def test_a_mention_in_a_spool_goes_at_its_hand_over(
    redis: redis_py.Redis, redis_url: str, tmp_path: Path
) -> None:
    """Of a lead that is handed over late only the address of the erased person is missing."""
    ledger = Ledger(redis, Cipher(()))
    spool = Spool(tmp_path / SPOOL_FOLDER, 1_000_000, Cipher(()))
    lead = Lead(email="bob@example.com", message="for ada@example.com")
    raw = Raw("POST", "", FORM, [], b"m=for+ada%40example.com")
    items = [
        structs.replace(submission(key="e1"), lead=lead, raw=raw),
        structs.replace(submission(), lead=Lead(name="A", message="I am ada@example.com"), raw=raw),
    ]
    spool.put(items, NOW)
    spool.close()
    erase(ledger, ADA, "kim")
    asyncio.run(drained(redis_url, redis, tmp_path))
    record, hers = ledger.get(items[0].id), ledger.get(items[1].id)
    assert record is not None
    assert hers is not None
    assert (record.state, hers.state) == (State.QUEUED, State.ERASED)
    assert record.lead == Lead(email="bob@example.com", message="for [erased]")
    assert record.raw == structs.replace(raw, body=b"m=for+[erased]")
    assert not EmailPattern(ADA[1]).occurs_in(everything(redis))


@pytest.mark.parametrize("typed", ["+49 30 1234-567", "0049301234567", "tel:+49301234567"])
def test_by_phone_and_by_id(ledger: Ledger, store: Callable[..., str], typed: str) -> None:
    """A phone number is the same however it is written; an id means that submission only."""
    first = store(structs.replace(submission(), lead=Lead(name="A", phone="+49301234567")))
    other = store(structs.replace(submission(), lead=Lead(name="B", phone="+49301234568")))
    assert find_submissions(ledger, ("phone", typed)).erased == [first]
    assert erase(ledger, ("id", other), "kim").erased == 1
    assert [ledger.counts()[state] for state in (State.QUEUED, State.ERASED)] == [1, 1]


def test_a_redelivery_is_known_and_stores_nothing(
    ledger: Ledger,
    store: Callable[..., str],
    aredis: Client,
    redis: redis_py.Redis,
    clock: SettableClock,
) -> None:
    """The same event again is still a duplicate; another event of the person is a new submission."""
    first = store(key="e1")
    erase(ledger, ADA, "kim")
    [[receipt]] = asyncio.run(accept(aredis, redis, [submission(key="e1")]))
    assert (receipt.id, receipt.duplicate, receipt.state) == (first, True, State.QUEUED)
    assert b"ada@" not in everything(redis).lower()
    second = store(structs.replace(submission(key="e2"), received_at=clock.now + 1))
    record = ledger.get(second)
    assert record is not None
    assert (record.state, record.lead is not None) == (State.QUEUED, True)
    assert not erase_if_marked(ledger, record)


def test_who_stood_behind_is_woken(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """The next in the queue behind the erased one goes at once."""
    line = keys.DEFAULT_ACCOUNT.person_queue("organization", "acme")
    mine, other = store(email="ada@example.com"), store(email="bob@example.com")
    ledger.claim(mine, "t", 30, organization_queue=line)
    assert ledger.claim(other, "u", 30, organization_queue=line) is ClaimResult.IN_PERSON_QUEUE
    erase(ledger, ADA, "kim")
    assert ledger.schedule.due(clock.now, 10) == [other]


def test_what_is_fetched_later_is_erased_then(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis
) -> None:
    """An event with ids only is erased once its record is fetched, if its person was erased."""
    mine = store(
        structs.replace(
            submission(), lead=None, raw=Raw("POST", "", FORM, [], b""), fetch={"id": "1"}
        )
    )
    assert erase(ledger, ADA, "kim").erased == 0
    ledger.claim(mine, "t", 30)
    lead = ledger.cipher.encrypt(msgspec.msgpack.encode(Lead(email="ada@example.com")))
    ledger.finish(mine, "t", State.QUEUED, facts={"lead": lead, "fetch": None})
    record = ledger.get(mine)
    assert record is not None
    assert erase_if_marked(ledger, record)
    assert b"ada@" not in everything(redis).lower()
    assert erase(ledger, ADA, "kim").erased == 0


async def drained(url: str, redis: redis_py.Redis, folder: Path) -> None:
    spool = Spool(folder / SPOOL_FOLDER, 1_000_000, Cipher(()))
    async with connect_async(url, timeout=5.0) as client:
        acceptor = Acceptor(client, open_queue(redis), Cipher(()), spool=spool)
        await acceptor.start()
        while spool.adopt() or spool.count:
            await asyncio.sleep(0.01)
        await acceptor.stop()


def test_what_lies_in_a_spool_is_erased_at_its_hand_over(
    redis: redis_py.Redis, redis_url: str, tmp_path: Path
) -> None:
    """A late spool brings back no content, not even for a moment: only a receipt."""
    ledger = Ledger(redis, Cipher(()))
    spool = Spool(tmp_path / SPOOL_FOLDER, 1_000_000, Cipher(()))
    mine, others = (
        submission(key="e1"),
        structs.replace(submission(), lead=Lead(email="bob@example.com")),
    )
    spool.put([mine, others], NOW)
    spool.close()
    assert erase(ledger, ADA, "kim").erased == 0
    asyncio.run(drained(redis_url, redis, tmp_path))
    record, other = ledger.get(mine.id), ledger.get(others.id)
    assert record is not None
    assert other is not None
    assert (record.state, record.lead, record.accepted_as, other.state) == (
        State.ERASED,
        None,
        State.QUEUED,
        State.QUEUED,
    )
    assert ledger.timeline(mine.id)[-1].by == "kim"
    parts = Path(cast("dict[str, str]", redis.config_get("dir"))["dir"], "appendonlydir")
    assert [path.name for path in parts.iterdir() if b"ada@example.com" in path.read_bytes()] == []
    assert b"ada@" not in everything(redis).lower().replace(b"email=ada", b"")
    assert books(redis, ledger) == (2, 2)


def test_this_machines_spools_are_waited_for(
    redis: redis_py.Redis, redis_url: str, tmp_path: Path
) -> None:
    """Erasure hands over the spools of gone processes, and returns once their bytes are gone."""
    ledger = Ledger(redis, Cipher(()))
    spool = Spool(tmp_path / SPOOL_FOLDER, 1_000_000, Cipher(()))
    spool.put([submission()], NOW)
    spool.close()
    done = erase(
        ledger,
        ADA,
        "kim",
        data_dir=tmp_path,
        hand_over=lambda: asyncio.run(drained(redis_url, redis, tmp_path)),
    )
    assert (done.erased, done.unfinished, list((tmp_path / SPOOL_FOLDER).iterdir())) == (1, [], [])


def test_what_cannot_be_looked_through_is_said(
    redis: redis_py.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be searched is reported, with what to do: spools, and a lost key."""
    monkeypatch.setattr("worker.erasure.erasure.SPOOL_WAIT_SECONDS", 0.0)
    sealed = Ledger(redis, Cipher(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]))
    lead, raw = (
        sealed.cipher.encrypt(msgspec.msgpack.encode(each))
        for each in (submission().lead, submission().raw)
    )
    contents: dict[Any, Any] = {
        "v": 1,
        "source": "contact",
        "state": "dead",
        "received_at": NOW,
        "updated_at": NOW,
        "accepted_as": "queued",
    }
    redis.hset(keys.submission("01M8"), mapping=contents | {"lead": lead, "raw": raw})
    spool = Spool(tmp_path / SPOOL_FOLDER, 1_000_000, Cipher(()))
    spool.put([submission()], NOW)
    (tmp_path / SPOOL_FOLDER / "old.damaged").write_bytes(b"?")
    left = erase(Ledger(redis, Cipher(())), ADA, "kim", data_dir=tmp_path).unfinished
    assert len(left) == 3
    assert [
        "leadline serve" in left[0],
        "old.damaged" in left[1],
        "LEADLINE_ENCRYPTION_KEYS" in left[2],
    ] == [True] * 3
    spool.close()


# -- one request with several people
# --------------------------------------------------------------------------------------------------

BATCH_BODY = urlencode({"a": "ada@example.com", "b": "bob@example.com"}).encode()


@pytest.mark.parametrize("spooled", [False, True])
def test_erasing_one_of_a_request_erases_its_body_for_all(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger, spooled: bool
) -> None:
    """The body holds everybody, so it goes; the others keep their leads, from a spool as well."""
    ada, bob = one_request("ada@example.com", "bob@example.com", body=BATCH_BODY)
    if spooled:
        erase(ledger, ADA, "kim")
        asyncio.run(hand_over(aredis, redis, [bob, ada]))
    else:
        asyncio.run(accept(aredis, redis, [ada, bob]))
        assert find_submissions(ledger, ADA).erased == [ada.id]
        assert erase(ledger, ADA, "kim").erased == 1
    first, other = ledger.find_many([ada.id, bob.id])
    assert first is not None
    assert other is not None
    assert (first.state, first.lead, first.raw) == (State.ERASED, None, None)
    assert (other.state, other.lead, other.raw) == (State.QUEUED, bob.lead, None)
    assert b"ada@example.com" not in everything(redis)
    assert why_no_request(other) == REQUEST_ERASED


async def hand_over(aredis: Client, redis: redis_py.Redis, items: list[Submission]) -> None:
    async with aredis() as client:
        acceptor = Acceptor(client, open_queue(redis), Cipher(()))
        await acceptor.writer.write(encode_submissions(items, Cipher(())), spooled=True)


def test_an_event_that_nothing_was_read_from_is_erased_with_its_request(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """Without a lead the event is in the body alone, so nothing of it would be left."""
    ada, other = one_request("ada@example.com", "bob@example.com", body=BATCH_BODY)
    asyncio.run(accept(aredis, redis, [ada, structs.replace(other, lead=None)]))
    assert erase(ledger, ADA, "kim").erased == 2


def test_the_body_of_a_request_goes_with_its_last_holder(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """As long as one of its events is kept, the body is; then no key is left of it."""
    ada, bob = one_request("ada@example.com", "bob@example.com", body=BATCH_BODY)
    asyncio.run(accept(aredis, redis, [ada, bob]))
    ledger.erase([ada.id], "retention", "over")
    record = ledger.get(bob.id)
    assert record is not None
    assert record.raw == bob.raw
    ledger.erase([bob.id], "retention", "over")
    assert not redis.keys(keys.raw("*"))


# -- retention
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(RETENTION))
def test_content_goes_when_its_time_is_over(
    ledger: Ledger,
    store: Callable[..., str],
    redis: redis_py.Redis,
    clock: SettableClock,
    state: State,
) -> None:
    """Each final state has its own retention; then only the receipt stays, and then nothing."""
    mine = put(ledger, store, state)
    retention, keep_seconds = RetentionSweep(ledger, RETENTION, clock), RETENTION[state]
    clock.now = (ledger.oldest(state) or 0.0) + (keep_seconds or 1000 * DAY) - 1
    assert retention.tick() == 0
    clock.now += BEAT
    assert retention.run(clock.now) == (0 if keep_seconds is None else 1)
    record = ledger.get(mine)
    assert record is not None
    assert record.state is (state if keep_seconds is None else State.ERASED)
    if keep_seconds is None:
        return
    assert b"ada@" not in everything(redis).lower()
    clock.now += RECEIPT_SECONDS - 1
    assert retention.run(clock.now) == 0
    clock.now += 2
    assert retention.run(clock.now) == 1
    assert ledger.get(mine) is None
    assert list(redis.scan_iter(f"{keys.submission(mine)}*")) == []
    assert books(redis, ledger) == (1, 1)
    assert ledger.counts()[State.ERASED] == 1


BEAT = 60.0


def test_a_backlog_goes_in_portions(
    ledger: Ledger, aredis: Client, redis: redis_py.Redis, clock: SettableClock
) -> None:
    """However much is due, one run takes a bounded part, and the next follows at once."""
    total = MAX_PER_TICK + 20
    items = [submission(state=State.IGNORED) for _ in range(total)]
    asyncio.run(accept(aredis, redis, *([item] for item in items)))
    clock.now += 100 * DAY
    retention, went = RetentionSweep(ledger, RETENTION, clock), []
    for _ in range(3):
        redis.delete(keys.RETENTION_LOCK)
        went.append(retention.tick())
    assert went == [MAX_PER_TICK, 20, 0]
    assert (ledger.counts()[State.ERASED], books(redis, ledger)) == (total, (total, total))


def test_the_file_is_written_anew_within_a_day(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis, clock: SettableClock
) -> None:
    """What was erased leaves Redis's file too, at most once a day, and only if something went."""
    parts = Path(cast("dict[str, str]", redis.config_get("dir"))["dir"], "appendonlydir")
    retention = RetentionSweep(ledger, RETENTION)

    def stands() -> bool:
        with suppress(
            FileNotFoundError
        ):  # Redis changes its files: it stands there until it was seen that it does not
            return any(b"canary55" in path.read_bytes() for path in parts.iterdir())
        return True

    def turn() -> None:
        assert eventually(lambda: not redis.info("persistence")["aof_rewrite_in_progress"])
        clock.now += 8 * DAY
        retention.run(clock.now)

    store(state=State.IGNORED, body=b"canary55")
    assert stands()
    turn()
    assert eventually(lambda: not stands())
    store(state=State.IGNORED, body=b"canary55")
    turn()
    assert stands()
    redis.delete(keys.REWRITE_ASKED)
    turn()
    assert eventually(lambda: not stands())
    redis.delete(keys.REWRITE_ASKED)
    turn()
    assert not redis.exists(keys.REWRITE_ASKED)


def test_a_redis_that_refuses_is_asked_again_soon(
    ledger: Ledger,
    store: Callable[..., str],
    redis: redis_py.Redis,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is erased during a rewrite may be in the new file, so another follows in minutes."""

    def refused(_: redis_py.Redis) -> None:
        raise redis_py.ResponseError("Background append only file rewriting already in progress")

    monkeypatch.setattr("worker.erasure.retention.start_rewrite", refused)
    store(state=State.IGNORED)
    clock.now += 8 * DAY
    RetentionSweep(ledger, RETENTION).run(clock.now)
    assert redis.exists(keys.REWRITE_DUE)
    assert 0 < redis.ttl(keys.REWRITE_ASKED) <= REWRITE_RETRY_SECONDS


def test_workers_take_turns(
    ledger: Ledger, clock: SettableClock, store: Callable[..., str]
) -> None:
    """Several worker processes do not do the same work at the same time."""
    put(ledger, store, State.IGNORED)
    clock.now += 8 * DAY
    assert [RetentionSweep(ledger, RETENTION, clock).tick() for _ in range(2)] == [1, 0]


def test_a_clock_set_ahead_erases_nothing(
    ledger: Ledger, clock: SettableClock, store: Callable[..., str]
) -> None:
    """With Redis's clock a year ahead nothing is erased while the worker's own clock is right."""
    mine = put(ledger, store, State.QUARANTINED)
    own_time = (ledger.oldest(State.QUARANTINED) or 0.0) + DAY
    clock.now += 365 * DAY
    assert RetentionSweep(ledger, RETENTION, lambda: own_time).tick() == 0
    record = ledger.get(mine)
    assert record is not None
    assert record.state is State.QUARANTINED


def test_what_moved_meanwhile_is_left(
    ledger: Ledger, store: Callable[..., str], clock: SettableClock
) -> None:
    """One that a person brought back a moment ago is kept, though it was listed as due."""
    mine = put(ledger, store, State.DISCARDED)
    clock.now += 8 * DAY
    ledger.undiscard(mine, "kim")
    ledger.discard(mine, "kim", "")
    too_young = ledger.erase([mine], "r", "", state=State.DISCARDED, since=clock.now - 7 * DAY)
    not_dead = ledger.erase([mine], "r", "", state=State.DEAD, since=clock.now)
    assert (too_young, not_dead) == (0, 0)


def test_a_receipt_is_small(
    ledger: Ledger, store: Callable[..., str], redis: redis_py.Redis
) -> None:
    """A receipt takes a few hundred bytes, however large the submission was."""
    mine = store(
        structs.replace(submission(key="e1"), raw=Raw("POST", "", FORM, [], b"x" * 200_000))
    )
    erase(ledger, ADA, "kim")
    names = [
        *redis.scan_iter(f"{keys.submission(mine)}*"),
        *redis.scan_iter("leadline:duplicate:*"),
    ]
    assert sum(redis.memory_usage(name, samples=0) or 0 for name in names) < 1_500
