"""`standard-webhooks`: any sender that keeps to the specification: an envelope of `type`,
`timestamp` and `data`.

`webhook-id` (or `svix-id`) stays over the tries of one event, while the timestamp is that of the
try. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from msgspec import structs

from service.sources.adapters.base import Adapter, Evidence, by_header
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import parse_events
from service.sources.request import InboundRequest
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import header_value

ROOT = "data"


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    """Like any JSON, from `data` on unless the source names another root."""
    rooted = (
        source
        if source.read.root
        else structs.replace(source, read=structs.replace(source.read, root=ROOT))
    )
    event_id = header_value(request, "webhook-id") or header_value(request, "svix-id")
    return [
        structs.replace(event, event_id=event.number_id(event_id))
        for event in parse_events(decode_body(request), rooted)
    ]


ADAPTER = Adapter(
    name="standard-webhooks",
    title="Standard Webhooks",
    read=read,
    reads_any_payload=True,
    detectors=(
        *(
            by_header(
                f"{kind}-id", f"{kind}-timestamp", f"{kind}-signature", evidence=Evidence.CONVENTION
            )
            for kind in ("webhook", "svix")
        ),
    ),
    verify=VerifySettings(scheme="standard-webhooks"),
)
