"""`form`: a form on a web page, posted by a browser or by a script of the page."""

from __future__ import annotations

import msgspec

from service.sources.adapter import Adapter
from service.sources.body import decode
from service.sources.config import Source
from service.sources.payload import Payload
from service.sources.reading import Request
from service.sources.units import Rate
from service.sources.unwrap import events


def read(request: Request, source: Source) -> list[Payload]:
    """The form's fields as they stand; the Referer is its page, unless a field says so."""
    page = request.header("referer")
    return [msgspec.structs.replace(event, page=page) for event in events(decode(request), source)]


ADAPTER = Adapter(name="form", read=read, rate=Rate(count=60, seconds=60.0), parks=False)
