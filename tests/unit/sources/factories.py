"""Sources and requests in one line each, for the tests beside this file."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from service.sources.normalize import process_request
from service.sources.request import InboundRequest, NormalizationResult
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources
from worker.contract import Lead

NOW = 1_700_000_000.0
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def source(toml: str = "", /, **env: str) -> Source:
    """The source `x` of a few lines of TOML."""
    return load_sources(toml if "[sources.x]" in toml else f"[sources.x]\n{toml}", env).sources["x"]


def post(
    body: bytes,
    content_type: str = FORM,
    /,
    query: str = "",
    url: str | None = None,
    **headers: str,
) -> InboundRequest:
    """Header names with dashes for underscores."""
    named = [(name.replace("_", "-").lower(), value) for name, value in headers.items()]
    return InboundRequest(
        method="POST",
        query=query,
        headers=[("content-type", content_type), *named],
        body=body,
        url=url,
    )


def form(*pairs: tuple[str, str], **fields: str) -> InboundRequest:
    return post(urlencode([*pairs, *fields.items()]).encode())


def json_post(value: Any) -> InboundRequest:
    return post(json.dumps(value).encode(), JSON)


def read(request: InboundRequest, toml: str = "") -> NormalizationResult:
    return process_request(source(toml), request, NOW)


def lead_of(request: InboundRequest, toml: str = "") -> Lead:
    """The one lead of a request."""
    [event] = read(request, toml).events
    assert event.lead is not None
    return event.lead
