"""The console's routes."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from service.context import ServiceContext
from service.ops.actions import Actions
from service.ops.auth import HttpRequest, OpsAuth
from service.ops.console import rendering
from service.ops.console.actions import ConsoleActions
from service.ops.console.attribution import AttributionPage
from service.ops.console.audit import AuditPage
from service.ops.console.bulk import BulkPages
from service.ops.console.console_request import CLOSED_BULKS_COOKIE, read_console_form
from service.ops.console.lead import LeadPanel
from service.ops.console.leads import LeadsPage
from service.ops.console.overview import OverviewPage
from service.ops.console.page import Console, PageHandler, see_other, sign_in_page
from service.ops.console.urls import (
    ATTRIBUTION_URL,
    AUDIT_URL,
    BULK_URL,
    HOME_URL,
    SIGN_IN_URL,
    safe_back_url,
)
from service.ops.queries import SubmissionQueries
from service.web.pages import get_or_head
from service.web.problems import HttpProblem

# How long a page waits for the search index before it shows what is loaded.
INDEX_WAIT_SECONDS = 0.2

MAX_CLOSED_BULKS = 20
MAX_ID_CHARS = 64

# What the sign-in page says, by the key in its URL.
NOTICES = {"signed-out": "You are signed out."}


def console_routes(
    context: ServiceContext, auth: OpsAuth, queries: SubmissionQueries, actions: Actions
) -> list[HTTPRouteHandler]:
    """Every page and every button."""
    console = Console(context, auth, queries.with_patience(INDEX_WAIT_SECONDS), actions)
    lead = LeadPanel(console)
    leads = LeadsPage(console, lead)
    buttons, bulk = ConsoleActions(console, lead, leads), BulkPages(console)
    get_routes: dict[str, PageHandler] = {
        HOME_URL: OverviewPage(console),
        "/ops/leads": leads,
        "/ops/leads/{id:str}": leads,
        BULK_URL: bulk.confirm,
        "/ops/bulk/{id:str}": bulk.progress,
        "/ops/causes/{id:str}/mend": bulk.mend,
        ATTRIBUTION_URL: AttributionPage(console),
        AUDIT_URL: AuditPage(console),
    }
    post_routes: dict[str, PageHandler] = {
        "/ops/leads/{id:str}/retry": buttons.retry,
        "/ops/leads/{id:str}/check": buttons.check,
        "/ops/leads/{id:str}/accept": buttons.accept,
        "/ops/leads/{id:str}/discard": buttons.discard,
        "/ops/leads/{id:str}/undo": buttons.undo,
        "/ops/causes/{id:str}/ignore": buttons.ignore,
        "/ops/causes/{id:str}/unignore": buttons.unignore,
        BULK_URL: bulk.start,
        "/ops/bulk/selected": bulk.start_selected,
        "/ops/bulk/{id:str}/stop": bulk.stop,
        "/ops/bulk/{id:str}/undo": bulk.undo,
        "/ops/pause": buttons.pause,
        "/ops/resume": buttons.resume,
    }
    return [
        *(_get_route(console, path, handler) for path, handler in get_routes.items()),
        *(_post_route(console, path, handler) for path, handler in post_routes.items()),
        *_session_routes(console),
        _close_bulk_route(),
        _static_route(),
    ]


def _get_route(console: Console, path: str, handler: PageHandler) -> HTTPRouteHandler:
    @get_or_head(path)
    async def show(request: HttpRequest) -> Response[bytes]:
        return await console.show(request, handler)

    return show


def _post_route(console: Console, path: str, handler: PageHandler) -> HTTPRouteHandler:
    @post(path, include_in_schema=False, status_code=200)
    async def change(request: HttpRequest) -> Response[bytes]:
        return await console.change(request, handler)

    return change


def _session_routes(console: Console) -> list[HTTPRouteHandler]:
    @get_or_head(SIGN_IN_URL)
    async def show_sign_in(request: HttpRequest) -> Response[bytes]:
        notice = NOTICES.get(request.query_params.get("notice", ""), "")
        return sign_in_page(
            None, back_url=request.query_params.get("next", HOME_URL), notice=notice
        )

    @post(SIGN_IN_URL, include_in_schema=False, status_code=200)
    async def sign_in(request: HttpRequest) -> Response[bytes]:
        form = await read_console_form(request)
        back_url = safe_back_url(form.get("next", [HOME_URL])[-1]) or HOME_URL
        try:
            cookie = await console.auth.sign_in(request, form.get("token", [""])[-1])
        except HttpProblem as problem:
            if problem.kind not in ("not-signed-in", "locked-out"):
                raise
            return sign_in_page(problem, back_url=back_url, wrong_token=True)
        return see_other(back_url, {"Set-Cookie": cookie})

    @post("/ops/sign-out", include_in_schema=False, status_code=200)
    async def sign_out(request: HttpRequest) -> Response[bytes]:
        cookie = await console.auth.sign_out(request)
        return see_other(f"{SIGN_IN_URL}?notice=signed-out", {"Set-Cookie": cookie})

    return [show_sign_in, sign_in, sign_out]


def _close_bulk_route() -> HTTPRouteHandler:
    """Hides a finished bulk action in this browser. A GET, as it changes nothing for others."""

    @get("/ops/bulk/{id:str}/close", include_in_schema=False)
    async def close(request: HttpRequest) -> Response[bytes]:
        id = request.path_params["id"]
        closed = request.cookies.get(CLOSED_BULKS_COOKIE, "").split(".")
        if len(id) <= MAX_ID_CHARS:
            closed.append(id)
        value = ".".join([each for each in closed if each.isalnum()][-MAX_CLOSED_BULKS:])
        cookie = (
            f"{CLOSED_BULKS_COOKIE}={value}; Path=/ops; Max-Age=86400; HttpOnly; SameSite=Strict"
        )
        back_url = safe_back_url(request.query_params.get("back")) or HOME_URL
        return see_other(back_url, {"Set-Cookie": cookie})

    return close


def _static_route() -> HTTPRouteHandler:
    @get_or_head(rendering.STATIC_PATH + "/{name:str}")
    async def static(request: HttpRequest) -> Response[bytes]:
        name = request.path_params["name"]
        if name not in rendering.MEDIA_TYPES:
            raise HttpProblem("not-found")
        content, _ = rendering.read_asset(name)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type=rendering.MEDIA_TYPES[name], headers=headers)

    return static
