"""The labelled submissions of `tests/corpus` are read as well as the floor says."""

from __future__ import annotations

from collections import Counter

from service.sources.adapters.registry import ADAPTERS
from tests.corpus.floor import NINE, below_floor
from tests.corpus.reading import load_cases, score_all


def test_the_floor_holds() -> None:
    """Precision, recall and what is taken from somebody else, in each group of languages; what is
    read wrong is told with it.
    """
    scores = score_all(load_cases())
    wrong = [(each.case.name, *mistake) for each in scores for mistake in each.mistakes]
    assert below_floor(scores) == [], wrong


def test_there_is_enough_of_everything() -> None:
    """At least 300 cases, 8 in each language beyond the nine, 3 of each adapter."""
    cases = load_cases()
    languages = Counter(case.language for case in cases)
    products = Counter(case.product for case in cases)
    assert len(cases) >= 300
    assert {name: n for name, n in languages.items() if n < 8 and name not in NINE} == {}
    assert {name: products[name] for name in ADAPTERS if products[name] < 3} == {}
