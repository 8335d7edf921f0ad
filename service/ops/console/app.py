"""The console's addresses and who answers them."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from service.context import ServiceContext
from service.ops.actions import Actions
from service.ops.auth import Access, Web
from service.ops.console import rendering
from service.ops.console.actions import Acting
from service.ops.console.audit import AuditPage
from service.ops.console.bulk import BulkPages
from service.ops.console.lead import LeadView
from service.ops.console.leads import ListPage
from service.ops.console.overview import OverviewPage
from service.ops.console.page import Make, Site, door, see_other
from service.ops.console.request import CLOSED_COOKIE, posted
from service.ops.console.urls import HOME, ours
from service.ops.queries import Reader
from service.web.problems import HttpProblem

PATIENCE_SECONDS = 0.2
"""How long a page waits for the index before it shows what there is."""


def console_routes(
    context: ServiceContext, access: Access, reader: Reader, actions: Actions
) -> list[HTTPRouteHandler]:
    """Every page and every button."""
    site = Site(context, access, reader.within(PATIENCE_SECONDS), actions)
    lead = LeadView(site)
    leads = ListPage(site, lead)
    acting, bulk = Acting(site, lead, leads), BulkPages(site)
    pages: dict[str, Make] = {
        HOME: OverviewPage(site),
        "/ops/leads": leads,
        "/ops/leads/{id:str}": leads,
        "/ops/bulk": bulk.question,
        "/ops/bulk/{id:str}": bulk.progress,
        "/ops/causes/{id:str}/mend": bulk.mend,
        "/ops/audit": AuditPage(site),
    }
    buttons: dict[str, Make] = {
        "/ops/leads/{id:str}/retry": acting.retry,
        "/ops/leads/{id:str}/check": acting.check,
        "/ops/leads/{id:str}/accept": acting.accept,
        "/ops/leads/{id:str}/discard": acting.discard,
        "/ops/leads/{id:str}/undo": acting.undo,
        "/ops/causes/{id:str}/ignore": acting.ignore,
        "/ops/causes/{id:str}/unignore": acting.unignore,
        "/ops/bulk": bulk.start,
        "/ops/bulk/picked": bulk.picked,
        "/ops/bulk/{id:str}/stop": bulk.stop,
        "/ops/bulk/{id:str}/undo": bulk.undo,
        "/ops/pause": acting.pause,
        "/ops/resume": acting.resume,
    }
    return [
        *(_page(site, path, make) for path, make in pages.items()),
        *(_button(site, path, make) for path, make in buttons.items()),
        *_doors(site),
        _static(),
    ]


def _page(site: Site, path: str, make: Make) -> HTTPRouteHandler:
    @get(path, include_in_schema=False)
    async def handler(request: Web) -> Response[bytes]:
        return await site.show(request, make)

    return handler


def _button(site: Site, path: str, make: Make) -> HTTPRouteHandler:
    @post(path, include_in_schema=False, status_code=200)
    async def handler(request: Web) -> Response[bytes]:
        return await site.change(request, make)

    return handler


def _doors(site: Site) -> list[HTTPRouteHandler]:
    """In and out, and closing a bulk action's place in one's own tray, which changes nothing for
    anybody else.
    """

    @get("/ops/sign-in", include_in_schema=False)
    async def door_page(request: Web) -> Response[bytes]:
        return door(
            None,
            back=request.query_params.get("next", HOME),
            said=SAID.get(request.query_params.get("said", ""), ""),
        )

    @post("/ops/sign-in", include_in_schema=False, status_code=200)
    async def sign_in(request: Web) -> Response[bytes]:
        form = await posted(request)
        back = ours(form.get("next", [HOME])[-1]) or HOME
        try:
            cookie = await site.access.sign_in(request, form.get("token", [""])[-1])
        except HttpProblem as problem:
            if problem.kind not in ("not-signed-in", "locked-out"):
                raise
            return door(problem, back=back, said="wrong")
        return see_other(back, {"Set-Cookie": cookie})

    @post("/ops/sign-out", include_in_schema=False, status_code=200)
    async def sign_out(request: Web) -> Response[bytes]:
        return see_other(
            "/ops/sign-in?said=out", {"Set-Cookie": await site.access.sign_out(request)}
        )

    @get("/ops/bulk/{id:str}/close", include_in_schema=False)
    async def close(request: Web) -> Response[bytes]:
        id = request.path_params["id"]
        closed = [
            each for each in request.cookies.get(CLOSED_COOKIE, "").split(".") if each.isalnum()
        ][-20:]
        value = ".".join([*closed, id]) if id.isalnum() and len(id) <= 64 else ".".join(closed)
        back = ours(request.query_params.get("back")) or HOME
        return see_other(
            back,
            {
                "Set-Cookie": (
                    f"{CLOSED_COOKIE}={value}; Path=/ops; Max-Age=86400; HttpOnly; SameSite=Strict"
                )
            },
        )

    return [door_page, sign_in, sign_out, close]


SAID = {"out": "You are signed out."}


def _static() -> HTTPRouteHandler:
    @get(rendering.STATIC_PATH + "/{name:str}", include_in_schema=False)
    async def static(request: Web) -> Response[bytes]:
        name = request.path_params["name"]
        if name not in rendering.MEDIA:
            raise HttpProblem("not-found")
        content, _ = rendering.asset(name)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type=rendering.MEDIA[name], headers=headers)

    return static
