"""The routers of `/ops/api`: rights come first, then the bounded body, then the call itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap, Guard

from service.ops.actions import Actions
from service.ops.api import actions as action_handlers
from service.ops.api import queries as query_handlers
from service.ops.auth import OpsAuth, read_body
from service.ops.errors import to_problem
from service.ops.queries import SubmissionQueries
from service.sources.request import FieldError
from service.web import pages
from service.web.openapi import problem_responses
from service.web.problems import HttpProblem, as_problem, problem_response
from service.web.request_id import request_id
from worker.errors import LeadlineError
from worker.values import OpsToken

PATH = "/ops/api"
SECURITY = [{"ops": []}]


class ApiRequest(Request[Any, Any, Any]):
    """A request whose body is bounded in size and time, and read as strictly as JSON can be."""

    async def body(self) -> bytes:
        """No body at all is an empty object."""
        return (await read_body(self)).strip() or b"{}"

    async def json(self) -> Any:
        """Decode the body as the handler's `data`. Raises HttpProblem 400 or 422."""
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation if field else Any)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$.")
            unknown = message.partition("unknown field `")[2].rstrip("`")
            fault = FieldError(unknown or path.rstrip("`"), message)
            raise HttpProblem("value", errors=[fault]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise HttpProblem("unreadable", "The body is no JSON in UTF-8.") from None


def api_routers(auth: OpsAuth, queries: SubmissionQueries, actions: Actions) -> list[Router]:
    """One router for what any holder of a token may read, one for what operators may change."""

    async def provide_user(request: Request[Any, Any, Any]) -> OpsToken:
        return await auth.require_viewer(request)

    def build(guard: Guard, problems: Sequence[str], handlers: Sequence[Any]) -> Router:
        routes: Sequence[ControllerRouterHandler] = handlers
        return Router(
            path=PATH,
            route_handlers=routes,
            guards=[guard],
            dependencies={
                "queries": Provide(lambda: queries, sync_to_thread=False),
                "actions": Provide(lambda: actions, sync_to_thread=False),
                "user": Provide(provide_user),
            },
            request_class=ApiRequest,
            exception_handlers=_EXCEPTION_HANDLERS,
            after_request=_add_headers,
            security=SECURITY,
            responses=problem_responses(*problems),
            tags=["ops"],
        )

    async def viewers_only(connection: ASGIConnection[Any, Any, Any, Any], _: Any) -> None:
        await auth.require_viewer(_as_request(connection))

    async def operators_only(connection: ASGIConnection[Any, Any, Any, Any], _: Any) -> None:
        await auth.require_operator(_as_request(connection))

    return []
