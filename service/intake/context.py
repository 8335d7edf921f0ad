"""One request on its way through the intake: what the response, the counters and the log need."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request as HttpRequest
from litestar.types import HTTPScope

from service.sources.request import InboundRequest
from service.sources.schema import Source
from service.web import pages
from service.web.client_address import client_address
from service.web.origins import cors_headers
from service.web.rate_limit import Limit
from service.web.request_id import request_id
from worker.settings.types import Network


class IntakeContext:
    """State of one request. `source` and `body_size` (bytes) are set once they are known.

    `limits` are those that have admitted it as one event.
    """

    def __init__(self, http: HttpRequest[Any, Any, Any], public_url: str | None) -> None:
        self.http = http
        self.started_at = time.perf_counter()
        self.request_id = request_id(http.scope)
        self.source: Source | None = None
        self.body_size = 0
        self.limits: list[Limit] = []
        self.head = build_inbound_request(http.scope, public_url)

    @property
    def origin(self) -> str | None:
        return self.head.header("origin")

    @property
    def wants_page(self) -> bool:
        """Whether a person sees the response, because a browser navigates to it."""
        return pages.prefers_html(self.head.header("accept") or "")

    @property
    def cors(self) -> dict[str, str]:
        return cors_headers(self.source.origins, self.origin) if self.source else {}

    @property
    def elapsed_seconds(self) -> float:
        return time.perf_counter() - self.started_at

    def client_address(self, trusted: tuple[Network, ...]) -> str:
        client = self.http.scope.get("client")
        forwarded = [value for name, value in self.head.headers if name == "x-forwarded-for"]
        return client_address(client[0] if client else None, forwarded, trusted)

    def request_with_body(self, body: bytes) -> InboundRequest:
        self.body_size = len(body)
        return InboundRequest(
            method=self.head.method,
            query=self.head.query,
            headers=self.head.headers,
            body=body,
            url=self.head.url,
        )


def build_inbound_request(scope: HTTPScope, public_url: str | None = None) -> InboundRequest:
    """Build the request that the sources take, without its body."""
    query = scope["query_string"].decode("latin-1")
    return InboundRequest(
        method=str(scope["method"]),
        query=query,
        headers=[
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        ],
        body=b"",
        url=_signed_url(public_url, scope, query),
    )


def _signed_url(public_url: str | None, scope: HTTPScope, query: str) -> str | None:
    """The URL that the sender called, which some providers sign; None without LEADLINE_PUBLIC_URL.

    Never taken from the Host header, which anybody can forge.
    """
    if public_url is None:
        return None
    raw = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else scope["path"]
    return f"{public_url}{path}?{query}" if query else f"{public_url}{path}"
