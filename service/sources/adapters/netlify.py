"""`netlify`: the outgoing webhook of Netlify Forms.

`data` has the fields as they were posted, among them the address, browser and page of the visitor;
what stands beside it (`name`, `first_name`, `summary` in HTML) are Netlify's guesses at the same.
The same kind of hook tells of deployments.
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
    table,
    tables,
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.tree import Tree
from service.sources.schema import Verify

BOOKKEEPING = frozenset({"ip", "user_agent", "referrer"})


def event(top: Table) -> Payload | None:
    data = table(top, "data")
    if not data:
        is_deployment = "deploy_url" in top or "deploy_ssl_url" in top
        return (
            no_lead(top, "a deployment of the site", event_id=text(top, "id"))
            if is_deployment
            else None
        )
    return asked(
        top,
        _questions(top, data),
        at=("data",),
        known=only_known(
            form_id=text(top, "form_id"),
            form_name=text(top, "form_name"),
            page_url=text(data, "referrer") or text(top, "site_url"),
            occurred_at=text(top, "created_at"),
        ),
        event_id=text(top, "id"),
    )


def _questions(top: Table, data: Table) -> Iterator[Question]:
    titles = {
        text(field, "name"): text(field, "title") for field in tables(top, "ordered_human_fields")
    }
    for key, value in data.items():
        if key not in BOOKKEEPING:
            yield Question(key=key, title=titles.get(key), value=_value(value))


def _value(value: Tree) -> Tree:
    """A file by its address."""
    return text(value, "url") or value


ADAPTER = Adapter(
    name="netlify",
    read=reader(event),
    verify=Verify(scheme="jwt", header="X-Webhook-Signature"),
    reply=200,
)
