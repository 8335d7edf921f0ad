"""`wpforms`: the Webhooks addon of WPForms.

Whoever sets it up names the parameters and picks a field for each, so the names are people's own.
There is no id and no envelope. A field with several values is one text with `||` between them, a
date is `{value, unix}`. The signature is always that of the JSON, so requests in form format cannot
be verified.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_header
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    event_from_questions,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.schema import VerifySettings

SEPARATOR = "||"


def event(top: Table) -> ParsedEvent:
    return event_from_questions(top, _questions(top), at=())


def _questions(top: Table) -> Iterator[FormQuestion]:
    return (FormQuestion(key=key, value=_value(value)) for key, value in top.items())


def _value(value: Tree) -> Tree:
    if isinstance(value, dict) and value.keys() == {"value", "unix"}:
        return value["value"]
    if isinstance(value, str) and SEPARATOR in value:
        return value.split(SEPARATOR)
    return value


ADAPTER = Adapter(
    name="wpforms",
    title="WPForms",
    read=body_reader(event),
    detectors=(by_header("x-wpforms-webhook-signature"), by_header("x-wpforms-webhook-id")),
    verify=VerifySettings(
        scheme="hmac",
        header="X-WPForms-Webhook-Signature",
        list_prefixes="t=,v=",
        signed="{timestamp}.{body}",
    ),
    reply=200,
)
