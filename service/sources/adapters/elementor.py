"""`elementor`: the webhook action of Elementor Pro's forms, with and without "advanced data".

With it, each field comes as an object (`fields[<id>][value]` beside its type and title) and the
page under `meta`; without it, the labels are the names. A site can change from one to the other by
a click. There is no id.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    asked,
    joined,
    only_known,
    reader,
    table,
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.tree import Tree
from service.sources.payload.unwrap import nested

FIELDS = {"email": "email", "tel": "phone", "acceptance": "consent"}
"""Types of field that say what they ask for."""
BOOKKEEPING = frozenset({"User Agent", "Remote IP", "Powered by", "Date", "Time"})


def event(top: Table) -> Payload | None:
    tree = nested(top)
    fields = table(tree, "fields")
    if not any(isinstance(field, dict) for field in fields.values()):
        return _flattened(top)
    return asked(
        tree,
        _questions(fields),
        at=("fields",),
        known=only_known(
            form_id=text(tree, "form", "id"),
            form_name=text(tree, "form", "name"),
            page_url=text(tree, "meta", "page_url", "value"),
            occurred_at=joined(
                text(tree, "meta", "date", "value"), text(tree, "meta", "time", "value")
            ),
        ),
    )


def _questions(fields: Table) -> Iterator[Question]:
    for key, field in fields.items():
        kind = text(field, "type")
        yield Question(
            key=key, title=text(field, "title"), value=_value(field), field=FIELDS.get(kind or "")
        )


def _value(field: Tree) -> Tree:
    return field.get("value") if isinstance(field, dict) else field


def _flattened(top: Table) -> Payload:
    return asked(
        top,
        (Question(key=key, value=value) for key, value in top.items() if key not in BOOKKEEPING),
        at=(),
        known=only_known(occurred_at=joined(text(top, "Date"), text(top, "Time"))),
    )


ADAPTER = Adapter(name="elementor", read=reader(event), reply=200)
