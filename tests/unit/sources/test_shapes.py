"""Shapes in which products write questions and answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from service.sources.payload.json import parse_json
from service.sources.payload.shapes import MAX_LISTS, plain_value
from service.sources.payload.tree import Tree
from service.sources.payload.unwrap import parse_events
from tests.unit.sources.factories import form, json_post, lead_of, read, source


def flat(value: Any) -> Tree:
    """A JSON value as it comes out, where the source file says nothing of it."""
    if not isinstance(value, dict):
        return flat({"x": value})["x"]
    [event] = parse_events(parse_json(json.dumps(value)), source())
    return event.top


def usual(lead: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(lead)
    return {name: value for name, value in fields.items() if value not in ({}, None, False)}


ADA = {"name": "Ada Lovelace", "email": "ada@a.example"}
NAMES = ("label", "title", "question", "name", "field_label", "fieldName", "key", "nom", "nazev")
VALUES = ("value", "answer", "values", "response", "text", "val", "valeur", "hodnota")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", NAMES)
def test_questions_with_answers(name: str, value: str) -> None:
    """A list of questions with their answers is an object, by whatever keys it names them."""
    pairs = [{"id": at, name: label, value: text} for at, (label, text) in enumerate(ADA.items())]
    assert flat({"fields": pairs}) == {"fields": ADA}
    assert usual(lead_of(json_post({"fields": pairs}))) == ADA


@pytest.mark.parametrize(
    "beside",
    [{}, {"вид": "text"}, {"обязательно": "true"}, {"вид": "text", "номер": "1"}],
)
def test_questions_in_unknown_words(beside: dict[str, str]) -> None:
    """Where the keys are unknown, questions ask for fields and answers vary, unlike their types."""
    pairs = [{"въпрос": label, "отговор": text} | beside for label, text in ADA.items()]
    assert flat({"fields": pairs}) == {"fields": ADA}
    pairs = [beside | {"отговор": text, "въпрос": label} for label, text in ADA.items()]
    assert flat({"fields": pairs}) == {"fields": ADA}


def test_questions_at_the_top() -> None:
    """A body that is a list of questions is one lead, not one for each question."""
    pairs = [{"name": label, "value": text} for label, text in ADA.items()]
    assert usual(lead_of(json_post(pairs))) == ADA


def test_questions_by_their_ids() -> None:
    """An object of questions by id is like a list of them; one by names says more by its names."""
    pairs = {
        "12": {"id": "12", "label": "Name", "value": "Ada Lovelace"},
        "13": {"id": "13", "label": "E-mail", "value": "ada@a.example"},
    }
    assert flat({"fields": pairs}) == {
        "fields": {"Name": "Ada Lovelace", "E-mail": "ada@a.example"}
    }
    by_name = {
        "email": {"title": "Question 1", "value": "ada@a.example"},
        "phone": {"title": "Question 2", "value": "+442071838750"},
    }
    assert flat(by_name) == by_name
    assert usual(lead_of(json_post(by_name)))["email"] == "ada@a.example"


def test_one_question_again() -> None:
    """A question that is asked again has all its answers, in order."""
    pairs = [{"label": "Topic", "value": text} for text in ("a", "b")]
    pairs += [{"label": "Name", "value": "Ada"}, {"label": "City", "value": "Ulm"}]
    assert flat(pairs) == {"Topic": ["a", "b"], "Name": "Ada", "City": "Ulm"}


def test_a_list_of_single_fields() -> None:
    """Objects of one field each are one object."""
    assert flat([{"email": "ada@a.example"}, {"name": "Ada"}]) == {
        "email": "ada@a.example",
        "name": "Ada",
    }
    again = [{"email": "ada@a.example"}, {"email": "bo@b.example"}]
    assert flat(again) == again
    assert len(read(json_post(again), 'adapter = "json"').events) == 2


@pytest.mark.parametrize("cells", ["values", "row", "answers", "data"])
@pytest.mark.parametrize("columns", ["fields", "columns", "headers", "labels"])
def test_parallel_columns(columns: str, cells: str) -> None:
    """A list of names beside one of values is an object, also where the row is in a list."""
    for row in (list(ADA.values()), [list(ADA.values())]):
        body = {"id": 7, columns: list(ADA), cells: row}
        assert flat(body) == {"id": "7", columns: ADA}
        assert usual(lead_of(json_post(body))) == {**ADA, "answers": {"id": "7"}}


@pytest.mark.parametrize(
    "body",
    [
        {"fields": ["a", "b"], "values": ["x"]},
        {"fields": ["a", "a"], "values": ["x", "y"]},
        {"fields": ["a", ""], "values": ["x", "y"]},
        {"fields": ["a", None], "values": ["x", "y"]},
        {"fields": ["a"], "values": ["x"]},
        {"colours": ["red", "blue"], "sizes": ["s", "m"]},
    ],
)
def test_lists_that_are_no_columns(body: dict[str, Any]) -> None:
    """Lists of different length, with names that are none or again, stay lists."""
    assert flat(body) == parse_json(json.dumps(body))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"label": "Ada", "id": "3"}, "Ada"),
        ({"value": "a", "selected": True}, "a"),
        ([{"label": "Ada"}], "Ada"),
        ([{"label": "a", "id": "1"}, {"label": "b", "id": "2"}], ["a", "b"]),
        ({"first": "Ada", "last": "L"}, {"first": "Ada", "last": "L"}),
        ({"label": "a", "street": "b"}, {"label": "a", "street": "b"}),
        ([{"label": "a"}, {"street": "b"}], [{"label": "a"}, {"street": "b"}]),
        ([], []),
        (["a"], ["a"]),
        ("a", "a"),
        (None, None),
    ],
)
def test_choices(value: Tree, plain: Tree) -> None:
    """The answer to a question of choices is the label of the choice, or a list of labels."""
    assert plain_value(value) == plain
    if isinstance(value, dict | list) and value:
        pairs = [{"label": "Q", "value": value}, {"label": "R", "value": "r"}]
        assert flat(pairs) == {"Q": plain, "R": "r"}


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("first = Ada\nlast = Lovelace", {"first": "Ada", "last": "Lovelace"}),
        ("value = ada@a.example", "ada@a.example"),
        ("field_type = email\nvalue = ada@a.example", "ada@a.example"),
        ("field_type = address\ncity = Ulm\nzip = ", {"city": "Ulm", "zip": ""}),
        ("a = b", "a = b"),
        ("first = Ada\nI wrote this", "first = Ada\nI wrote this"),
        ("x = y + 1\nhence first = Ada", "x = y + 1\nhence first = Ada"),
        ("\n".join(f"first = {at}" for at in range(21)),) * 2,
    ],
)
def test_lines(text: str, read_as: Tree) -> None:
    """Lines of names and values in one text are an object; a message that has such lines is not."""
    assert flat({"q": text}) == {"q": read_as}


def test_lines_of_formstack() -> None:
    """The lines are read as the person's name, as Formstack writes them."""
    lead = lead_of(form(Name="first = Ada\nlast = Lovelace", Email="ada@a.example"))
    assert (lead.first_name, lead.last_name) == ("Ada", "Lovelace")


