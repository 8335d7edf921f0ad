"""The router of `/ops/api`: it checks rights first, then bounds the body, then makes the call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException

from service.ops.actions import Actions
from service.ops.api import actions as action_handlers
from service.ops.api import queries as query_handlers
from service.ops.auth import OpsAuth, read_body
from service.ops.exceptions import to_problem
from service.ops.filters import FilterError
from service.ops.queries import SubmissionQueries
from service.sources.request import FieldError
from service.web import pages
from service.web.problems import HttpProblem, as_problem, problem_response
from service.web.request_id import request_id
from worker.errors import LeadlineError
from worker.settings.types import OpsToken

PATH = "/ops/api"
# How msgspec names a field that should not be there, or should.
_NAMED_FIELD = re.compile(r"(?:unknown|missing required) field `(.*)`", re.DOTALL)
SECURITY = [{"ops": list[str]()}]


class ApiRequest(Request[Any, Any, Any]):
    """A request whose body is bounded in size and time, and decoded strictly."""

    async def body(self) -> bytes:
        """Read the body; a missing one counts as an empty object."""
        return (await read_body(self)).strip() or b"{}"

    async def json(self) -> Any:
        """Decode the body as the handler's `data`. Raises HttpProblem 400 or 422."""
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation if field else Any)
        except msgspec.ValidationError as error:
            raise HttpProblem("value", errors=[_find_fault(error)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise HttpProblem("unreadable", "The body is not JSON in UTF-8.") from None


def api_router(auth: OpsAuth, queries: SubmissionQueries, actions: Actions) -> Router:
    """Build the router: any token may read; only an operator's may change."""

    async def authorize(connection: ASGIConnection[Any, Any, Any, Any], _: object) -> None:
        assert isinstance(connection, Request)
        if connection.method == "GET":
            await auth.require_viewer(connection)
        elif connection.method != "OPTIONS":  # Litestar's own, which names the methods
            await auth.require_operator(connection)

    async def provide_user(request: Request[Any, Any, Any]) -> OpsToken:
        return await auth.require_viewer(request)

    def provide_queries() -> SubmissionQueries:
        return queries

    def provide_actions() -> Actions:
        return actions

    return Router(
        path=PATH,
        route_handlers=[*query_handlers.HANDLERS, *action_handlers.HANDLERS],
        guards=[authorize],
        dependencies={
            "queries": Provide(provide_queries, sync_to_thread=False),
            "actions": Provide(provide_actions, sync_to_thread=False),
            "user": Provide(provide_user),
        },
        request_class=ApiRequest,
        exception_handlers={
            HttpProblem: _handle_problem,
            HTTPException: _handle_http,
            ValidationException: _handle_parameters,
            FilterError: _handle_filter,
            LeadlineError: _handle_refusal,
        },
        after_request=_add_headers,
        security=SECURITY,
        tags=["ops"],
    )


def _find_fault(error: msgspec.ValidationError) -> FieldError:
    """The field at fault by its whole path, such as `filter.state`; empty for the body itself."""
    message, _, path = str(error).partition(" - at `$.")
    named = _NAMED_FIELD.search(message)
    parts = [path.rstrip("`"), named[1] if named else ""]
    return FieldError(".".join(part for part in parts if part), message)


def _add_headers(response: Response[Any]) -> Response[Any]:
    response.headers.update(pages.BARE_HEADERS)
    return response


def _handle_problem(request: Request[Any, Any, Any], problem: HttpProblem) -> Response[bytes]:
    """Answer with problem+json, whatever the client accepts."""
    return problem_response(problem, request_id(request.scope), page=False)


def _handle_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    return _handle_problem(request, as_problem(error))


def _handle_refusal(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    problem = to_problem(error, request.method)
    if problem is None:
        raise error
    return _handle_problem(request, problem)


def _handle_parameters(
    request: Request[Any, Any, Any], error: ValidationException
) -> Response[bytes]:
    faults = error.extra if isinstance(error.extra, list) else []
    return _refuse_parameters(
        request, [FieldError(str(each.get("key", "")), each["message"]) for each in faults]
    )


def _handle_filter(request: Request[Any, Any, Any], error: FilterError) -> Response[bytes]:
    return _refuse_parameters(request, [FieldError(error.field, str(error))])


def _refuse_parameters(
    request: Request[Any, Any, Any], errors: Sequence[FieldError]
) -> Response[bytes]:
    """Name the wrong parameters, of the query (400) or of a body's filter (422)."""
    options = request.route_handler.opt
    prefix = options.get("parameter_prefix", "")
    problem = HttpProblem(
        options.get("parameter_problem", "unreadable"),
        "A parameter is wrong.",
        errors=[FieldError(prefix + error.field, error.message) for error in errors],
    )
    return _handle_problem(request, problem)
