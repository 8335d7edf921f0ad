"""A typed client of the Pipedrive API: `Pipedrive(…).leads.add({…})`.

Each call is one exchange, bounded in time and size. Everything that is not a success raises an
error. The client asks the limiter and reports to it, and never sleeps. After a 401 it tries once
more if the credentials can be renewed: a rejected request has no effect.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from msgspec import Struct

from worker.errors import Forbidden, Invalid, PipedriveError, Unauthorized
from worker.lead.uploads import UploadedFile
from worker.pipedrive import operations
from worker.pipedrive.auth import Auth
from worker.pipedrive.calls import Call
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.form_body import content_type_of, encode_form
from worker.pipedrive.models import UnreadableResponse
from worker.pipedrive.redaction import iterate_texts, redact
from worker.pipedrive.responses import ApiResponse, connection_error, decipher, inconclusive_error
from worker.pipedrive.transport import (
    MAX_RESPONSE_BYTES,
    ReceivedResponse,
    build_http,
    build_tls,
    exchange,
)

__all__ = [
    "DEFAULT_BASE_URL",
    "CallReport",
    "HttpClient",
    "Limiter",
    "Pipedrive",
    "Unlimited",
    "build_http",
    "build_tls",
]

# What `build_http` returns, for callers that only pass it on.
HttpClient = httpx.Client


DEFAULT_BASE_URL = "https://api.pipedrive.com"
USER_AGENT = "Leadline"
# What people paste after the host. It is cut off, because each call's path has the version.
VERSION_SUFFIXES = ("/api/v1", "/api/v2", "/v1", "/v2", "/api")
# The fields of requests that hold the id of a record.
RECORD_ID_FIELDS = frozenset({"person_id", "organization_id", "org_id", "lead_id", "deal_id"})

R = TypeVar("R")


class Limiter(Protocol):
    """Decides before each request whether it may go, and learns of its response."""

    def before(self, call: Call) -> None:
        """Raise `RateLimited`, `BudgetSpent` or another error to forbid the call.

        Then nothing is sent.
        """

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        """Record the response. Header names are lower-case.

        `status` is None and `headers` is empty if there was no response.
        """


class Unlimited:
    """A `Limiter` that allows every call: for commands without a Redis to count in."""

    def before(self, call: Call) -> None:
        pass

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        pass


class CallReport(Struct, frozen=True, kw_only=True):
    """One request that was made.

    `call` is the operation's name, `outcome` is `ok` or the error's code, `cost` is in API tokens.
    """

    call: str
    outcome: str
    status: int | None
    detail: str | None
    duration_ms: int
    cost: int


class Pipedrive:
    """The operations by group; every method may raise the `PipedriveError`s of `worker.errors`.

    `timeout` limits one request in seconds, from the DNS lookup to the last byte of the response;
    `clock` is monotonic. Threads may share a client, but then they wait for each other's
    connections: give each slot its own.
    """

    def __init__(
        self,
        http: httpx.Client,
        base_url: str,
        auth: Auth,
        limiter: Limiter,
        on_call: Callable[[CallReport], None] | None = None,
        timeout: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._base_url = normalize_base_url(base_url)
        self._auth = auth
        self._limiter = limiter
        self._on_call = on_call
        self._timeout = timeout
        self._clock = clock
        self.leads = operations.Leads(self.call)
        self.labels = operations.Labels(self.call)
        self.sources = operations.LeadSources(self.call)
        self.notes = operations.Notes(self.call)
        self.files = operations.Files(self.call)
        self.users = operations.Users(self.call)
        self.currencies = operations.Currencies(self.call)
        self.persons = operations.Persons(self.call)
        self.organizations = operations.Organizations(self.call)
        self.deals = operations.Deals(self.call)
        self.deal_fields = operations.DealFields(self.call)
        self.person_fields = operations.PersonFields(self.call)

    def call(
        self,
        call: Call,
        read: Callable[[ApiResponse], R],
        *,
        path: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> R:
        """Make one call. `read` parses the response and may raise `UnreadableResponse`."""
        content = _encode_body(call, body)
        target = call.path.format_map(
            {name: quote(str(value), safe="") for name, value in (path or {}).items()}
        )
        query = {
            name: _encode_parameter(value)
            for name, value in (params or {}).items()
            if value is not None
        }
        try:
            return self._call_renewed(call, read, target, query, content, body)
        except PipedriveError as error:
            error.sent_ids = dict(_iterate_ids(call, path or {}, params or {}, body or {}))
            raise

    def _call_renewed(
        self,
        call: Call,
        read: Callable[[ApiResponse], R],
        target: str,
        query: Mapping[str, str],
        content: bytes | None,
        body: Mapping[str, Any] | None,
    ) -> R:
        """Make one call, and once more with a new access token if the old one has expired."""
        try:
            return self._call_once(call, read, target, query, content, body)
        except Unauthorized as error:
            if error.call != call.name or not self._auth.renew():
                raise self._rejection(error) from error
        try:
            return self._call_once(call, read, target, query, content, body)
        except Unauthorized as error:
            raise self._rejection(error) from error

    def check_credentials(self) -> None:
        """Read our own user, which any valid credentials may do. Costs 2 API tokens.

        Raises `Unauthorized` if we may not, and what else `call` raises.
        """
        try:
            self.users.me()
        except Forbidden as error:
            raise self._rejection(error) from error

    def _rejection(self, error: PipedriveError) -> Unauthorized:
        """Return the error that names the credentials to renew; one that does so already, as is."""
        kind = self._auth.rejection
        if isinstance(error, Unauthorized) and type(error) is not Unauthorized:
            return error
        return kind(error.call, error.detail, status=error.status, vendor_code=error.vendor_code)

    def _call_once(
        self,
        call: Call,
        read: Callable[[ApiResponse], R],
        target: str,
        query: Mapping[str, str],
        content: bytes | None,
        body: Mapping[str, Any] | None,
    ) -> R:
        request = self._request(call, target, query, content)
        self._limiter.before(call)
        deadline = Deadline(self._timeout, self._clock)
        received: ReceivedResponse | None = None
        error: PipedriveError | None = None
        try:
            received = self._send(call, request, deadline)
            answer = decipher(
                call,
                received.status,
                received.headers,
                received.body,
                sent=iterate_texts([query, body]),
                written=_written_keys(query, body),
            )
            return _parse(call, read, answer, received.status)
        except PipedriveError as raised:
            error = raised
            raise
        finally:
            self._report(call, received, error, self._timeout - deadline.remaining())

    def _request(
        self, call: Call, target: str, query: Mapping[str, str], content: bytes | None
    ) -> httpx.Request:
        """Build the request without the HTTP client's defaults, so that nothing else is sent."""
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "user-agent": USER_AGENT,
            **self._auth.headers(),
        }
        if content is not None:
            headers["content-type"] = content_type_of(content)
        base = (
            self._auth.base_url() if self._base_url == DEFAULT_BASE_URL else None
        ) or self._base_url
        return httpx.Request(
            call.method, base + target, params=dict(query) or None, headers=headers, content=content
        )

    def _send(self, call: Call, request: httpx.Request, deadline: Deadline) -> ReceivedResponse:
        try:
            limit = call.max_bytes or MAX_RESPONSE_BYTES
            received = exchange(self._http, request, deadline, limit=limit)
        except httpx.TransportError as error:
            raise connection_error(call, error, sent_bytes=deadline.sent_bytes) from error
        # An error status means a rejection even if its body is cut off.
        if received.fault is not None and received.status < 400:
            raise connection_error(
                call, received.fault, sent_bytes=deadline.sent_bytes
            ) from received.fault
        return received

    def _report(
        self,
        call: Call,
        received: ReceivedResponse | None,
        error: PipedriveError | None,
        seconds: float,
    ) -> None:
        status = received.status if received else None
        self._limiter.after(call, status, received.headers if received else {})
        if self._on_call is not None:
            self._on_call(
                CallReport(
                    call=call.name,
                    outcome=error.code if error else "ok",
                    status=status,
                    detail=error.detail if error else None,
                    duration_ms=max(0, round(seconds * 1000)),
                    cost=call.cost,
                )
            )


