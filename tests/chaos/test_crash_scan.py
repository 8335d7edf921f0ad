from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.crash_scan import scan
from tests.chaos.environment import CrashEnvironment
from tests.chaos.points import Side
from tests.chaos.protections import disable_protections
from tests.chaos.scenarios import DELIVERIES, SCENARIOS

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("name", "every", "least"),
    # `make crash-scan` dies at every message.
    [("created", 9, 45), ("looks", 18, 30), ("replay", 1, 1), ("sweep", 4, 3), ("dies", 9, 10),
     ("refused", 18, 30), ("converted", 18, 45),
     ("post", 3, 5), ("post-journaled", 3, 5), ("post-spooled", 1, 2), ("drain", 8, 5), ("erase", 18, 30),
     ("erased", 18, 40), ("retention", 4, 8)],
)  # fmt: skip
def test_no_death_on_the_way_costs_anything(
    environment: CrashEnvironment, name: str, every: int, least: int
) -> None:
    """Whichever message a process dies at, the submission comes home: everything once, nothing
    lost, nothing left over.
    """
    result = scan(environment, SCENARIOS[name], every)
    assert result.violations == []
    assert min(result.points[side] for side in Side) >= least
    assert result.deaths >= 2


def test_the_ways_cover_each_kind_of_delivery() -> None:
    """Created, labelled, retried, settled, looked for, dead and replayed: none is left out of the
    long form.
    """
    names = {scenario.name for scenario in DELIVERIES}
    assert names >= {
        "created",
        "labelled",
        "waits",
        "settles",
        "looks",
        "dies",
        "replay",
        "replayed",
        "sweep",
    }


def test_the_scan_finds_a_lead_made_twice(environment: CrashEnvironment) -> None:
    """Without the look for what an unanswered create made, some death on the way makes a second
    one; the scan says so.
    """
    scenario = replace(SCENARIOS["created"], name="created, blindly")
    with disable_protections("look-up"):
        result = scan(environment, scenario, start=30, first=True)
    assert any("in the account" in violation for violation in result.violations)
