"""`elementor`: the webhook action of Elementor Pro's forms, with and without "advanced data".

With it, each field is an object (`fields[<id>][value]` beside its type and title) and the page is
under `meta`; without it, the labels are the names. One click switches between the two. There is no
id.
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
    join_parts,
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.payload.unwrap import nest_brackets

# Types of field that say what they ask for.
FIELDS = {"email": "email", "tel": "phone", "acceptance": "consent"}
BOOKKEEPING = frozenset({"User Agent", "Remote IP", "Powered by", "Date", "Time"})


def event(top: Table) -> ParsedEvent | None:
    tree = nest_brackets(top)
    fields = object_at(tree, "fields")
    if not any(isinstance(field, dict) for field in fields.values()):
        return _flattened(top)
    return event_from_questions(
        tree,
        _questions(fields),
        at=("fields",),
        lead_fields=drop_empty(
            form_id=text_at(tree, "form", "id"),
            form_name=text_at(tree, "form", "name"),
            page_url=text_at(tree, "meta", "page_url", "value"),
            occurred_at=join_parts(
                text_at(tree, "meta", "date", "value"), text_at(tree, "meta", "time", "value")
            ),
        ),
    )


def _questions(fields: Table) -> Iterator[FormQuestion]:
    for key, field in fields.items():
        kind = text_at(field, "type")
        yield FormQuestion(
            key=key,
            title=text_at(field, "title"),
            value=_value(field),
            lead_field=FIELDS.get(kind or ""),
        )


def _value(field: Tree) -> Tree:
    return field.get("value") if isinstance(field, dict) else field


def _flattened(top: Table) -> ParsedEvent:
    return event_from_questions(
        top,
        (
            FormQuestion(key=key, value=value)
            for key, value in top.items()
            if key not in BOOKKEEPING
        ),
        at=(),
        lead_fields=drop_empty(occurred_at=join_parts(text_at(top, "Date"), text_at(top, "Time"))),
    )


def _has_typed_fields(top: Table) -> bool:
    fields = object_at(top, "fields").values()
    return bool(fields) and all(
        isinstance(field, dict) and {"id", "type", "value"} <= field.keys() for field in fields
    )


def _has_flat_labels(top: Table) -> bool:
    marks = top.keys() & {"Powered by", "Remote IP", "User Agent"}
    return len(marks) > 1 or any(key.startswith("No Label ") for key in top)


ADAPTER = Adapter(
    name="elementor",
    title="Elementor",
    read=body_reader(event),
    detectors=(
        by_body(_has_typed_fields, "fields[…][type] and fields[…][value]", is_posted_form=True),
        by_body(_has_flat_labels, "labels as Elementor writes them", is_posted_form=True),
    ),
    reply=200,
)
