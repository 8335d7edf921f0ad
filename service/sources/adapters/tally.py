"""`tally`: the FORM_RESPONSE webhook of Tally.

Choices come as the ids of their options and are replaced by their texts. A question with tick
boxes is followed by a row for each box, which says nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, by_header
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    no_lead,
    object_at,
    objects_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, text_of
from service.sources.schema import VerifySettings

FIELDS = {"INPUT_EMAIL": "email", "INPUT_PHONE_NUMBER": "phone"}
FORM_RESPONSE = "FORM_RESPONSE"
_UNTITLED = re.compile(r"Untitled .* field")


def event(top: Table) -> ParsedEvent | None:
    response, event_id = object_at(top, "data"), text_at(top, "eventId")
    kind = text_at(top, "eventType")
    if kind not in (None, FORM_RESPONSE):
        reason = f"a {kind} event: only {FORM_RESPONSE} is a submitted form"
        return no_lead(top, reason, event_id=event_id)
    if not isinstance(response.get("fields"), list):
        return None
    return event_from_questions(
        top,
        _questions(objects_at(response, "fields")),
        at=("data", "fields"),
        lead_fields=drop_empty(
            form_id=text_at(response, "formId"),
            form_name=text_at(response, "formName"),
            occurred_at=text_at(response, "createdAt") or text_at(top, "createdAt"),
        ),
        event_id=event_id,
    )


def _questions(rows: list[Table]) -> Iterator[FormQuestion]:
    boxes = {text_at(row, "key") for row in rows if row.get("options")}
    for number, row in enumerate(rows):
        key = text_at(row, "key") or str(number)
        if isinstance(row.get("value"), bool) and key.rpartition("_")[0] in boxes:
            continue
        yield FormQuestion(
            key=key,
            title=_title(row),
            value=_value(row),
            lead_field=FIELDS.get(text_at(row, "type") or ""),
        )


def _title(row: Table) -> str | None:
    """The label; for a single tick box without one, the sentence beside it."""
    label, options = text_at(row, "label"), objects_at(row, "options")
    if (label is None or _UNTITLED.fullmatch(label)) and len(options) == 1:
        return text_at(options[0], "text") or label
    return label


def _value(row: Table) -> Tree:
    value, columns = row.get("value"), _texts(row, "columns")
    if isinstance(value, dict):
        rows = _texts(row, "rows")
        return [
            f"{rows.get(key, key)}: {text_of(_resolve(chosen, columns))}"
            for key, chosen in value.items()
        ]
    return _resolve(value, _texts(row, "options"))


def _texts(row: Table, name: str) -> dict[str, str]:
    """Id -> text of a question's options, rows or columns."""
    pairs = ((text_at(one, "id"), text_at(one, "text")) for one in objects_at(row, name))
    return {key: text for key, text in pairs if key and text}


def _resolve(value: Tree, texts: dict[str, str]) -> Tree:
    """The texts of chosen options, the addresses of files."""
    if isinstance(value, list):
        return [_resolve(item, texts) for item in value]
    if isinstance(value, dict):
        return text_at(value, "url") or value
    return texts.get(value, value) if isinstance(value, str) else value


def _is_response(top: Table) -> bool:
    return "eventType" in top and isinstance(object_at(top, "data").get("fields"), list)


ADAPTER = Adapter(
    name="tally",
    title="Tally",
    read=body_reader(event),
    detectors=(
        by_header("tally-signature"),
        by_body(_is_response, "eventType beside data.fields"),
    ),
    verify=VerifySettings(scheme="hmac", header="Tally-Signature", encoding="base64"),
    reply=200,
)
