"""`typeform`: the `form_response` webhook of Typeform.

An answer is under the key that its `type` names; the question is in the form's definition. A test
delivery has no flag: its event and its submission share one id, which no real ones do.
"""

from __future__ import annotations

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
    value_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.request import Outcome
from service.sources.schema import VerifySettings

# Kinds of question that say what they ask for.
FIELDS = {"email": "email", "phone_number": "phone", "legal": "consent"}
# What a hidden field holds if the page gave it no value.
UNFILLED = "xxxxx"


def event(top: Table) -> ParsedEvent | None:
    response = object_at(top, "form_response")
    if not response:
        return None
    event_id, kind = text_at(top, "event_id"), text_at(top, "event_type")
    if kind not in (None, "form_response"):
        reason = f"a {kind} event: only form_response is a finished form"
        return no_lead(top, reason, event_id=event_id)
    is_test = event_id is not None and event_id == text_at(response, "token")
    return event_from_questions(
        top,
        [*_answers(response), *_hidden(response)],
        at=("form_response", "answers"),
        lead_fields=drop_empty(
            form_id=text_at(response, "form_id"),
            form_name=text_at(response, "definition", "title"),
            occurred_at=text_at(response, "submitted_at"),
        ),
        event_id=event_id,
        is_test=is_test,
        outcome=Outcome.NO_LEAD if is_test else None,
        reason="a test delivery: its event and its submission have one id" if is_test else None,
    )


def _answers(response: Table) -> Iterator[FormQuestion]:
    fields = _definitions(objects_at(response, "definition", "fields"))
    definitions = {text_at(field, "id"): field for field in fields}
    for number, answer in enumerate(objects_at(response, "answers")):
        field = object_at(answer, "field")
        key = text_at(field, "id")
        definition = definitions.get(key) or {}
        ref = text_at(field, "ref") or text_at(definition, "ref")
        kind = text_at(field, "type") or text_at(definition, "type") or ""
        yield FormQuestion(
            key=key or str(number),
            title=text_at(definition, "title"),
            aliases=(ref,) if ref else (),
            value=_value(answer),
            lead_field=FIELDS.get(kind),
        )


def _definitions(fields: list[Table]) -> Iterator[Table]:
    """The questions, and those inside groups."""
    for field in fields:
        yield field
        yield from _definitions(objects_at(field, "properties", "fields"))


def _value(answer: Table) -> Tree:
    value = answer.get(text_at(answer, "type") or "")
    if not isinstance(value, dict):
        return value
    labels, other = value_at(value, "labels"), text_at(value, "other")
    if isinstance(labels, list):
        return [*labels, other] if other else labels
    return text_at(value, "label") or other or value


def _hidden(response: Table) -> Iterator[FormQuestion]:
    return (
        FormQuestion(key=key, value=value)
        for key, value in object_at(response, "hidden").items()
        if value != UNFILLED
    )


def _is_response(top: Table) -> bool:
    keys = object_at(top, "form_response").keys()
    return bool(keys & {"answers", "definition", "form_id", "token"})


ADAPTER = Adapter(
    name="typeform",
    title="Typeform",
    read=body_reader(event),
    detectors=(
        by_header("typeform-signature"),
        by_body(_is_response, "the object form_response with its token and answers"),
    ),
    verify=VerifySettings(
        scheme="hmac", header="Typeform-Signature", prefix="sha256=", encoding="base64"
    ),
    reply=200,
)
