"""The journal: a 2xx holds on a Redis that may lose what it acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import redis as redis_py

from tests.polling import eventually
from tests.redis.servers import EACH_WRITE, EVERY_SECOND, MANAGED, NO_FILE, redis_with
from tests.redis.store import submission
from worker.accept.acceptor import Acceptor
from worker.accept.journal import MAX_STATES, SYNC_SECONDS, Journal
from worker.accept.spool import SPOOL_FOLDER, Spool, count_spooled
from worker.contract import Receipt, State, Submission
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue
from worker.store.connection import connect, connect_async
from worker.store.durability import Durability, read_durability

PATIENCE = 60.0
CIPHER = Cipher(())


class Server:
    """A server with options of the test's choice, and the acceptor of one process."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder / SPOOL_FOLDER
        self.client = connect(url, timeout=PATIENCE, connect_timeout=PATIENCE)
        self.ledger = Ledger(self.client, CIPHER)

    @asynccontextmanager
    async def accepting(
        self, mode: Literal["auto", "always", "never"] = "auto", max_bytes: int = 10**8
    ) -> AsyncIterator[tuple[Acceptor, Spool]]:
        spool = Spool(self.folder, max_bytes, CIPHER)
        async with connect_async(self.url, timeout=PATIENCE, connect_timeout=PATIENCE) as client:
            acceptor = Acceptor(
                client, open_queue(self.client), CIPHER, spool=spool, journal=Journal(spool, mode)
            )
            await acceptor.start()
            try:
                yield acceptor, spool
            finally:
                await acceptor.stop()

    def kill(self) -> None:
        """Kill the server; its supervisor starts another one."""
        pid = int(self.client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: self._pid() not in (None, pid))

    def _pid(self) -> int | None:
        try:
            return int(self.client.info("server")["process_id"])
        except redis_py.RedisError:
            return None

    def first_of(self, submission_id: str) -> str | None:
        """The submission of which this one is a duplicate."""
        record = self.ledger.get(submission_id)
        return record.duplicate_of if record else None

    def has(self, *ids: str) -> bool:
        try:
            return all(self.ledger.get(each) for each in ids)
        except StoreUnavailable:
            return False


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Server]]:
    with ExitStack() as stack:
        yield lambda options: Server(stack.enter_context(redis_with(options)), tmp_path)


async def until(condition: Callable[[], object]) -> None:
    assert await asyncio.to_thread(eventually, condition)


Serve = Callable[[dict[str, str]], Server]
LOSING = {"no file": NO_FILE, "does not say": NO_FILE | MANAGED}


@pytest.mark.parametrize("options", LOSING.values(), ids=LOSING)
def test_a_redis_that_lost_everything_gets_it_again(options: dict[str, str], serve: Serve) -> None:
    """What was acknowledged is handed over again to a server that came back empty."""
    server = serve(options)
    ids: list[str] = []

    async def run() -> None:
        async with server.accepting() as (acceptor, spool):
            receipts = [r for _ in range(20) for r in await acceptor.accept([submission()])]
            ids.extend(receipt.id for receipt in receipts)
            assert server.has(*ids)
            await until(lambda: spool.count == 0)
            await asyncio.to_thread(server.kill)
            await until(lambda: server.has(*ids))

    asyncio.run(run())
    assert len(set(ids)) == 20


def test_a_twin_of_what_redis_forgot_is_recognised(serve: Serve) -> None:
    """A submission that was over when Redis lost everything still has one effect: the same event
    again, at whichever process, becomes its duplicate.
    """
    server = serve(NO_FILE)

    async def run() -> None:
        async with (
            server.accepting() as (first_process, spool),
            server.accepting() as (second, second_spool),
        ):
            first = submission(State.IGNORED, key="k")
            await first_process.accept([first])
            await until(lambda: spool.count == 0 and not spool.stored())
            await asyncio.to_thread(server.kill)
            twins = [submission(key="k"), submission(key="k")]
            receipts = [
                receipt
                for process, twin in zip((first_process, second), twins, strict=True)
                for receipt in await process.accept([twin])
            ]
            assert receipts[0].id == first.id
            assert receipts[0].duplicate
            await until(lambda: server.has(first.id, twins[1].id))
            assert server.first_of(twins[1].id) == first.id
            # And so it stays, when all is lost again.
            await until(lambda: not spool.count and not second_spool.count)
            await asyncio.to_thread(server.kill)
            await until(lambda: server.has(first.id, twins[1].id))
            assert server.first_of(twins[1].id) == first.id

    asyncio.run(run())


