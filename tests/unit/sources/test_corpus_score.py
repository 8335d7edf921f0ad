"""How the corpus counts: right, wrong, missing, made up, and taken from somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.__main__ import main
from tests.corpus.floor import below_floor
from tests.corpus.reading import load_cases, score_all
from tests.corpus.score import Case, CaseScore, Reading, by_field, group, score

FORM = '[sources.x]\nadapter = "form"\n'


def case(**label: Any) -> Case:
    rest: dict[str, Any] = {
        "language": "en",
        "kind": "form",
        "request": {},
        "expected": {},
        **label,
    }
    return Case(name="c", is_seen=False, source="composed", source_toml=FORM, **rest)


def scored(got: dict[str, Any], expected: dict[str, Any], **label: Any) -> CaseScore:
    return score(case(expected=expected, **label), Reading("lead", [got]))


def counts(result: CaseScore) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, somebody else's data."""
    total = result.total()
    return (
        total.true_positives,
        total.false_positives,
        total.false_negatives,
        total.others_data,
    )


@pytest.mark.parametrize(
    ("field", "expected", "got"),
    [
        ("message", "Please call\nme", " please  CALL me "),
        ("email", "Ada@Example.com", "ada@example.com"),
        ("phone", "030 901-820", "(030) 901820"),
        ("phone", "٠٥٠ ١٢٣", "050123"),
        ("phone", "+4930901820", "+4930901820"),
        ("country", ["DE", "Germany"], "Germany"),
        ("consent", True, True),
        ("company", "Müller", "Mu\u0308ller"),
        ("answers", {}, {}),
    ],
)
def test_right(field: str, expected: Any, got: Any) -> None:
    """What differs only in how it is written is right; a list allows any of its values."""
    label = {} if field == "answers" else {field: expected}
    assert counts(scored({field: got}, label)) == (len(label), 0, 0, 0)


@pytest.mark.parametrize(
    ("field", "expected", "got"),
    [
        ("email", "ada@example.com", "bob@example.com"),
        ("phone", "+4930901820", "030 901820"),
        ("phone", "+4930901820", "+49 30 901820"),
        ("phone", "030 901820", "+4930901820"),
        ("name", "Ada Lovelace", "Ada"),
        ("consent", True, False),
        ("country", ["DE", "Germany"], "Austria"),
    ],
)
def test_wrong(field: str, expected: Any, got: Any) -> None:
    """A wrong value is made up and its right one is missing; a phone with `+` counts exactly."""
    result = scored({field: got}, {field: expected})
    assert counts(result) == (0, 1, 1, 0)
    [mistake] = result.mistakes
    assert mistake == (field, expected, got)


def test_missing() -> None:
    """A missing value is missing only."""
    assert counts(scored({}, {"email": "ada@example.com"})) == (0, 0, 1, 0)


def test_contact_fields_without_label() -> None:
    """A contact field that the label lacks is made up, any other field is not judged, and nothing
    is where the label is partial.
    """
    got = {"company": "Acme", "form_name": "Contact", "utm": {"source": "google"}}
    assert counts(scored(got, {})) == (0, 1, 0, 0)
    assert counts(scored(got, {}, partial=True)) == (0, 0, 0, 0)


def test_must_be_empty() -> None:
    """A value in a field that must be empty is somebody else's, also where the label is partial."""
    got = {"phone": "+4930901820", "last_name": "Agent"}
    label: dict[str, Any] = {"must_be_empty": ["phone", "name", "email"], "partial": True}
    assert counts(scored(got, {}, **label)) == (0, 2, 0, 2)
    assert counts(scored({}, {}, **label)) == (0, 0, 0, 0)


def test_may() -> None:
    """A value that may be there counts neither way, another one does; True allows any."""
    may: dict[str, Any] = {"message": ["Hello"], "company": True, "first_name": ["Ada"]}
    fine = {"message": "hello", "company": "Acme", "name": "Ada"}
    assert counts(scored(fine, {}, may=may)) == (0, 0, 0, 0)
    assert counts(scored({}, {}, may=may)) == (0, 0, 0, 0)
    assert counts(scored({"message": "Bye"}, {}, may=may)) == (0, 1, 0, 0)


def test_may_beside_expected() -> None:
    """What is expected comes before what may be."""
    label: dict[str, Any] = {"expected": {"phone": "1"}, "may": {"phone": ["2"]}}
    assert counts(scored({"phone": "1"}, **label)) == (1, 0, 0, 0)
    assert counts(scored({"phone": "2"}, **label)) == (0, 0, 0, 0)
    assert counts(scored({}, **label)) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("got", "is_right"),
    [
        ({"name": "Ada Lovelace"}, True),
        ({"first_name": "Ada", "last_name": "Lovelace"}, True),
        ({"name": "Dr. Ada Lovelace", "first_name": "Ada", "last_name": "Lovelace"}, True),
        ({"name": "Ada Lovelace", "first_name": "Ada"}, True),
        ({"first_name": "Lovelace", "last_name": "Ada"}, False),
        ({"name": "Owner", "first_name": "Ada", "last_name": "Lovelace"}, False),
        ({"first_name": "Ada"}, False),
    ],
)
@pytest.mark.parametrize(
    "expected",
    [
        {"name": "Ada Lovelace"},
        {"first_name": "Ada", "last_name": "Lovelace"},
        {"first_name": ["Augusta", "Ada"], "last_name": "Lovelace"},
    ],
)
def test_person(expected: dict[str, Any], got: dict[str, Any], is_right: bool) -> None:
    """A person is one field: the name, or first and last name joined; they must not contradict."""
    assert counts(scored(got, expected)) == ((1, 0, 0, 0) if is_right else (0, 1, 1, 0))


