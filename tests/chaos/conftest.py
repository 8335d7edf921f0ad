"""What the tests of this folder share: one machine and one environment per test process."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.redis import EmbeddedRedis
from service.local.stack import LocalStack
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.chaos.environment import CrashEnvironment, open_environment
from tests.chaos.fork_server import forked_starts
from tests.chaos.running_stack import RunningStack, run_stack
from tests.chaos.senders import CHAOS_SOURCES
from worker.store.connection import connect

SECRETS = {
    "CHAOS_SECRET": "the-former-secret-of-a-sender",
    "CHAOS_NEXT": "the-next-secret-of-a-sender",
}


@pytest.fixture(scope="session", autouse=True)
def _forked_starts() -> Iterator[None]:
    """Parts of machines are forked from a process that has imported everything."""
    with forked_starts():
        yield


@pytest.fixture(scope="session")
def environment(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashEnvironment]:
    """The environment of scans and controls; each of them empties it."""
    folder: Path = tmp_path_factory.mktemp("crashes")
    with (
        connect(redis_server.url, timeout=5.0) as client,
        serve_in_thread(SandboxSettings(port=0, search_delay_seconds=0.2)) as sandbox,
        open_environment(client, redis_server.url, sandbox, folder) as opened,
    ):
        yield opened


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A whole machine, started by somebody who allows core files."""
    former = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (former[1], former[1]))
    try:
        with run_stack(
            tmp_path_factory.mktemp("machine"), CHAOS_SOURCES, LocalStack, **SECRETS
        ) as started:
            yield started
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, former)


@pytest.fixture
def running(machine: RunningStack) -> RunningStack:
    """That machine, well and idle, with an empty account and nothing acknowledged yet.

    The store keeps what former tests left, so a test uses keys and addresses of its own.
    """
    machine.settle()
    machine.acknowledged = {}
    machine.http.post(f"{machine.stack.endpoints.sandbox_url}/_sandbox/reset").raise_for_status()
    return machine