def test_new_submissions_wait_for_the_journal_of_another_process(serve: Serve) -> None:
    """While another process has not handed its journal over, a twin of what is in it waits."""
    server = serve(NO_FILE)
    held = threading.Event()

    async def run() -> None:
        async with server.accepting() as (first_process, spool), server.accepting() as (second, _):
            first, twin = submission(State.IGNORED, key="k"), submission(key="k")
            await first_process.accept([first])
            await until(lambda: spool.count == 0 and not spool.stored())
            first_process._disk.submit(held.wait, PATIENCE)
            try:
                await asyncio.to_thread(server.kill)
                await second.accept([twin])
                run_of_server = await asyncio.to_thread(
                    lambda: read_durability(server.client).server
                )
                locks = server.folder.glob
                await until(lambda: run_of_server in {each.read_text() for each in locks("*.lock")})
                assert not server.has(twin.id)
            finally:
                held.set()
            await until(lambda: server.has(first.id, twin.id))
            record = server.ledger.get(twin.id)
            assert record is not None
            assert record.duplicate_of == first.id

    asyncio.run(run())


def test_a_process_that_died_leaves_its_journal_to_the_next(serve: Serve) -> None:
    """Redis and the accepting process die together: the next process hands the journal over."""
    server = serve(NO_FILE)

    async def accept() -> list[str]:
        async with server.accepting() as (acceptor, _):
            return [receipt.id for receipt in await acceptor.accept([submission(), submission()])]

    async def revive(ids: list[str]) -> None:
        async with server.accepting():
            await until(lambda: server.has(*ids))

    ids = asyncio.run(accept())
    server.kill()
    assert not server.has(*ids)
    asyncio.run(revive(ids))


@pytest.mark.parametrize("state", [State.QUEUED, State.DEAD, State.QUARANTINED])
def test_without_a_file_it_stays_until_nobody_has_to_do_anything(
    state: State, serve: Serve
) -> None:
    """A submission leaves the journal once it needs nobody any more: a dead letter still does."""
    server = serve(NO_FILE)

    async def run() -> None:
        async with server.accepting() as (acceptor, spool):
            waiting, over = submission(state), submission(State.IGNORED)
            await acceptor.accept([waiting])
            await acceptor.accept([over])
            await until(lambda: set(spool.stored()) == {waiting.id})

    asyncio.run(run())


def test_with_a_file_it_stays_until_that_is_synced(serve: Serve) -> None:
    """Where Redis syncs every second, the journal is empty some seconds later, and its bytes gone."""
    server = serve(EVERY_SECOND)

    async def run() -> None:
        async with server.accepting() as (acceptor, spool):
            one = submission()
            await acceptor.accept([one])
            await until(lambda: one.id in spool.stored())
            await until(lambda: not spool.stored() and not spool.count)

    asyncio.run(run())
    assert not list(server.folder.glob("*.sqlite"))


def test_only_where_redis_does_not_sync_each_write(serve: Serve) -> None:
    """`auto` writes nothing for a server that syncs each write; `always` does, `never` never."""
    server = serve(EACH_WRITE)

    async def run(mode: Literal["auto", "always", "never"]) -> bool:
        server.folder = server.folder.with_name(mode)
        async with server.accepting(mode) as (acceptor, spool):
            await acceptor.accept([submission()])
            return spool.in_use()

    assert [asyncio.run(run(mode)) for mode in ("auto", "always", "never")] == [False, True, False]


def test_a_duplicate_gets_the_answer_of_redis_and_does_not_stay(serve: Serve) -> None:
    """Redis decides what is a duplicate; its answer counts, and the journal keeps the first alone."""
    server = serve(NO_FILE)

    async def run() -> None:
        async with server.accepting() as (acceptor, spool):
            first, second = submission(key="k"), submission(key="k")
            [receipt] = await acceptor.accept([first])
            [again] = await acceptor.accept([second])
            assert again == Receipt(first.id, State.QUEUED, duplicate=True)
            assert not receipt.duplicate
            await until(lambda: set(spool.stored()) == {first.id})
            assert await asyncio.to_thread(lambda: server.ledger.get(second.id)) is None

    asyncio.run(run())


def test_a_full_journal_refuses_and_keeps_what_it_has(serve: Serve) -> None:
    """No room in the journal means that nothing is acknowledged; Redis is not blamed for it."""
    server = serve(NO_FILE)

    async def run() -> None:
        async with server.accepting(max_bytes=3_000) as (acceptor, spool):
            small, large = submission(), submission(body=b"x" * 3_000)
            await acceptor.accept([small])
            with pytest.raises(StoreUnavailable, match="journal"):
                await acceptor.accept([large])
            assert acceptor.breaker.closed
            assert set(spool.stored()) == {small.id}

    asyncio.run(run())


def test_other_processes_do_not_count_the_journal_as_waiting(serve: Serve) -> None:
    """What Redis has is in the journal, but not spooled, whoever counts."""
    server = serve(NO_FILE)

    async def run() -> None:
        async with server.accepting() as (acceptor, spool):
            await acceptor.accept([submission()])
            await until(spool.stored)
            assert (count_spooled(server.folder), spool.count) == (0, 0)

    asyncio.run(run())


