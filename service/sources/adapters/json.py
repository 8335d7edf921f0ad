"""`json`: a partner's or an automation's own JSON (or form) post."""

from __future__ import annotations

from service.sources.adapters.base import Adapter
from service.sources.payload.decode import decode
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import events
from service.sources.request import InboundRequest
from service.sources.schema import Source


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return events(decode(request), source)


ADAPTER = Adapter(name="json", read=read, parks=False)
