"""The path of a call: credentials, limits, faults, validation, operation, response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.types import HTTPScope, Receive, Send

from service.sandbox.account.company import Company
from service.sandbox.api_errors import ApiError, GatewayError
from service.sandbox.api_operations import Operation, Route, RoutingTable
from service.sandbox.call_limits import CallLimits
from service.sandbox.call_log import CallLog, LoggedCall
from service.sandbox.caller_connection import CallerConnection, Headers
from service.sandbox.credentials import Caller, Credentials
from service.sandbox.fault_effects import SandboxResponse
from service.sandbox.faults import Faults
from service.sandbox.request_validation import MULTIPART, parse_query, request_validators
from service.sandbox.resources.account_changes import Change, change_account
from service.sandbox.resources.handlers import HANDLERS

MAX_BODY_BYTES = 1_048_576
# With a file in it.
MAX_FORM_BYTES = 20_971_520
BODY_TIMEOUT_SECONDS = 30
MAX_PENDING_TASKS = 1000
NOBODY = Caller(0, "nobody", False)


class GatewayRequest:
    """A request with lower-case header names and its whole body."""

    def __init__(self, scope: HTTPScope, raw: bytes) -> None:
        self.method = str(scope["method"])
        # Litestar passes only the rest of the path to a mount; raw_path has all of it.
        self.path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        self.query = scope["query_string"]
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.raw = raw


class Gateway:
    """The whole API as an ASGI application.

    One event loop runs it, and operations never wait, so each is atomic.
    """

    def __init__(self, company: Company) -> None:
        self.company = company
        self.credentials = Credentials(company)
        self.limits = CallLimits(company)
        self.faults = Faults(company.settings.seed, company.clocks.ticks)
        self.log = CallLog(company.settings.remembered_calls)
        self.validators = request_validators()
        self._routes = RoutingTable([validator.operation for validator in self.validators.values()])
        self._pending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        connection = CallerConnection(scope, receive, send)
        has_file = scope["raw_path"].partition(b"?")[0].endswith(b"/v1/files")
        raw = await _read_body(receive, MAX_FORM_BYTES if has_file else MAX_BODY_BYTES)
        if raw is None:
            await connection.send(
                413,
                [("connection", "close")],
                b'{"success":false,"error":"Request body is too large"}',
            )
            return
        await self._serve(GatewayRequest(scope, raw), connection)

    async def _serve(self, request: GatewayRequest, connection: CallerConnection) -> None:
        match = self._routes.find(request.method, request.path)
        route = match if isinstance(match, Route) else None
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
        exchange = GatewayExchange(self, request, route, connection, logged)
        try:
            exchange.caller = self._admit(request, operation)
        except ApiError as error:
            await exchange.send(exchange.build_error(error))
            return
        effect = self.faults.find_effect(operation, request.method, request.path, request.raw)
        if effect is not None:
            logged.fault = type(effect).__struct_config__.tag  # type: ignore[assignment]
            await effect.apply(exchange)
        elif route is None:
            await exchange.send(exchange.build_error(_unknown_route(path_exists=match is True)))
        else:
            await exchange.send(exchange.perform())

    def schedule(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Do something in the background after a while."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await act()

        if len(self._pending) < MAX_PENDING_TASKS:
            task = asyncio.ensure_future(wait())
            self._pending.add(task)
            task.add_done_callback(self._discard_task)

    async def close(self) -> None:
        """Cancel everything that is still due in the background."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def reset(self) -> None:
        """Start again with the stock account; drop faults, logged calls and background tasks."""
        await self.close()
        self.company.reset()
        self.limits.reset()
        self.faults.clear()
        self.log.reset()

    def _discard_task(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()

    def _admit(self, request: GatewayRequest, operation: Operation | None) -> Caller:
        if operation is not None and operation.name == "oauth.token":
            return NOBODY
        caller = self.credentials.identify(request.headers)
        if operation is not None:
            self.limits.admit(operation, caller.token, oauth=caller.oauth)
        return caller


class GatewayExchange:
    """A call and its response, as effects see them."""

    def __init__(
        self,
        gateway: Gateway,
        request: GatewayRequest,
        route: Route | None,
        connection: CallerConnection,
        logged: LoggedCall,
    ) -> None:
        self.connection = connection
        self.caller = NOBODY
        self._gateway = gateway
        self._request = request
        self._route = route
        self._logged = logged

    def perform(self) -> SandboxResponse:
        """Validate and perform the operation, commit what it changed, charge its tokens."""
        if self._route is None:
            return self.build_error(_unknown_route(path_exists=False))
        operation, gateway = self._route.operation, self._gateway
        try:
            status, document = self._run_handler(self._route)
        except ApiError as error:
            gateway.company.store.commit()
            return self.build_error(error)
        gateway.limits.charge(operation)
        gateway.log.record_performed(self._logged, operation.tokens)
        gateway.company.store.commit()
        return SandboxResponse(status, self.headers(), document)

    def build_error(self, error: ApiError) -> SandboxResponse:
        """The response to a request that is refused."""
        version = "v2" if "/v2/" in self._request.path else "v1"
        headers = error.headers if isinstance(error, GatewayError) else self.headers()
        return SandboxResponse(error.status, headers, error.body(version))

    async def send(self, response: SandboxResponse) -> None:
        self.record_status(response.status)
        await self.connection.send(response.status, response.headers, response.body())

    def change_account(self, change: Change) -> None:
        """Change the records that the call names in its path, query and body."""
        try:
            body = self._decode_body()
        except (msgspec.DecodeError, ApiError):
            body = {}
        query = {
            name: text if (number := whole_number(text)) is None else number
            for name, text in parse_query(self._request.query).items()
        }
        change_account(self._gateway.company, change, query | body | self._path_ids())
        self._gateway.company.store.commit()

    def _decode_body(self) -> dict[str, Any]:
        """The fields of the body, which is JSON or a form. Raises `DecodeError` and `ApiError`."""
        content_type, raw = self._request.headers.get("content-type", ""), self._request.raw
        if self._route is not None and content_type.startswith(MULTIPART):
            return self._gateway.validators[self._route.operation.name].read_body(content_type, raw)
        return msgspec.json.decode(raw or b"{}", type=dict[str, Any])

    def _path_ids(self) -> dict[str, Any]:
        """The id in the path, under the name that it has in bodies: `person_id`."""
        if self._route is None or "id" not in self._route.values:
            return {}
        noun = self._route.operation.name.partition(".")[0].removesuffix("s")
        text = self._route.values["id"]
        number = whole_number(text)
        return {f"{noun}_id": text if number is None else number}

    def record_status(self, status: int) -> None:
        self._gateway.log.record_status(self._logged, status)

    def headers(self) -> Headers:
        if self.caller is NOBODY:
            return []
        return self._gateway.limits.headers(self.caller.token, oauth=self.caller.oauth)

    def schedule(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        self._gateway.schedule(seconds, act)

    def _run_handler(self, route: Route) -> tuple[int, object]:
        request, gateway = self._request, self._gateway
        name = route.operation.name
        validator = gateway.validators[name]
        content_type = request.headers.get("content-type", "")
        if name == "oauth.token":
            form = validator.read_body(content_type, request.raw)
            return 200, gateway.credentials.refresh(
                request.headers, form, request.headers.get("host", "")
            )
        call = validator.validate(
            route.values, request.query, content_type, request.raw, self.caller.user_id
        )
        result = HANDLERS[name](call, gateway.company)
        return result.status, result.body()


def whole_number(text: str) -> int | None:
    """The number, None if it is none or has more digits than any of ours."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


async def _read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """The whole body, or None if it is too large or arrives too slowly."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return b"".join(parts)
                parts.append(message["body"])
                size += len(message["body"])
                if size > max_bytes:
                    return None
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        return None


def _unknown_route(*, path_exists: bool) -> ApiError:
    if path_exists:
        return ApiError(405, "Method not allowed", code="ERR_METHOD_NOT_ALLOWED")
    return ApiError(404, "Unknown method or path", code="ERR_NOT_FOUND")