@pytest.mark.parametrize("name", ["payload", "data", "rawRequest", "form_data", "Submission"])
def test_json_in_a_field(name: str) -> None:
    """JSON in the text of a field is read in place, under the names that products give to it."""
    lead = lead_of(form((name, json.dumps(ADA)), source="x"))
    assert (lead.name, lead.email) == (ADA["name"], ADA["email"])


@pytest.mark.parametrize(
    "fields",
    [
        {"comment": json.dumps(ADA)},
        {"data": "{not JSON}"},
        {"payload": "[broken"},
        {"data": '{"a": NaN}'},
        {"body": "[1]x"},
    ],
    ids=str,
)
def test_text_that_is_only_like_json(fields: dict[str, str]) -> None:
    """JSON under another name, and what is none, stays text, and the post a lead."""
    assert flat(fields) == fields


def test_values_inside_objects() -> None:
    """A value in a wrapper of its own is that value: `fields.core.email.value`, `emails[].value`."""
    core = {name: {"value": text} for name, text in ADA.items()}
    assert usual(lead_of(json_post({"fields": {"core": core}}))) == ADA
    listed = {"name": "Ada Lovelace", "emails": [{"value": "ada@a.example"}]}
    assert usual(lead_of(json_post(listed))) == ADA


@pytest.mark.parametrize(
    "value",
    [
        [{"name": "a", "price": 1}, {"name": "b", "price": 2}],
        [{"label": "", "value": "x"}, {"label": "b", "value": "y"}],
        [{"label": "a", "value": "x"}, {"label": "a", "value": "y"}, {"label": "a", "value": "z"}],
        [{"id": "1", "text": "x"}, {"id": "2", "text": "y"}],
        [{"label": "a", "value": "x"}, "b"],
        {"a": {"b": {"c": "d"}}},
        [],
        [["a", "b"]],
    ],
    ids=str,
)
def test_other_lists_stay(value: Any) -> None:
    """Products, notes and lists of anything else are no questions with answers."""
    assert flat({"x": value}) == {"x": parse_json(json.dumps(value))}


