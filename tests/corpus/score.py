"""Compares the reading of a case with its label, and counts true and false positives, false
negatives, and what was taken from somebody else. `README.md` says how each field counts.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec import field as member

from worker.contract import Lead

PERSON = ("name", "first_name", "last_name")
NESTED = ("utm", "click_ids", "value")
# A value of these is wrong if it has no label; all other fields are judged only if labelled.
CONTACT_FIELDS = (
    "name",
    "email",
    "phone",
    "company",
    "job_title",
    "website",
    "message",
    "consent",
    "country",
)


def is_field(name: str) -> bool:
    """Whether a label may speak of it: a field of the lead, or one in `utm`, `click_ids`, `value`."""
    outer, _, inner = name.partition(".")
    return bool(inner) if outer in NESTED else name in Lead.__struct_fields__


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of `cases/`; its keys are explained in `README.md`."""

    name: str
    language: str
    kind: str
    is_seen: bool = member(name="seen")
    source: str
    source_toml: str
    request: dict[str, Any]
    expected: dict[str, Any]
    expected_answers: dict[str, Any] = {}
    must_be_empty: list[str] = []
    may: dict[str, Any] = {}
    outcome: str = "lead"
    submissions: int | None = None
    partial: bool = False
    env: dict[str, str] = {}
    now: float | None = None
    completed: list[str] = []
    note: str = ""

    @property
    def product(self) -> str:
        """The adapter of its source."""
        [source] = tomllib.loads(self.source_toml)["sources"].values()
        return str(source.get("adapter", "form"))


class Reading(Struct, frozen=True):
    """What became of a case's request; a lead is plain data, or None for a submission without one."""

    outcome: str
    leads: list[dict[str, Any] | None] = member(default_factory=list)


class Mistake(NamedTuple):
    """One thing read wrong; `expected` is None if there should be nothing, `got` if there is."""

    field: str
    expected: Any
    got: Any


@dataclass
class Tally:
    """Counts of one field or one group of cases."""

    cases: int = 0
    right: int = 0
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    others_data: int = 0

    def add(self, other: Tally) -> None:
        for name in vars(other):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def precision(self) -> float:
        return _share(self.true_positives, self.false_positives)

    @property
    def recall(self) -> float:
        return _share(self.true_positives, self.false_negatives)


@dataclass
class CaseScore:
    """One case: a tally for each field that was judged, and what was wrong."""

    case: Case
    fields: dict[str, Tally] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def count(
        self, name: str, expected: Any, got: Any, *, is_right: bool, is_others: bool = False
    ) -> None:
        tally = self.fields.setdefault(name, Tally(cases=1, right=1))
        if is_right:
            tally.true_positives += 1
            return
        tally.right = 0
        tally.false_positives += got is not None
        tally.false_negatives += expected is not None
        tally.others_data += is_others
        self.mistakes.append(Mistake(name, expected, got))

    def total(self) -> Tally:
        """The whole case as one."""
        total = Tally()
        for tally in self.fields.values():
            total.add(tally)
        total.cases, total.right = 1, int(not self.mistakes)
        return total


def score(case: Case, reading: Reading) -> CaseScore:
    """Compares the reading with the label; of several submissions, the first lead."""
    result = CaseScore(case)
    _score_outcome(result, reading)
    lead: dict[str, Any] = next((lead for lead in reading.leads if lead), {})
    got = flatten(lead)
    for name in _judged_fields(case):
        _score_field(result, name, got.get(name, []))
    answers = {_text(label): value for label, value in (lead.get("answers") or {}).items()}
    for label, expected in case.expected_answers.items():
        value = answers.get(_text(label))
        is_right = value is not None and _listed(value) == _listed(expected)
        result.count(f"answer {label}", expected, value, is_right=is_right)
    return result


def flatten(lead: dict[str, Any]) -> dict[str, list[Any]]:
    """The fields that have a value, each with its possible readings, of which one must be right:
    `utm.source` for nested ones, a person as one `name`.
    """
    flat = {name: value for name, value in lead.items() if name not in (*NESTED, *PERSON)}
    for outer in NESTED:
        flat |= {f"{outer}.{name}": value for name, value in (lead.get(outer) or {}).items()}
    readings = {name: [value] for name, value in flat.items() if value not in (None, "")}
    people = persons(lead)
    return {**readings, "name": people} if people else readings


