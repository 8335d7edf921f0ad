"""A real Redis for the tests that need one: one server per test process, emptied before each
test.
"""

from __future__ import annotations

import gc
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager as AsyncContext
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, cast

import hypothesis
import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio
import structlog

from service.local.redis import EmbeddedRedis, EmbeddedRedisError, find_binary
from worker.store.connection import connect, connect_async

# The tests start hundreds of Python processes: whatever the environment says, each file is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Each HTTP client reads all certificates that the machine trusts, though it hardly ever speaks TLS: they are read once.
ssl.create_default_context = cast(Any, cache(ssl.create_default_context))

hypothesis.settings.register_profile(
    "leadline", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("leadline")
# No test is judged by the clock, and CI sees the same examples each time; elsewhere new ones are
# looked for.

SLOW_FOLDERS = ("browser", "chaos")
PATIENCE = 60.0
"""Seconds a test's client waits for an answer: a busy machine is no failure."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:  # noqa: ARG001
    """`-n auto`: one more than there are processors, as many tests wait for other processes.

    At least three, so that tests which cannot run beside each other show themselves; four use
    enough memory.
    """
    return max(3, min(4, (os.cpu_count() or 2) + 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the tests that wait for processes and browsers out to all workers, to run first.

    Each worker begins with a run of consecutive tests and takes over what others have not begun.
    In the order of the folders one of them would have all the slow ones, and the rest would wait
    for it at the end.
    """
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    if workers == 1:
        return
    slow: dict[object, list[pytest.Item]] = {}
    quick: list[pytest.Item] = []
    for item in items:
        if item.path.parent.name in SLOW_FOLDERS:
            slow.setdefault(item.path, []).append(item)
        else:
            quick.append(item)
    hands: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, module in enumerate(slow.values()):
        hands[number % workers] += module
    left = len(items)
    ordered: list[pytest.Item] = []
    for number, hand in enumerate(hands):
        size = left // (workers - number)
        taken = max(0, size - len(hand))
        ordered += hand + quick[:taken]
        del quick[:taken]
        left -= size
    items[:] = ordered + quick


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _default_logs() -> Iterator[None]:
    """What one test configures about logs, no other one sees."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """The server itself. Without a binary: skipped at home, a failure where `CI` is set."""
    try:
        find_binary()
    except EmbeddedRedisError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no Redis server: {error}", pytrace=False)
        pytest.skip(f"no Redis server: {error}")
    with (
        tempfile.TemporaryDirectory(prefix="leadline-test-") as folder,
        EmbeddedRedis(folder) as server,
    ):
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of an empty server."""
    with connect(redis_server.url, timeout=PATIENCE, connect_timeout=PATIENCE) as client:
        client.flushall()
        client.config_resetstat()
    return redis_server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    """A client of an empty server; answers in bytes."""
    with connect(redis_url, timeout=PATIENCE, connect_timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def aredis(redis_url: str) -> Callable[[], AsyncContext[redis_asyncio.Redis]]:
    """Makes clients for a test's own event loop: `async with aredis() as client:`."""

    @asynccontextmanager
    async def make() -> AsyncIterator[redis_asyncio.Redis]:
        async with connect_async(redis_url, timeout=PATIENCE, connect_timeout=PATIENCE) as client:
            yield client

    return make
