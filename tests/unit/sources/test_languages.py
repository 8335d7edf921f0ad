"""The data files of the words by which forms ask for things."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from service.sources.languages.vocabulary import FOLDER, vocabulary
from service.sources.languages.words import to_phrase
from worker.lead.canonical import CANONICAL_FIELDS

FILES = sorted(FOLDER.glob("*.toml"))
FIELDS = {field.name for field in CANONICAL_FIELDS} | {
    "value", "currency", "phone_code", "last_name_prefix",
}  # fmt: skip
TABLES = {"fields", "names", "words", "other", "values", "second_choice", "conventions"}
WORDS = {
    "neutral", "closing", "wrapper", "person", "other_person", "relative", "owner", "ambiguous",
    "company", "thing", "repeat", "guardian", "record", "contact", "unrelated", "number",
    "asks_email", "asks_phone", "asks_consent", "negation", "negation_in_front", "refusal",
    "no_objection",
}  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_table_is_read(file: Path) -> None:
    """A file has only tables, fields and kinds of words that the reader knows."""
    table = tomllib.loads(file.read_text("utf-8"))
    assert table.keys() <= TABLES
    assert table["fields"].keys() <= FIELDS
    assert table["words"].keys() <= WORDS
    assert table.get("second_choice", {}).keys() <= {"phrases", "choices"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_phrase_asks_for_one_field_of_its_language(file: Path) -> None:
    """No phrase stands for two fields, or for a field and something else."""
    table = tomllib.loads(file.read_text("utf-8"))
    phrases = [
        {to_phrase(text) for text in texts}
        for texts in (*table["fields"].values(), table.get("other", {}).get("phrases", []))
    ]
    counts = Counter(phrase for group in phrases for phrase in group)
    assert [phrase for phrase, count in counts.items() if count > 1] == []


def test_polite_words_before_a_phrase_of_single_letters() -> None:
    """The `e` of `din e-post` is no mark that says nothing."""
    from service.sources.fields.recognition import match_label

    assert {match_label(text) for text in ("Din e-post", "Indtast e-post", "din_e-post *")} == {
        "email"
    }
    assert vocabulary().meanings["post"][0].field != "email"
