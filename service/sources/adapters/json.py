"""`json`: a partner's or an automation's own JSON (or form) post."""

from __future__ import annotations

from service.sources.adapters.base import Adapter
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import parse_events
from service.sources.request import InboundRequest
from service.sources.schema import Source


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return parse_events(decode_body(request), source)


ADAPTER = Adapter(
    name="json",
    title="Anything that posts JSON",
    read=read,
    reads_any_payload=True,
    rejects_no_contact=True,
)
