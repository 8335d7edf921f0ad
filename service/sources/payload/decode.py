"""Decodes bounded bytes into a payload tree. Pure, linear, one way to fail: `UnreadableBody`.

The body itself decides how it is read, whatever its Content-Type says:

| body                              | result                                                       |
|-----------------------------------|--------------------------------------------------------------|
| `{…}`, `[…]`, or either as a text | the JSON; numbers as `JsonNumber`                            |
| `--boundary`                      | an object by field name; a file is an `Upload`               |
| `a=1&b=2`, or a line for each     | an object by field name; a repeated name is a list           |
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

from multipart import (  # type: ignore[import-untyped]
    MultipartSegment,
    parse_options_header,
)

from service.sources.payload.charsets import charset_name, decode_text, find_codec, is_utf8
from service.sources.payload.json import MAX_FIELDS, parse_json
from service.sources.payload.tree import Tree, UnreadableBody, Upload
from service.sources.request import InboundRequest
from worker.lead.uploads import MALFORMED, parse_parts

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
# The charset that browsers assume for a page that names none.
FORM_FALLBACK = "cp1252"
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';]*)", re.IGNORECASE)
_PART_BOUNDARY = re.compile(rb"--([^\r\n]{1,200})\r?\nContent-Disposition:", re.IGNORECASE)
_FIRST_NAME = re.compile(rb"[^=&\s{}<>\"]{1,300}=")
# What may name a charset.
BY_HEADER, BY_FIELD, BY_PART = "its Content-Type", "its field _charset_", "its part"
# Content types whose body may be JSON or a form.
_READABLE = frozenset({"", FORM, MULTIPART, "application/json", "text/json", "text/plain"})


def decode_body(request: InboundRequest, guesses: list[str] | None = None) -> Tree:
    """The request's body as a tree; `guesses` gets a sentence for each guess.

    Raises UnreadableBody: 400 for a broken body, 415 for an unsupported type or coding.
    """
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnreadableBody(
            "send the body without a content coding", status=415, field="content-encoding"
        )
    body = request.body
    if not body.strip():
        raise UnreadableBody("the body is empty")
    media_type = _media_type(request.content_type)
    if media_type not in _READABLE and not media_type.endswith("+json"):
        raise UnreadableBody(
            f"send {FORM}, {MULTIPART} or application/json", status=415, field="content-type"
        )
    declared = find_codec(_declared_charset(request.content_type))
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        _note(guesses, "The body is UTF-16, as its byte order mark says.")
        body = decode_text(body, declared, field="body").encode()
    body = body.removeprefix(b"\xef\xbb\xbf")
    if media_type == MULTIPART or body[:2] == b"--":
        boundary = _find_boundary(request.content_type, body)
        if boundary:
            if media_type != MULTIPART:
                _note_type(guesses, MULTIPART, media_type)
            return _collect_fields(_parse_multipart(body, boundary, declared, guesses))
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        try:
            return _read_json(body, declared, media_type, guesses)
        except UnreadableBody:
            if media_type != FORM or b"=" not in body:
                raise
    if media_type == FORM or (
        media_type in ("", "text/plain") and _FIRST_NAME.match(body.lstrip())
    ):
        if media_type != FORM:
            _note_type(guesses, "a form", media_type)
        return _read_form(body, declared, guesses, is_text=media_type == "text/plain")
    return _read_json(body, declared, media_type, guesses)


def describe_guess(request: InboundRequest) -> str | None:
    """What had to be guessed of a body, in a sentence or two: its charset, or its type.

    Guesses are not stored: the raw bytes are, and reading them again makes the same ones.
    """
    guesses: list[str] = []
    try:
        decode_body(request, guesses)
    except UnreadableBody:
        return None
    return " ".join(dict.fromkeys(guesses)) or None


def _note(guesses: list[str] | None, sentence: str) -> None:
    if guesses is not None:
        guesses.append(sentence)


def _note_type(guesses: list[str] | None, kind: str, media_type: str) -> None:
    if media_type:
        _note(guesses, f"The body is {kind}, though its Content-Type says {media_type}.")


def _note_charset(
    guesses: list[str] | None, raw: bytes, codec: str | None, named_by: str | None
) -> None:
    """Notes the charset of text that is not UTF-8; `named_by` is None if nothing names it."""
    if guesses is not None and codec and not is_utf8(raw):
        reason = f"which {named_by} names" if named_by else "because no charset is named"
        guesses.append(
            f"Part of the body is not UTF-8; it was read as {charset_name(codec)}, {reason}."
        )


def is_form(request: InboundRequest) -> bool:
    return _media_type(request.content_type) in (FORM, MULTIPART)


def is_json(request: InboundRequest) -> bool:
    media_type = _media_type(request.content_type)
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _declared_charset(content_type: str) -> str:
    match = _CHARSET.search(content_type[:1_000])
    return match[1] if match else ""


def _read_json(
    body: bytes, declared: str | None, media_type: str, guesses: list[str] | None
) -> Tree:
    """JSON, even if it was encoded twice: as a text that holds JSON."""
    tree = parse_json(decode_text(body, declared, field="body"))
    if not media_type.endswith(("/json", "+json")):
        _note_type(guesses, "JSON", media_type)
    _note_charset(guesses, body, declared, BY_HEADER)
    if isinstance(tree, str) and tree.lstrip()[:1] in ("{", "["):
        tree = parse_json(tree)
        _note(guesses, "The body is JSON that was encoded twice.")
    return tree


def decode_utf8(raw: bytes) -> str:
    """Text from UTF-8. Raises UnreadableBody."""
    return decode_text(raw, None, field="body")


def _collect_fields(pairs: Iterable[tuple[str, Tree]]) -> dict[str, Tree]:
    """One object; a repeated name and a name that ends in `[]` get a list, in order."""
    fields: dict[str, Tree] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = [value] if name.endswith("[]") else value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields


# application/x-www-form-urlencoded, and forms sent as text/plain.


def _read_form(
    body: bytes, declared: str | None, guesses: list[str] | None, *, is_text: bool
) -> Tree:
    lines = body.strip().splitlines()
    if is_text and b"&" not in body and b"%" not in body and all(b"=" in one for one in lines):
        if len(lines) > MAX_FIELDS:
            raise UnreadableBody(f"more than {MAX_FIELDS} fields")
        parts = (line.partition(b"=") for line in lines)
        pairs = [(name.strip(), value.strip()) for name, _, value in parts]
    else:
        pairs = list(_split_form(body))
    charset = next((value for name, value in pairs if name == b"_charset_"), b"")
    codec, named_by = _choose_codec(charset, declared)
    if guesses is not None:
        raw = b"".join(name + value for name, value in pairs)
        _note_charset(guesses, raw, codec, named_by)
    fields = _collect_fields(
        (decode_text(name, codec), decode_text(value, codec)) for name, value in pairs
    )
    if len(fields) == 1:
        ((name, value),) = fields.items()
        if not value and name.lstrip()[:1] in ("{", "["):
            tree = parse_json(name)
            _note(guesses, "The body is JSON that was sent as a form.")
            return tree
    return fields


def _choose_codec(charset: bytes, declared: str | None) -> tuple[str, str | None]:
    """The codec of a form and what names it: its field `_charset_`, its header, or nothing."""
    if codec := find_codec(charset.decode("latin-1")):
        return codec, BY_FIELD
    return (declared, BY_HEADER) if declared else (FORM_FALLBACK, None)


def _split_form(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a form in order, counted before any is built."""
    if body.count(b"&") >= MAX_FIELDS:
        raise UnreadableBody(f"more than {MAX_FIELDS} fields")
    for pair in body.strip().split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            yield decode_percent(name), decode_percent(value)


# multipart/form-data in memory: fields as text, files by name, type and size.

MAX_FILE_NAME_CHARS = 255


def _find_boundary(content_type: str, body: bytes) -> bytes | None:
    """The boundary that the header names, or else the one with which the body begins."""
    _, options = parse_options_header(content_type[:2_000])
    named = options.get("boundary", "")
    if 0 < len(named) <= 200 and named.isascii() and named.isprintable():
        boundary = bytes(named, "ascii")
        if b"--" + boundary in body:
            return boundary
    if match := _PART_BOUNDARY.match(body.lstrip()):
        return match[1].rstrip()
    if _media_type(content_type) != MULTIPART or body.lstrip()[:1] in (b"{", b"["):
        return None
    if not named:
        raise UnreadableBody("the content type names no usable boundary", field="content-type")
    raise UnreadableBody("the body does not hold the boundary that the content type names")


def _parse_multipart(
    body: bytes, boundary: bytes, declared: str | None, guesses: list[str] | None
) -> Iterator[tuple[str, Tree]]:
    """Name and value of each part in order. Raises UnreadableBody."""
    if body.count(b"--" + boundary) > MAX_FIELDS + 1:
        raise UnreadableBody(f"more than {MAX_FIELDS} fields")
    try:
        parts = list(parse_parts(body, boundary, MAX_FIELDS))
    except MALFORMED as error:
        raise UnreadableBody(f"not multipart/form-data: {str(error)[:100].lower()}") from None
    charset = next((content for part, content in parts if part.name == "_charset_"), b"")
    codec, named_by = _choose_codec(charset.strip(), declared)
    for part, content in parts:
        yield from _read_part(part, content, codec, named_by, guesses)


