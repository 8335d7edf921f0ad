"""`/docs`: operations and problems on one page that works offline, and its OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router
from litestar.handlers import HTTPRouteHandler

from service.context import ServiceContext
from service.docs.document import build_document, operations
from service.sources.schema import Source
from service.web import pages
from service.web.problems import PROBLEM_KINDS

OPENAPI_PATH = "/docs/openapi.json"


class Documentation:
    """One per process. The document is rebuilt whenever the source file has changed."""

    def __init__(self, context: ServiceContext, api: Router) -> None:
        self._context = context
        self._api = api
        self._sources: Mapping[str, Source] | None = None
        self._document: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        """The OpenAPI document as plain data."""
        sources = self._context.sources.sources
        if sources is not self._sources:
            self._document = await asyncio.to_thread(
                build_document, self._api, sources, self._context.settings.public_url
            )
            self._sources = sources
        return self._document


def docs_routes(context: ServiceContext, api: Router) -> list[HTTPRouteHandler]:
    """`/docs`, its document and its style sheet. `api` is the operators' router."""
    documentation = Documentation(context, api)

    @pages.get_or_head(OPENAPI_PATH)
    async def openapi_json() -> Response[bytes]:
        document = msgspec.json.encode(await documentation.read())
        return Response(
            msgspec.json.format(document, indent=2),
            media_type="application/json",
            headers={**pages.BARE_HEADERS, "Access-Control-Allow-Origin": "*"},
        )

    @pages.get_or_head("/docs")
    async def docs_page() -> Response[bytes]:
        document = await documentation.read()
        return pages.html(
            "docs.html",
            info=document["info"],
            operations=_rows(document),
            kinds=PROBLEM_KINDS,
            openapi_path=OPENAPI_PATH,
        )

    return [docs_page, openapi_json, pages.stylesheet]


def _rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page says about each operation."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "operationId": operation["operationId"],
            "text": operation.get("description", operation["summary"]),
            "responses": {
                status: response["description"]
                for status, response in operation["responses"].items()
            },
        }
        for path, method, operation in operations(document)
    ]
