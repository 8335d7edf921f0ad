"""`formstack`: the webhook of Formstack Forms, as a form or as JSON.

Answers are at the top level, under the labels or numbers of fields, beside `FormID`, `UniqueID` and
the shared secret in `HandshakeKey`. A field with parts, or one whose type is sent, is lines of text
in a form (`first = Ada`) and an object in JSON.
https://developers.formstack.com/docs/webhook-examples
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from service.sources.adapters.base import Adapter, by_body, has_keys
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    find_only_address,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.schema import VerifySettings

KEY = "HandshakeKey"
BOOKKEEPING = frozenset({KEY, "FormID", "UniqueID"})
# Types of fields that say what they ask for.
FIELDS = {"email": "email", "phone": "phone", "name": "name"}
TYPE = "field_type"
NAME_PARTS = ("prefix", "first", "initial", "middle", "last", "suffix")
ADDRESS_PARTS = ("address", "address2", "city", "state", "zip", "country")
_LINE = re.compile(r"([a-z_0-9]{1,40}) = ?(.*)")


class Answer(Struct, frozen=True):
    """The value of a field and, if Formstack was asked to send it, the field's type."""

    value: Tree
    kind: str | None = None


def event(top: Table) -> ParsedEvent | None:
    if not {"FormID", "UniqueID"} <= top.keys():
        return None
    answers = {key: _parse(value) for key, value in top.items() if key not in BOOKKEEPING}
    countries = (
        text_at(one.value, "country") for one in answers.values() if _has_parts(one, ADDRESS_PARTS)
    )
    return event_from_questions(
        top,
        _questions(answers),
        at=(),
        lead_fields=drop_empty(
            form_id=text_at(top, "FormID"), country=next(filter(None, countries), None)
        ),
        event_id=text_at(top, "UniqueID"),
    )


def _questions(answers: dict[str, Answer]) -> Iterator[FormQuestion]:
    """A type counts only if no other field has it: of two names, one is somebody else's."""
    count = Counter(one.kind for one in answers.values())
    email = find_only_address({key: one.value for key, one in answers.items()})
    for key, one in answers.items():
        lead_field = FIELDS.get(one.kind or "") if count[one.kind] == 1 else None
        value = one.value
        if _has_parts(one, ADDRESS_PARTS):
            value = ", ".join(filter(None, (text_at(value, part) for part in ADDRESS_PARTS)))
        yield FormQuestion(
            key=key,
            value=value,
            lead_field=lead_field or ("email" if key == email else None),
            whole=_has_parts(one, NAME_PARTS),
        )


def _has_parts(answer: Answer, names: tuple[str, ...]) -> bool:
    return isinstance(answer.value, dict) and answer.value.keys() <= set(names)


def _parse(value: Tree) -> Answer:
    if isinstance(value, dict):
        parts = {key: part for key, part in value.items() if key != TYPE}
        is_plain = parts.keys() == {"value"}
        return Answer(parts["value"] if is_plain else parts, text_at(value, TYPE))
    return _parse_lines(value) if isinstance(value, str) else Answer(value)


def _parse_lines(text: str) -> Answer:
    """`value = …` and the type, or parts; a value may have several lines."""
    lines = text.strip().splitlines()
    last = _LINE.fullmatch(lines[-1]) if lines else None
    kind = last[2] if last and last[1] == TYPE else None
    lines = lines[:-1] if kind else lines
    if kind and lines and lines[0].startswith("value ="):
        return Answer("\n".join(lines).removeprefix("value =").strip(), kind)
    matches = [match for line in lines if (match := _LINE.fullmatch(line.strip()))]
    parts = {match[1]: match[2].strip() for match in matches}
    is_known = any(parts.keys() <= set(names) for names in (NAME_PARTS, ADDRESS_PARTS))
    if parts and len(matches) == len(lines) and (kind or is_known):
        return Answer(parts, kind)
    return Answer("\n".join(lines), kind) if kind else Answer(text)


ADAPTER = Adapter(
    name="formstack",
    title="Formstack",
    read=body_reader(event),
    detectors=(by_body(has_keys("FormID", "UniqueID"), "FormID beside UniqueID"),),
    verify=VerifySettings(scheme="token", field=KEY),
    reply=200,
)
