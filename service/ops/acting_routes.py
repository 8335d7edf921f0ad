"""`/ops/api`: what changes something, and the trail of it. Each call asks for the right first, then
for the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from litestar import Response, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct, field

from service.ops.actions import Actions
from service.ops.auth import HttpRequest, OpsAuth, read_body
from service.ops.filters import Filter
from service.ops.refusals import problem_of
from service.ops.schemas import AuditRow, Page
from service.sources.request import FieldError
from service.web import pages, problems
from service.web.problems import HttpProblem
from service.web.request_id import request_id
from worker.times import format_iso

T = TypeVar("T")
B = TypeVar("B", bound=Struct)

AUDIT_PAGE, AUDIT_MOST = 100, 1000
BULKS_SHOWN = 100


class Body(Struct, forbid_unknown_fields=True):
    """What a call may say; a member that is not listed is a mistake, and is said to be one."""


class Nothing(Body, forbid_unknown_fields=True):
    pass


class Retry(Body, forbid_unknown_fields=True):
    edit: dict[str, Any] | None = None


class Why(Body, forbid_unknown_fields=True):
    why: str = ""


class Pausing(Body, forbid_unknown_fields=True):
    reason: str = ""


class Erasing(Body, forbid_unknown_fields=True):
    email: str


class Chosen(Body, forbid_unknown_fields=True):
    """The filter of a list."""

    state: str | None = None
    source: str | None = None
    cause: str | None = None
    q: str | None = None


class Bulk(Body, forbid_unknown_fields=True):
    action: Literal["retry", "discard", "accept"]
    expect: int
    filter: Chosen = field(default_factory=Chosen)
    edit: dict[str, Any] | None = None


class Acting:
    """One per process."""

    def __init__(self, access: OpsAuth, actions: Actions) -> None:
        self._access = access
        self._actions = actions

    async def submission(self, request: HttpRequest) -> Response[bytes]:
        """`POST submissions/{id}/retry|discard|accept|undo`."""
        name, act = request.path_params["id"], self._actions
        deeds: dict[str, tuple[type[Body], Callable[[Any, str], Any]]] = {
            "retry": (Retry, lambda body, by: act.retry(name, by, body.edit)),
            "discard": (Why, lambda body, by: act.discard(name, by, body.why)),
            "accept": (Nothing, lambda _, by: act.accept(name, by)),
            "undo": (Nothing, lambda _, by: act.undo(name, by)),
        }
        return await self._deed(
            request,
            deeds,
            request.path_params["action"],
            lambda state: {"id": name, "state": state},
        )

    async def cause(self, request: HttpRequest) -> Response[bytes]:
        """`POST causes/{id}/ignore|reopen`."""
        name, act = request.path_params["id"], self._actions
        deeds: dict[str, tuple[type[Body], Callable[[Any, str], Any]]] = {
            "ignore": (Nothing, lambda _, by: act.ignore_cause(name, by)),
            "reopen": (Nothing, lambda _, by: act.reopen_cause(name, by)),
        }
        action = request.path_params["action"]
        return await self._deed(
            request, deeds, action, lambda _: {"id": name, "ignored": action == "ignore"}
        )

    async def whole(self, request: HttpRequest) -> Response[bytes]:
        """`POST pause|resume|erase`."""
        act = self._actions
        deeds: dict[str, tuple[type[Body], Callable[[Any, str], Any]]] = {
            "pause": (Pausing, lambda body, by: {"paused": act.pause(by, body.reason)}),
            "resume": (Nothing, lambda _, by: {"paused": act.resume(by)}),
            "erase": (Erasing, lambda body, by: act.erase(body.email, by)),
        }
        return await self._deed(
            request, deeds, request.url.path.rpartition("/")[2], lambda answer: answer
        )

    async def bulk(self, request: HttpRequest) -> Response[bytes]:
        """`POST bulk` and `GET bulk`, the newest first."""

        def make(body: Bulk, by: str) -> dict[str, Any]:
            chosen = {
                name: value for name, value in msgspec.structs.asdict(body.filter).items() if value
            }
            made = self._actions.start_bulk(
                body.action, Filter.parse(chosen), body.expect, by, body.edit
            )
            return {"id": made.id, "count": made.count}

        if request.method == "POST":
            return await self._change(request, Bulk, make, status=202)

        def newest() -> Page[Any]:
            found = self._actions.newest_bulks(BULKS_SHOWN)
            return Page(found, None, len(found))

        return await self._look(request, newest)

    async def one_bulk(self, request: HttpRequest) -> Response[bytes]:
        """`GET bulk/{id}`."""
        return await self._look(
            request, lambda: self._actions.bulk_status(request.path_params["id"])
        )

    async def bulk_stop(self, request: HttpRequest) -> Response[bytes]:
        """`POST bulk/{id}/stop`."""
        return await self._change(
            request, Nothing, lambda _, by: self._actions.stop_bulk(request.path_params["id"], by)
        )

    async def audit(self, request: HttpRequest) -> Response[bytes]:
        """`GET audit?cursor=&limit=`."""

        def page() -> Page[AuditRow]:
            given = request.query_params
            return audit_page(
                self._actions, given.get("cursor") or None, given.get("limit") or str(AUDIT_PAGE)
            )

        return await self._look(request, page)

    # -- plumbing
    # ----------------------------------------------------------------------------------------------

    async def _deed(
        self,
        request: HttpRequest,
        deeds: dict[str, tuple[type[Body], Callable[[Any, str], Any]]],
        name: str,
        answer: Callable[[Any], Any],
    ) -> Response[bytes]:
        """One of several; a name that is none of them is not there, for those who may act."""
        kind, deed = deeds.get(name, (Nothing, _no_such))
        return await self._change(request, kind, lambda body, by: answer(deed(body, by)))

    async def _change(
        self,
        request: HttpRequest,
        kind: type[B],
        deed: Callable[[B, str], Any],
        *,
        status: int = 200,
    ) -> Response[bytes]:
        async def change() -> Response[bytes]:
            owner = await self._access.require_operator(request)
            body = decode(await read_body(request), kind)
            return json(await asyncio.to_thread(deed, body, owner.name), status)

        return await told(request, change)

    async def _look(self, request: HttpRequest, question: Callable[[], Any]) -> Response[bytes]:
        async def look() -> Response[bytes]:
            await self._access.require_viewer(request)
            return json(await asyncio.to_thread(question))

        return await told(request, look)


def audit_page(actions: Actions, cursor: str | None, limit: str) -> Page[AuditRow]:
    """A page of the trail, the newest first. Raises HttpProblem 422 for a cursor or a limit that is
    none.
    """
    if not (
        limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= AUDIT_MOST
    ):
        raise HttpProblem("value", errors=[FieldError("limit", f"expected 1 to {AUDIT_MOST}")])
    try:
        found, following, total = actions.audit.page(cursor, int(limit))
    except ValueError as error:
        raise HttpProblem("value", errors=[FieldError("cursor", str(error))]) from None
    items = [
        AuditRow(format_iso(entry.at) or "", entry.who, entry.action, entry.target, entry.detail)
        for entry in found
    ]
    return Page(items, following, total)


def decode(body: bytes, kind: type[B]) -> B:
    """A JSON body as one of the structs above; no body at all is an empty object. Raises
    HttpProblem 400, 422.
    """
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        unknown = message.partition("unknown field `")[2].rstrip("`")
        raise HttpProblem(
            "value", errors=[FieldError(unknown or place.rstrip("`"), message)]
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise HttpProblem("unreadable", "The body is no JSON in UTF-8.") from None


def json(body: object, status: int = 200) -> Response[bytes]:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers=pages.BARE_HEADERS,
    )


async def told(request: HttpRequest, answer: Callable[[], Any]) -> Response[bytes]:
    """The answer; what is refused as problem+json, whatever the client would like to see."""
    try:
        given: Response[bytes] = await answer()
        return given
    except HttpProblem as refused:
        problem = refused
    except Exception as error:
        found = problem_of(error)
        if found is None:
            raise
        problem = found
    return problems.problem_response(problem, request_id(request.scope), page=False)


def _no_such(_: Any, __: str) -> Any:
    raise HttpProblem("not-found")


def acting_routes(access: OpsAuth, actions: Actions) -> list[HTTPRouteHandler]:
    """The calls of the contract's section on operators that change something, the bulk actions and
    the trail.
    """
    acting = Acting(access, actions)

    def at(
        path: str, answer: Callable[[HttpRequest], Any], *methods: Literal["GET", "POST"]
    ) -> HTTPRouteHandler:
        @route(
            f"/ops/api/{path}", http_method=list(methods), status_code=200, include_in_schema=False
        )
        async def handler(request: HttpRequest) -> Response[bytes]:
            found: Response[bytes] = await answer(request)
            return found

        return handler

    return [
        at("submissions/{id:str}/{action:str}", acting.submission, "POST"),
        at("causes/{id:str}/{action:str}", acting.cause, "POST"),
        at("pause", acting.whole, "POST"),
        at("resume", acting.whole, "POST"),
        at("erase", acting.whole, "POST"),
        at("bulk", acting.bulk, "GET", "POST"),
        at("bulk/{id:str}", acting.one_bulk, "GET"),
        at("bulk/{id:str}/stop", acting.bulk_stop, "POST"),
        at("audit", acting.audit, "GET"),
    ]
