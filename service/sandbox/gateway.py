"""The way of a call: who, what, within the limits, a fault or not, the checks, the operation, the
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from litestar.types import HTTPScope, Receive, Send

from service.sandbox.account.company import Company
from service.sandbox.call_log import CallLog, LoggedCall
from service.sandbox.connection import Connection, Headers
from service.sandbox.credentials import Caller, Credentials
from service.sandbox.errors import GatewayRefusal, Refusal
from service.sandbox.fault_effects import Reply
from service.sandbox.faults import Faults
from service.sandbox.limits import Limits
from service.sandbox.operations import Operation, Route, Routes
from service.sandbox.resources.handlers import HANDLERS
from service.sandbox.validation import compiled_checks

LARGEST_BODY = 1_048_576
SLOWEST_BODY_SECONDS = 30
MOST_PENDING = 1000
NOBODY = Caller(0, "nobody", False)


class Request:
    """A request as it came: lower-case header names, the whole body."""

    def __init__(self, scope: HTTPScope, raw: bytes) -> None:
        self.method = str(scope["method"])
        # Litestar hands a mount the rest of the path only; the whole of it is in raw_path.
        self.path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        self.query = scope["query_string"]
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.raw = raw


class Gateway:
    """An ASGI application: all of the API. One event loop runs it; operations never wait, so each
    is atomic.
    """

    def __init__(self, company: Company) -> None:
        self.company = company
        self.credentials = Credentials(company)
        self.limits = Limits(company)
        self.faults = Faults(company.settings.seed)
        self.log = CallLog(company.settings.remembered_calls)
        self.checks = compiled_checks()
        self._routes = Routes([check.operation for check in self.checks.values()])
        self._pending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        connection = Connection(scope, receive, send)
        raw = await _body(receive)
        if raw is None:
            await connection.answer(
                413,
                [("connection", "close")],
                b'{"success":false,"error":"Request body is too large"}',
            )
            return
        await self._serve(Request(scope, raw), connection)

    async def _serve(self, request: Request, connection: Connection) -> None:
        found = self._routes.find(request.method, request.path)
        route = found if isinstance(found, Route) else None
        operation = route.operation if route else None
        query = request.query.decode("ascii", "replace")
        now = self.company.clocks.wall()
        logged = self.log.add(
            now,
            operation.name if operation else None,
            request.method,
            request.path,
            query,
            request.raw,
        )
        attempt = Attempt(self, request, route, connection, logged)
        try:
            attempt.caller = self._admitted(request, operation)
        except Refusal as refusal:
            await attempt.send(attempt.refused(refusal))
            return
        effect = self.faults.hitting(operation, request.method, request.path, request.raw)
        if effect is not None:
            logged.fault = type(effect).__struct_config__.tag  # type: ignore[assignment]
            await effect.play(attempt)
        elif route is None:
            await attempt.send(attempt.refused(_unknown(path_exists=found is True)))
        else:
            await attempt.send(attempt.perform())

    def later(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Does something in the background after a while."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await act()

        if len(self._pending) < MOST_PENDING:
            task = asyncio.ensure_future(wait())
            self._pending.add(task)
            task.add_done_callback(self._over)

    async def close(self) -> None:
        """Drops what is still to be done in the background."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def reset(self) -> None:
        """A fresh account, without faults, calls or anything under way."""
        await self.close()
        self.company.reset()
        self.limits.reset()
        self.faults.clear()
        self.log.reset()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()

    def _admitted(self, request: Request, operation: Operation | None) -> Caller:
        if operation is not None and operation.name == "oauth.token":
            return NOBODY
        caller = self.credentials.identify(request.headers)
        if operation is not None:
            self.limits.admit(operation, caller.token, oauth=caller.oauth)
        return caller


class Attempt:
    """One call being answered: what an effect gets to work with."""

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        route: Route | None,
        connection: Connection,
        logged: LoggedCall,
    ) -> None:
        self.connection = connection
        self.caller = NOBODY
        self._gateway = gateway
        self._request = request
        self._route = route
        self._logged = logged

    def perform(self) -> Reply:
        """Checks and does the operation, keeps what it changed, charges its tokens."""
        if self._route is None:
            return self.refused(_unknown(path_exists=False))
        operation, gateway = self._route.operation, self._gateway
        try:
            status, document = self._done(self._route)
        except Refusal as refusal:
            gateway.company.store.commit()
            return self.refused(refusal)
        gateway.limits.charge(operation)
        gateway.log.charged(self._logged, operation.tokens)
        gateway.company.store.commit()
        return Reply(status, self.headers(), document)

    def refused(self, refusal: Refusal) -> Reply:
        """The answer to a request that is not done."""
        version = "v2" if "/v2/" in self._request.path else "v1"
        own = refusal.headers if isinstance(refusal, GatewayRefusal) else self.headers()
        return Reply(refusal.status, own, refusal.body(version))

    async def send(self, reply: Reply) -> None:
        self.answered(reply.status)
        await self.connection.answer(reply.status, reply.headers, reply.body())

    def answered(self, status: int) -> None:
        self._gateway.log.answered(self._logged, status)

    def headers(self) -> Headers:
        if self.caller is NOBODY:
            return []
        return self._gateway.limits.headers(self.caller.token, oauth=self.caller.oauth)

    def later(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        self._gateway.later(seconds, act)

    def _done(self, route: Route) -> tuple[int, object]:
        request, gateway = self._request, self._gateway
        name = route.operation.name
        check = gateway.checks[name]
        content_type = request.headers.get("content-type", "")
        if name == "oauth.token":
            form = check.read_body(content_type, request.raw)
            return 200, gateway.credentials.refresh(
                request.headers, form, request.headers.get("host", "")
            )
        call = check(route.values, request.query, content_type, request.raw, self.caller.user_id)
        answer = HANDLERS[name](call, gateway.company)
        return answer.status, answer.body()


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None if it is too large or too slow."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SLOWEST_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return b"".join(parts)
                parts.append(message["body"])
                size += len(message["body"])
                if size > LARGEST_BODY:
                    return None
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        return None


def _unknown(*, path_exists: bool) -> Refusal:
    if path_exists:
        return Refusal(405, "Method not allowed", code="ERR_METHOD_NOT_ALLOWED")
    return Refusal(404, "Unknown method or path", code="ERR_NOT_FOUND")
