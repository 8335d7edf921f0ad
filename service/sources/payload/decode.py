"""Decodes bounded bytes into a payload tree. Pure, linear, one way to fail: `UnreadableBody`.

| media type                        | what comes out                                               |
|-----------------------------------|--------------------------------------------------------------|
| application/x-www-form-urlencoded | an object by field name; a repeated name is a list           |
| multipart/form-data               | the same; a file is an `Upload`, an empty file input nothing |
| application/json, anything +json  | the JSON; numbers as `JsonNumber`                            |
| text/plain                        | JSON inside, as some plugins send it                         |
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

from service.sources.payload.json import MAX_FIELDS, parse_json
from service.sources.payload.tree import Tree, UnreadableBody, Upload
from service.sources.request import InboundRequest

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_UTF8_NAMES = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


def decode_body(request: InboundRequest) -> Tree:
    """The request's body as a tree.

    Raises UnreadableBody: 400 for a broken body, 415 for an unsupported type, charset or coding.
    """
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnreadableBody(
            "send the body without a content coding", status=415, field="content-encoding"
        )
    if not request.body.strip():
        raise UnreadableBody("the body is empty")
    _check_charset(request.content_type)
    media_type = _media_type(request)
    if media_type == FORM:
        return _collect_fields(_parse_form(request.body))
    if media_type == MULTIPART:
        return _collect_fields(_parse_multipart(request.body, request.content_type))
    if media_type in ("application/json", "text/plain", "text/json") or media_type.endswith(
        "+json"
    ):
        return parse_json(decode_utf8(request.body))
    raise UnreadableBody(
        f"send {FORM}, {MULTIPART} or application/json", status=415, field="content-type"
    )


def is_form(request: InboundRequest) -> bool:
    return _media_type(request) in (FORM, MULTIPART)


def _media_type(request: InboundRequest) -> str:
    return request.content_type.partition(";")[0].strip().lower()


def _check_charset(content_type: str) -> None:
    """UTF-8 only: Python looks up decoders by name, and some of them take quadratic time."""
    match = _CHARSET.search(content_type[:1_000])
    if match and match[1].strip("'").lower() not in _UTF8_NAMES:
        raise UnreadableBody("send UTF-8", status=415, field="content-type")


def decode_utf8(raw: bytes) -> str:
    """Text from UTF-8. Raises UnreadableBody."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"not UTF-8 at byte {error.start}") from None


def _collect_fields(pairs: Iterable[tuple[str, Tree]]) -> dict[str, Tree]:
    """One object; a repeated name and a name that ends in `[]` have lists, in order."""
    fields: dict[str, Tree] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = [value] if name.endswith("[]") else value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields


# application/x-www-form-urlencoded.


def _parse_form(body: bytes) -> Iterator[tuple[str, str]]:
    """The fields of a form in order, counted before any is built."""
    if body.count(b"&") >= MAX_FIELDS:
        raise UnreadableBody(f"more than {MAX_FIELDS} fields")
    for pair in body.strip().split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield _decode_form_text(name), _decode_form_text(value)


def _decode_form_text(raw: bytes) -> str:
    return decode_utf8(decode_percent(raw.replace(b"+", b" ")))


# multipart/form-data in memory: fields as text, files by name, type and size. The charsets and
# transfer codings of parts are ignored.

CHUNK_BYTES = 65_536
MAX_PART_HEADER_BYTES = 8_192
MAX_FILE_NAME_CHARS = 255


def _parse_multipart(body: bytes, content_type: str) -> Iterator[tuple[str, Tree]]:
    """Name and value of each part in order. Raises UnreadableBody."""
    boundary = _find_boundary(content_type)
    if body.count(b"--" + boundary) > MAX_FIELDS + 1:
        raise UnreadableBody(f"more than {MAX_FIELDS} fields")
    if b"--" + boundary not in body:
        raise UnreadableBody("the body does not hold the boundary that the content type names")
    parser = PushMultipartParser(
        boundary, max_header_size=MAX_PART_HEADER_BYTES, max_segment_count=MAX_FIELDS
    )
    try:
        yield from _parse_parts(parser, body)
    except (MultipartError, UnicodeError, ValueError, IndexError) as error:
        raise UnreadableBody(f"not multipart/form-data: {str(error)[:100].lower()}") from None


def _find_boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type[:2_000])
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise UnreadableBody("the content type names no usable boundary", field="content-type")
    return bytes(boundary, "ascii")


def _parse_parts(parser: PushMultipartParser, body: bytes) -> Iterator[tuple[str, Tree]]:
    part: MultipartSegment | None = None
    chunks: list[bytes] = []
    with parser:
        for start in range(0, len(body), CHUNK_BYTES):
            for event in parser.parse(body[start : start + CHUNK_BYTES]):
                if isinstance(event, MultipartSegment):
                    part, chunks = event, []
                elif event is not None:
                    chunks.append(bytes(event))
                elif part is not None:
                    yield from _read_part(part, b"".join(chunks))


def _read_part(part: MultipartSegment, content: bytes) -> Iterator[tuple[str, Tree]]:
    """Name and value; nothing for a file input without a file."""
    if part.filename is None:
        try:
            yield part.name, content.decode("utf-8")
        except UnicodeDecodeError as error:
            field = part.name[:100] or "body"
            raise UnreadableBody(f"not UTF-8 at byte {error.start}", field=field) from None
    elif part.filename or content:
        name = part.filename[:MAX_FILE_NAME_CHARS]
        media_type = (part.content_type or "application/octet-stream")[:100]
        yield part.name, Upload(name=name, media_type=media_type, size=len(content))


# Percent escapes of forms and URLs, in linear time.
#
# The standard library tries each `%` by itself and takes a tenth of a second for a quarter of a
# megabyte of them. Here a `%` that begins no escape is escaped first. Then every `%` begins one,
# and the quoted-printable decoder, which only spells escapes differently, does the rest at once.

_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# In a run of `%` each but the last begins no escape.
_RUN, _ESCAPED_RUN = b"%" * 9, b"%25" * 8 + b"%"


def decode_percent(raw: bytes) -> bytes:
    """Works as `urllib.parse.unquote_to_bytes`: a `%` that begins no escape stays as it is."""
    if b"%" not in raw:
        return raw
    escaped = _NO_ESCAPE.sub(b"%25", raw.replace(_RUN, _ESCAPED_RUN))
    return binascii.a2b_qp(escaped.replace(b"=", b"%3D").replace(b"%", b"="))
