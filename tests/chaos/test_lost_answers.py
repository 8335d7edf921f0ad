from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.loop import report, run
from tests.chaos.lost_answers import CREATES, lost, plan

pytestmark = pytest.mark.timeout(600)


def test_one_answer_in_five_lost_doubles_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """A fifth of all creates are committed without an answer: each submission still has one effect,
    each person one record.
    """
    outcome = run(plan(100, seed=1, quiet=120.0), tmp_path)
    assert not outcome.violations, report(outcome, tmp_path)
    assert outcome.acknowledged == 100
    assert outcome.created + outcome.labelled == sum(outcome.states.values())
    assert set(lost(outcome)) == set(CREATES)
    # Of a hundred submissions few make an organisation: none of those need have lost its answer.
    assert sum(hits > 0 for _, hits in lost(outcome).values()) > 1
