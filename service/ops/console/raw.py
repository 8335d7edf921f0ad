"""The bytes that came in, as text where they are text, else as a hex dump. Never as anything a browser would run."""

from __future__ import annotations

import base64

import msgspec
from msgspec import Struct

LONGEST = 64 * 1024
"""Bytes shown; an export has them all."""

ROW = 16


class Shown(Struct, frozen=True):
    """`kind` is `text`, `json` or `hex`; `cut` says how many bytes are not shown."""

    kind: str
    text: str
    size: int
    cut: int


def shown(body_base64: str, content_type: str) -> Shown:
    """What to show of a body."""
    body = base64.b64decode(body_base64)
    part, cut = body[:LONGEST], max(0, len(body) - LONGEST)
    if not cut and "json" in content_type and (pretty := _pretty(body)) is not None:
        return Shown("json", pretty, len(body), 0)
    text = _text(part, cut)
    return Shown("text", text, len(body), cut) if text is not None else Shown("hex", dump(part), len(body), cut)


def dump(body: bytes) -> str:
    """`00000000  50 4b 03 04 …  |PK..|`, sixteen bytes a line."""
    rows = []
    for at in range(0, len(body), ROW):
        part = body[at : at + ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:08x}  {part.hex(' '):<{ROW * 3 - 1}}  |{letters}|")
    return "\n".join(rows)


def _pretty(body: bytes) -> str | None:
    """JSON on several lines; as it came where it is none. Formatting changes no token of it."""
    try:
        msgspec.json.decode(body)
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text(part: bytes, cut: int) -> str | None:
    for tail in range(4 if cut else 1):  # a cut may fall into the middle of a character
        try:
            text = part[: len(part) - tail].decode()
        except UnicodeDecodeError:
            continue
        return None if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text) else text
    return None
