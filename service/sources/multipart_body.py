"""multipart/form-data in memory: fields as text, files by name, type and size. Charsets and transfer codings are not obeyed."""

from __future__ import annotations

from collections.abc import Iterator

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from service.sources.tree import Tree, Unreadable, Upload

CHUNK = 65_536


def read_parts(body: bytes, content_type: str, limit: int) -> Iterator[tuple[str, Tree]]:
    """Name and value of each part in order. More than `limit` parts, a broken part or other bytes than UTF-8: Unreadable."""
    boundary = _boundary(content_type)
    if body.count(b"--" + boundary) > limit + 1:
        raise Unreadable(f"more than {limit} fields")
    if b"--" + boundary not in body:
        raise Unreadable("the body does not hold the boundary that the content type names")
    try:
        yield from _parts(PushMultipartParser(boundary, max_header_size=8_192, max_segment_count=limit), body)
    except (MultipartError, UnicodeError, ValueError, IndexError) as error:
        raise Unreadable(f"not multipart/form-data: {str(error)[:100].lower()}") from None


def _parts(parser: PushMultipartParser, body: bytes) -> Iterator[tuple[str, Tree]]:
    part: MultipartSegment | None = None
    kept: list[bytes] = []
    with parser:
        for start in range(0, len(body), CHUNK):
            for event in parser.parse(body[start : start + CHUNK]):
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
            raise Unreadable(f"not UTF-8 at byte {error.start}", field=part.name[:100] or "body") from None
    elif part.filename or content:
        media_type = (part.content_type or "application/octet-stream")[:100]
        yield part.name, Upload(name=part.filename[:255], media_type=media_type, size=len(content))


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type[:2_000])
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise Unreadable("the content type names no usable boundary", field="content-type")
    return bytes(boundary, "ascii")
