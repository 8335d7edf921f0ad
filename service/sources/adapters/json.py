"""`json`: a partner's or an automation's own JSON (or form) post."""

from __future__ import annotations

from service.sources.adapters.base import Adapter
from service.sources.payload.decode import decode
from service.sources.payload.event import Payload
from service.sources.payload.unwrap import events
from service.sources.request import Request
from service.sources.schema import Source


def read(request: Request, source: Source) -> list[Payload]:
    return events(decode(request), source)


ADAPTER = Adapter(name="json", read=read, parks=False)
