"""Faults of the queue and the store that need no kill: what stands in Redis is not what should, and
all comes home once.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos import scenarios
from tests.chaos.environment import CrashEnvironment
from tests.chaos.running_stack import RunningStack
from tests.flow.conftest import TOKEN
from tests.polling import eventually
from worker.contract import Result, State
from worker.queue.rq_queue import enqueue, open_queue
from worker.store import keys
from worker.store.connection import connect

pytestmark = pytest.mark.timeout(600)


def _again(environment: CrashEnvironment, submission_id: str, times: int) -> None:
    """More jobs of one submission."""
    with environment.redis.pipeline(transaction=True) as pipe:
        pipe.multi()
        for _ in range(times):
            enqueue(open_queue(environment.redis), submission_id, pipe)
        pipe.execute()


def listed_twice(environment: CrashEnvironment) -> None:
    """The reply of the hand-over was lost, and it was queued once more."""
    scenarios.new_person(environment)
    _again(environment, environment.records()[0].id, 2)
    for _ in range(3):
        environment.victim.perform(environment.build_task("work"))


def stale_in_the_intermediate_list(environment: CrashEnvironment) -> None:
    """A finished submission's job stands where jobs are that a worker has taken and not begun; RQ
    queues it again.
    """
    scenarios.new_person(environment)
    queue = open_queue(environment.redis)
    [job] = queue.get_job_ids()
    _again(environment, environment.records()[0].id, 1)
    environment.victim.perform(environment.build_task("work"))
    environment.redis.lpush(queue.intermediate_queue_key, job)
    environment.victim.perform(environment.build_task("work"))


def entry_gone(environment: CrashEnvironment) -> None:
    """The reply of the blocking pop was lost: the id is in no list any more, the job's hash is."""
    scenarios.new_person(environment)
    environment.redis.delete(open_queue(environment.redis).key)


def hash_gone(environment: CrashEnvironment) -> None:
    """The job's hash was evicted, its id stands in the list."""
    scenarios.new_person(environment)
    environment.redis.delete(*environment.redis.scan_iter("rq:job:*"))
    environment.victim.perform(environment.build_task("work"))


def maintenance_held_by_the_dead(environment: CrashEnvironment) -> None:
    """A worker died with RQ's maintenance lock in hand, and in the middle of a delivery."""
    scenarios.new_person(environment)
    environment.redis.set(f"rq:clean_registries:{keys.QUEUE}", 1, ex=899)
    environment.victim.perform(scenarios.dying_task(environment.build_task("work"), 20))


@pytest.mark.parametrize(
    "happen",
    [
        listed_twice,
        stale_in_the_intermediate_list,
        entry_gone,
        hash_gone,
        maintenance_held_by_the_dead,
    ],
    ids=lambda happen: happen.__name__,
)
def test_whatever_the_queue_says_the_ledger_decides(
    environment: CrashEnvironment, happen: Callable[[CrashEnvironment], None]
) -> None:
    """Doubled, stale and lost entries of the queue make one lead."""
    happen(environment)
    environment.finish()
    assert scenarios.check_delivered_once(environment) == []


def can_find(environment: CrashEnvironment, query: dict[str, str]) -> bool:
    """Whether the account's search index knows somebody."""
    answer = environment.account.http.get(
        "/api/v2/persons/search", params=query, headers={"x-api-token": TOKEN}
    )
    return bool(answer.raise_for_status().json()["data"]["items"])


def test_after_the_loss_of_all_data_a_repeat_labels_what_is_there(
    environment: CrashEnvironment,
) -> None:
    """With Redis emptied, a sender's repeat is a new submission of a known person: no second
    person, no second lead.
    """
    scenarios.empty_store(environment)
    environment.victim.perform(scenarios.post_task(environment))
    environment.finish()
    environment.redis.flushall()
    hits = {"term": scenarios.EMAIL, "fields": "email", "exact_match": "true"}
    assert eventually(lambda: can_find(environment, hits))
    environment.victim.perform(scenarios.post_task(environment))
    environment.finish()
    [record] = environment.records()
    assert (record.state, record.result) == (State.DELIVERED, Result.LABELLED)
    assert (len(environment.account.persons), len(environment.account.leads)) == (1, 1)


REFUSALS = {
    "read-only": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "short-of-replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", "3"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "forgetting-scripts": (("SCRIPT", "FLUSH"), ("SCRIPT", "FLUSH")),
}


def test_a_redis_that_takes_nothing_costs_nothing(running: RunningStack) -> None:
    """Read-only, full, short of replicas, without its scripts: senders get their 2xx meanwhile,
    afterwards all arrives once.
    """
    before = sum(running.counts().values())
    with connect(running.stack.endpoints.redis_url, timeout=5) as client:
        for fault, (cause, cure) in REFUSALS.items():
            client.execute_command(*cause)
            try:
                for number in range(5):
                    running.post_until_accepted(f"{fault}-{number}", f"row{number}@example.com")
            finally:
                client.execute_command(*cure)
    expected = before + 5 * len(REFUSALS)
    assert eventually(lambda: sum(running.counts().values()) == expected, 60)
    running.wait_until_idle(120)
    running.check()
