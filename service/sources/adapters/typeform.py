"""`typeform`: the `form_response` webhook of Typeform.

An answer stands under the key that its `type` names; what was asked is in the form's definition. A
test delivery has no flag: its event and its submission share one id, which no real ones do.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    asked,
    no_lead,
    only_known,
    reader,
    step,
    table,
    tables,
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.tree import Tree
from service.sources.request import Outcome
from service.sources.schema import Verify

FIELDS = {"email": "email", "phone_number": "phone", "legal": "consent"}
"""Kinds of question that say what they ask for."""
UNFILLED = "xxxxx"
"""What a hidden field holds when the page gave it nothing."""


def event(top: Table) -> Payload | None:
    response = table(top, "form_response")
    if not response:
        return None
    event_id, kind = text(top, "event_id"), text(top, "event_type")
    if kind not in (None, "form_response"):
        return no_lead(
            top, f"a {kind} event: only form_response is a finished form", event_id=event_id
        )
    is_test = event_id is not None and event_id == text(response, "token")
    return asked(
        top,
        [*_answers(response), *_hidden(response)],
        at=("form_response", "answers"),
        known=only_known(
            form_id=text(response, "form_id"),
            form_name=text(response, "definition", "title"),
            occurred_at=text(response, "submitted_at"),
        ),
        event_id=event_id,
        is_test=is_test,
        outcome=Outcome.NO_LEAD if is_test else None,
        why="a test delivery: its event and its submission have one id" if is_test else None,
    )


def _answers(response: Table) -> Iterator[Question]:
    asked_for = {
        text(one, "id"): one for one in _definitions(tables(response, "definition", "fields"))
    }
    for number, answer in enumerate(tables(response, "answers")):
        field = table(answer, "field")
        key = text(field, "id")
        definition = asked_for.get(key) or {}
        ref = text(field, "ref") or text(definition, "ref")
        kind = text(field, "type") or text(definition, "type") or ""
        yield Question(
            key=key or str(number),
            title=text(definition, "title"),
            names=(ref,) if ref else (),
            value=_value(answer),
            field=FIELDS.get(kind),
        )


def _definitions(fields: list[Table]) -> Iterator[Table]:
    """The questions, and those inside groups."""
    for field in fields:
        yield field
        yield from _definitions(tables(field, "properties", "fields"))


def _value(answer: Table) -> Tree:
    value = answer.get(text(answer, "type") or "")
    if not isinstance(value, dict):
        return value
    labels, other = step(value, "labels"), text(value, "other")
    if isinstance(labels, list):
        return [*labels, other] if other else labels
    return text(value, "label") or other or value


def _hidden(response: Table) -> Iterator[Question]:
    return (
        Question(key=key, value=value)
        for key, value in table(response, "hidden").items()
        if value != UNFILLED
    )


ADAPTER = Adapter(
    name="typeform",
    read=reader(event),
    verify=Verify(scheme="hmac", header="Typeform-Signature", prefix="sha256=", encoding="base64"),
    reply=200,
)
