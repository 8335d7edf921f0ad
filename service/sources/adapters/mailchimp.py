"""`mailchimp`: the webhook of a Mailchimp audience.

Only `subscribe` is somebody new; the other events have the same shape. `data[id]` is the
subscriber, not the event. There is no signature: the secret stands in the URL. Mailchimp looks with
a plain GET whether the URL is there.
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
    text,
)
from service.sources.payload.event import Payload
from service.sources.payload.unwrap import nested
from service.sources.request import Answer, Outcome, Reading, Request
from service.sources.schema import Source
from service.sources.verification.token import shows_token

SUBSCRIBE = "subscribe"


def event(top: Table) -> Payload | None:
    tree = nested(top)
    data, kind, at = table(tree, "data"), text(tree, "type"), text(tree, "fired_at")
    if not data or kind is None:
        return None
    subscriber = text(data, "id")
    event_id = f"{kind} {subscriber or text(data, 'email')} {at}" if at else None
    if kind != SUBSCRIBE:
        return no_lead(tree, f"a {kind} event: only {SUBSCRIBE} is somebody new", event_id=event_id)
    return asked(
        tree,
        _questions(table(data, "merges")),
        at=("data", "merges"),
        known=only_known(
            email=text(data, "email"),
            form_id=text(data, "list_id"),
            event_id=subscriber,
            occurred_at=at,
        ),
        event_id=event_id,
    )


def _questions(merges: Table) -> Iterator[Question]:
    return (Question(key=key, value=value) for key, value in merges.items())


def handshake(request: Request, source: Source) -> Reading:
    """200 for the look at the URL; with the URL's secret, where the source has one there."""
    rules = source.check
    if rules.scheme == "token" and rules.query and not shows_token(request, source):
        return Reading(
            outcome=Outcome.REFUSED, status=403, detail="The secret is missing or wrong."
        )
    return Reading(outcome=Outcome.HANDSHAKE, status=200, answer=Answer(200))


ADAPTER = Adapter(name="mailchimp", read=reader(event), reply=200, handshake=handshake)
