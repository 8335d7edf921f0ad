"""Turns a response of Pipedrive, or the lack of one, into a value or an error; only here.

no connection, nothing sent              NotSent
no response, 5xx, 408, 3xx, not JSON,
  `success: false` with 200              create: OutcomeUnknown, else Unavailable
429                                      RateLimited or BudgetSpent
401                                      Unauthorized
403                                      Blocked or Forbidden
404, 410                                 Gone
any other 4xx                            Invalid
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from msgspec import Struct, field

from worker.errors import (
    Blocked,
    BudgetSpent,
    Forbidden,
    Gone,
    Invalid,
    NotSent,
    OutcomeUnknown,
    PipedriveError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from worker.pipedrive.calls import Call
from worker.pipedrive.redaction import clean_text, find_rejected_field, redact

# How long a 429 lasts, and of which kind it is.
#
# Pipedrive documents only `x-ratelimit-reset` (seconds); others have seen `Retry-After` and the
# daily counters. All of them can be missing or rubbish.
# https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting

MIN_WAIT_SECONDS, MAX_BURST_SECONDS, DEFAULT_BURST_SECONDS = 1.0, 3600.0, 2.0
# A day's budget comes back within a day; the extra hour is for clocks that disagree.
MAX_BUDGET_SECONDS, DEFAULT_BUDGET_SECONDS = 25 * 3600.0, 3600.0
# A stated wait longer than this cannot be for a burst window.
MAX_CREDIBLE_BURST_SECONDS = 60.0

DAILY_WORDS = re.compile(
    r"\bdaily\b|\bbudget\b|\btokens? (limit|quota|allowance)\b|\bper day\b|\bfor today\b",
    re.IGNORECASE,
)


def rate_limit_error(
    call: str, headers: Mapping[str, str], message: str, detail: str, now: float | None = None
) -> RateLimited:
    """Return the error for a 429.

    `message` is Pipedrive's own, `detail` the same without personal data; `now` is in Unix seconds.
    """
    now = time.time() if now is None else now
    wait = _read_retry_after(headers, now)
    long = wait is not None and MAX_CREDIBLE_BURST_SECONDS < wait <= MAX_BUDGET_SECONDS
    if long or DAILY_WORDS.search(message) or _no_tokens_left(headers):
        # The reset of the window says nothing about the day, so only `Retry-After` counts here.
        if wait is None or wait > MAX_BUDGET_SECONDS:
            return BudgetSpent(call, detail, retry_after=DEFAULT_BUDGET_SECONDS, stated=False)
        return BudgetSpent(call, detail, retry_after=max(MIN_WAIT_SECONDS, wait))
    if wait is None:
        wait = _read_window_reset(headers, now)
    if wait is None:
        return RateLimited(call, detail, retry_after=DEFAULT_BURST_SECONDS, stated=False)
    return RateLimited(
        call,
        detail,
        retry_after=min(max(MIN_WAIT_SECONDS, wait), MAX_BURST_SECONDS),
        stated=wait <= MAX_BURST_SECONDS,
    )


def _read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return seconds, zero or more; None if the header is missing or makes no sense."""
    text = headers.get("retry-after", "").strip()
    seconds = parse_number(text)
    if seconds is None and text:
        seconds = _seconds_until(text, now)
    return seconds if seconds is not None and seconds >= 0 else None


def _read_window_reset(headers: Mapping[str, str], now: float) -> float | None:
    seconds = parse_number(headers.get("x-ratelimit-reset"))
    if seconds is not None and seconds > 1e9:  # a moment, not a span
        seconds -= now
    return seconds if seconds is not None and seconds >= 0 else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def _no_tokens_left(headers: Mapping[str, str]) -> bool:
    """Return whether Pipedrive says that no token is left for today."""
    left = parse_number(headers.get("x-daily-ratelimit-token-remaining"))
    return left is not None and left <= 0


def parse_number(text: str | None) -> float | None:
    """Return the finite number in a header, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# What httpx raises before it sends the first byte of a request.
NOT_SENT_ERRORS = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class ApiResponse(Struct, frozen=True):
    """A successful response: `data` and, for lists, `additional` with the next page's start."""

    data: Any
    additional: dict[str, Any] = field(default_factory=dict)