def test_nested_fields() -> None:
    """Attribution and values are compared one by one, amounts as numbers."""
    got = {"utm": {"source": "x", "medium": "cpc"}, "value": {"amount": 10.0, "currency": "EUR"}}
    expected = {"utm.source": "google", "utm.medium": "cpc", "value.amount": 10}
    assert counts(scored(got, expected)) == (2, 1, 1, 0)


def test_answers() -> None:
    """An answer must be there under its label, with all of its values."""
    got = {"answers": {"Services": ["SEO", "PPC"], "When": "now"}}
    label = {"services": ["seo", "PPC"], "When": "later", "Why": "so"}
    result = scored(got, {}, expected_answers=label)
    assert counts(result) == (1, 1, 2, 0)
    assert by_field([result])["answers"].cases == 3


def test_outcome() -> None:
    """Another outcome loses the lead with its fields, or makes one up."""
    lost = score(case(expected={"name": "Ada"}), Reading("no_contact"))
    assert counts(lost) == (0, 0, 2, 0)
    assert lost.mistakes[0] == ("outcome", "lead", "no_contact")
    made_up = score(case(outcome="no_lead"), Reading("lead", [{"name": "Ada"}]))
    assert counts(made_up) == (0, 2, 0, 0)
    other = score(case(outcome="no_lead"), Reading("refused"))
    assert counts(other) == (0, 1, 1, 0)
    assert counts(score(case(outcome="no_lead"), Reading("no_lead", [None]))) == (1, 0, 0, 0)


def test_submissions() -> None:
    """The number of submissions counts where the label gives it; the first lead is judged."""
    reading = Reading("lead", [None, {"name": "Ada"}])
    assert counts(score(case(expected={"name": "Ada"}), reading)) == (1, 0, 0, 0)
    assert counts(score(case(expected={"name": "Ada"}, submissions=1), reading)) == (1, 1, 1, 0)


def test_groups() -> None:
    """Cases are added up by what they have in common, the largest group first."""
    wrong = scored({"name": "Bob"}, {"name": "Ada"}, language="de")
    right = [scored({"name": "Ada"}, {"name": "Ada"}) for _ in range(3)]
    tallies = group([wrong, *right], lambda each: each.case.language)
    assert [(name, tally.cases, tally.right) for name, tally in tallies.items()] == [
        ("en", 3, 3),
        ("de", 1, 0),
    ]
    assert (tallies["de"].precision, tallies["en"].recall) == (0.0, 1.0)


def test_floor() -> None:
    """One wrong value in a hundred is below the floor, and so is anything of somebody else's."""
    right = [scored({"name": "Ada"}, {"name": "Ada"})] * 99
    assert below_floor(right) == []
    wrong = scored({"name": "Bob"}, {"name": "Ada"})
    assert below_floor([*right, wrong]) == ["the nine: precision 0.9900, at least 0.995"]
    others = scored({"name": "Bob"}, {}, must_be_empty=["name"], language="fi")
    assert below_floor([*right * 3, others]) == [
        "beyond: precision 0.0000, at least 0.995",
        "beyond: 1 of somebody else's data, at most 0",
    ]


def test_files_are_read_and_judged(tmp_path: Path) -> None:
    """A file is a request to its own source: with its secrets, headers and bytes."""
    toml = FORM + '[sources.x.verify]\nscheme = "token"\nheader = "X-Key"\nsecret_env = ["KEY"]\n'
    label = {
        "name": "bytes",
        "language": "de",
        "kind": "form",
        "seen": False,
        "source": "composed",
        "source_toml": toml,
        "env": {"KEY": "open sesame"},
        "request": {
            "content_type": "application/x-www-form-urlencoded",
            "body_base64": "bmFtZT1BZGErTG92ZWxhY2UmZW1haWw9YWRhQGV4YW1wbGUuY29t",
            "headers": {"X-Key": "open sesame"},
        },
        "expected": {"name": "Ada Lovelace", "email": "ada@example.com"},
    }
    (tmp_path / "bytes.json").write_text(json.dumps(label))
    [result] = score_all(load_cases(tmp_path))
    assert result.mistakes == []
    assert counts(result) == (2, 0, 0, 0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"name": "other"}, "names itself"), ({"expcted": {}}, "expcted"), ({"kind": 1}, "kind")],
)
def test_a_file_that_is_no_case(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    """A slip in a label is named with its file, not passed over."""
    label = {
        "name": "x",
        "language": "en",
        "kind": "form",
        "seen": False,
        "source": "composed",
        "source_toml": FORM,
        "request": {},
        "expected": {},
        **change,
    }
    (tmp_path / "x.json").write_text(json.dumps(label))
    with pytest.raises(ValueError, match=rf"x\.json: .*{fault}"):
        load_cases(tmp_path)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints JSON for programs, and says so if it is asked for no case at all."""
    assert main(["--only", "no_such_case"]) == 2
    assert "no such case" in capsys.readouterr().err
    main(["--only", "wild_zoom*", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["tables"]) == {"field", "kind", "product", "language", "all"}
