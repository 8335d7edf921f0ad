from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.loop import Plan, report, run
from tests.chaos.power import Persistence

pytestmark = pytest.mark.timeout(600)


PERSISTENCE_PLAN = Plan(
    seed=1, submissions=40, kills=4, gap=(0.3, 1.5), longest_stop=4.0, quiet=120.0
)


@pytest.mark.parametrize("kind", [Persistence.EVERY_SECOND, Persistence.NO_FILE])
def test_a_redis_that_loses_what_it_acknowledged_loses_nothing(
    kind: Persistence, tmp_path: Path
) -> None:
    """The power fails while Redis has not synced, or Redis has no file at all: every submission
    that was acknowledged still has one effect.
    """
    outcome = run(replace(PERSISTENCE_PLAN, persistence=kind), tmp_path)
    assert not outcome.violations, report(outcome, tmp_path)
    assert outcome.acknowledged >= 30


def test_without_the_journal_it_loses_what_it_acknowledged(tmp_path: Path) -> None:
    """The same without a journal: the checker says what is lost."""
    settings = {"LEADLINE_JOURNAL": "never", "LEADLINE_ACCEPT_UNSAFE_REDIS": "yes"}
    plan = replace(PERSISTENCE_PLAN, persistence=Persistence.NO_FILE, settings=settings)
    assert run(plan, tmp_path).lost > 0


def test_a_storm_of_kills_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """Services, workers and Redis killed and stopped under load: what was acknowledged has one
    effect, what was refused none.
    """
    plan = Plan(seed=1, submissions=40, kills=4, gap=(0.3, 1.5), longest_stop=4.0, quiet=120.0)
    outcome = run(plan, tmp_path)
    assert not outcome.violations, report(outcome, tmp_path)
    assert outcome.acknowledged >= 30
    assert outcome.refused >= 1
    assert outcome.created + outcome.labelled + outcome.dead >= 25
    assert outcome.kills == 4
