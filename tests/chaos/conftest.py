"""The environment of scans and controls: one per test process, emptied by each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.redis import EmbeddedRedis
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.chaos.environment import CrashEnvironment, open_environment
from worker.store.connection import connect


@pytest.fixture(scope="session")
def environment(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashEnvironment]:
    folder: Path = tmp_path_factory.mktemp("crashes")
    with (
        connect(redis_server.url, timeout=5.0) as client,
        serve_in_thread(SandboxSettings(port=0, search_delay_seconds=0.2)) as sandbox,
        open_environment(client, redis_server.url, sandbox, folder) as opened,
    ):
        yield opened
