"""The way of a submission: head -> source -> origin -> rate -> body -> judge -> ledger -> answer.

Every step may end it with an `HttpProblem`; whatever the bytes, the answer is a 2xx, 3xx or 4xx, or
the one 503 that says that nothing could be stored.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import structlog
from litestar import Request as HttpRequest
from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from service.context import ServiceContext
from service.intake import responses, submissions
from service.intake.context import Visit
from service.intake.receipts import Receipts
from service.intake.refusals import Refusals
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source
from service.web import body, origins, pages, problems
from service.web.client_address import limited_as
from service.web.problems import HttpProblem
from service.web.rate_limit import Limiter
from worker.contract import Receipt, State
from worker.errors import StoreUnavailable
from worker.metrics import INTAKE_SECONDS, SUBMISSIONS, UNSTORED

LARGE_BODY = 32 * 1024
"""Bytes above which a body is judged in a thread, so that the loop serves the others meanwhile."""

RETRY_AFTER_SECONDS = 5
LOGGED = {
    State.QUEUED: "accepted",
    State.QUARANTINED: "quarantined",
    State.IGNORED: "ignored",
    State.DEAD: "dead",
}


class IntakeEndpoint:
    """One per process."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context
        self.limiter = Limiter(context.aredis, context.acceptor.breaker)
        self.refusals = Refusals()
        self.log = structlog.get_logger()

    async def post(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Takes a submission."""
        visit = Visit(http, self.context.settings.public_url)
        try:
            return await self._take(visit)
        except HttpProblem as problem:
            return self._refuse(visit, problem)
        finally:
            self.context.meter.observe(INTAKE_SECONDS, visit.seconds)

    async def get(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Answers a provider's handshake."""
        visit = Visit(http, self.context.settings.public_url)
        try:
            source = await self._enter(visit)
            reading = await self._judge(source, visit.head)
            return self._handshake(visit, reading)
        except HttpProblem as problem:
            return self._refuse(visit, problem)

    async def preflight(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Answers a browser that asks whether its page may post."""
        visit = Visit(http, self.context.settings.public_url)
        try:
            source = self._find(visit)
            self._check_origin(source, visit)
        except HttpProblem as problem:
            return problems.answer(problem, visit.id, page=False, headers=visit.cors)
        own = [
            name
            for name in (source.check.header, source.check.timestamp_header, source.check.id_header)
            if name
        ]
        headers = {"Allow": "GET, POST, OPTIONS", **visit.cors, **origins.preflight_headers(own)}
        return Response(
            b"", status_code=204, media_type="text/plain", headers={**pages.BARE_HEADERS, **headers}
        )

    async def _take(self, visit: Visit) -> Response[bytes]:
        source = await self._enter(visit)
        body.check_head(visit.head, source.max_body)
        request = visit.with_body(await body.read(visit.http.receive, source.max_body))
        key = submissions.idempotency_key(request)
        reading = await self._judge(source, request)
        if reading.outcome is Outcome.HANDSHAKE:
            return self._handshake(visit, reading)
        responses.check_reading(source, reading)
        receipts = await self._store(source, request, reading, key)
        answer = responses.accepted(source, reading, receipts, page=visit.page, headers=visit.cors)
        for receipt in receipts:
            outcome = (
                "duplicate" if receipt.duplicate else LOGGED.get(receipt.state, receipt.state.value)
            )
            self._log(visit, outcome, answer.status_code or responses.ACCEPTED, receipt.id)
        return answer

    async def _enter(self, visit: Visit) -> Source:
        """What can be refused before the body is read."""
        source = self._find(visit)
        self._check_origin(source, visit)
        if source.rate_limit is not None:
            address = limited_as(visit.address(self.context.settings.trusted_proxies))
            wait = await self.limiter.wait_seconds(source.name, address, source.rate_limit)
            if wait > 0:
                raise HttpProblem("rate", headers={"Retry-After": str(math.ceil(wait))})
        return source

    def _find(self, visit: Visit) -> Source:
        source = self.context.sources.sources.get(visit.http.path_params["source"])
        if source is None:
            raise HttpProblem("not-found", "There is no source of this name.")
        visit.source = source
        return source

    def _check_origin(self, source: Source, visit: Visit) -> None:
        if not origins.allows(source.origins, visit.origin):
            raise HttpProblem("origin")

    async def _judge(self, source: Source, request: InboundRequest) -> NormalizationResult:
        """What the request is. A fault of ours in reading it is an unreadable request to the
        sender, and an error in the log.
        """
        try:
            if len(request.body) <= LARGE_BODY:
                return process_request(source, request, self.context.clock())
            return await asyncio.to_thread(process_request, source, request, self.context.clock())
        except Exception as error:
            self.log.error("judge failed", source=source.name, exc_info=error)
            raise HttpProblem("unreadable") from None

    async def _store(
        self, source: Source, request: InboundRequest, reading: NormalizationResult, key: str | None
    ) -> list[Receipt]:
        items = submissions.submissions(
            source,
            request,
            reading,
            redact_request(source, request),
            key=key,
            now=self.context.clock(),
            new_id=self.context.new_id,
        )
        try:
            receipts = await self.context.acceptor.accept(items)
        except StoreUnavailable as error:
            self.log.error("not stored", source=source.name, error=str(error)[:200])
            raise HttpProblem(
                "not-stored", headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
            ) from None
        if any(receipt.conflict for receipt in receipts):
            raise HttpProblem("key-reused")
        return receipts

    def _handshake(self, visit: Visit, reading: NormalizationResult) -> Response[bytes]:
        answer = responses.handshake(reading)
        self._log(visit, "handshake", answer.status)
        return responses.product(answer, headers=visit.cors)

    def _refuse(self, visit: Visit, problem: HttpProblem) -> Response[bytes]:
        """The problem as an answer, counted and logged."""
        source = visit.source
        if source is not None:
            outcome = _outcome(problem)
            if problem.status == 503:
                self.context.meter.count(UNSTORED, source=source.name)
            elif outcome is not None:
                self.context.meter.count(SUBMISSIONS, source=source.name, outcome=outcome)
            if outcome == "refused":
                self.refusals.note(
                    source.name, at=self.context.clock(), status=problem.status, reason=problem.why,
                    request_id=visit.id, method=visit.head.method, size=visit.size,
                )  # fmt: skip
            responses.in_product_terms(source, problem)
        self._log(visit, problem.kind, problem.status)
        return problems.answer(problem, visit.id, page=visit.page, headers=visit.cors)

    def _log(
        self, visit: Visit, outcome: str, status: int, submission_id: str | None = None
    ) -> None:
        self.log.info(
            "submission",
            id=submission_id,
            source=visit.source.name if visit.source else None,
            outcome=outcome,
            status=status,
            duration_ms=round(visit.seconds * 1000, 1),
            bytes=visit.size,
            request_id=visit.id,
        )


def _outcome(problem: HttpProblem) -> str | None:
    """The outcome under which an error is counted; None for those that are no submission."""
    if problem.status in (401, 403):
        return "refused"
    if problem.status == 429:
        return "limited"
    return None if problem.status in (404, 405, 503) else "unreadable"


# The addresses of the intake.


def intake_routes(door: IntakeEndpoint, receipts: Receipts) -> list[HTTPRouteHandler]:
    """`/in/{source}` and `/submissions/{id}`.

    One handler for each path: Litestar would add an OPTIONS of its own to a handler without one.
    """
    answers = {"POST": door.post, "GET": door.get, "OPTIONS": door.preflight}

    @route(
        "/in/{source:str}",
        http_method=["POST", "GET", "OPTIONS"],
        status_code=200,
        include_in_schema=False,
    )
    async def intake(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        return await answers[request.method](request)

    @route(
        "/submissions/{submission:str}",
        http_method=["GET", "OPTIONS"],
        status_code=200,
        include_in_schema=False,
    )
    async def receipt(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        return receipts.preflight() if request.method == "OPTIONS" else await receipts.get(request)

    return [intake, receipt]
