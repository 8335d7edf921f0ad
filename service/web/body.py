"""Reads the body of a request, bounded in size and time, whatever the sender does."""

from __future__ import annotations

import asyncio

from litestar.types import Receive

from service.sources.request import InboundRequest
from service.web.problems import HttpProblem

BODY_TIMEOUT_SECONDS = 10.0
MEDIA_TYPES = frozenset(
    {
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json",
        "text/json",
        "text/plain",
    }
)
_CLOSE = {"Connection": "close"}


def media_type(content_type: str) -> str:
    """`Application/JSON; charset=utf-8` is `application/json`."""
    return content_type.partition(";")[0].strip().lower()


def check_body_headers(request: InboundRequest, limit: int) -> None:
    """Refuse by the headers alone what need not be read. Raises HttpProblem 413 or 415."""
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise HttpProblem(
            "media-type",
            "Send the body without Content-Encoding.",
            headers={"Accept-Encoding": "identity"} | _CLOSE,
        )
    kind = media_type(request.content_type)
    # A body without a type is read by what it holds.
    if (
        kind
        and kind not in MEDIA_TYPES
        and not (kind.startswith("application/") and kind.endswith("+json"))
    ):
        raise HttpProblem("media-type", headers={"Accept-Post": ", ".join(sorted(MEDIA_TYPES))})
    announced = request.header("content-length") or ""
    if (
        announced.isascii()
        and announced.isdigit()
        and (len(announced) > 18 or int(announced) > limit)
    ):
        raise too_large(limit)


def too_large(limit: int) -> HttpProblem:
    return HttpProblem("too-large", f"The body may have at most {limit} bytes.", headers=_CLOSE)


async def read_body(receive: Receive, limit: int, seconds: float = BODY_TIMEOUT_SECONDS) -> bytes:
    """Read the whole body.

    Raises HttpProblem 413 above `limit` bytes, 408 after `seconds`, 400 if the sender hangs up.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, limit)
    except TimeoutError:
        raise HttpProblem("too-slow", headers=_CLOSE) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpProblem("incomplete", headers=_CLOSE)
        if message["type"] != "http.request":
            continue
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return b"".join(parts)
