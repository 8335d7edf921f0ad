"""`/ops/api`: what only reads. Each call asks for the right first, then for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any, Literal

from litestar import Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from service.ops import export
from service.ops.acting_routes import Retry, decode, json, told
from service.ops.actions import Actions
from service.ops.auth import HttpRequest, OpsAuth, read_body
from service.ops.filters import FilterError
from service.ops.queries import Filter, Loading, NotFound, SubmissionQueries
from service.sources.request import FieldError
from service.web import pages
from service.web.problems import HttpProblem
from worker.errors import StoreUnavailable

LIMIT = 50
HOURS = 24
YES = ("1", "true", "yes")


class Reading:
    """One per process."""

    def __init__(self, access: OpsAuth, reader: SubmissionQueries, actions: Actions) -> None:
        self._access = access
        self._reader = reader
        self._actions = actions

    async def overview(self, request: HttpRequest) -> Response[Any]:
        return await self._look(request, lambda _: self._reader.overview())

    async def causes(self, request: HttpRequest) -> Response[Any]:
        ignored = request.query_params.get("ignored", "1") in YES
        return await self._look(request, lambda _: self._reader.causes(ignored=ignored))

    async def chart(self, request: HttpRequest) -> Response[Any]:
        return await self._look(
            request, lambda _: self._reader.activity(whole(request, "hours", HOURS))
        )

    async def submissions(self, request: HttpRequest) -> Response[Any]:
        def page(reveal: bool) -> Any:
            cursor = request.query_params.get("cursor") or None
            filter, limit = Filter.parse(request.query_params), whole(request, "limit", LIMIT)
            return self._reader.submissions(filter, cursor=cursor, limit=limit, reveal=reveal)

        return await self._look(request, page, target="a list")

    async def submission(self, request: HttpRequest) -> Response[Any]:
        name = request.path_params["id"]
        return await self._look(
            request, lambda reveal: self._reader.submission(name, reveal=reveal), target=name
        )

    async def rehearsal(self, request: HttpRequest) -> Response[Any]:
        """A `POST` may hold an edit, and is for those who may save it, though it changes
        nothing.
        """

        async def answer() -> Response[Any]:
            name = request.path_params["id"]
            if request.method == "POST":
                await self._access.require_operator(request)
            reveal = await self._may(request, name)
            edit = (
                decode(await read_body(request), Retry).edit if request.method == "POST" else None
            )
            return json(
                await asyncio.to_thread(lambda: self._reader.dry_run(name, edit, reveal=reveal))
            )

        return await told(request, lambda: _faults(answer))

    async def drift(self, request: HttpRequest) -> Response[Any]:
        return await self._look(request, lambda _: self._reader.drift())

    async def export(self, request: HttpRequest, form: str) -> Response[Any]:
        """The head and the first lines are made before the answer begins, so that a refusal is
        one.
        """

        async def answer() -> Response[Any]:
            reveal = await self._may(request, f"an export as {form}")
            pieces = await asyncio.to_thread(self._pieces, request, form, reveal)
            first = await asyncio.to_thread(_first, pieces)
            headers = pages.BARE_HEADERS | {
                "Content-Disposition": f'attachment; filename="leadline.{form}"'
            }
            return Stream(
                _streamed(first, pieces), media_type=export.MEDIA_TYPES[form], headers=headers
            )

        return await told(request, lambda: _faults(answer))

    def _pieces(self, request: HttpRequest, form: str, reveal: bool) -> Iterator[bytes]:
        batches = self._reader.export_rows(Filter.parse(request.query_params), reveal=reveal)
        bom = request.query_params.get("bom") in YES
        return export.write_csv(batches, bom=bom) if form == "csv" else export.write_jsonl(batches)

    async def _look(
        self, request: HttpRequest, question: Callable[[bool], Any], target: str | None = None
    ) -> Response[Any]:
        """With a `target`, an operator may have it revealed."""

        async def look() -> Response[Any]:
            reveal = await self._may(request, target)
            return json(await asyncio.to_thread(question, reveal))

        return await told(request, lambda: _faults(look))

    async def _may(self, request: HttpRequest, target: str | None) -> bool:
        """Whether personal data are shown: where an operator asks for it, which goes into the trail
        first.
        """
        owner = await self._access.require_viewer(request)
        if target is None or request.query_params.get("reveal") not in YES:
            return False
        if owner.role != "operator":
            raise HttpProblem("forbidden")
        await asyncio.to_thread(self._actions.record_reveal, target, owner.name)
        return True


async def _faults(answer: Callable[[], Any]) -> Response[Any]:
    """Faults of a question as problems of ours."""
    try:
        found: Response[Any] = await answer()
        return found
    except FilterError as error:
        raise HttpProblem(
            "unreadable", "A parameter is wrong.", errors=[FieldError(error.field, str(error))]
        ) from None
    except NotFound:
        raise HttpProblem("not-found", "There is no submission of this id.") from None
    except Loading as error:
        detail = f"{error.known} of {error.total} submissions are read so far."
        raise HttpProblem("loading", detail, headers={"Retry-After": "2"}) from None
    except StoreUnavailable:
        raise HttpProblem("away", headers={"Retry-After": "5"}) from None


def whole(request: HttpRequest, name: str, default: int) -> int:
    """A parameter that is a whole number. Raises `FilterError`."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise FilterError(name, f"expected a whole number, got {text[:40]!r}")
    return int(text)


def _first(pieces: Iterator[bytes]) -> list[bytes]:
    """The head of the file and the first lines."""
    return list(islice(pieces, 2))


async def _streamed(first: list[bytes], pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in first:
        yield piece
    while following := await asyncio.to_thread(lambda: list(islice(pieces, 1))):
        yield following[0]


def reading_routes(
    access: OpsAuth, reader: SubmissionQueries, actions: Actions
) -> list[HTTPRouteHandler]:
    """The calls of the contract's section on operators that change nothing."""
    reading = Reading(access, reader, actions)

    def at(
        path: str, answer: Callable[[HttpRequest], Any], *methods: Literal["GET", "POST"]
    ) -> HTTPRouteHandler:
        @route(
            f"/ops/api/{path}",
            http_method=methods or ["GET"],
            status_code=200,
            include_in_schema=False,
        )
        async def handler(request: HttpRequest) -> Response[Any]:
            found: Response[Any] = await answer(request)
            return found

        return handler

    return [
        at("overview", reading.overview),
        at("causes", reading.causes),
        at("chart", reading.chart),
        at("submissions", reading.submissions),
        at("submissions/{id:str}", reading.submission),
        at("submissions/{id:str}/dry-run", reading.rehearsal, "GET", "POST"),
        at("drift", reading.drift),
        at("export.csv", lambda request: reading.export(request, "csv")),
        at("export.jsonl", lambda request: reading.export(request, "jsonl")),
    ]
