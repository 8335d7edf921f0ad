"""The sandbox called directly (`api`, with a clock moved by hand) and served on a real port
(`served_api`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from service.sandbox.serve import served
from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import TOKEN, HandClock, direct

Opener = Callable[[SandboxSettings], httpx.Client]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def opened(clock: HandClock) -> Iterator[Opener]:
    """Opens sandboxes with settings of the test's own."""
    with ExitStack() as stack:

        def open_one(settings: SandboxSettings) -> httpx.Client:
            return stack.enter_context(direct(settings, clock))

        yield open_one


@pytest.fixture
def api(opened: Opener) -> httpx.Client:
    """A fresh sandbox with the settings it has by default."""
    return opened(SandboxSettings())


@pytest.fixture(scope="module")
def served_url() -> Iterator[str]:
    """One sandbox on a real port for the whole module."""
    with served(SandboxSettings(port=0, search_delay_seconds=0)) as url:
        yield url


@pytest.fixture
def served_api(served_url: str) -> Iterator[httpx.Client]:
    """A client of the served sandbox, which is emptied first."""
    with httpx.Client(base_url=served_url, headers={"x-api-token": TOKEN}, timeout=10) as client:
        assert client.post("/_sandbox/reset").status_code == 200
        yield client
