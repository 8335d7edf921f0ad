"""`jotform`: the webhook of Jotform.

The answers are JSON in the part `rawRequest`, as `q<number>_<name>`, among bookkeeping of the page;
files are lists of addresses. `pretty` has the questions as people read them, but nothing that tells
where one ends.
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
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, text_of
from service.sources.payload.unwrap import parse_embedded_json

RAW = "rawRequest"
_ASKED = re.compile(r"q[0-9]+_(.+)", re.DOTALL)
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
            country=next((value["country"] for value in raw.values() if _is_address(value)), None),
        ),
        event_id=text_at(top, "submissionID"),
    )


def _questions(raw: Table) -> Iterator[FormQuestion]:
    for key, value in raw.items():
        if found := _ASKED.fullmatch(key):
            yield FormQuestion(key=key, value=_value(value), aliases=(found[1],), whole=True)
        elif (
            isinstance(value, list)
            and value
            and all(isinstance(item, str) and _FILE.match(item) for item in value)
        ):
            yield FormQuestion(key=key, value=value)


def _is_address(value: Tree) -> bool:
    return (
        isinstance(value, dict) and "addr_line1" in value and isinstance(value.get("country"), str)
    )


def _value(value: Tree) -> Tree:
    """Names and phones stay objects, which the lead's fields can read; dates, addresses and tables
    become text.
    """
    if (
        not isinstance(value, dict)
        or not value
        or NAME_PARTS.issuperset(value)
        or PHONE_PARTS.issuperset(value)
    ):
        return value
    if all(text_at(value, part) for part in DATE):
        return "-".join(text_at(value, part) or "" for part in DATE) + "".join(
            f" {rest}" for rest in _time(value)
        )
    if "addr_line1" in value:
        return ", ".join(said for part in value.values() if (said := text_of(part)))
    return [f"{name}: {said}" for name, part in value.items() if (said := text_of(part))]


def _time(value: Table) -> Iterator[str]:
    hour, minute, half = text_at(value, "hour"), text_at(value, "min"), text_at(value, "ampm")
    if hour:
        yield f"{hour}:{minute or '00'}" + (f" {half}" if half else "")


ADAPTER = Adapter(
    name="jotform",
    title="Jotform",
    read=body_reader(event),
    detectors=(by_body(has_keys(RAW, "formID"), "the parts formID and rawRequest"),),
    reply=200,
)
