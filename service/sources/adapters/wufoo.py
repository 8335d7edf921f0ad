"""`wufoo`: the webhook of Wufoo, with or without metadata.

Answers have the numbers of their fields (`Field1`). With metadata, the JSON in `FieldStructure`
says what each field asks for and which parts it has (`SubFields`), and `FormStructure` describes
the form, whose `Email` is its owner's. The parts of a name or an address have numbers of their own;
a file's URL is in `Field9-url`. Entries are numbered within their form. The shared key is the
parameter `HandshakeKey`. https://wufoo.github.io/docs/#webhooks
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    find_only_address,
    objects_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.payload.unwrap import parse_embedded_json
from service.sources.schema import VerifySettings

# Types of fields that say what they ask for.
FIELDS = {
    "email": "email", "phone": "phone", "url": "website", "shortname": "name", "name": "name",
}  # fmt: skip
KEY = "HandshakeKey"
STRUCTURES = ("FieldStructure", "FormStructure")
BOOKKEEPING = frozenset({KEY, *STRUCTURES, "EntryId", "DateCreated", "CreatedBy", "FormId", "IP"})
_NUMBERED = re.compile(r"Field[0-9]+(?:-url)?", re.ASCII)


def event(top: Table) -> ParsedEvent | None:
    if not any(_NUMBERED.fullmatch(key) for key in top):
        return None
    fields, form = (parse_embedded_json(top.get(name), name) for name in STRUCTURES)
    form_id = text_at(form, "Hash") or text_at(top, "FormId")
    entry = text_at(top, "EntryId")
    return event_from_questions(
        top,
        _questions(top, objects_at(fields, "Fields")),
        at=(),
        lead_fields=drop_empty(
            form_id=form_id,
            form_name=text_at(form, "Name"),
            occurred_at=text_at(top, "DateCreated"),
        ),
        event_id=f"{form_id}:{entry}" if form_id and entry else entry,
    )


def _questions(top: Table, fields: list[Table]) -> Iterator[FormQuestion]:
    """The fields of the structure, then all others."""
    named: set[str] = set()
    for field in fields:
        key, kind = text_at(field, "ID"), text_at(field, "Type") or ""
        if key is None:
            continue
        parts = objects_at(field, "SubFields")
        named |= {key, f"{key}-url", *(text_at(part, "ID") or "" for part in parts)}
        yield FormQuestion(
            key=key,
            title=text_at(field, "Title"),
            value=_value(top, key, kind, parts),
            lead_field=FIELDS.get(kind),
        )
    rest = {key: value for key, value in top.items() if key not in named | BOOKKEEPING}
    email = None if fields else find_only_address(rest)
    for key, value in rest.items():
        yield FormQuestion(key=key, value=value, lead_field="email" if key == email else None)


def _value(top: Table, key: str, kind: str, parts: list[Table]) -> Tree:
    """The answer: the ticked boxes, the parts by their labels, or the URL of a file."""
    answers = {
        text_at(part, "Label") or part_key: top.get(part_key)
        for part in parts
        if (part_key := text_at(part, "ID"))
    }
    if kind == "checkbox" and answers:
        return [answer for answer in answers.values() if answer]
    if kind == "file":
        return top.get(f"{key}-url") or top.get(key)
    return answers or top.get(key)


def _is_entry(top: Table) -> bool:
    has_field = any(_NUMBERED.fullmatch(key) for key in top)
    return has_field and bool(top.keys() & {KEY, *STRUCTURES}) and "EntryId" in top


ADAPTER = Adapter(
    name="wufoo",
    title="Wufoo",
    read=body_reader(event),
    detectors=(
        by_body(_is_entry, "numbered fields beside EntryId and HandshakeKey", is_posted_form=True),
    ),
    verify=VerifySettings(scheme="token", field=KEY),
    reply=200,
)
