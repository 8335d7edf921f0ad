"""Ids-only events: the record that an event points to, read from its product's API.

What a record is called and what it means, the sources know; they come in as `Records`, from
`leadline work`, the one place that knows both. Here are the call, its limits, and what each refusal
means:

    no answer, 3xx, 408, 425, 5xx, too much     FetchFailed         tried again
    429                                         FetchLimited        waits
    401 · 403                                   FetchRefused · FetchForbidden
    404, 410                                    RecordGone          dead
    anything else                               FetchError

Meta answers 400 to nearly everything and says what it means in a code of its own: `GRAPH`.
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
    FetchRefused,
    RecordGone,
)
from worker.pipedrive.client import USER_AGENT
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.redaction import clean_text, redact
from worker.pipedrive.responses import parse_number
from worker.pipedrive.transport import ReceivedResponse, exchange

STEP = "fetch"
MAX_FETCH_SECONDS = 15.0
"""The total limit of one call."""
MAX_RECORD_BYTES = 1_000_000
DEFAULT_LIMITED_SECONDS, MAX_LIMITED_SECONDS = 300.0, 86_400.0
"""How long to wait where a product that takes no more calls names no time, and the longest that it
may name.
"""

FetchErrorType = type[FetchError]
GRAPH_ERRORS: dict[int, FetchErrorType] = {
    1: FetchFailed, 2: FetchFailed, 3: FetchForbidden, 4: FetchLimited, 10: FetchForbidden,
    17: FetchLimited, 32: FetchLimited,
    102: FetchRefused, 190: FetchRefused, 341: FetchLimited, 368: FetchLimited, 467: FetchRefused,
    613: FetchLimited,
    **dict.fromkeys(range(200, 300), FetchForbidden),
    **dict.fromkeys(range(80_000, 80_015), FetchLimited),
}  # fmt: skip
GRAPH_MISSING = (100, 33)
"""Code and subcode of an object that does not exist, or that the token does not see."""
STATUS_ERRORS: dict[int, FetchErrorType] = {
    401: FetchRefused, 403: FetchForbidden, 404: RecordGone, 408: FetchFailed, 410: RecordGone,
    425: FetchFailed,
    429: FetchLimited,
}  # fmt: skip
ERROR_WORDS: dict[FetchErrorType, str] = {
    FetchRefused: "the token in {env} is refused",
    FetchForbidden: "the token in {env} may not read it",
    RecordGone: "the record is gone",
}


class RecordRequest(Struct, frozen=True, kw_only=True):
    """One record to read. `targets` are paths below `base_url`, the fullest first: the next is
    asked where one is refused.

    `token` is sent as a bearer, never in the address. `token_env` and `source` say in a refusal
    what to mend.
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
    """What a record turned out to be. `ignored`: genuine, and makes no lead (a test); `no_contact`:
    nobody to reach in it.
    """

    outcome: Literal["lead", "ignored", "no_contact"]
    lead: Lead | None
    why: str | None = None


class RecordReader(Protocol):
    """What the sources know of records. `fetch` is the event's. Both raise `Unmappable` or
    `FetchError`.
    """

    def build_request(self, source: str, fetch: Mapping[str, str]) -> RecordRequest: ...

    def parse(self, source: str, fetch: Mapping[str, str], body: bytes) -> FetchResult: ...


class Fetcher:
    """One for each slot: `http` is the slot's own client (`worker.pipedrive.transport.build_http`).
    `report` takes each call.
    """

    def __init__(
        self,
        http: httpx.Client,
        records: RecordReader,
        report: Callable[[Attempt], object] = lambda _: None,
        *,
        seconds: float = MAX_FETCH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._records = records
        self._report = report
        self._seconds = seconds
        self._clock = clock

    def __call__(self, source: str, fetch: Mapping[str, str]) -> FetchResult:
        """The record of an event of `source`, read. Raises `FetchError` or `Unmappable`."""
        return self._records.parse(
            source, fetch, self._read_record(self._records.build_request(source, fetch))
        )

    def _read_record(self, lookup: RecordRequest) -> bytes:
        *fuller, last = lookup.targets
        for target in fuller:
            try:
                return self._send_and_report(lookup, target)
            except FetchError as error:
                if type(error) not in (FetchError, FetchForbidden):
                    raise
        return self._send_and_report(lookup, last)

    def _send_and_report(self, lookup: RecordRequest, target: str) -> bytes:
        began, at, outcome, status = time.monotonic(), self._clock(), "ok", 200
        try:
            return self._send(lookup, target)
        except FetchError as error:
            outcome, status = error.code, error.status or 0
            raise
        finally:
            took = round((time.monotonic() - began) * 1000)
            self._report(
                Attempt(at=at, step=STEP, outcome=outcome, status=status or None, duration_ms=took)
            )

    def _send(self, lookup: RecordRequest, target: str) -> bytes:
        try:
            request = httpx.Request(
                "GET", lookup.base_url.rstrip("/") + target, headers=_headers(lookup)
            )
            received = exchange(
                self._http, request, Deadline(self._seconds), limit=MAX_RECORD_BYTES
            )
        except httpx.TransportError as error:
            raise FetchFailed(
                _describe(lookup, error), setting=_base_url_setting(lookup)
            ) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(
                "the address or the token cannot be sent", setting=_base_url_setting(lookup)
            ) from error
        if received.fault is not None:
            raise FetchFailed(
                _describe(lookup, received.fault),
                setting=_base_url_setting(lookup),
                status=received.status,
            )
        if received.status == 200:
            return received.body
        raise fetch_error(lookup, received)


def fetch_error(lookup: RecordRequest, received: ReceivedResponse) -> FetchError:
    """The error that an answer other than 200 means."""
    document = _decode_json(received.body)
    kind = _error_type(received.status, document)
    message = redact(clean_text(_message(document)), [lookup.token])
    ours = ERROR_WORDS.get(kind, "").format(env=lookup.token_env)
    detail = ": ".join(part for part in (f"{received.status}", ours, message) if part)
    if kind is FetchLimited:
        return FetchLimited(
            detail,
            setting=_base_url_setting(lookup),
            status=received.status,
            retry_after=_seconds_to_wait(received.headers),
        )
    setting = (
        _base_url_setting(lookup)
        if kind in (FetchFailed, FetchError)
        else f"sources.{lookup.source}.fetch.token_env"
    )
    return kind(detail, setting=setting, status=received.status)


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
    """The product's own words."""
    if not isinstance(document, dict):
        return ""
    inner = document.get("error")
    message = inner.get("message") if isinstance(inner, dict) else document.get("message") or inner
    return message if isinstance(message, str) else ""


def _seconds_to_wait(headers: Mapping[str, str]) -> float:
    stated = parse_number(headers.get("retry-after"))
    return DEFAULT_LIMITED_SECONDS if stated is None else min(max(stated, 1.0), MAX_LIMITED_SECONDS)


def _headers(lookup: RecordRequest) -> dict[str, str]:
    fixed = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": USER_AGENT}
    return fixed | lookup.headers | {"authorization": f"Bearer {lookup.token}"}


def _describe(lookup: RecordRequest, error: Exception) -> str:
    return redact(clean_text(f"{type(error).__name__}: {error}"), [lookup.token])


def _base_url_setting(lookup: RecordRequest) -> str:
    return f"sources.{lookup.source}.fetch.base_url"


def _decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