def _read_part(
    part: MultipartSegment,
    content: bytes,
    codec: str,
    named_by: str | None,
    guesses: list[str] | None,
) -> Iterator[tuple[str, Tree]]:
    """Name and value; nothing for a file input that was left empty."""
    file_name = part.filename
    if file_name is None:
        file_name = _extended_file_name(part)
    if file_name is None:
        charset = _declared_charset(f";{part.content_type}" if part.content_type else "")
        if part_codec := find_codec(charset) or find_codec(part.charset or ""):
            codec, named_by = part_codec, BY_PART
        _note_charset(guesses, content, codec, named_by)
        yield part.name, decode_text(content, codec, field=part.name[:100] or "body")
    elif file_name or content:
        media_type = (part.content_type or "application/octet-stream")[:100]
        name = file_name[:MAX_FILE_NAME_CHARS]
        yield part.name, Upload(name=name, media_type=media_type, size=len(content))


def _extended_file_name(part: MultipartSegment) -> str | None:
    """A file's name that is given in the extended form only (`filename*=`, RFC 8187)."""
    disposition = next(
        (value for name, value in part.headerlist if name.lower() == "content-disposition"), ""
    )
    match = re.search(r"filename\*\s*=\s*([^;]{1,1000})", disposition, re.IGNORECASE)
    if match is None:
        return None
    charset, _, encoded = match[1].strip(' "').partition("'")
    raw = decode_percent(encoded.partition("'")[2].encode("utf-8", "replace"))
    return decode_text(raw, find_codec(charset) or FORM_FALLBACK)


# Percent escapes of forms and URLs, in linear time.
#
# The standard library handles each `%` by itself and takes a tenth of a second for a quarter of a
# megabyte of them. Here a `%` that begins no escape is escaped first. Then every `%` begins one,
# and the quoted-printable decoder, whose escapes only differ in spelling, does the rest at once.

_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# In a run of `%` only the last one can begin an escape.
_RUN, _ESCAPED_RUN = b"%" * 9, b"%25" * 8 + b"%"


def decode_percent(raw: bytes) -> bytes:
    """Works as `urllib.parse.unquote_to_bytes`: a `%` that begins no escape stays as it is."""
    if b"%" not in raw:
        return raw
    escaped = _NO_ESCAPE.sub(b"%25", raw.replace(_RUN, _ESCAPED_RUN))
    return binascii.a2b_qp(escaped.replace(b"=", b"%3D").replace(b"%", b"="))