def normalize_base_url(url: str) -> str:
    """Return the base URL without a trailing slash or version.

    Raises ValueError for anything but an http(s) URL without credentials.
    """
    base = url.strip().rstrip("/")
    for suffix in VERSION_SUFFIXES:
        if base.endswith(suffix):
            base = base.removesuffix(suffix).rstrip("/")
            break
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("expected an http:// or https:// URL without credentials")
    return base


def _encode_body(call: Call, body: Mapping[str, Any] | None) -> bytes | None:
    if body is None:
        return None
    if any(isinstance(value, UploadedFile) for value in body.values()):
        return encode_form(body)
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as error:
        # No "from": the original quotes the value.
        raise Invalid(call.name, f"cannot be written as JSON ({type(error).__name__})") from None


def _written_keys(*parts: Mapping[str, Any] | None) -> set[str]:
    """Return the parameters and the outermost fields of a body that have a value."""
    return {key for part in parts if part for key, value in part.items() if value is not None}


def _iterate_ids(
    call: Call, path: Mapping[str, object], params: Mapping[str, object], body: Mapping[str, Any]
) -> Iterator[tuple[str, int | str | None]]:
    """Yield the fields of a request, custom fields included, each with its id if it is one."""
    noun = call.name.partition(".")[0].removesuffix("s")
    for name, value in {**params, **body, **body.get("custom_fields", {})}.items():
        yield name, value if name in RECORD_ID_FIELDS and isinstance(value, int | str) else None
    for value in path.values():
        yield f"{noun}_id", value if isinstance(value, int | str) else None


def _encode_parameter(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(call: Call, read: Callable[[ApiResponse], R], answer: ApiResponse, status: int) -> R:
    try:
        return read(answer)
    except UnreadableResponse as error:
        raise inconclusive_error(call, redact(str(error)), status=status) from error
