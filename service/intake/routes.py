"""The addresses of the intake."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from service.intake.door import Door
from service.intake.receipts import Receipts


def intake_routes(door: Door, receipts: Receipts) -> list[HTTPRouteHandler]:
    """`/in/{source}` and `/submissions/{id}`.

    One handler for each path: Litestar would add an OPTIONS of its own to a handler without one.
    """
    answers = {"POST": door.post, "GET": door.get, "OPTIONS": door.preflight}

    @route("/in/{source:str}", http_method=["POST", "GET", "OPTIONS"], status_code=200, include_in_schema=False)
    async def intake(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await answers[request.method](request)

    @route("/submissions/{submission:str}", http_method=["GET", "OPTIONS"], status_code=200, include_in_schema=False)
    async def receipt(request: Request[Any, Any, Any]) -> Response[bytes]:
        return receipts.preflight() if request.method == "OPTIONS" else await receipts.get(request)

    return [intake, receipt]
