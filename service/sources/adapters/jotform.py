"""`jotform`: the webhook of Jotform.

The answers are JSON in the part `rawRequest`, as `q<number>_<name>`, among the page's bookkeeping;
files are lists of addresses. `pretty` has the questions as people read them, but nothing marks
where one of them ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, has_keys
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    join_parts,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, text_of
from service.sources.payload.unwrap import parse_embedded_json

RAW = "rawRequest"
_QUESTION = re.compile(r"q[0-9]+_(.+)", re.DOTALL)
_FILE = re.compile(r"https?://", re.IGNORECASE)
NAME_PARTS = frozenset({"prefix", "first", "middle", "last", "suffix"})
PHONE_PARTS = frozenset({"country", "area", "phone", "full"})
DATE = ("year", "month", "day")


def event(top: Table) -> ParsedEvent | None:
    raw = parse_embedded_json(top.get(RAW), RAW)
    if not isinstance(raw, dict):
        return None
    return event_from_questions(
        top,
        _questions(raw),
        at=(RAW,),
        lead_fields=drop_empty(
            form_id=text_at(top, "formID"),
            form_name=text_at(top, "formTitle"),
            country=next((value["country"] for value in raw.values() if _has_country(value)), None),
        ),
        event_id=text_at(top, "submissionID"),
    )


def _questions(raw: Table) -> Iterator[FormQuestion]:
    for key, value in raw.items():
        if match := _QUESTION.fullmatch(key):
            yield FormQuestion(key=key, value=_value(value), aliases=(match[1],), whole=True)
        elif _is_upload(value):
            yield FormQuestion(key=key, value=value)


def _is_upload(value: Tree) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return is_list and all(isinstance(item, str) and _FILE.match(item) for item in value)


def _has_country(value: Tree) -> bool:
    is_address = isinstance(value, dict) and "addr_line1" in value
    return is_address and isinstance(value.get("country"), str)


def _value(value: Tree) -> Tree:
    """Names and phones as objects, which the lead's fields can read; any other object as text."""
    if not isinstance(value, dict) or not value:
        return value
    if NAME_PARTS.issuperset(value) or PHONE_PARTS.issuperset(value):
        return value
    if all(text_at(value, part) for part in DATE):
        return join_parts("-".join(text_at(value, part) or "" for part in DATE), _time(value))
    texts = {name: text for name, part in value.items() if (text := text_of(part))}
    if "addr_line1" in value:
        return ", ".join(texts.values())
    return [f"{name}: {text}" for name, text in texts.items()]


def _time(value: Table) -> str | None:
    hour, minute = text_at(value, "hour"), text_at(value, "min") or "00"
    return join_parts(f"{hour}:{minute}", text_at(value, "ampm")) if hour else None


ADAPTER = Adapter(
    name="jotform",
    title="Jotform",
    read=body_reader(event),
    detectors=(by_body(has_keys(RAW, "formID"), "the parts formID and rawRequest"),),
    reply=200,
)
