"""`cognito`: the JSON that Cognito Forms posts for an entry.

Answers are at the top level, under the fields' names, beside `Form`, `Entry` and members with a
`$`. `Entry.User` is a person of the form's organisation. Names, addresses and files are objects
that say the same several times; the rows of a table are lists of objects. An edited entry keeps its
`Id`.
https://www.cognitoforms.com/support/66/data-integration/webhooks
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, text_of

BOOKKEEPING = frozenset({"Form", "Entry", "Id"})
NAME_PARTS = ("Prefix", "First", "Middle", "Last", "Suffix")
ADDRESS_PARTS = ("StreetAddress", "City", "State", "PostalCode", "Country")


def event(top: Table) -> ParsedEvent | None:
    if not object_at(top, "Entry"):
        return None
    answers = {
        key: value
        for key, value in top.items()
        if key not in BOOKKEEPING and not key.startswith("$")
    }
    countries = (text_at(value, "Country") for value in answers.values() if _is_address(value))
    return event_from_questions(
        top,
        _questions(answers),
        at=(),
        lead_fields=drop_empty(
            form_id=text_at(top, "Form", "Id"),
            form_name=text_at(top, "Form", "Name"),
            occurred_at=text_at(top, "Entry", "DateSubmitted"),
            country=next(filter(None, countries), None),
        ),
        event_id=text_at(top, "Id"),
    )


def _questions(answers: Table) -> Iterator[FormQuestion]:
    for key, value in answers.items():
        yield FormQuestion(key=key, value=_value(value), whole=_is_name(value))


def _value(value: Tree) -> Tree:
    """A name as its parts, an address as text, files as their links; a section stays an object."""
    if isinstance(value, list):
        return [_item(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_name(value):
        return {part: value[part] for part in NAME_PARTS if value.get(part)}
    if _is_address(value):
        parts = (text_at(value, part) for part in ADDRESS_PARTS)
        return text_at(value, "FullAddress") or ", ".join(filter(None, parts))
    return {key: _value(inner) for key, inner in value.items()}


def _item(item: Tree) -> Tree:
    """A file's link, or a row of a table as text: its people are not the one who filled it in."""
    if not isinstance(item, dict):
        return item
    texts = ((key, text_of(_value(part))) for key, part in item.items() if key != "Id")
    return text_at(item, "File") or ", ".join(f"{key}: {text}" for key, text in texts if text)


def _is_name(value: Tree) -> bool:
    return isinstance(value, dict) and "FirstAndLast" in value


def _is_address(value: Tree) -> bool:
    return isinstance(value, dict) and {"City", "PostalCode"} <= value.keys()


def _is_entry(top: Table) -> bool:
    entry, form = object_at(top, "Entry"), object_at(top, "Form")
    return "InternalName" in form and bool(entry.keys() & {"Number", "DateSubmitted"})


ADAPTER = Adapter(
    name="cognito",
    title="Cognito Forms",
    read=body_reader(event),
    detectors=(by_body(_is_entry, "Form.InternalName beside an Entry"),),
    reply=200,
)
