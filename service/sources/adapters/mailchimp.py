"""`mailchimp`: the webhook of a Mailchimp audience.

Only `subscribe` is somebody new; the other events have the same shape. `data[id]` is the
subscriber, not the event. There is no signature: the secret is in the URL. Mailchimp checks with a
plain GET that the URL exists.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    no_lead,
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import nest_brackets
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source
from service.sources.verification.token import has_valid_token

SUBSCRIBE = "subscribe"


def event(top: Table) -> ParsedEvent | None:
    tree = nest_brackets(top)
    data, kind, at = object_at(tree, "data"), text_at(tree, "type"), text_at(tree, "fired_at")
    if not data or kind is None:
        return None
    subscriber = text_at(data, "id")
    event_id = f"{kind} {subscriber or text_at(data, 'email')} {at}" if at else None
    if kind != SUBSCRIBE:
        return no_lead(tree, f"a {kind} event: only {SUBSCRIBE} is somebody new", event_id=event_id)
    return event_from_questions(
        tree,
        _questions(object_at(data, "merges")),
        at=("data", "merges"),
        lead_fields=drop_empty(
            email=text_at(data, "email"),
            form_id=text_at(data, "list_id"),
            event_id=subscriber,
            occurred_at=at,
        ),
        event_id=event_id,
    )


def _questions(merges: Table) -> Iterator[FormQuestion]:
    return (FormQuestion(key=key, value=value) for key, value in merges.items())


def handshake(request: InboundRequest, source: Source) -> NormalizationResult:
    """200 for the check of the URL, which must have the secret if the source keeps one there."""
    rules = source.verification
    if rules.scheme == "token" and rules.query and not has_valid_token(request, source):
        return NormalizationResult(
            outcome=Outcome.REFUSED, status=403, detail="The secret is missing or wrong."
        )
    return NormalizationResult(outcome=Outcome.HANDSHAKE, status=200, response=CustomResponse(200))


def _is_audience_event(top: Table) -> bool:
    return {"type", "fired_at"} <= top.keys() and bool(object_at(top, "data"))


ADAPTER = Adapter(
    name="mailchimp",
    title="Mailchimp",
    read=body_reader(event),
    detectors=(
        by_body(_is_audience_event, "type and fired_at beside data[…]", is_posted_form=True),
    ),
    reply=200,
    handshake=handshake,
)
