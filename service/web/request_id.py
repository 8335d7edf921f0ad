"""Ids: a submission's, and a request's. The latter is the caller's own where it is sane; it is in
answer, problem and log.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import MutableMapping
from typing import Any, cast

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope
from ulid import ULID

HEADER = "X-Request-Id"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SLOT = "leadline.request_id"


def new_id() -> str:
    """A ULID: 26 characters, sorted by time."""
    return str(ULID())


def may_be_id(text: str) -> bool:
    """Whether this may be the id of a submission or a bulk action: nothing else may become part of
    a key.
    """
    return _ID.fullmatch(text) is not None


def request_id(scope: Scope) -> str:
    """The id of this request: decided at the first call, the same ever after."""
    slots = cast(MutableMapping[str, Any], scope)
    if _SLOT not in slots:
        given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
        slots[_SLOT] = given.decode() if _SANE.fullmatch(given) else secrets.token_hex(10)
    return str(slots[_SLOT])


async def put_request_id(message: Message, scope: Scope) -> None:
    """A `before_send` hook: every answer says which request it answers."""
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message)[HEADER] = request_id(scope)
