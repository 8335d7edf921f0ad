"""What the operators' windows are told: from a real Redis, through the index."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from msgspec import structs

from service.ops.read import Filter, Reader
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Lead, State
from worker.ledger import Ledger
from worker.vault import Vault

Client = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture
def ledger(redis: redis_py.Redis) -> Ledger:
    return Ledger(redis, Vault(()))


@pytest.fixture
def reader(ledger: Ledger, tmp_path: Path) -> Reader:
    return Reader(ledger, None, tmp_path)


@pytest.fixture
def store(aredis: Client, redis: redis_py.Redis) -> Callable[..., list[str]]:
    """Accepts submissions and returns their ids."""

    def take(count: int = 1, state: State = State.QUEUED, source: str = "contact", **lead: Any) -> list[str]:
        made = [
            structs.replace(submission(state, source=source), lead=Lead(**({"name": "Ada Lovelace"} | lead)))
            for _ in range(count)
        ]
        asyncio.run(accept(aredis, redis, made))
        return [each.id for each in made]

    return take


def test_an_answer_knows_what_happened_before_the_question(reader: Reader, ledger: Ledger, store: Callable[..., Any]) -> None:
    """A change of state is in the very next answer, in list, count and filter."""
    [mine] = store(state=State.DEAD)
    assert reader.submissions(Filter(state="dead")).total == 1
    ledger.discard(mine, "kim", "spam")
    assert reader.submissions(Filter(state="dead")).total == 0
    assert reader.ids(Filter(state="discarded")) == [mine]
    [other] = store()
    assert [item.id for item in reader.submissions(Filter()).items] == [other, mine]