def test_no_more_lists_than_are_read() -> None:
    """Beyond a number of lists the rest of a body stays as it is."""
    pairs = [{"label": "a", "value": "x"}, {"label": "b", "value": "y"}]
    tree = flat({f"f{at}": pairs for at in range(MAX_LISTS + 5)})
    assert [isinstance(value, dict) for value in tree.values()] == [True] * MAX_LISTS + [False] * 5


# What the source file says counts instead.


def test_what_a_map_addresses_stays() -> None:
    """A list that `map` reaches into keeps its numbers, and the others are still read."""
    pairs = [{"label": "Who", "value": "ada@a.example"}, {"label": "City", "value": "Ulm"}]
    lead = lead_of(json_post({"q": pairs, "more": pairs}), 'map = { "q.0.value" = "email" }')
    assert lead.email == "ada@a.example"
    assert lead.answers["q.1.value"] == "Ulm"
    assert lead.answers["more.City"] == "Ulm"
    lead = lead_of(json_post({"q": pairs}), 'map = { "q.Who" = "answers.who" }')
    assert lead.answers == {"who": "ada@a.example", "q.City": "Ulm"}


def test_what_read_addresses_stays() -> None:
    """`read.pairs` reads its list by its own keys, whatever others would do as well."""
    pairs = [
        {"label": "ignore", "slug": "email", "value": "x", "text": "ada@a.example"},
        {"label": "ignored", "slug": "name", "value": "y", "text": "Ada"},
    ]
    toml = 'read = { pairs = { at = "q", key = "slug", value = "text" } }'
    assert usual(lead_of(json_post({"q": pairs}), toml)) == {
        "name": "Ada",
        "email": "ada@a.example",
    }


def test_parallel_columns_that_read_addresses_stay() -> None:
    """Columns whose names `map` numbers keep their numbers, and become no object."""
    body = {"fields": ["Who", "E-mail"], "values": ["Ada", "ada@a.example"]}
    lead = lead_of(json_post(body), 'map = { "fields.0" = "answers.first" }')
    assert lead.answers["first"] == "Who"
    assert "values" in lead.answers


def test_a_list_of_events_stays() -> None:
    """A list at `root` is one lead for each of its items."""
    leads = [{"name": f"Ada {at}", "email": f"a{at}@a.example"} for at in range(3)]
    events = read(json_post({"data": leads}), 'adapter = "json"\nread = { root = "data" }').events
    assert [event.lead.name for event in events if event.lead] == ["Ada 0", "Ada 1", "Ada 2"]


def test_parallel_columns_that_map_addresses_stay() -> None:
    """Columns whose cells `map` numbers are left alone."""
    body = {"fields": ["Who", "City"], "values": ["ada@a.example", "Ulm"]}
    lead = lead_of(json_post(body), 'map = { "values.0" = "email" }')
    assert lead.email == "ada@a.example"
