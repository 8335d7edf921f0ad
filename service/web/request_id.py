"""Ids of submissions, and of requests.

A request keeps the id that its sender gives it in X-Request-Id, where that is usable; the id is in
the response, in a problem and in the log.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import MutableMapping
from typing import Any, cast

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope
from ulid import ULID

from worker.contract import SUBMISSION_ID_PATTERN

HEADER = "X-Request-Id"
_SUBMISSION_ID = re.compile(SUBMISSION_ID_PATTERN, re.ASCII)
_USABLE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SLOT = "leadline.request_id"


def new_id() -> str:
    """Make the id of a submission: a ULID of 26 characters, which sorts by time."""
    return str(ULID())


def is_submission_id(text: str) -> bool:
    return _SUBMISSION_ID.fullmatch(text) is not None


def random_request_id() -> str:
    return secrets.token_hex(10)


def request_id(scope: Scope) -> str:
    """The id of this request: decided at the first call, the same ever after."""
    slots = cast(MutableMapping[str, Any], scope)
    if _SLOT not in slots:
        header = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
        slots[_SLOT] = header.decode() if _USABLE.fullmatch(header) else random_request_id()
    return str(slots[_SLOT])


async def add_request_id(message: Message, scope: Scope) -> None:
    """A `before_send` hook that puts the request's id into every response."""
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message)[HEADER] = request_id(scope)
