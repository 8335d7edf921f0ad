"""Turns a response of Pipedrive, or the lack of one, into a value or an error; only here.

no connection, nothing sent              NotSent
no response, 5xx, 408, cut off,
  `success: false` with 200              create: OutcomeUnknown, else Unavailable
3xx, or 2xx that is not Pipedrive's      create: OutcomeUnknown, else WrongAddress
429                                      RateLimited or BudgetSpent
401                                      Unauthorized
402                                      AccountClosed
403                                      Blocked or Forbidden
415                                      FeatureOff
404, 405, 410 that is not Pipedrive's    WrongAddress
any other 4xx to `users.me` that is not
  Pipedrive's                            WrongAddress
404, 410 about a record that we named    Gone
any other 404, 405, 410                  EndpointGone
any other 4xx                            Invalid

An answer is Pipedrive's if it is a JSON object with `success`, or its gateway's with `status`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from msgspec import Struct, field

from worker.errors import (
    AccountClosed,
    Blocked,
    BudgetSpent,
    EndpointGone,
    FeatureOff,
    Forbidden,
    Gone,
    Invalid,
    NotSent,
    OutcomeUnknown,
    PipedriveError,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    WrongAddress,
)
from worker.pipedrive.calls import USERS_ME, Call, scope_of
from worker.pipedrive.models import CUSTOM_KEY
from worker.pipedrive.redaction import clean_text, find_rejected_field, redact
from worker.pipedrive.transport import ResponseTooLarge

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
    written: Collection[str] = (),
    now: float | None = None,
) -> ApiResponse:
    """Return the content of the response, or raise the error it means.

    Header names are lower-case. `sent` are texts of the request that must not appear in an error.
    `written` are the parameters and fields of the body that the request has a value for. `now` is
    in Unix seconds, for `Retry-After` dates.
    """
    document = _decode_json(body)
    if 200 <= status < 300:
        if isinstance(document, dict) and document.get("success") is True:
            additional = document.get("additional_data")
            return ApiResponse(
                document.get("data"), additional if isinstance(additional, dict) else {}
            )
        message = _no_success_message(document, body, sent)
        if not call.create and is_foreign(document, body):
            raise WrongAddress(call.name, message, status=status)
        raise inconclusive_error(call, message, status=status)
    message = _message(document, body)
    detail = redact(message, sent)
    if 300 <= status < 400:
        detail = _redirect_message(headers)
        if not call.create:
            raise WrongAddress(call.name, detail, status=status)
    if status < 400 or status >= 500 or status == 408:
        raise inconclusive_error(call, detail, status=status)
    raise _client_error(
        call, status, headers, body.lstrip(), document, message, detail, written=written, now=now
    )


def _client_error(
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    document: Any,
    message: str,
    detail: str,
    *,
    written: Collection[str],
    now: float | None,
) -> PipedriveError:
    vendor_code = _vendor_code(document)
    match status:
        case 429:
            return rate_limit_error(call.name, headers, message, detail, now)
        case 401:
            return Unauthorized(call.name, detail, status=status, vendor_code=vendor_code)
        # https://pipedrive.readme.io/docs/core-api-concepts-http-status-codes
        case 402:
            return AccountClosed(call.name, detail, status=status, vendor_code=vendor_code)
        case 415:
            return FeatureOff(call.name, detail, status=status, vendor_code=vendor_code)
        case 403 if not isinstance(document, dict) and (
            body[:1] == b"<" or "json" not in headers.get("content-type", "")
        ):
            # Cloudflare blocks with a page or a line of text; the API itself always sends JSON.
            # https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
            return Blocked(call.name, detail, status=status)
        case 403:
            field, scope = find_rejected_field(message), None
            if SCOPE_WORDS.search(message):
                scope = scope_of(call)
                detail = f"{detail} (the call needs {scope})" if scope else detail
            elif "visible_to" in written and VISIBILITY_WORDS.search(message):
                field = "visible_to"
            return Forbidden(
                call.name, detail, status=status, vendor_code=vendor_code, field=field, scope=scope
            )
        case 404 | 405 | 410:
            error_type = _missing(call, status, body, document, message, written)
            error = error_type(call.name, detail, status=status, vendor_code=vendor_code)
            if error_type is Gone:
                error.field = find_rejected_field(message)
            return error
        case _:
            foreign = is_foreign(document, body)
            # Nothing in that call can be wrong but its address.
            error_type = WrongAddress if foreign and call is USERS_ME else Invalid
            error = error_type(
                call.name,
                detail,
                status=status,
                vendor_code=vendor_code,
                field=find_rejected_field(message),
            )
            error.foreign = foreign
            return error


# What a 403 is about, where only its words say so.
SCOPE_WORDS = re.compile(r"\bscopes?\b", re.IGNORECASE)
VISIBILITY_WORDS = re.compile(r"\bvisible_to\b|\bvisibility\b", re.IGNORECASE)

# What a 404 or 410 is about: a removed endpoint answers "Unknown method .", a lead that is gone
# "requested lead not found" and "Object was not found."
ENDPOINT_WORDS = re.compile(
    r"\b(unknown|no such|unsupported|removed|deprecated) (method|endpoint|route|path|resource)\b"
    r"|\b(method|endpoint|route|api version)\b.{0,40}"
    r"\b(removed|deprecated|unknown|gone|unavailable|no longer|not (found|available|allowed))\b",
    re.IGNORECASE,
)
RECORD_WORDS = re.compile(
    r"\b(object|person|organi[sz]ation|lead|deal|contact|record|item|user)s?\b.{0,60}"
    r"\b(not found|not exist|missing|deleted|merged|removed|gone)\b|\bnot found\b",
    re.IGNORECASE,
)
# The keys by which a request names a record of the account.
RECORD_KEYS = frozenset({"person_id", "organization_id", "org_id", "lead_id", "deal_id"})


def _missing(
    call: Call, status: int, body: bytes, document: Any, message: str, written: Collection[str]
) -> type[PipedriveError]:
    """Return what is missing after a 404, 405 or 410: the record, the endpoint, or Pipedrive.

    `written` are the parameters and fields of the request.

    Pipedrive's API says `success: false` of a record; its gateway says `status: false` of a method
    that it does not have. A path with an id, or a list of a record's things, is about that record,
    and so is an answer that complains about a field of the request. A create that names a record
    (the person of a lead, the lead of a note) may fail for want of either, so only its words tell:
    without any of a record it is the endpoint, which costs nobody a lead.
    """
    of_gateway = isinstance(document, dict) and "success" not in document and "status" in document
    if is_foreign(document, body) and not of_gateway:
        return WrongAddress
    if status == 405 or of_gateway or ENDPOINT_WORDS.search(message):
        return EndpointGone
    field = find_rejected_field(message)
    if field is not None and (field in written or CUSTOM_KEY.fullmatch(field)):
        return Gone
    refers = not RECORD_KEYS.isdisjoint(written)
    if "{" in call.path or (refers and not call.create):
        return Gone
    return Gone if refers and RECORD_WORDS.search(message) else EndpointGone


def is_foreign(document: Any, body: bytes) -> bool:
    """Return whether an answer is none of Pipedrive's API: a page, or JSON without `success`.

    One that is empty or cut off may well be Pipedrive's.
    """
    if isinstance(document, dict):
        return "success" not in document
    return document is not None or body.lstrip()[:1] not in (b"", b"{")


def connection_error(call: Call, error: Exception, *, sent_bytes: int | None) -> PipedriveError:
    """Return the error for a call without a usable response.

    `sent_bytes` is how much of the request the kernel took; None if nobody counted.
    """
    detail = clean_text(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    if isinstance(error, NOT_SENT_ERRORS) if sent_bytes is None else sent_bytes == 0:
        return NotSent(call.name, detail)
    if isinstance(error, ResponseTooLarge) and call.max_bytes is not None:
        return TooLarge(call.name, detail)
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
    return clean_text(f"redirected{f' to {host}' if host else ''}; redirects are not followed")


# What `error_info` begins with where v1 has no more to say; else the reason is there.
NO_REASON = "Please check developers.pipedrive.com"


def _message(document: Any, body: bytes) -> str:
    """Return Pipedrive's own message."""
    if isinstance(document, dict):
        # Validation errors of v2 may have the text in a list or object under `error` or `errors`.
        parts = [
            _text_of(document.get(key))
            for key in ("error", "error_info", "errors", "message", "code")
        ]
        texts = dict.fromkeys(text for text in parts if text and not text.startswith(NO_REASON))
        return clean_text(" - ".join(texts)) or "no reason given"
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
