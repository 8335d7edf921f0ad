from __future__ import annotations

import pytest

from worker.main import run_all


def test_a_task_that_fails_stops_no_other() -> None:
    """However often one fails, the others run, and its error is raised afterwards."""
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise ValueError("this one")

    run_tasks = run_all(lambda: done.append("first"), fails, lambda: done.append("last"))
    for _ in range(2):
        with pytest.raises(ValueError, match="this one"):
            run_tasks()
    assert done == ["first", "fails", "last"] * 2
