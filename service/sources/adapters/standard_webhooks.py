"""`standard-webhooks`: any sender that follows the specification (`type`, `timestamp`, `data`).

`webhook-id` (or `svix-id`) is the same for every attempt of one event, while the timestamp is that
of the attempt. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
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
    """Like any JSON, but from `data` on unless the source names another root."""
    settings = structs.replace(source.read, root=source.read.root or ROOT)
    rooted = structs.replace(source, read=settings)
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
        by_header(
            "webhook-id", "webhook-timestamp", "webhook-signature", evidence=Evidence.CONVENTION
        ),
        by_header("svix-id", "svix-timestamp", "svix-signature", evidence=Evidence.CONVENTION),
    ),
    verify=VerifySettings(scheme="standard-webhooks"),
)
