"""Fetches the record of an event that contains only ids from its provider's API.

Only the sources know how to ask for a record and what it means; `leadline work`, which knows both
sides, passes that in as `ProviderRecords`. Here are the call, its limits, and what each error
response means:

    no response, 3xx, 408, 425, 5xx, too large    FetchFailed      tried again
    429                                           FetchLimited     waits
    401                                           FetchRefused     tried again
    403                                           FetchForbidden   tried again
    404, 410                                      RecordGone       dead
    anything else                                 FetchError       tried again
    not https, or no public address: not sent     FetchNotAllowed  tried again

Meta answers 400 to nearly everything and says what it means in a code of its own: `GRAPH_ERRORS`.
https://developers.facebook.com/docs/graph-api/guides/error-handling/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import httpx
import msgspec
from msgspec import Struct, field

from worker.contract import Attempt, Lead
from worker.errors import (
    FetchError,
    FetchFailed,
    FetchForbidden,
    FetchLimited,
    FetchNotAllowed,
    FetchRefused,
    RecordGone,
)
from worker.pipedrive.client import USER_AGENT
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.guarded_http import AddressNotAllowed
from worker.pipedrive.redaction import clean_text, redact
from worker.pipedrive.responses import parse_number
from worker.pipedrive.transport import ReceivedResponse, exchange

STEP = "fetch"
# For one call in total.
MAX_FETCH_SECONDS = 15.0
MAX_RECORD_BYTES = 1_000_000
# How long to wait after a 429 that states no time, and the longest stated time that we accept.
DEFAULT_LIMITED_SECONDS, MAX_LIMITED_SECONDS = 300.0, 86_400.0

FetchErrorType = type[FetchError]
GRAPH_ERRORS: dict[int, FetchErrorType] = {
    1: FetchFailed, 2: FetchFailed, 3: FetchForbidden, 4: FetchLimited, 10: FetchForbidden,
    17: FetchLimited, 32: FetchLimited,
    102: FetchRefused, 190: FetchRefused, 341: FetchLimited, 368: FetchLimited, 467: FetchRefused,
    613: FetchLimited,
    **dict.fromkeys(range(200, 300), FetchForbidden),
    **dict.fromkeys(range(80_000, 80_015), FetchLimited),
}  # fmt: skip
# Code and subcode for an object that does not exist or that the token may not see.
GRAPH_MISSING = (100, 33)
STATUS_ERRORS: dict[int, FetchErrorType] = {
    401: FetchRefused, 403: FetchForbidden, 404: RecordGone, 408: FetchFailed, 410: RecordGone,
    425: FetchFailed,
    429: FetchLimited,
}  # fmt: skip
ERROR_WORDS: dict[FetchErrorType, str] = {
    FetchRefused: "the token in {env} is rejected",
    FetchForbidden: "the token in {env} may not read it",
    RecordGone: "the record is gone",
}


class RecordRequest(Struct, frozen=True, kw_only=True):
    """One record to read.

    `targets` are paths below `base_url`, the most complete first; if one is rejected, the next is
    tried. `token` is sent as a bearer token, never in the URL. Errors name `token_env` and `source`
    as what to fix.
    """

    source: str
    base_url: str
    targets: list[str]
    token: str
    token_env: str
    headers: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Lookup({self.source})"


class FetchResult(Struct, frozen=True):
    """The parsed record.

    `ignored` means that it is genuine but not a lead (a test); `no_contact` means that it names
    nobody to contact.
    """

    outcome: Literal["lead", "ignored", "no_contact"]
    lead: Lead | None
    why: str | None = None


class ProviderRecords(Protocol):
    """How to ask for a source's records and how to parse them.

    `fetch` is the event's. Both methods raise `Unmappable` or `FetchError`.
    """

    def build_request(self, source: str, fetch: Mapping[str, str]) -> RecordRequest: ...

    def parse(self, source: str, fetch: Mapping[str, str], body: bytes) -> FetchResult: ...


class Fetcher:
    """Fetches records for one slot.

    `http` is the slot's own client (`worker.pipedrive.guarded_http`); `report` is told about each
    call.
    """

    def __init__(
        self,
        http: httpx.Client,
        records: ProviderRecords,
        report: Callable[[Attempt], object] = lambda _: None,
        *,
        timeout: float = MAX_FETCH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._records = records
        self._report = report
        self._timeout = timeout
        self._clock = clock

    def __call__(self, source: str, fetch: Mapping[str, str]) -> FetchResult:
        """Fetch and parse the record of an event. Raises `FetchError` or `Unmappable`."""
        return self._records.parse(
            source, fetch, self._read_record(self._records.build_request(source, fetch))
        )

    def _read_record(self, request: RecordRequest) -> bytes:
        *fuller, last = request.targets
        for target in fuller:
            try:
                return self._send_and_report(request, target)
            except FetchError as error:
                if type(error) not in (FetchError, FetchForbidden):
                    raise
        return self._send_and_report(request, last)

    def _send_and_report(self, request: RecordRequest, target: str) -> bytes:
        started, at, outcome, status = time.monotonic(), self._clock(), "ok", 200
        try:
            return self._send(request, target)
        except FetchError as error:
            outcome, status = error.code, error.status or 0
            raise
        finally:
            duration_ms = round((time.monotonic() - started) * 1000)
            self._report(
                Attempt(
                    at=at,
                    step=STEP,
                    outcome=outcome,
                    status=status or None,
                    duration_ms=duration_ms,
                )
            )

    def _send(self, request: RecordRequest, target: str) -> bytes:
        try:
            http_request = httpx.Request(
                "GET", request.base_url.rstrip("/") + target, headers=_headers(request)
            )
            received = exchange(
                self._http, http_request, Deadline(self._timeout), limit=MAX_RECORD_BYTES
            )
        except AddressNotAllowed as error:
            raise FetchNotAllowed(str(error), setting=_base_url_setting(request)) from error
        except httpx.TransportError as error:
            raise FetchFailed(
                _describe(request, error), setting=_base_url_setting(request)
            ) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(
                "the address or the token cannot be sent", setting=_base_url_setting(request)
            ) from error
        if received.fault is not None:
            raise FetchFailed(
                _describe(request, received.fault),
                setting=_base_url_setting(request),
                status=received.status,
            )
        if received.status == 200:
            return received.body
        raise fetch_error(request, received)


def fetch_error(request: RecordRequest, received: ReceivedResponse) -> FetchError:
    """Return the error that a response other than 200 means."""
    document = _decode_json(received.body)
    error_type = _error_type(received.status, document)
    message = redact(clean_text(_message(document)), [request.token])
    advice = ERROR_WORDS.get(error_type, "").format(env=request.token_env)
    detail = ": ".join(part for part in (f"{received.status}", advice, message) if part)
    if error_type is FetchLimited:
        return FetchLimited(
            detail,
            setting=_base_url_setting(request),
            status=received.status,
            retry_after=_seconds_to_wait(received.headers),
        )
    setting = (
        _base_url_setting(request)
        if error_type in (FetchFailed, FetchError)
        else f"sources.{request.source}.fetch.token_env"
    )
    return error_type(detail, setting=setting, status=received.status)


def _error_type(status: int, document: Any) -> FetchErrorType:
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(error, dict) and isinstance(code, int) and not isinstance(code, bool):
        if (code, error.get("error_subcode")) == GRAPH_MISSING:
            return RecordGone
        if error.get("is_transient") is True and code not in GRAPH_ERRORS:
            return FetchFailed
        if code in GRAPH_ERRORS:
            return GRAPH_ERRORS[code]
    if status in STATUS_ERRORS:
        return STATUS_ERRORS[status]
    return FetchError if 400 <= status < 500 else FetchFailed


def _message(document: Any) -> str:
    """Return the provider's own error message; empty if there is none."""
    if not isinstance(document, dict):
        return ""
    inner = document.get("error")
    message = inner.get("message") if isinstance(inner, dict) else document.get("message") or inner
    return message if isinstance(message, str) else ""


def _seconds_to_wait(headers: Mapping[str, str]) -> float:
    stated = parse_number(headers.get("retry-after"))
    return DEFAULT_LIMITED_SECONDS if stated is None else min(max(stated, 1.0), MAX_LIMITED_SECONDS)


def _headers(request: RecordRequest) -> dict[str, str]:
    fixed = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": USER_AGENT}
    return fixed | request.headers | {"authorization": f"Bearer {request.token}"}


def _describe(request: RecordRequest, error: Exception) -> str:
    return redact(clean_text(f"{type(error).__name__}: {error}"), [request.token])


def _base_url_setting(request: RecordRequest) -> str:
    return f"sources.{request.source}.fetch.base_url"


def _decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
