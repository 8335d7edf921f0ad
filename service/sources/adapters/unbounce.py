"""`unbounce`: the webhook of Unbounce's pages.

The form's fields are JSON in the parameter `data.json`, each value in a list; the page stands
beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    asked,
    joined,
    only_known,
    reader,
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.unwrap import parsed, single

DATA = "data.json"
BOOKKEEPING = frozenset(
    {
        "ip_address",
        "page_uuid",
        "page_id",
        "page_name",
        "page_url",
        "date_submitted",
        "time_submitted",
    }
)


def event(top: Table) -> Payload | None:
    data = single(parsed(top.get(DATA), DATA))
    if not isinstance(data, dict):
        return None
    return asked(
        top,
        _questions(data),
        at=(DATA,),
        known=only_known(
            form_id=text(top, "page_id") or text(data, "page_uuid"),
            form_name=text(top, "page_name") or text(data, "page_name"),
            page_url=text(top, "page_url") or text(data, "page_url"),
            occurred_at=joined(text(data, "date_submitted"), text(data, "time_submitted")),
        ),
    )


def _questions(data: Table) -> Iterator[Question]:
    return (Question(key=key, value=value) for key, value in data.items() if key not in BOOKKEEPING)


ADAPTER = Adapter(name="unbounce", read=reader(event), reply=200)
