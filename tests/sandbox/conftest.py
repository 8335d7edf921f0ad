"""The sandbox called directly with a manual clock (`api`), or over a socket (`served_api`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import TOKEN, ManualClock, connect_directly

Opener = Callable[[SandboxSettings], httpx.Client]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_sandbox(clock: ManualClock) -> Iterator[Opener]:
    """Opens sandboxes with the settings of a test."""
    with ExitStack() as stack:

        def open_one(settings: SandboxSettings) -> httpx.Client:
            return stack.enter_context(connect_directly(settings, clock))

        yield open_one


@pytest.fixture
def api(open_sandbox: Opener) -> httpx.Client:
    """A fresh sandbox with the default settings."""
    return open_sandbox(SandboxSettings())


@pytest.fixture(scope="module")
def served_url() -> Iterator[str]:
    """One sandbox on a real port for the whole module."""
    with serve_in_thread(SandboxSettings(port=0, search_delay_seconds=0)) as url:
        yield url


@pytest.fixture
def served_api(served_url: str) -> Iterator[httpx.Client]:
    """A client of the served sandbox, which is emptied first."""
    with httpx.Client(base_url=served_url, headers={"x-api-token": TOKEN}, timeout=10) as client:
        assert client.post("/_sandbox/reset").status_code == 200
        yield client
