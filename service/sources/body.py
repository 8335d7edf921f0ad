"""Bounded bytes to a tree. Pure, linear, and with one way to fail: `Unreadable`.

| media type                        | what comes out                                                             |
|-----------------------------------|----------------------------------------------------------------------------|
| application/x-www-form-urlencoded | a dict by field name, as it stands; a repeated name is a list              |
| multipart/form-data               | the same; a file is an `Upload`, an unchosen file input is nothing         |
| application/json, anything +json  | the JSON; numbers as `Number`                                              |
| text/plain                        | JSON inside, as some plugins send it                                       |
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from service.sources.json_text import read_json
from service.sources.multipart_body import read_parts
from service.sources.percent import unquoted
from service.sources.reading import Request
from service.sources.tree import Tree, Unreadable

FIELDS = 500
"""Fields of a form, and entries of any one object or list in JSON."""
DEPTH = 32
VALUES = 6_000
"""Values in one JSON document."""

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


def decode(request: Request) -> Tree:
    """The request's body as a tree. Raises Unreadable: 400 for a broken body, 415 for a type, charset or coding not taken."""
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Unreadable("send the body without a content coding", status=415, field="content-encoding")
    if not request.body.strip():
        raise Unreadable("the body is empty")
    media_type = request.content_type.partition(";")[0].strip().lower()
    check_charset(request.content_type)
    if media_type == FORM:
        return gather(form_pairs(request.body))
    if media_type == MULTIPART:
        return gather(read_parts(request.body, request.content_type, FIELDS))
    if media_type in ("application/json", "text/plain", "text/json") or media_type.endswith("+json"):
        return read_json(utf8(request.body), fields=FIELDS, depth=DEPTH, values=VALUES)
    raise Unreadable(f"send {FORM}, {MULTIPART} or application/json", status=415, field="content-type")


def is_form(request: Request) -> bool:
    return request.content_type.partition(";")[0].strip().lower() in (FORM, MULTIPART)


def check_charset(content_type: str) -> None:
    """UTF-8 only. Other decoders are never looked up by a name that a stranger chose: some take quadratic time."""
    found = _CHARSET.search(content_type[:1_000])
    if found and found[1].strip("'").lower() not in _UTF8:
        raise Unreadable("send UTF-8", status=415, field="content-type")


def utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from None


def form_pairs(body: bytes) -> Iterable[tuple[str, str]]:
    """The fields of a form in order. Counted before any is built."""
    if body.count(b"&") >= FIELDS:
        raise Unreadable(f"more than {FIELDS} fields")
    for pair in body.strip().split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield _unquote(name), _unquote(value)


def _unquote(raw: bytes) -> str:
    return utf8(unquoted(raw.replace(b"+", b" ")))


def gather(pairs: Iterable[tuple[str, Tree]]) -> dict[str, Tree]:
    """One dict; a name that comes again makes a list, in order, and so does a name that ends in `[]`."""
    fields: dict[str, Tree] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = [value] if name.endswith("[]") else value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields
