"""`GET /ops`, `GET /ops/api/overview`, `GET /ops/api/causes`: how things stand. Nothing here changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from service import pages, problems
from service.dependencies import Dependencies
from service.ids import request_id
from service.intake.limits import Limiter
from service.ops.signed_in import operator
from service.overview import CauseCount, Overview, causes, overview
from service.problems import HttpProblem
from service.times import iso
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.ledger import Record

SHOWN = 100
"""Dead letters on the page, the newest first."""

T = TypeVar("T")


class Ops:
    """One per process."""

    def __init__(self, deps: Dependencies) -> None:
        self.deps = deps
        self.limiter = Limiter(deps.aredis, deps.acceptor.breaker)

    async def page(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        async def show() -> Response[bytes]:
            now, groups, dead = await asyncio.gather(self._overview(), self._causes(), self._dead())
            rows = [(record, iso(record.updated_at)) for record in dead]
            return pages.html("ops.html", now=now, causes=groups, dead=rows, states=State)

        return await self._guarded(request, show, page=True)

    async def overview(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        async def show() -> Response[bytes]:
            return _json(await self._overview())

        return await self._guarded(request, show)

    async def causes(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        async def show() -> Response[bytes]:
            groups = await self._causes()
            return _json({"items": groups, "next": None, "total": len(groups)})

        return await self._guarded(request, show)

    async def _guarded(self, request: Request[Any, Any, Any], show: Any, *, page: bool = False) -> Response[bytes]:
        """Rights before anything else."""
        try:
            await operator(request, self.deps.settings, self.limiter)
            answer: Response[bytes] = await show()
            return answer
        except StoreUnavailable:
            problem = HttpProblem("not-stored", "Redis cannot be read just now.", headers={"Retry-After": "5"})
        except HttpProblem as refused:
            problem = refused
        return problems.answer(problem, request_id(request.scope), page=page)

    async def _overview(self) -> Overview:
        return await self._ask(lambda: overview(self.deps.ledger, self.deps.settings.data_dir))

    async def _causes(self) -> list[CauseCount]:
        return await self._ask(lambda: causes(self.deps.ledger))

    async def _dead(self) -> list[Record]:
        return await self._ask(lambda: self.deps.ledger.in_state(State.DEAD, limit=SHOWN))

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.to_thread(question)


def ops_routes(ops: Ops) -> list[HTTPRouteHandler]:
    """The page and its JSON."""

    @get("/ops", include_in_schema=False)
    async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await ops.page(request)

    @get("/ops/api/overview", include_in_schema=False)
    async def overview_(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await ops.overview(request)

    @get("/ops/api/causes", include_in_schema=False)
    async def causes_(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await ops.causes(request)

    return [page, overview_, causes_]


def _json(body: object) -> Response[bytes]:
    return Response(msgspec.json.encode(body), media_type="application/json", headers=pages.BARE_HEADERS)
