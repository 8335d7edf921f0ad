"""The path of a submission: head, source, origin, rate, body, normalize, ledger, response.

Any step may end it with an `HttpProblem`. Whatever the bytes, the response is a 2xx, 3xx or 4xx, or
the one 503 that says that nothing could be stored.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from litestar import Request as HttpRequest
from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from service.context import ServiceContext
from service.intake import responses, submissions
from service.intake.context import IntakeContext
from service.intake.receipts import Receipts
from service.intake.refusals import Refusals
from service.sources.languages.vocabulary import vocabulary
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source
from service.web import body, origins, pages, problems
from service.web.client_address import rate_limit_address
from service.web.problems import HttpProblem
from service.web.rate_limit import AddressRateLimiter, Limit
from worker.accept.bounds import BoundCounts
from worker.contract import ARRIVALS, Receipt, State
from worker.errors import StoreUnavailable
from worker.metrics import INTAKE_SECONDS, LIMITED, SUBMISSIONS, UNSTORED
from worker.store import keys

# Larger bodies are worked on in a thread, so that the event loop serves others meanwhile. There is
# one thread for all of them: however many come, they take turns with the event loop as one would.
MAX_INLINE_BODY_BYTES = 32 * 1024

RETRY_AFTER_SECONDS = 5
# What makes Redis unsafe takes a person to mend, and is looked at every minute.
UNSAFE_RETRY_SECONDS = 60
# Workers make room about twice a minute.
NO_ROOM_RETRY_AFTER_SECONDS = 60
# The outcome to log for each state in which a submission is accepted.
OUTCOMES = {state: state.value for state in ARRIVALS} | {State.QUEUED: "accepted"}

Result = TypeVar("Result")


class IntakeEndpoint:
    """`/in/{source}`. One per process."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context
        self.limiter = AddressRateLimiter(context.aredis, context.acceptor.breaker)
        self.refusals = Refusals()
        self.bound_counts = BoundCounts(context.clock)
        self.large_bodies = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        self.log = structlog.get_logger()

    def warm_up(self) -> None:
        """Read the words of all languages, which takes half a second, before the first request."""
        vocabulary()

    async def post(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Accept a submission."""
        intake = IntakeContext(http, self.context.settings.public_url)
        try:
            return await self._process_post(intake)
        except HttpProblem as problem:
            return self._answer_problem(intake, problem)
        finally:
            self.context.meter.observe(INTAKE_SECONDS, intake.elapsed_seconds)

    async def get(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Answer a provider's handshake."""
        intake = IntakeContext(http, self.context.settings.public_url)
        try:
            source = await self._admit(intake)
            result = await self._normalize(source, intake.head)
            return self._answer_handshake(intake, result)
        except HttpProblem as problem:
            return self._answer_problem(intake, problem)

    async def preflight(self, http: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        """Answer a browser that asks whether its page may post."""
        intake = IntakeContext(http, self.context.settings.public_url)
        try:
            source = self._find_source(intake)
            self._check_origin(source, intake)
        except HttpProblem as problem:
            return problems.problem_response(
                problem, intake.request_id, page=False, headers=intake.cors
            )
        signature_headers = [
            name
            for name in (
                source.verification.header,
                source.verification.timestamp_header,
                source.verification.id_header,
            )
            if name
        ]
        headers = {
            "Allow": "GET, POST, OPTIONS",
            **intake.cors,
            **origins.preflight_headers(signature_headers),
        }
        return Response(
            b"", status_code=204, media_type="text/plain", headers={**pages.BARE_HEADERS, **headers}
        )

    async def _process_post(self, intake: IntakeContext) -> Response[bytes]:
        source = await self._admit(intake)
        body.check_body_headers(intake.head, source.max_body)
        request = intake.request_with_body(
            await body.read_body(intake.http.receive, source.max_body)
        )
        key = submissions.idempotency_key(request)
        result = await self._normalize(source, request)
        if result.outcome is Outcome.HANDSHAKE:
            return self._answer_handshake(intake, result)
        responses.check_storable(source, result)
        key = key or submissions.idempotency_field(result)
        await self.limiter.count_rest(intake.limits, len(result.events) - 1)
        receipts = await self._store(intake, request, result, key)
        response = responses.accepted_response(
            source, result, receipts, page=intake.wants_page, headers=intake.cors
        )
        for receipt in receipts:
            outcome = (
                "duplicate"
                if receipt.duplicate
                else OUTCOMES.get(receipt.state, receipt.state.value)
            )
            self._log(intake, outcome, response.status_code or responses.ACCEPTED, receipt.id)
        return response

    async def _admit(self, intake: IntakeContext) -> Source:
        """Find the source and make the checks that do not need the body."""
        source = self._find_source(intake)
        self._check_origin(source, intake)
        intake.limits = self._find_limits(source, intake)
        if excess := await self.limiter.admit(intake.limits):
            self._count_held_back(source, excess.limit.setting)
            raise HttpProblem("rate", headers={"Retry-After": str(math.ceil(excess.seconds))})
        return source

    def _find_limits(self, source: Source, intake: IntakeContext) -> list[Limit]:
        client = intake.client_address(self.context.settings.trusted_proxies)
        self.context.proxies.observe(client, intake.head.headers)
        limits = []
        if source.rate_limit is not None and not self.context.proxies.is_shared(client):
            address = rate_limit_address(client)
            limits.append(Limit(keys.rate_limit(source.name, address), source.rate_limit))
        if source.rate_limit_source is not None:
            key = keys.rate_limit_source(source.name)
            limits.append(Limit(key, source.rate_limit_source, "rate_limit_source"))
        return limits

    def _count_held_back(self, source: Source, bound: str) -> None:
        self.context.meter.count(LIMITED, source=source.name, bound=bound)
        self.bound_counts.count(source.name, bound)

    def _find_source(self, intake: IntakeContext) -> Source:
        source = self.context.sources.sources.get(intake.http.path_params["source"])
        if source is None:
            raise HttpProblem("not-found", "There is no source with this name.")
        intake.source = source
        return source

    def _check_origin(self, source: Source, intake: IntakeContext) -> None:
        if not origins.origin_allowed(source.origins, intake.origin):
            raise HttpProblem("origin")

    async def _normalize(self, source: Source, request: InboundRequest) -> NormalizationResult:
        """To the sender, a bug of ours is an unreadable request; it is also an error in the log."""
        try:
            return await self._work_on(
                request, lambda: process_request(source, request, self.context.clock())
            )
        except Exception as error:
            self.log.error("normalize failed", source=source.name, exc_info=error)
            raise HttpProblem("unreadable") from None

    async def _work_on(self, request: InboundRequest, work: Callable[[], Result]) -> Result:
        """Work in the event loop, or in the one thread for large bodies."""
        if len(request.body) <= MAX_INLINE_BODY_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self.large_bodies, work)

    async def _store(
        self,
        intake: IntakeContext,
        request: InboundRequest,
        result: NormalizationResult,
        key: str | None,
    ) -> list[Receipt]:
        if self.context.promise.refusal is not None:
            raise HttpProblem("unsafe-store", headers={"Retry-After": str(UNSAFE_RETRY_SECONDS)})
        source = intake.source
        assert source is not None
        sender = rate_limit_address(intake.client_address(self.context.settings.trusted_proxies))
        items = await self._work_on(
            request,
            lambda: submissions.build_submissions(
                source,
                request,
                result,
                redact_request(source, request),
                key=key,
                now=self.context.clock(),
                new_id=self.context.new_id,
                sender=sender,
            ),
        )
        try:
            receipts = await self.context.acceptor.accept(items)
        except StoreUnavailable as error:
            self.log.error("not stored", source=source.name, error=str(error)[:200])
            raise HttpProblem(
                "not-stored", headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
            ) from None
        if any(receipt.no_room for receipt in receipts):
            raise HttpProblem("no-room", headers={"Retry-After": str(NO_ROOM_RETRY_AFTER_SECONDS)})
        if any(receipt.conflict for receipt in receipts):
            raise HttpProblem("key-reused")
        return receipts

    def _answer_handshake(
        self, intake: IntakeContext, result: NormalizationResult
    ) -> Response[bytes]:
        answer = responses.handshake_answer(result)
        self._log(intake, "handshake", answer.status)
        return responses.product_response(answer, headers=intake.cors)

    def _answer_problem(self, intake: IntakeContext, problem: HttpProblem) -> Response[bytes]:
        """Count and log the problem, and build its response."""
        source = intake.source
        if source is not None:
            outcome = _count_outcome(problem)
            if problem.status == 503:
                self.context.meter.count(UNSTORED, source=source.name)
            elif outcome is not None:
                self.context.meter.count(SUBMISSIONS, source=source.name, outcome=outcome)
            if problem.kind == "too-many-events":
                self._count_held_back(source, "events")
            if outcome == "refused":
                self.refusals.record(
                    source.name,
                    at=self.context.clock(),
                    status=problem.status,
                    reason=problem.reason,
                    request_id=intake.request_id,
                    method=intake.head.method,
                    size=intake.body_size,
                )
            responses.add_error_member(source, problem)
        self._log(intake, problem.kind, problem.status)
        return problems.problem_response(
            problem, intake.request_id, page=intake.wants_page, headers=intake.cors
        )

    def _log(
        self, intake: IntakeContext, outcome: str, status: int, submission_id: str | None = None
    ) -> None:
        self.log.info(
            "submission",
            submission_id=submission_id,
            source=intake.source.name if intake.source else None,
            outcome=outcome,
            status=status,
            duration_ms=round(intake.elapsed_seconds * 1000, 1),
            bytes=intake.body_size,
            request_id=intake.request_id,
        )


def _count_outcome(problem: HttpProblem) -> str | None:
    """The outcome under which a problem is counted; None if it is not about a submission."""
    if problem.status in (401, 403):
        return "refused"
    if problem.status == 429:
        return "limited"
    return None if problem.status in (404, 405, 503) else "unreadable"


def intake_routes(endpoint: IntakeEndpoint, receipts: Receipts) -> list[HTTPRouteHandler]:
    """`/in/{source}` and `/submissions/{id}`.

    One handler serves all methods of a path, because Litestar adds an OPTIONS of its own to a path
    that has none.
    """
    handlers = {"POST": endpoint.post, "GET": endpoint.get, "OPTIONS": endpoint.preflight}

    @route(
        "/in/{source:str}",
        http_method=["POST", "GET", "OPTIONS"],
        status_code=200,
        include_in_schema=False,
    )
    async def submit(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        return await handlers[request.method](request)

    @route(
        "/submissions/{submission:str}",
        http_method=["GET", "OPTIONS"],
        status_code=200,
        include_in_schema=False,
    )
    async def receipt(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        return receipts.preflight() if request.method == "OPTIONS" else await receipts.get(request)

    return [submit, receipt]
