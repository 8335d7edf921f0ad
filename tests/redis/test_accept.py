from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import redis as redis_py
from msgspec import structs

from tests.redis.store import one_request, submission
from worker.accept.acceptor import Acceptor
from worker.accept.encoding import encode_submissions
from worker.contract import State
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.queue.rq_queue import JOB_FUNCTION, open_queue, queued_ids
from worker.store import keys
from worker.store.connection import connect_async

Client = Callable[[], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def accepting(
    aredis: Client, redis: redis_py.Redis, cipher: Cipher | None = None
) -> AsyncIterator[Acceptor]:
    async with aredis() as client:
        acceptor = Acceptor(client, open_queue(redis), cipher or Cipher(()))
        await acceptor.start()
        try:
            yield acceptor
        finally:
            await acceptor.stop()


async def accept(
    aredis: Client, redis: redis_py.Redis, *groups: Any, cipher: Cipher | None = None
) -> list[Any]:
    async with accepting(aredis, redis, cipher) as acceptor:
        return await asyncio.gather(*(acceptor.accept(list(group)) for group in groups))


def test_an_accepted_submission_is_recorded_counted_and_queued(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A receipt means that record, state index, counter and job are all there."""
    mine = submission(key="e1")
    [[receipt]] = asyncio.run(accept(aredis, redis, [mine]))
    record = Ledger(redis, Cipher(())).get(mine.id)
    assert (receipt.id, receipt.state, receipt.duplicate) == (mine.id, State.QUEUED, False)
    assert record is not None
    assert (record.lead, record.raw, record.state) == (mine.lead, mine.raw, State.QUEUED)
    assert queued_ids(open_queue(redis)) == {mine.id}
    assert (
        redis.hget(keys.METRICS, 'leadline_submissions_total{outcome="accepted",source="contact"}')
        == b"1"
    )


def test_the_job_holds_the_id_and_nothing_else(aredis: Client, redis: redis_py.Redis) -> None:
    """What RQ stores is JSON, names the job function and the id, and holds nothing personal."""
    mine = submission()
    asyncio.run(accept(aredis, redis, [mine]))
    [job] = open_queue(redis).jobs
    assert (job.func_name, job.args, job.description) == (JOB_FUNCTION, [mine.id], mine.id)
    stored = str(redis.hgetall(f"rq:job:{job.id}")) + str(job.data)
    assert "ada@example.com" not in stored
    assert job.data.startswith(b"[")


def test_the_same_event_again_is_answered_with_the_first(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A repeated event gets the first one's id and creates neither record nor job."""
    first, second = submission(key="e1"), submission(key="e1", body=b"other")
    asyncio.run(accept(aredis, redis, [first]))
    [[receipt]] = asyncio.run(accept(aredis, redis, [second]))
    assert (receipt.id, receipt.duplicate, receipt.conflict) == (first.id, True, False)
    assert Ledger(redis, Cipher(())).get(second.id) is None
    assert queued_ids(open_queue(redis)) == {first.id}


def test_many_of_one_event_at_once_make_one_record(aredis: Client, redis: redis_py.Redis) -> None:
    """Sixty-four simultaneous deliveries of one webhook make one record and sixty-four receipts."""
    groups = [[submission(key="storm")] for _ in range(64)]
    receipts = [group[0] for group in asyncio.run(accept(aredis, redis, *groups))]
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert redis.zcard(keys.state(State.QUEUED)) == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A key that was used for another body stores nothing; with the same body it is a duplicate."""
    first = submission(key="k", kind="key", body=b"a")
    asyncio.run(accept(aredis, redis, [first]))
    [[other], [same]] = asyncio.run(
        accept(
            aredis,
            redis,
            [submission(key="k", kind="key", body=b"b")],
            [submission(key="k", kind="key", body=b"a")],
        )
    )
    assert (other.conflict, other.duplicate) == (True, False)
    assert (same.conflict, same.duplicate, same.id) == (False, True, first.id)
    assert redis.zcard(keys.state(State.QUEUED)) == 1


def test_a_conflict_taken_twice_while_redis_was_away_is_one_submission(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A key reused with another body, noticed while draining: each body is one record."""
    first, others = (
        submission(key="k", kind="key", body=b"a"),
        [submission(key="k", kind="key", body=b"b") for _ in range(3)],
    )
    third = submission(key="k", kind="key", body=b"c")

    async def drain() -> None:
        async with accepting(aredis, redis) as acceptor:
            await acceptor.accept([first])
            for spool in (others[:1], others[1:], [third]):
                await acceptor.writer.write(
                    encode_submissions(spool, acceptor._cipher), spooled=True
                )

    asyncio.run(drain())
    records = [Ledger(redis, Cipher(())).get(one.id) for one in (first, *others, third)]
    assert [record and record.duplicate_of for record in records] == [
        None,
        None,
        others[0].id,
        others[0].id,
        None,
    ]
    assert redis.zcard(keys.state(State.QUEUED)) == 3
    [[online]] = asyncio.run(accept(aredis, redis, [submission(key="k", kind="key", body=b"b")]))
    assert online.conflict


def test_equal_content_is_the_same_only_within_its_window(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A content key lives for its window from receipt; other keys live until a week after the final
    state.
    """
    mine, event = submission(key="c", kind="content", window=600), submission(key="e")
    asyncio.run(accept(aredis, redis, [mine], [event]))
    assert 595 < redis.ttl(keys.duplicate("contact", "content", "c")) <= 600
    assert redis.ttl(keys.duplicate("contact", "event", "e")) == -1


def test_handing_the_same_id_over_twice_changes_nothing(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """A hand-over whose reply was lost can be repeated: one record, and no duplicate."""
    mine = submission(key="e1")
    for _ in range(2):
        [[receipt]] = asyncio.run(accept(aredis, redis, [mine]))
        assert receipt.id == mine.id
    assert redis.llen(keys.timeline(mine.id)) == 1
    assert redis.zcard(keys.state(State.QUEUED)) == 1


@pytest.mark.parametrize("state", [State.QUARANTINED, State.IGNORED, State.DEAD])
def test_what_is_not_to_be_delivered_gets_no_job(
    state: State, aredis: Client, redis: redis_py.Redis
) -> None:
    """Quarantined, ignored and parked submissions get no job; accepted equals the sum of states."""
    asyncio.run(accept(aredis, redis, [submission(state)]))
    counts = Ledger(redis, Cipher(())).counts()
    assert counts[state] == 1
    assert sum(counts.values()) == 1
    assert open_queue(redis).count == 0
    assert (
        redis.hget(keys.METRICS, 'leadline_submissions_total{outcome="accepted",source="contact"}')
        == b"1"
    )


def test_without_redis_the_caller_is_told(tmp_path: Any, redis: redis_py.Redis) -> None:
    """When Redis does not answer, nobody gets a receipt."""

    async def run() -> None:
        async with connect_async(f"unix://{tmp_path}/none.sock") as client:
            acceptor = Acceptor(client, open_queue(redis), Cipher(()))
            await acceptor.start()
            with pytest.raises(StoreUnavailable):
                await acceptor.accept([submission()])
            await acceptor.stop()

    asyncio.run(run())


def test_a_flushed_script_cache_does_no_harm(aredis: Client, redis: redis_py.Redis) -> None:
    """Scripts are sent as text, so an emptied script cache does no harm."""
    asyncio.run(accept(aredis, redis, [submission()]))
    redis.script_flush()
    [[receipt]] = asyncio.run(accept(aredis, redis, [submission()]))
    assert receipt.state is State.QUEUED


# -- the raw body of a request with several events
# --------------------------------------------------------------------------------------------------


def test_a_hundred_events_of_one_request_store_its_body_once(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """258 KB with a hundred events take about that much of Redis, and each record reads the body."""
    body = b"x" * 258_000
    batch = one_request(*(f"p{number}@example.com" for number in range(100)), body=body)
    before = redis.info("memory")["used_memory_dataset"]
    asyncio.run(accept(aredis, redis, batch))
    assert redis.info("memory")["used_memory_dataset"] - before < 4 * len(body)
    records = Ledger(redis, Cipher(())).find_many([one.id for one in batch])
    assert [record and record.raw for record in records] == [one.raw for one in batch]


def test_a_single_event_keeps_its_body_in_its_record(aredis: Client, redis: redis_py.Redis) -> None:
    """One key less on the usual path, and as records of before look."""
    mine = submission()
    asyncio.run(accept(aredis, redis, [mine]))
    assert redis.hexists(keys.submission(mine.id), "raw")
    assert not redis.keys(keys.raw("*"))


def test_the_body_is_stored_although_the_first_event_came_before(
    aredis: Client, redis: redis_py.Redis
) -> None:
    """Where the event that brings the body is a duplicate, the next one stores it."""
    first = submission(key="e1")
    one, other = one_request("ada@example.com", "bob@example.com")
    again = structs.replace(one, duplicate_key=first.duplicate_key)
    asyncio.run(accept(aredis, redis, [first]))
    asyncio.run(accept(aredis, redis, [again, other]))
    ledger = Ledger(redis, Cipher(()))
    record = ledger.get(other.id)
    assert ledger.get(again.id) is None
    assert record is not None
    assert record.raw == other.raw
