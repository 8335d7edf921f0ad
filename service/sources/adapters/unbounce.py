"""`unbounce`: the webhook of Unbounce's pages.

The form's fields are JSON in the parameter `data.json`, each value in a list; the page is beside
it.
"""

from __future__ import annotations

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
from service.sources.payload.unwrap import parse_embedded_json, unwrap_single_items

DATA = "data.json"
BOOKKEEPING = frozenset({
    "ip_address", "page_uuid", "page_id", "page_name", "page_url", "date_submitted",
    "time_submitted",
})  # fmt: skip


def event(top: Table) -> ParsedEvent | None:
    data = unwrap_single_items(parse_embedded_json(top.get(DATA), DATA))
    if not isinstance(data, dict):
        return None
    return event_from_questions(
        top,
        _questions(data),
        at=(DATA,),
        lead_fields=drop_empty(
            form_id=text_at(top, "page_id") or text_at(data, "page_uuid"),
            form_name=text_at(top, "page_name") or text_at(data, "page_name"),
            page_url=text_at(top, "page_url") or text_at(data, "page_url"),
            occurred_at=join_parts(
                text_at(data, "date_submitted"), text_at(data, "time_submitted")
            ),
        ),
    )


def _questions(data: Table) -> Iterator[FormQuestion]:
    return (
        FormQuestion(key=key, value=value) for key, value in data.items() if key not in BOOKKEEPING
    )


ADAPTER = Adapter(
    name="unbounce",
    title="Unbounce",
    read=body_reader(event),
    detectors=(by_body(has_keys(DATA), "the parameter data.json"),),
    reply=200,
)