class Disk:
    """A spool and a journal over it, with a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.spool = Spool(folder, 10**7, CIPHER)
        self.journal = Journal(self.spool, monotonic=lambda: self.now)

    def write(self, *submissions: Submission) -> None:
        """Journal submissions and note that Redis took them."""
        server = self.journal.server
        self.journal.write(submissions, self.now)
        receipts = [Receipt(each.id, each.state, duplicate=False) for each in submissions]
        self.journal.record(submissions, receipts, server)

    def observe(self, durability: Durability) -> list[str]:
        return self.journal.observe(durability, self.now)

    def waiting(self) -> list[str]:
        return [each.id for each in self.spool.oldest(1_000)]


def look(**facts: Any) -> Durability:
    facts = dict[str, Any](run_id="a", append_only=True, fsync="everysec") | facts
    return Durability(**facts)


def test_a_sync_that_is_outstanding_is_waited_for(tmp_path: Path) -> None:
    """Two seconds are not enough while Redis has a sync to end, cannot write its file, or may have
    held back the sync of this one until another ended.
    """
    disk = Disk(tmp_path)
    disk.observe(look())
    one = submission()
    disk.write(one)
    disk.now += SYNC_SECONDS - 0.1
    disk.observe(look())
    assert one.id in disk.spool.stored()
    disk.now += 0.2
    for facts in ({"sync_pending": True}, {"append_only_writes": False}, {}):
        disk.observe(look(**facts))
        assert one.id in disk.spool.stored()
    disk.now += 1
    disk.observe(look(append_only_writes=False))
    assert one.id in disk.spool.stored()
    disk.observe(look())
    assert not disk.spool.stored()
    assert not disk.waiting()


@pytest.mark.parametrize("change", [{"run_id": "b"}, {"replication_id": "c"}])
def test_another_run_of_the_server_gets_it_again(change: dict[str, str], tmp_path: Path) -> None:
    """A restart and a failover both mean that everything in the journal is handed over again."""
    disk = Disk(tmp_path)
    disk.observe(look())
    one = submission()
    disk.write(one)
    disk.observe(look())
    assert disk.waiting() == []
    disk.now += 10
    disk.observe(look(**change))
    assert disk.waiting() == [one.id]
    assert count_spooled(tmp_path) == disk.spool.count == 1


def test_a_duplicate_from_the_spool_keeps_its_id_alone(tmp_path: Path) -> None:
    """Redis keeps a pointer for each acknowledged duplicate, so the journal keeps its id; handed
    over again before the first one, it is not taken for that.
    """
    disk = Disk(tmp_path)
    disk.observe(look())
    again = submission(key="order-1", kind="key")
    disk.spool.put([again], disk.now)
    first = Receipt("first", State.QUEUED, duplicate=True)
    disk.journal.record_handed_over([again], [first], disk.journal.server)
    assert set(disk.spool.stored()) == {again.id}
    disk.observe(look(run_id="b"))
    (left,) = disk.spool.oldest(10)
    assert (left.id, left.duplicate_key, left.lead, left.state) == (
        again.id,
        None,
        None,
        State.IGNORED,
    )
    assert left.duplicate_of == "first"
    assert not left.raw.body


def test_what_redis_lost_without_a_restart_is_handed_over_again(tmp_path: Path) -> None:
    """A record that is not there although the server ran on, as after an eviction, waits again."""
    disk = Disk(tmp_path)
    unsynced = look(append_only=False)
    disk.observe(unsynced)
    lost, here = submission(), submission()
    disk.write(lost, here)
    disk.now += 10
    assert set(disk.observe(unsynced)) == {lost.id, here.id}
    disk.journal.resolve({lost.id: None, here.id: State.WAITING})
    assert disk.waiting() == [lost.id]


def test_a_large_journal_is_looked_at_in_parts(tmp_path: Path) -> None:
    """Each look asks for the states of some only, and all have their turn."""
    disk = Disk(tmp_path)
    unsynced = look(append_only=False)
    disk.observe(unsynced)
    many = [submission() for _ in range(MAX_STATES + 5)]
    disk.write(*many)
    disk.now += 10
    looks = [disk.observe(unsynced) for _ in range(3)]
    assert [len(part) for part in looks] == [MAX_STATES, 5, MAX_STATES]
    assert {*looks[0], *looks[1]} == {each.id for each in many}


def test_what_looks_like_spam_does_not_fill_the_journal(tmp_path: Path) -> None:
    """Beyond half of the bound, a quarantined submission leaves the journal to the others."""
    disk = Disk(tmp_path)
    disk.spool = Spool(tmp_path, 10_000, CIPHER)
    disk.journal = Journal(disk.spool, monotonic=lambda: disk.now)
    unsynced = look(append_only=False)
    disk.observe(unsynced)
    spam, lead = submission(State.QUARANTINED, body=b"x" * 3_000), submission()
    disk.write(spam, lead)
    states: dict[str, State | None] = {spam.id: State.QUARANTINED, lead.id: State.WAITING}
    disk.journal.resolve(states)
    assert set(disk.spool.stored()) == {spam.id, lead.id}
    more = submission(body=b"x" * 3_000)
    disk.write(more)
    disk.journal.resolve(states)
    assert set(disk.spool.stored()) == {lead.id, more.id}