def decipher(
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    sent: Iterable[str] = (),
    now: float | None = None,
) -> ApiResponse:
    """Return the content of the response, or raise the error it means.

    Header names are lower-case. `sent` are texts of the request that must not appear in an error.
    `now` is in Unix seconds, for `Retry-After` dates.
    """
    document = _decode_json(body)
    if 200 <= status < 300:
        if isinstance(document, dict) and document.get("success") is True:
            additional = document.get("additional_data")
            return ApiResponse(
                document.get("data"), additional if isinstance(additional, dict) else {}
            )
        raise inconclusive_error(call, _no_success_message(document, body, sent), status=status)
    message = _message(document, body)
    detail = redact(message, sent)
    if status < 400 or status >= 500 or status == 408:
        raise inconclusive_error(
            call, _redirect_message(headers) if 300 <= status < 400 else detail, status=status
        )
    raise _client_error(call, status, headers, body.lstrip(), document, message, detail, now)


def _client_error(
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    document: Any,
    message: str,
    detail: str,
    now: float | None,
) -> PipedriveError:
    vendor_code = _vendor_code(document)
    match status:
        case 429:
            return rate_limit_error(call.name, headers, message, detail, now)
        case 401:
            return Unauthorized(call.name, detail, status=status, vendor_code=vendor_code)
        case 403 if not isinstance(document, dict) and (
            body[:1] == b"<" or "json" not in headers.get("content-type", "")
        ):
            # Cloudflare blocks with a page or a line of text; the API itself always sends JSON.
            # https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
            return Blocked(call.name, detail, status=status)
        case 403:
            return Forbidden(
                call.name,
                detail,
                status=status,
                vendor_code=vendor_code,
                field=find_rejected_field(message),
            )
        case 404 | 410:
            return Gone(call.name, detail, status=status, vendor_code=vendor_code)
        case _:
            return Invalid(
                call.name,
                detail,
                status=status,
                vendor_code=vendor_code,
                field=find_rejected_field(message),
            )


def connection_error(call: Call, error: Exception, *, sent_bytes: int | None) -> PipedriveError:
    """Return the error for a call without a usable response.

    `sent_bytes` is how much of the request the kernel took; None if nobody counted.
    """
    detail = clean_text(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    if isinstance(error, NOT_SENT_ERRORS) if sent_bytes is None else sent_bytes == 0:
        return NotSent(call.name, detail)
    return inconclusive_error(call, detail)


def inconclusive_error(call: Call, detail: str, *, status: int | None = None) -> PipedriveError:
    """Return the error for a call that may or may not have had its effect.

    After a create nobody knows whether it happened; any other call can simply be repeated.
    """
    error_type = OutcomeUnknown if call.create else Unavailable
    return error_type(call.name, detail, status=status)


def _decode_json(body: bytes) -> Any:
    """Return the decoded body, or None for anything that is not JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _no_success_message(document: Any, body: bytes, sent: Iterable[str]) -> str:
    if not body:
        return "an empty answer"
    if not isinstance(document, dict):
        return (
            "an answer that is not a JSON object"
            if document is not None
            else "an answer that is not JSON or is cut off"
        )
    return "no success: " + redact(_message(document, body), sent)


def _redirect_message(headers: Mapping[str, str]) -> str:
    """Return a message that names only the host, because the rest of the URL may be personal."""
    try:
        host = httpx.URL(headers.get("location", "")).host
    except (httpx.InvalidURL, TypeError):
        host = ""
    return clean_text(
        f"redirected{f' to {host}' if host else ''}; redirects are not followed (PIPEDRIVE_BASE_URL"
        " may be wrong)"
    )


def _message(document: Any, body: bytes) -> str:
    """Return Pipedrive's own message."""
    if isinstance(document, dict):
        # Validation errors of v2 may have the text in a list or object under `error` or `errors`.
        parts = [
            _text_of(document.get(key))
            for key in ("error", "error_info", "errors", "message", "code")
        ]
        return (
            clean_text(" - ".join(dict.fromkeys(text for text in parts if text)))
            or "no reason given"
        )
    if body.lstrip()[:1] == b"<":
        return "answered with an HTML page"
    return clean_text(body[:2000].decode("utf-8", "replace")) or "no reason given"


def _text_of(value: Any) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, dict):
        return _text_of(value.get("message") or value.get("error") or value.get("code"))
    if isinstance(value, list):
        return "; ".join(text for item in value[:5] if (text := _text_of(item)))
    return ""


def _vendor_code(document: Any) -> str | None:
    """Return `code` (v2, and plan limits), else `errorCode` (the gateway)."""
    if not isinstance(document, dict):
        return None
    code = document.get("code", document.get("errorCode"))
    return (
        clean_text(str(code))[:100]
        if isinstance(code, str | int) and not isinstance(code, bool)
        else None
    )
