"""Worker processes against the sandbox of a small plan; `tests.bench.allowance` is the long run."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.local.redis import EmbeddedRedis
from tests.bench.allowance import measure, start_site

pytestmark = pytest.mark.timeout(600)


def test_many_processes_share_one_window(redis_server: EmbeddedRedis, tmp_path: Path) -> None:  # noqa: ARG001
    """Four processes with a backlog never exceed the plan's calls or searches in two seconds."""
    with start_site(tmp_path, processes=4, backlog=200) as running:
        result = measure(running, 10.0)
    assert result.is_within_limits, result
    assert result.delivered > 0