def persons(fields: dict[str, Any]) -> list[str]:
    """`name`, and first and last name joined; if they contradict each other, both as one reading."""
    parts = (fields.get("first_name"), fields.get("last_name"))
    joined = " ".join(part for part in parts if part)
    both = [each for each in (fields.get("name"), joined) if each]
    if len(both) == 2 and not set(_text(joined).split()) <= set(_text(both[0]).split()):
        return [" / ".join(both)]
    return list(dict.fromkeys(both))


def group(scores: Iterable[CaseScore], key: Callable[[CaseScore], str]) -> dict[str, Tally]:
    """The tallies of cases with the same key, the largest group first."""
    tallies: dict[str, Tally] = {}
    for result in scores:
        tallies.setdefault(key(result), Tally()).add(result.total())
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].cases, item[0])))


def by_field(scores: Iterable[CaseScore]) -> dict[str, Tally]:
    """The tallies of the fields; all answers are one row."""
    tallies: dict[str, Tally] = {}
    for result in scores:
        for name, tally in result.fields.items():
            row = "answers" if name.startswith("answer ") else name
            tallies.setdefault(row, Tally()).add(tally)
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].cases, item[0])))


def _score_outcome(result: CaseScore, reading: Reading) -> None:
    """A wrong outcome loses a lead or makes one up; a right `lead` counts by its fields only."""
    case = result.case
    if reading.outcome != case.outcome:
        got = None if case.outcome == "lead" else reading.outcome
        expected = None if reading.outcome == "lead" else case.outcome
        result.count("outcome", expected, got, is_right=False)
        result.mistakes[-1] = Mistake("outcome", case.outcome, reading.outcome)
    elif case.outcome != "lead":
        result.count("outcome", case.outcome, reading.outcome, is_right=True)
    if case.submissions is not None:
        number = len(reading.leads)
        is_right = number == case.submissions
        result.count("submissions", case.submissions, number, is_right=is_right)


def _judged_fields(case: Case) -> Iterator[str]:
    named = (*case.expected, *case.must_be_empty, *(() if case.partial else CONTACT_FIELDS))
    yield from dict.fromkeys("name" if name in PERSON else name for name in named)


def _score_field(result: CaseScore, name: str, readings: list[Any]) -> None:
    expected, got = _choices(result.case.expected, name), readings[0] if readings else None
    if _any_equal(name, expected, readings):
        result.count(name, expected, got, is_right=True)
    elif _may(result.case.may, name, readings):
        return
    elif expected:
        result.count(name, expected[0] if len(expected) == 1 else expected, got, is_right=False)
    elif readings:
        empty = {"name" if each in PERSON else each for each in result.case.must_be_empty}
        result.count(name, None, got, is_right=False, is_others=name in empty)
    else:
        result.fields.setdefault(name, Tally(cases=1, right=1))


def _choices(label: dict[str, Any], name: str) -> list[Any]:
    """The values that a label allows for a field; for a person, each way to join the names."""
    if name != "name":
        return _as_list(label.get(name))
    firsts, lasts = (_as_list(label.get(part)) or [""] for part in PERSON[1:])
    joined = [f"{first} {last}".strip() for first in firsts for last in lasts]
    return [*_as_list(label.get("name")), *filter(None, joined)]


def _may(may: dict[str, Any], name: str, readings: list[Any]) -> bool:
    """Whether the value counts neither way. True in a label stands for any value."""
    names = PERSON if name == "name" else (name,)
    labels = [may[each] for each in names if each in may]
    if readings and any(label is True for label in labels):
        return True
    values = [value for label in labels for value in _as_list(label)]
    return _any_equal(name, [*_choices(may, name), *values], readings)


def _any_equal(name: str, expected: list[Any], readings: list[Any]) -> bool:
    return any(_equal(name, choice, value) for choice in expected for value in readings)


def _equal(name: str, expected: Any, got: Any) -> bool:
    if name == "phone" and not str(expected).startswith("+"):
        return _digits(str(expected)) == _digits(str(got))
    if name == "phone":
        return str(expected) == str(got)
    if not isinstance(expected, bool) and isinstance(expected, int | float):
        try:
            return float(got) == expected
        except (TypeError, ValueError):
            return False
    return _text(expected) == _text(got)


def _text(value: Any) -> str:
    """Text with white space, case and the encoding of accents normalised."""
    return " ".join(unicodedata.normalize("NFC", str(value)).casefold().split())


def _digits(text: str) -> list[int]:
    return [unicodedata.digit(character) for character in text if character.isdigit()]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _listed(value: Any) -> list[str]:
    return [_text(each) for each in _as_list(value)]


def _share(right: int, wrong: int) -> float:
    return right / (right + wrong) if right + wrong else 1.0
