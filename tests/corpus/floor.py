"""How well the corpus must be read at least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.corpus.score import CaseScore, Tally

NINE = frozenset({"en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl"})


class Floor(NamedTuple):
    """The lowest precision and recall of a group of languages, and how many values may be taken from
    somebody else.
    """

    precision: float
    recall: float
    others_data: int


FLOORS = {
    "the nine": Floor(precision=0.995, recall=0.97, others_data=0),
    "beyond": Floor(precision=0.995, recall=0.90, others_data=0),
}


def group_of(result: CaseScore) -> str:
    """The row of `FLOORS` that a case belongs to."""
    return "the nine" if result.case.language in NINE else "beyond"


def below_floor(scores: Sequence[CaseScore]) -> list[str]:
    """Each figure that is below the floor, as a sentence."""
    faults = []
    for name, floor in FLOORS.items():
        tally = Tally()
        for result in scores:
            if group_of(result) == name:
                tally.add(result.total())
        if tally.precision < floor.precision:
            faults.append(f"{name}: precision {tally.precision:.4f}, at least {floor.precision}")
        if tally.recall < floor.recall:
            faults.append(f"{name}: recall {tally.recall:.4f}, at least {floor.recall}")
        if tally.others_data > floor.others_data:
            faults.append(
                f"{name}: {tally.others_data} of somebody else's data, at most {floor.others_data}"
            )
    return faults
