"""`form`: a form on a web page, posted by a browser or by a script of the page."""

from __future__ import annotations

import msgspec

from service.sources.adapters.base import Adapter
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import parse_events
from service.sources.request import InboundRequest
from service.sources.schema import Rate, Source

# A form is sent once; a list of them is somebody's script, and a hundred leads for one post.
MAX_FORM_EVENTS = 1


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    """The form's fields as they are; the Referer is its page, unless a field names one."""
    events = parse_events(decode_body(request), source, MAX_FORM_EVENTS)
    page = request.header("referer")
    if page is None:
        return events
    return [msgspec.structs.replace(event, referer=page) for event in events]


ADAPTER = Adapter(
    name="form",
    title="Your own form",
    read=read,
    reads_any_payload=True,
    rate=Rate(count=60, seconds=60.0),
    rejects_no_contact=True,
    sent_by_people=True,
    max_events=MAX_FORM_EVENTS,
)
