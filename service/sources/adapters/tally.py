"""`tally`: the FORM_RESPONSE webhook of Tally.

Choices are given by the ids of their options, which are told as their texts. Beside a question with
tick boxes stands a row for each box, which says nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    asked,
    no_lead,
    only_known,
    reader,
    table,
    tables,
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.tree import Tree, text_of
from service.sources.schema import Verify

FIELDS = {"INPUT_EMAIL": "email", "INPUT_PHONE_NUMBER": "phone"}
FORM_RESPONSE = "FORM_RESPONSE"
_UNTITLED = re.compile(r"Untitled .* field")


def event(top: Table) -> Payload | None:
    response, kind, event_id = table(top, "data"), text(top, "eventType"), text(top, "eventId")
    if kind not in (None, FORM_RESPONSE):
        return no_lead(
            top, f"a {kind} event: only {FORM_RESPONSE} is a submitted form", event_id=event_id
        )
    if not isinstance(response.get("fields"), list):
        return None
    return asked(
        top,
        _questions(tables(response, "fields")),
        at=("data", "fields"),
        known=only_known(
            form_id=text(response, "formId"),
            form_name=text(response, "formName"),
            occurred_at=text(response, "createdAt") or text(top, "createdAt"),
        ),
        event_id=event_id,
    )


def _questions(rows: list[Table]) -> Iterator[Question]:
    boxes = {text(row, "key") for row in rows if row.get("options")}
    for number, row in enumerate(rows):
        key = text(row, "key") or str(number)
        if isinstance(row.get("value"), bool) and key.rpartition("_")[0] in boxes:
            continue
        yield Question(
            key=key, title=_title(row), value=_value(row), field=FIELDS.get(text(row, "type") or "")
        )


def _title(row: Table) -> str | None:
    """The label; of a single tick box without one, the sentence beside it."""
    label, options = text(row, "label"), tables(row, "options")
    if (label is None or _UNTITLED.fullmatch(label)) and len(options) == 1:
        return text(options[0], "text") or label
    return label


def _value(row: Table) -> Tree:
    value, columns = row.get("value"), _texts(row, "columns")
    if isinstance(value, dict):
        rows = _texts(row, "rows")
        return [
            f"{rows.get(key, key)}: {text_of(_told(chosen, columns))}"
            for key, chosen in value.items()
        ]
    return _told(value, _texts(row, "options"))


def _texts(row: Table, name: str) -> dict[str, str]:
    """Id -> text of a question's options, rows or columns."""
    found = ((text(one, "id"), text(one, "text")) for one in tables(row, name))
    return {key: said for key, said in found if key and said}


def _told(value: Tree, texts: dict[str, str]) -> Tree:
    """Chosen options by their texts, files by their addresses."""
    if isinstance(value, list):
        return [_told(item, texts) for item in value]
    if isinstance(value, dict):
        return text(value, "url") or value
    return texts.get(value, value) if isinstance(value, str) else value


ADAPTER = Adapter(
    name="tally",
    read=reader(event),
    verify=Verify(scheme="hmac", header="Tally-Signature", encoding="base64"),
    reply=200,
)
