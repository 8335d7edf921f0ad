"""`/docs`: the operations and problems on one page that works without the internet, and the OpenAPI
document behind it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from litestar import Response, get

from service.docs_document import openapi
from service.web import pages
from service.web.problems import PROBLEM_KINDS

OPENAPI_PATH = "/docs/openapi.json"
METHODS = ("get", "head", "post", "options")


@lru_cache(maxsize=1)
def _document() -> bytes:
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2)


@get(OPENAPI_PATH, include_in_schema=False, sync_to_thread=False)
def openapi_json() -> Response[bytes]:
    return Response(
        _document(),
        media_type="application/json",
        headers={**pages.BARE_HEADERS, "Access-Control-Allow-Origin": "*"},
    )


@get("/docs", include_in_schema=False, sync_to_thread=False)
def docs_page() -> Response[bytes]:
    document = openapi()
    operations = _operations(document)
    return pages.html(
        "docs.html",
        info=document["info"],
        operations=operations,
        kinds=PROBLEM_KINDS,
        openapi_path=OPENAPI_PATH,
    )


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry for each path and method, references of answers read out."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "operationId": item[method]["operationId"],
            "text": item[method].get("description", item[method]["summary"]),
            "responses": _answers(document, item[method]["responses"]),
        }
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


def _answers(document: dict[str, Any], responses: dict[str, Any]) -> dict[str, str]:
    shared = document["components"]["responses"]
    return {
        status: (shared[answer["$ref"].rsplit("/", 1)[-1]] if "$ref" in answer else answer)[
            "description"
        ]
        for status, answer in responses.items()
    }


docs_routes = [docs_page, openapi_json, pages.stylesheet]
