from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.outage import Outage, OutagePlan

pytestmark = pytest.mark.timeout(600)


def test_an_outage_of_redis_costs_senders_no_answer_and_nothing_is_lost(tmp_path: Path) -> None:
    """Redis away for some seconds at 50 posts a second: each gets its 2xx, the spool grows and
    empties, all is delivered once.
    """
    plan = OutagePlan(
        seconds=3.0,
        before=1.0,
        after=1.0,
        within=120.0,
        min_spooled=40,
        settings={"LEADLINE_SLOTS": "8"},
    )
    outcome = Outage(plan, tmp_path).run()
    assert outcome.not_2xx == 0
    assert outcome.acknowledged == outcome.posts > 40
    assert max(sample.submissions for sample in outcome.spool) >= 40
    assert outcome.delivered_after is not None
    assert outcome.violations == []
