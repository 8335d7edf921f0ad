from __future__ import annotations

import pytest

from worker.main import run_all


def test_a_chore_that_fails_keeps_no_other_from_its_work() -> None:
    """However often one fails, those behind it are done, and its error is told."""
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise ValueError("this one")

    run_tasks = run_all(lambda: done.append("first"), fails, lambda: done.append("last"))
    for _ in range(2):
        with pytest.raises(ValueError, match="this one"):
            run_tasks()
    assert done == ["first", "fails", "last"] * 2
