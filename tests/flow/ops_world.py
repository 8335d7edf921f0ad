"""The operators' API over a real Redis, with people of both roles and submissions in any state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from service.docs.document import build_document
from service.ops.api.app import api_router
from tests.flow.intake_world import World, open_world
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Cause, Lead, State
from worker.ledger import ClaimResult, Ledger
from worker.store.connection import connect_async

VIEWER, OPERATOR, SECOND = (
    "viewer-token-of-length-24-1",
    "operator-token-of-length-24-2",
    "operator-token-of-length-24-3",
)
TOKENS = {
    "LEADLINE_OPS_TOKENS": f"vera:viewer:{VIEWER},olga:operator:{OPERATOR},otto:operator:{SECOND}"
}
HERE = "http://testserver.local"
CAUSE = Cause(step="lead", code="invalid", detail="the title is too long", field="title")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of a service without sources, made without one."""
    nothing: Any = None
    return build_document(api_router(nothing, nothing, nothing), {})


class Desk:
    """`as_` asks as somebody; `put` brings a submission into a state the way it gets there."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.client: TestClient[Litestar] = world.client
        self.ledger: Ledger = world.context.ledger
        self.actions = world.actions
        self.redis = world.context.redis
        self._url = url

    def as_(self, token: str | None, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = (bearer(token) if token else {}) | rest.pop("headers", {})
        return self.client.request(method, f"/ops/api/{path}", headers=headers, **rest)

    def post(self, path: str, body: Any = None, token: str = OPERATOR) -> httpx.Response:
        return self.as_(token, "POST", path, json={} if body is None else body)

    def get(self, path: str, token: str = OPERATOR) -> httpx.Response:
        return self.as_(token, "GET", path)

    def trail(self) -> list[dict[str, Any]]:
        return list(self.get("audit").json()["items"])

    def accept(self, count: int = 1, state: State = State.QUEUED, **fields: Any) -> list[str]:
        """Through the door, in this state."""
        submissions = [submission(state=state, **fields) for _ in range(count)]

        asyncio.run(accept(lambda: connect_async(self._url, timeout=5.0), self.redis, submissions))
        return [each.id for each in submissions]

    def put(self, state: State, **fields: Any) -> str:
        if state in (State.QUEUED, State.QUARANTINED, State.IGNORED):
            return self.accept(state=state, **fields)[0]
        [name] = self.accept(**fields)
        self.end(name, state)
        return name

    def dead(self, count: int, **fields: Any) -> list[str]:
        names = self.accept(count, **fields)
        for name in names:
            self.end(name, State.DEAD)
        return names

    def end(self, name: str, state: State) -> None:
        """What a worker (or a person) makes of a queued one."""
        assert self.ledger.claim(name, "t", 30.0) is ClaimResult.CLAIMED
        if state is State.DELIVERING:
            return
        through = State.DEAD if state in (State.DISCARDED, State.ERASED) else state
        self.ledger.finish(
            name,
            "t",
            through,
            cause=CAUSE if through is State.DEAD else None,
            next_at=9e9 if state is State.WAITING else None,
        )
        if state is State.DISCARDED:
            self.ledger.discard(name, "somebody", "")
        if state is State.ERASED:
            self.ledger.erase([name], "somebody", "")

    def state(self, name: str) -> State:
        record = self.ledger.get(name)
        assert record is not None
        return record.state

    def states(self, names: Sequence[str]) -> list[State]:
        return [self.state(name) for name in names]

    def lead(self, name: str) -> Lead:
        record = self.ledger.get(name)
        assert record is not None
        assert record.lead is not None
        return record.lead


@contextmanager
def open_desk(
    url: str, monkeypatch: pytest.MonkeyPatch, folder: Path, env: dict[str, str] | None = None
) -> Iterator[Desk]:
    with open_world(url, monkeypatch, TOKENS | (env or {}), spool=folder) as world:
        yield Desk(world, url)


@pytest.fixture
def desk(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk(redis_url, monkeypatch, tmp_path) as opened:
        yield opened
