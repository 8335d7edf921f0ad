"""Bounded bytes to a tree. Pure, linear, and with one way to fail: `Unreadable`.

| media type                        | what comes out                                                             |
|-----------------------------------|----------------------------------------------------------------------------|
| application/x-www-form-urlencoded | a dict by field name, as it stands; a repeated name is a list              |
| multipart/form-data               | the same; a file is an `Upload`, an unchosen file input is nothing         |
| application/json, anything +json  | the JSON; numbers as `Number`                                              |
| text/plain                        | JSON inside, as some plugins send it                                       |
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from service.sources.payload.json import parse_json
from service.sources.payload.tree import Tree, UnreadableBody, Upload
from service.sources.request import InboundRequest

# Percent escapes of forms and URLs into bytes, quick whatever they hold.
#
# The standard library tries each `%` by itself, and takes a tenth of a second for a quarter of a
# megabyte of them. Here a `%` that begins no escape is escaped first; then all are escapes, and the
# quoted-printable decoder, which only spells them otherwise, does the rest in one pass.

_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RUN, _ESCAPED_RUN = b"%" * 9, b"%25" * 8 + b"%"
"""In a run of them each but the last begins no escape."""


def decode_percent(raw: bytes) -> bytes:
    """As `urllib.parse.unquote_to_bytes`: what is no escape stays as it stands."""
    if b"%" not in raw:
        return raw
    whole = _NO_ESCAPE.sub(b"%25", raw.replace(_RUN, _ESCAPED_RUN))
    return binascii.a2b_qp(whole.replace(b"=", b"%3D").replace(b"%", b"="))


# multipart/form-data in memory: fields as text, files by name, type and size. Charsets and transfer
# codings are not obeyed.

CHUNK_BYTES = 65_536


def parse_multipart(body: bytes, content_type: str, limit: int) -> Iterator[tuple[str, Tree]]:
    """Name and value of each part in order. More than `limit` parts, a broken part or other bytes
    than UTF-8: Unreadable.
    """
    boundary = _boundary(content_type)
    if body.count(b"--" + boundary) > limit + 1:
        raise UnreadableBody(f"more than {limit} fields")
    if b"--" + boundary not in body:
        raise UnreadableBody("the body does not hold the boundary that the content type names")
    try:
        yield from _parts(
            PushMultipartParser(boundary, max_header_size=8_192, max_segment_count=limit), body
        )
    except (MultipartError, UnicodeError, ValueError, IndexError) as error:
        raise UnreadableBody(f"not multipart/form-data: {str(error)[:100].lower()}") from None


def _parts(parser: PushMultipartParser, body: bytes) -> Iterator[tuple[str, Tree]]:
    part: MultipartSegment | None = None
    kept: list[bytes] = []
    with parser:
        for start in range(0, len(body), CHUNK_BYTES):
            for event in parser.parse(body[start : start + CHUNK_BYTES]):
                if isinstance(event, MultipartSegment):
                    part, kept = event, []
                elif event is not None:
                    kept.append(bytes(event))
                elif part is not None:
                    yield from _value(part, b"".join(kept))


def _value(part: MultipartSegment, content: bytes) -> Iterator[tuple[str, Tree]]:
    if part.filename is None:
        try:
            yield part.name, content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableBody(
                f"not UTF-8 at byte {error.start}", field=part.name[:100] or "body"
            ) from None
    elif part.filename or content:
        media_type = (part.content_type or "application/octet-stream")[:100]
        yield part.name, Upload(name=part.filename[:255], media_type=media_type, size=len(content))


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type[:2_000])
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise UnreadableBody("the content type names no usable boundary", field="content-type")
    return bytes(boundary, "ascii")


MAX_FIELDS = 500
"""Fields of a form, and entries of any one object or list in JSON."""
MAX_DEPTH = 32
MAX_VALUES = 6_000
"""Values in one JSON document."""

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


def decode_body(request: InboundRequest) -> Tree:
    """The request's body as a tree. Raises Unreadable: 400 for a broken body, 415 for a type,
    charset or coding not taken.
    """
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnreadableBody(
            "send the body without a content coding", status=415, field="content-encoding"
        )
    if not request.body.strip():
        raise UnreadableBody("the body is empty")
    media_type = request.content_type.partition(";")[0].strip().lower()
    check_charset(request.content_type)
    if media_type == FORM:
        return collect_fields(parse_form(request.body))
    if media_type == MULTIPART:
        return collect_fields(parse_multipart(request.body, request.content_type, MAX_FIELDS))
    if media_type in ("application/json", "text/plain", "text/json") or media_type.endswith(
        "+json"
    ):
        return parse_json(
            decode_utf8(request.body), fields=MAX_FIELDS, depth=MAX_DEPTH, values=MAX_VALUES
        )
    raise UnreadableBody(
        f"send {FORM}, {MULTIPART} or application/json", status=415, field="content-type"
    )


def is_form(request: InboundRequest) -> bool:
    return request.content_type.partition(";")[0].strip().lower() in (FORM, MULTIPART)


def check_charset(content_type: str) -> None:
    """UTF-8 only. Other decoders are never looked up by a name that a stranger chose: some take
    quadratic time.
    """
    found = _CHARSET.search(content_type[:1_000])
    if found and found[1].strip("'").lower() not in _UTF8:
        raise UnreadableBody("send UTF-8", status=415, field="content-type")


def decode_utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"not UTF-8 at byte {error.start}") from None


def parse_form(body: bytes) -> Iterable[tuple[str, str]]:
    """The fields of a form in order. Counted before any is built."""
    if body.count(b"&") >= MAX_FIELDS:
        raise UnreadableBody(f"more than {MAX_FIELDS} fields")
    for pair in body.strip().split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield _unquote(name), _unquote(value)


def _unquote(raw: bytes) -> str:
    return decode_utf8(decode_percent(raw.replace(b"+", b" ")))


def collect_fields(pairs: Iterable[tuple[str, Tree]]) -> dict[str, Tree]:
    """One dict; a name that comes again makes a list, in order, and so does a name that ends in
    `[]`.
    """
    fields: dict[str, Tree] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = [value] if name.endswith("[]") else value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields
