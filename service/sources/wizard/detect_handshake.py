"""The challenge that a captured request is, as the keys of `[sources.X.handshake]`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

from service.sources.fields.owners import PERSONAL
from service.sources.fields.recognition import match_path
from service.sources.payload.shapes import plain_letters
from service.sources.wizard.captured import Captured, is_text, scalars

# A challenge has few values besides; more of them are a submission.
MAX_VALUES = 8
MIN_CHALLENGE_CHARS = 6
MAX_CHALLENGE_CHARS = 4_096
SECRET_HEADER = "X-Hook-Secret"
_NAMES = frozenset({"challenge", "validationtoken", "hubchallenge"})
_KINDS = re.compile(r"verif|valid|challenge|handshake", re.IGNORECASE)


def detect_handshake(captured: Captured) -> tuple[dict[str, Any], str] | None:
    """The keys and the reason; None if the request is no challenge, or holds somebody's data."""
    request, values = captured.request, list(scalars(captured.top))
    if len(values) > MAX_VALUES or any(match_path(path) in PERSONAL for path, _ in values):
        return None
    for pair in request.query.split("&"):
        name, _, value = pair.partition("=")
        if is_challenge_name(unquote_plus(name)) and value:
            name = unquote_plus(name)
            return {"query": name}, f"{name} in the query is to be sent back"
    if request.header(SECRET_HEADER.lower()):
        return {"header": SECRET_HEADER}, f"{SECRET_HEADER} is to be sent back"
    if request.method != "POST" or captured.is_form or not isinstance(captured.tree, dict):
        return None
    challenge = next((path for path, value in values if _is_challenge(path, value)), None)
    if challenge is None:
        return None
    kinds = (
        (".".join(path), value)
        for path, value in values
        if path != challenge and is_text(value) and _KINDS.search(str(value))
        if "".join((*path, str(value))).isprintable()
    )
    at, kind = next(kinds, (None, None))
    when = {"when": {"at": at, "equals": kind}} if at else {}
    path = ".".join(challenge)
    return when | {"echo": path}, f"{path} is to be sent back, as text"


def is_challenge_name(name: str) -> bool:
    """Whether a key or a parameter is called as those are that hold a challenge."""
    return name.isprintable() and plain_letters(name) in _NAMES


def _is_challenge(path: tuple[str, ...], value: str | bool) -> bool:
    return (
        is_challenge_name(path[-1])
        and "".join(path).isprintable()
        and isinstance(value, str)
        and MIN_CHALLENGE_CHARS <= len(value) <= MAX_CHALLENGE_CHARS
        and not any(map(str.isspace, value))
    )
