"""What strangers may store is bounded, and what is verified always has room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import redis as redis_py
from litestar.testing import TestClient
from msgspec import structs

from service.app import create_app
from service.context import build
from service.ops.console.status_bar import build_status_bar
from service.ops.search_index import Freshness
from service.overview import NOTHING_KNOWN, Storage, read_overview
from tests.polling import eventually
from tests.redis.store import one_request, submission
from worker.accept.acceptor import Acceptor
from worker.contract import Receipt, State, Submission
from worker.encryption import Cipher
from worker.erasure.retention import RetentionSweep
from worker.ledger import Ledger
from worker.ledger.storage import UnverifiedRecount, find_storage_use
from worker.metrics import EVICTED, SUBMISSIONS, series
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings
from worker.store import keys

Client = Callable[[], AbstractAsyncContextManager[Any]]

READY = Freshness(True, 1, 1, None, False)
KIB = 1024
MIB = 1024 * KIB
BODY = b"x" * (256 * KIB)


def stranger(state: State = State.QUARANTINED, body: bytes = BODY, **rest: Any) -> Submission:
    return submission(state, body=body, **rest)


def partner(body: bytes = b"{}", **rest: Any) -> Submission:
    return structs.replace(submission(body=body, **rest), verified=True)


@pytest.fixture
def ledger(redis: redis_py.Redis) -> Ledger:
    return Ledger(redis, Cipher(()))


@pytest.fixture
def nearly_full(redis: redis_py.Redis) -> Iterator[None]:
    """A Redis that uses 95 % of its memory."""
    redis.setrange("filler", 30 * MIB, b"x")  # sent as such it would count for the client, too
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.95))
    yield
    redis.config_set("maxmemory", 0)


@asynccontextmanager
async def accepting(
    aredis: Client, redis: redis_py.Redis, unverified_max: int
) -> AsyncIterator[Acceptor]:
    async with aredis() as client:
        acceptor = Acceptor(client, open_queue(redis), Cipher(()), unverified_max=unverified_max)
        await acceptor.start()
        try:
            yield acceptor
        finally:
            await acceptor.stop()


def accept(
    aredis: Client, redis: redis_py.Redis, groups: list[list[Submission]], unverified_max: int
) -> list[list[Receipt]]:
    """Accepts one request after the other."""

    async def run() -> list[list[Receipt]]:
        async with accepting(aredis, redis, unverified_max) as acceptor:
            return [await acceptor.accept(group) for group in groups]

    return asyncio.run(run())


def accepted(redis: redis_py.Redis) -> int:
    return int(
        float(
            redis.hget(keys.METRICS, series(SUBMISSIONS, source="contact", outcome="accepted")) or 0
        )
    )


def test_two_hundred_spam_posts_stay_below_the_bound(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """The oldest in quarantine make room, the books balance, and every partner gets in."""
    spam = [stranger() for _ in range(200)]
    partners = [partner() for _ in range(20)]
    before = redis.info("memory")["used_memory"]

    async def run() -> int:
        peak = 0
        async with accepting(aredis, redis, 8 * MIB) as acceptor:
            for number, each in enumerate(spam):
                [receipt] = await acceptor.accept([each])
                assert not receipt.no_room
                if number % 10 == 0:
                    [receipt] = await acceptor.accept([partners[number // 10]])
                    assert receipt.id == partners[number // 10].id
                peak = max(peak, find_storage_use(redis).unverified_bytes)
        return peak

    assert asyncio.run(run()) <= 8 * MIB
    assert redis.info("memory")["used_memory"] - before < 16 * MIB
    stored = set(ledger.scan([State.QUARANTINED]))
    assert stored == {each.id for each in spam[-len(stored) :]}
    assert len(stored) > 20
    assert all(record and record.lead for record in ledger.find_many([p.id for p in partners]))
    assert accepted(redis) == sum(ledger.counts().values()) == 220
    evicted = redis.hget(keys.METRICS, series(EVICTED, source="contact"))
    assert int(float(evicted or 0)) == 200 - len(stored) == find_storage_use(redis).evicted


def test_a_genuine_lead_is_refused_visibly_and_never_dropped(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """What waits for its delivery makes no room: the next stranger is refused, a partner is not."""
    leads = [stranger(State.QUEUED) for _ in range(3)]
    groups = [[each] for each in [*leads, stranger(), partner(BODY)]]
    *first, [late], [verified] = accept(aredis, redis, groups, MIB)
    assert [receipt.no_room for [receipt] in first] == [False] * 3
    assert late.no_room
    assert not verified.no_room
    assert set(ledger.scan([State.QUEUED])) == {*(each.id for each in leads), verified.id}
    assert ledger.get(late.id) is None
    assert find_storage_use(redis).refused == 1


def test_a_request_gets_room_for_all_of_its_events_or_for_none(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """A sender that is refused sends everything again: nothing of it may have been stored."""
    large = one_request("a@example.com", "b@example.com", "c@example.com", body=BODY)
    [receipts] = accept(aredis, redis, [large], len(BODY) + 3 * KIB)
    assert [receipt.no_room for receipt in receipts] == [True] * 3
    assert not list(ledger.each_id())
    [receipts] = accept(aredis, redis, [large], len(BODY) + 10 * KIB)
    assert [receipt.no_room for receipt in receipts] == [False] * 3


@pytest.mark.usefixtures("nearly_full")
def test_close_to_the_limit_of_memory_strangers_get_no_more(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """The reserve is for what is verified."""

    async def run() -> tuple[list[bool], list[bool]]:
        async with accepting(aredis, redis, 100 * MIB) as acceptor:
            assert await polled(lambda: acceptor.writer.storage.memory_is_low)
            strangers = [await acceptor.accept([stranger(State.QUEUED)]) for _ in range(3)]
            partners = [await acceptor.accept([partner(BODY)]) for _ in range(2)]
            return [each[0].no_room for each in strangers], [each[0].no_room for each in partners]

    strangers, partners = asyncio.run(run())
    assert (strangers, partners) == ([True] * 3, [False] * 2)
    assert ledger.counts()[State.QUEUED] == 2


async def polled(condition: Callable[[], bool]) -> bool:
    for _ in range(1_000):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


def test_what_is_delivered_makes_room_before_anybody_is_refused(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """The content of the oldest delivered leads goes early; their receipts and figures stay."""
    leads = [stranger(State.QUEUED) for _ in range(7)]
    accept(aredis, redis, [[each] for each in leads], 2 * MIB)
    for each in leads:
        ledger.claim(each.id, "t", 30)
        ledger.finish(each.id, "t", State.DELIVERED, facts={"lead_id": "L1"})
    figured: list[str] = []
    sweep = RetentionSweep(ledger, {}, before_erasing=figured.extend, unverified_max=int(1.5 * MIB))
    assert sweep.run(ledger.now()) > 0
    records = ledger.find_many([each.id for each in leads])
    states = [record.state for record in records if record]
    gone = states.count(State.ERASED)
    assert states == [State.ERASED] * gone + [State.DELIVERED] * (7 - gone)
    assert figured[:gone] == [each.id for each in leads[:gone]]
    assert 0 < gone < 7
    assert records[0]
    assert records[0].lead_id == "L1"
    assert find_storage_use(redis).unverified_bytes <= 1.5 * MIB


def test_nothing_counts_any_more_once_everything_is_erased(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """Shared bodies, leads and receipts are all given back, whichever way they went."""
    batch = one_request("a@example.com", "b@example.com", body=BODY)
    single, spam = stranger(State.QUEUED), stranger()
    accept(aredis, redis, [batch, [single], [spam], [partner()]], 100 * MIB)
    assert find_storage_use(redis).unverified_bytes > 3 * len(BODY)
    ledger.erase([each.id for each in (*batch, single, spam)], "kim", "test")
    assert find_storage_use(redis).unverified_bytes == 0
    assert not redis.exists(keys.EVICTABLE)


def test_records_of_before_count_for_nobody(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """What an earlier release stored is read, never evicted, and nothing is given back for it."""
    old = stranger()
    accept(aredis, redis, [[old]], 100 * MIB)
    redis.hdel(keys.submission(old.id), "verified", "unverified_bytes")
    redis.delete(keys.UNVERIFIED, keys.EVICTABLE)
    accept(aredis, redis, [[stranger()] for _ in range(3)], MIB // 2)
    record = ledger.get(old.id)
    assert record is not None
    assert (record.raw, record.lead, record.verified) == (old.raw, old.lead, False)
    before = find_storage_use(redis).unverified_bytes
    assert ledger.erase([old.id], "kim", "test") == 1
    assert find_storage_use(redis).unverified_bytes == before


def test_the_console_says_what_was_evicted_and_refused() -> None:
    """A line with the figures, as soon as the storage is degraded and not before."""
    storage = Storage(90 * MIB, 100 * MIB, 12, "2026-01-02T03:04:05Z", 1, "2026-01-02T03:05:00Z")
    overview = structs.replace(NOTHING_KNOWN, workers=1, degraded=["storage"], storage=storage)
    texts = [banner.text for banner in build_status_bar(overview, None, None, READY).banners]
    assert len(texts) == 1
    for part in ("90.0 MiB of 100.0 MiB", "12 quarantined ones were", "1 request was refused"):
        assert part in texts[0]
    calm = structs.replace(overview, degraded=[])
    assert not build_status_bar(calm, None, None, READY).banners


def test_a_total_that_has_drifted_is_counted_anew(
    aredis: Client, redis: redis_py.Redis, ledger: Ledger
) -> None:
    """Neither a lost nor a doubled count stays for longer than a day."""
    batch = one_request("a@example.com", "b@example.com", body=BODY)
    accept(aredis, redis, [batch, [stranger()], [partner()]], 100 * MIB)
    right = find_storage_use(redis).unverified_bytes
    redis.hincrby(keys.UNVERIFIED, "bytes", 77 * MIB)
    recount = UnverifiedRecount(redis, ledger.now)

    def is_right() -> bool:
        recount.tick()
        return find_storage_use(redis).unverified_bytes == right

    assert eventually(is_right)


def test_senders_and_watchers_are_told_in_time(
    redis_url: str, ledger: Ledger, tmp_path: Any
) -> None:
    """At four fifths `/readyz` and the overview name the storage; a refusal is a 503 with a time."""
    path = tmp_path / "leadline.toml"
    path.write_text(
        '[sources.contact]\nrate_limit = "off"\n[sources.partner]\nadapter = "json"\n'
        '[sources.partner.verify]\nscheme = "token"\nheader = "X-Key"\nsecret_env = ["KEY"]\n'
    )
    context = build(
        Settings.for_service(
            {
                "REDIS_URL": redis_url,
                "LEADLINE_CONFIG": str(path),
                "LEADLINE_DATA_DIR": str(tmp_path),
                "LEADLINE_UNVERIFIED_MAX": "100KiB",
            }
        ),
        {"KEY": "partner-key"},
    )
    with TestClient(create_app(context)) as client:

        def post(number: int) -> Any:
            fields = {"email": f"a{number}@example.com", "message": "x" * 10_000}
            return client.post("/in/contact", data=fields)

        answers = [post(number) for number in range(10)]
        refused = [each for each in answers if each.status_code == 503]
        assert 0 < len(refused) < 8
        assert refused[0].json()["type"].endswith("no-room")
        assert int(refused[0].headers["retry-after"]) > 0
        assert eventually(lambda: "storage" in client.get("/readyz").json()["degraded"])
        assert client.get("/readyz").status_code == 200
        headers = {"X-Key": "partner-key"}
        partner_post = client.post("/in/partner", json={"email": "p@example.com"}, headers=headers)
        assert partner_post.status_code == 202
        metrics = client.get("/metrics").text
        assert "leadline_unverified_max_bytes 102400.0" in metrics
    overview = read_overview(ledger, tmp_path)
    assert "storage" in overview.degraded
    assert (overview.storage.unverified_max, overview.storage.refused) == (102_400, len(refused))
