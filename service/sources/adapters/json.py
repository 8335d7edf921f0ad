"""`json`: a partner's or an automation's own JSON (or form) post."""

from __future__ import annotations

from service.sources.adapter import Adapter
from service.sources.body import decode
from service.sources.config import Source
from service.sources.payload import Payload
from service.sources.reading import Request
from service.sources.unwrap import events


def read(request: Request, source: Source) -> list[Payload]:
    return events(decode(request), source)


ADAPTER = Adapter(name="json", read=read, parks=False)
