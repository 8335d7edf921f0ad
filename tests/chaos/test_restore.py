"""Redis set back to an older copy of its data: what was delivered since is found in Pipedrive, and
nothing is made twice.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import redis as redis_py

from service.local.redis import EmbeddedRedis
from tests.chaos.environment import CrashEnvironment
from tests.chaos.protections import disable_protections
from tests.chaos.running_stack import RunningStack
from tests.flow.conftest import Account, Pipeline
from tests.polling import eventually
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import WORKING, Moment, Result, State
from worker.encryption import Cipher
from worker.ledger import Ledger, Record
from worker.ledger.rollback import FOLDER, SILENT_PROCESS_SECONDS, RollbackDetector
from worker.queue.rq_queue import open_queue
from worker.store import keys
from worker.store.connection import connect, connect_async

pytestmark = pytest.mark.timeout(600)

ROUNDS = 40
SECONDS = 20.0
PEOPLE = ("ada@example.com", "bob@example.com", "cleo@example.com")


class World:
    """One data directory with its Redis and, one after the other, the worker processes on it."""

    def __init__(self, folder: Path, account: Account, stack: ExitStack) -> None:
        self.folder, self.account, self._stack = folder, account, stack
        self._server = EmbeddedRedis(folder)
        self._stack.callback(lambda: self._server.stop())
        self._skew = 0.0
        self._server.start()
        self.pipeline: Pipeline
        self.detector: RollbackDetector
        self.process()

    def process(self, marks: bool = True) -> None:
        """Another worker process takes over from one that was killed; without `marks` on another
        machine.
        """
        if hasattr(self, "detector"):
            self.detector.close(keep=True)
            self._skew = self.pipeline.skew
        client = self._stack.enter_context(connect(self._server.url, timeout=5.0))
        before = self.pipeline.lead_settings if hasattr(self, "pipeline") else None
        self.pipeline = Pipeline(
            client, lambda: connect_async(self._server.url, timeout=5.0), self.account
        )
        self.pipeline.skew = self._skew
        if before is not None:
            self.pipeline.lead_settings = before
        self.detector = RollbackDetector(
            self.folder / FOLDER if marks else None, self.pipeline.policy.settle_seconds
        )
        self.pipeline.ledger = Ledger(
            client, Cipher(()), self.pipeline.clock, rollback=self.detector
        )
        self.pipeline.sweeper._ledger = self.pipeline.ledger

    def accept_now(self, **fields: str) -> str:
        """Accepted by a Redis whose clock is that of the workers."""
        mine = self.pipeline.accept(**fields)
        moment = Moment(at=self.pipeline.clock(), state=State.QUEUED, by="intake")
        self.pipeline.redis.lset(keys.timeline(mine), 0, msgspec.json.encode(moment).decode())
        return mine

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._server.stop()
        meanwhile()
        self._server = EmbeddedRedis(self.folder)
        self._server.start()
        assert eventually(lambda: _awake(self.pipeline.redis))

    def copied(self, name: str) -> Path:
        """A copy of a folder of the data directory as it is now."""
        target = self.folder.parent / f"{name}-kept"
        shutil.copytree(
            self.folder / name, target, ignore=shutil.ignore_patterns("*.sock", "lock", "address")
        )
        return target

    def put_back(self, name: str, copy: Path) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(copy, self.folder / name)

    def work(self) -> None:
        """Until nothing is left to do."""
        delivery = self.pipeline.delivery()
        for _ in range(ROUNDS):
            self.pipeline.sweeper.sweep()
            queue = open_queue(self.pipeline.redis)
            jobs = queue.get_job_ids()
            queue.empty()  # type: ignore[no-untyped-call]
            for job in jobs:
                delivery(job.rsplit("-", 1)[0])
            if not any(self.pipeline.ledger.counts()[state] for state in WORKING):
                return
            self.pipeline.advance(SECONDS)

    def records(self) -> list[Record]:
        return list(self.pipeline.ledger.each_in(State.DELIVERED))

    def doubles(self) -> dict[str, object]:
        """What is in the account more often than it should be."""
        state = self.account.state()
        duplicates = {
            "origin_id": [lead["origin_id"] for lead in state["leads"]],
            "note": [note["content"].rpartition("Leadline")[2] for note in state["notes"]],
            "email": [email["value"] for person in state["persons"] for email in person["emails"]],
            "organization": [organization["name"] for organization in state["organizations"]],
        }
        more = {
            kind: [name for name, times in Counter(names).items() if times > 1]
            for kind, names in duplicates.items()
        }
        return {kind: names for kind, names in more.items() if names}


def _awake(client: redis_py.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis_py.RedisError:
        return False


@pytest.fixture
def world(tmp_path: Path, environment: CrashEnvironment) -> Iterator[World]:
    environment.account.http.post("/_sandbox/reset").raise_for_status()
    with ExitStack() as stack:
        yield World(tmp_path / "data", environment.account, stack)


def taken(world: World, existing: str) -> int:
    """Nine submissions of three people of two companies; one is known, one settles, the others are
    queued.
    """
    pipeline = world.pipeline
    pipeline.settings(existing=existing, note=True)
    world.account.fault({"operation": "leads.add", "count": 1}, {"kind": "commit-then-drop"})
    assert (
        pipeline.accept_and_deliver(email=PEOPLE[0], message="first", company="Acme Ltd").reason
        == "settle"
    )
    pipeline.accept_and_deliver(email="warm@example.com", message="hello")
    for number, email in enumerate(PEOPLE * 2):
        pipeline.accept(
            email=email, message=f"about {number}", company="Acme Ltd" if number % 2 else "Bolt plc"
        )
    pipeline.accept(email="warm@example.com", message="again")
    return 9


def delivered(world: World, expected: int) -> None:
    world.work()
    assert len(world.records()) == expected
    assert world.doubles() == {}


def same(world: World, _: Path) -> None:
    """The worker lives on."""


def next_one(world: World, _: Path) -> None:
    """It was killed too; the next one finds its mark."""
    world.process()


def all_set_back(world: World, marks: Path) -> None:
    """The whole data directory was set back, marks included, to how it was an hour ago."""
    world.detector.close(keep=True)
    for mark in marks.iterdir():
        number, server, at, all_ = mark.read_text().split()
        mark.write_text(f"{number} {server} {float(at) - 3600:.3f} {all_}\n")
    world.put_back(FOLDER, marks)
    world.process()


def elsewhere(world: World, _: Path) -> None:
    """Another machine goes on, where nobody knows anything."""
    world.process(marks=False)


@pytest.mark.parametrize("existing", ["new", "label"])
@pytest.mark.parametrize(
    "afterwards", [same, next_one, all_set_back, elsewhere], ids=lambda how: how.__name__
)
def test_an_older_copy_of_redis_makes_nothing_twice(
    world: World, existing: str, afterwards: Callable[[World, Path], None]
) -> None:
    """Delivered since the copy was made, and delivered again from it: no lead, note, person or
    organisation twice.
    """
    expected = taken(world, existing)
    store, marks = world.copied("redis"), world.copied(FOLDER)
    delivered(world, expected)
    before = {
        kind: len(world.account.state()[kind])
        for kind in ("leads", "notes", "persons", "organizations")
    }
    world.restart(lambda: world.put_back("redis", store))
    afterwards(world, marks)
    delivered(world, expected)
    assert {kind: len(world.account.state()[kind]) for kind in before} == before


@pytest.mark.parametrize(
    ("existing", "doubled"), [("new", {"origin_id", "note"}), ("label", {"origin_id", "note"})]
)
def test_without_the_look_it_does(world: World, existing: str, doubled: set[str]) -> None:
    """The same, with what Redis may have forgotten not looked for: doubles by origin_id and by
    note.
    """
    taken(world, existing)
    store = world.copied("redis")
    world.work()
    world.restart(lambda: world.put_back("redis", store))
    with disable_protections("rollback-lookup"):
        world.work()
    assert doubled & set(world.doubles())


def test_a_restart_that_lost_nothing_costs_nothing(world: World) -> None:
    """Redis and worker killed and started again on their own data: what waits is delivered at once,
    with no token more.
    """
    world.pipeline.settings(note=False)
    world.pipeline.accept_and_deliver(email="warm@example.com")
    spent = world.account.tokens()
    world.pipeline.accept_and_deliver(email="one@example.com")
    usual = world.account.tokens() - spent
    waiting = world.pipeline.accept(email="two@example.com")
    world.restart()
    world.process()
    spent = world.account.tokens()
    assert world.pipeline.deliver(waiting).state is State.DELIVERED
    assert world.account.tokens() - spent == usual
    assert world.pipeline.redis.hget(keys.ROLLBACK, "restored_at") is None


def test_a_worker_that_left_in_order_is_not_waited_for(world: World) -> None:
    """After a rolling exchange of workers without disks, a restart of Redis stops nobody."""
    world.pipeline.accept_and_deliver(email="warm@example.com")
    old = world.pipeline.ledger
    world.process(marks=False)
    world.pipeline.ledger.store_status()
    old.store_status(leaves=True)
    world.restart()
    assert world.pipeline.accept_and_deliver(email="next@example.com").state is State.DELIVERED
    assert world.pipeline.redis.hget(keys.ROLLBACK, "restored_at") is None


def test_what_was_delivered_by_a_worker_that_left_since_is_found(world: World) -> None:
    """A worker that came after the copy was made, delivered and left in order is spoken for by one
    that only stood by.
    """
    world.pipeline.settings(note=True, existing="new")
    world.pipeline.accept_and_deliver(email="warm@example.com", message="hello")
    mine = [world.pipeline.accept(email=email, message="hello") for email in PEOPLE]
    store = world.copied("redis")
    stood_by, world.detector = (
        (world.pipeline, world.detector),
        RollbackDetector(world.folder / FOLDER, world.pipeline.policy.settle_seconds),
    )
    world.pipeline = Pipeline(
        stood_by[0].redis, lambda: connect_async(world._server.url, timeout=5.0), world.account
    )
    world.pipeline.lead_settings = stood_by[0].lead_settings
    world.pipeline.ledger = world.pipeline.sweeper._ledger = Ledger(
        world.pipeline.redis, Cipher(()), world.pipeline.clock, rollback=world.detector
    )
    assert {world.pipeline.deliver(name).state for name in mine} == {State.DELIVERED}
    world.pipeline.ledger.store_status(leaves=True)
    world.pipeline, world.detector = stood_by
    world.pipeline.ledger.store_status()
    world.restart(lambda: world.put_back("redis", store))
    delivered(world, 4)
    assert (len(world.account.leads), len(world.account.notes)) == (4, 4)


def test_a_redis_that_forgot_everything_makes_nothing_twice(world: World) -> None:
    """Redis comes back empty and the journal is handed over again. Whoever is left has announced
    nothing and seen nobody do so, but knows the old server: what was delivered is found.
    """
    world.pipeline.settings(note=False, existing="new")
    stands_by = RollbackDetector(world.folder / FOLDER, world.pipeline.policy.settle_seconds)
    ledger = Ledger(world.pipeline.redis, Cipher(()), world.pipeline.clock, rollback=stands_by)
    ledger.store_status()
    mine = submission(email=PEOPLE[0], received_at=world.pipeline.clock())

    def hand_over() -> None:
        asyncio.run(accept(world.pipeline._aredis, world.pipeline.redis, [mine]))

    hand_over()
    assert world.pipeline.deliver(mine.id).state is State.DELIVERED
    world.detector.close(keep=True)
    world.restart(lambda: shutil.rmtree(world.folder / "redis" / "appendonlydir"))
    world.detector = stands_by
    world.pipeline.ledger = world.pipeline.sweeper._ledger = ledger
    hand_over()
    delivered(world, 1)
    assert len(world.account.leads) == 1


def test_who_cannot_be_asked_is_waited_for_and_then_doubted(world: World) -> None:
    """A worker that was there before the restart of Redis and says nothing after it may have
    announced more than is there.
    """
    world.pipeline.accept_and_deliver(email="warm@example.com")
    waiting = world.pipeline.accept(email="one@example.com")
    world.restart()
    world.process(marks=False)
    assert world.pipeline.deliver(waiting).reason == "store"
    assert world.pipeline.ledger.store_status().agreed is False
    world.pipeline.advance(16)
    status = world.pipeline.ledger.store_status(waiting)
    assert (status.agreed, status.needs_lookup) == (True, True)
    assert (
        world.pipeline.ledger.store_status(world.accept_now(email="two@example.com")).needs_lookup
        is True
    )
    world.pipeline.advance(91)
    assert (
        world.pipeline.ledger.store_status(world.accept_now(email="three@example.com")).needs_lookup
        is False
    )
    world.work()
    assert len(world.account.leads) == 4


def test_who_was_silent_for_long_is_neither_waited_for_nor_suspected(world: World) -> None:
    """A worker stopped for minutes is not missed at a restart of Redis, and its own return raises
    no doubt.
    """
    world.pipeline.accept_and_deliver(email="warm@example.com")
    silent = world.pipeline.ledger
    world.process(marks=False)
    world.pipeline.ledger.store_status()
    world.pipeline.advance(SILENT_PROCESS_SECONDS + 1)
    assert world.pipeline.ledger.store_status().agreed
    assert silent.store_status().restored_at == ""
    world.pipeline.advance(SILENT_PROCESS_SECONDS + 1)
    world.pipeline.ledger.store_status()
    world.restart()
    assert world.pipeline.ledger.store_status().agreed


def test_a_create_is_not_sent_on_a_store_that_may_have_forgotten(world: World) -> None:
    """A delivery in hand while Redis is set back announces nothing more: it waits, and is looked
    for with the others.
    """
    world.pipeline.settings(note=True, existing="new")
    world.pipeline.accept_and_deliver(email="warm@example.com", message="hello")
    mine = world.pipeline.accept(message="hello")
    store: list[Path] = []
    real = world.pipeline.ledger.announce

    def announce(submission_id: str, *arguments: object, **more: object) -> None:
        if arguments[2] == "lead":
            store.append(world.copied("redis"))
        elif arguments[2] == "note":
            world.restart(lambda: world.put_back("redis", store[0]))
        real(submission_id, *arguments, **more)  # type: ignore[arg-type]

    world.pipeline.ledger.announce = announce  # type: ignore[method-assign]
    world.pipeline.delivery()(mine)
    world.pipeline.ledger.announce = real  # type: ignore[method-assign]
    assert world.pipeline.record(mine).state is not State.DELIVERED
    world.work()
    assert (world.doubles(), len(world.account.leads), len(world.account.notes)) == ({}, 2, 2)
    assert world.pipeline.record(mine).result is Result.CREATED


def test_a_persons_lead_that_redis_forgot_is_labelled(world: World) -> None:
    """A person we remember as ours has a lead that is made since the copy: the next submission
    labels it, long after.
    """
    first = world.pipeline.accept_and_deliver()
    headers = {"x-api-token": "sandbox-token"}
    store = world.copied("redis")
    world.account.http.patch(
        f"/v1/leads/{first.lead_id}", json={"is_archived": True}, headers=headers
    ).raise_for_status()
    second = world.pipeline.accept_and_deliver()
    assert second.result is Result.CREATED
    world.restart(lambda: world.put_back("redis", store))
    world.pipeline.ledger.store_status()
    world.pipeline.advance(3600)
    third = world.pipeline.deliver(world.accept_now())
    assert (third.result, third.lead_id) == (Result.LABELLED, second.lead_id)


def restarted(running: RunningStack, meanwhile: Callable[[], object]) -> None:
    """Service, worker and Redis stop in order and start again; `meanwhile` happens in between."""
    server = running.stack.redis
    assert server is not None
    before = dict(running.stack.pids)
    for part in ("serve", "work"):
        os.kill(before[part], signal.SIGTERM)
    assert eventually(
        lambda: not {before["serve"], before["work"]} & {*running.stack.pids.values()}
    )
    server.stop()
    meanwhile()
    server.start()
    assert eventually(running.is_well)


def test_a_whole_machine_set_back_finds_what_it_delivered(
    running: RunningStack, tmp_path: Path
) -> None:
    """Stopped with work left, a machine goes on with it at the next start; set back to Redis's
    files of that moment, it makes nothing twice.
    """
    assert running.stack.redis is not None
    files, copy = running.stack.redis.folder, tmp_path / "kept"
    ignore = shutil.ignore_patterns("*.sock", "lock", "address")
    running.post_until_accepted("back-warm", "back0@example.com")
    running.wait_until_idle(60)
    running.fault({"operation": "leads.add"}, {"kind": "answer", "status": 503})
    for number in range(12):
        running.post_until_accepted(
            f"back-{number}",
            f"back{number % 5}@example.com",
            source="fresh" if number % 2 else "site",
        )
    restarted(running, lambda: shutil.copytree(files, copy, ignore=ignore))
    running.heal()
    settled(running)

    def put_back() -> None:
        shutil.rmtree(files)
        shutil.copytree(copy, files)

    restarted(running, put_back)
    settled(running)
    assert len(running.sandbox()["leads"]) >= 6


def settled(running: RunningStack) -> None:
    running.settle()
    running.check()
