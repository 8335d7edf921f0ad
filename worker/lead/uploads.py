"""Files posted with a form: read from the raw request, and judged by their content.

A file is attached only if its content is of a kind that cannot run: a PDF, an image, a document
without macros, plain text. Its name must agree with that. Nothing is unpacked, run or rendered.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from worker.contract import Raw
from worker.lead.text_length import truncate_end

MAX_FILES = 5
MAX_FILE_BYTES = 10_485_760
MAX_NAME_UNITS = 120
MAX_FIELDS = 1_000
MAX_PART_HEADER_BYTES = 8_192
# The most entries of a document's archive that are looked at.
MAX_ARCHIVE_ENTRIES = 5_000
CHUNK_BYTES = 65_536
# What the parser raises for a body that is no whole form.
MALFORMED = (MultipartError, UnicodeError, ValueError, IndexError)

_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069<>:"/\\|?*“”]+')
_TEXT_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


class UploadedFile(Struct, frozen=True):
    """A file that may be attached. `name` has no path and an extension that fits the content."""

    name: str
    media_type: str
    content: bytes


class Uploads(NamedTuple):
    """The files of a request, and a sentence about each that is left out."""

    files: tuple[UploadedFile, ...] = ()
    left_out: tuple[str, ...] = ()


class FileKind(NamedTuple):
    """`extensions` are those that such a file may have; a name without one gets the first."""

    media_type: str
    extensions: tuple[str, ...]


_SIGNATURES: tuple[tuple[re.Pattern[bytes], FileKind], ...] = (
    (re.compile(rb"%PDF-\d"), FileKind("application/pdf", ("pdf",))),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), FileKind("image/png", ("png",))),
    (re.compile(rb"\xff\xd8\xff"), FileKind("image/jpeg", ("jpg", "jpeg"))),
    (re.compile(rb"GIF8[79]a"), FileKind("image/gif", ("gif",))),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), FileKind("image/webp", ("webp",))),
    (re.compile(rb"....ftyp(?:hei[cfsx]|mif1)", re.DOTALL), FileKind("image/heic", ("heic",))),
)  # fmt: skip
_OFFICE = "application/vnd.openxmlformats-officedocument."
# What an archive of such a document contains.
_DOCUMENTS = {
    "word/document.xml": FileKind(_OFFICE + "wordprocessingml.document", ("docx",)),
    "xl/workbook.xml": FileKind(_OFFICE + "spreadsheetml.sheet", ("xlsx",)),
    "ppt/presentation.xml": FileKind(_OFFICE + "presentationml.presentation", ("pptx",)),
}
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_OPEN_DOCUMENTS = {
    _OPEN_DOCUMENT + "text": FileKind(_OPEN_DOCUMENT + "text", ("odt",)),
    _OPEN_DOCUMENT + "spreadsheet": FileKind(_OPEN_DOCUMENT + "spreadsheet", ("ods",)),
}
_MACROS = re.compile(r"(?:^|/)(?:vbaProject|Basic/|Scripts/|macrosheets/|activeX/)", re.IGNORECASE)
_TEXT = FileKind("text/plain", ("txt", "csv"))


def read_uploads(raw: Raw | None) -> Uploads:
    """Return the files of a multipart request; none for any other request."""
    files: list[UploadedFile] = []
    left_out: list[str] = []
    for name, content in _iterate_files(raw) if raw is not None else ():
        title = name or "without a name"
        if len(files) >= MAX_FILES:
            left_out.append(f"The file “{title}” is left out: only {MAX_FILES} are attached.")
            continue
        fault = None
        if len(content) > MAX_FILE_BYTES:
            fault = f"it is larger than {MAX_FILE_BYTES // 1_048_576} MiB"
        elif (kind := detect_kind(content)) is None:
            fault = "its content is of no kind that is attached"
        elif (fitting := _name_for(name, kind)) is None:
            fault = f"its content is {kind.media_type}, and its name says otherwise"
        else:
            files.append(UploadedFile(fitting, kind.media_type, content))
        if fault:
            left_out.append(f"The file “{title}” is left out: {fault}.")
    return Uploads(tuple(files), tuple(left_out))


def detect_kind(content: bytes) -> FileKind | None:
    """Return what a file is by its content; None unless that is on our list."""
    for signature, kind in _SIGNATURES:
        if signature.match(content):
            return kind
    if content.startswith(b"PK\x03\x04"):
        return _detect_document(content)
    return _TEXT if _is_text(content) else None


def _detect_document(content: bytes) -> FileKind | None:
    """Return which document an archive is, by its table of contents; None with macros in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return None
    if len(names) > MAX_ARCHIVE_ENTRIES or any(_MACROS.search(name) for name in names):
        return None
    if "[Content_Types].xml" in names:
        return next((kind for name, kind in _DOCUMENTS.items() if name in names), None)
    # An OpenDocument names its type in its first entry, which is stored as it is.
    name_size, extra_size = (int.from_bytes(content[at : at + 2], "little") for at in (26, 28))
    if names[:1] != ["mimetype"] or name_size != len("mimetype"):
        return None
    declared = content[30 + name_size + extra_size :][:100]
    matches = (
        kind for media_type, kind in _OPEN_DOCUMENTS.items()
        if declared.startswith(media_type.encode() + b"PK")
    )  # fmt: skip
    return next(matches, None)


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return bool(content) and _TEXT_CONTROLS.search(content) is None


def _name_for(name: str, kind: FileKind) -> str | None:
    """Return a name whose extension fits; None if the name claims to be something else."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem:
        return f"{truncate_end(name, MAX_NAME_UNITS) or 'file'}.{kind.extensions[0]}"
    if extension.casefold() not in kind.extensions:
        return None
    return f"{truncate_end(stem, MAX_NAME_UNITS)}.{extension.casefold()}"


def _iterate_files(raw: Raw) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in a form; a body that is no whole form has none."""
    media_type, options = parse_options_header(raw.content_type[:2_000])
    boundary = options.get("boundary", "")
    if media_type.lower() != "multipart/form-data" or not boundary.isascii() or not boundary:
        return
    try:
        parts = list(parse_parts(raw.body, boundary.encode(), MAX_FIELDS))
    except MALFORMED:
        return
    for part, content in parts:
        # An input that was left empty sends neither name nor content.
        if part.filename is not None and (part.filename or content):
            yield _clean_name(part.filename), content


def parse_parts(
    body: bytes, boundary: bytes, max_parts: int
) -> Iterator[tuple[MultipartSegment, bytes]]:
    """Yield the parts of a form with their content. Raises an error of `MALFORMED`."""
    parser = PushMultipartParser(
        boundary, max_header_size=MAX_PART_HEADER_BYTES, max_segment_count=max_parts
    )
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
                    yield part, b"".join(chunks)


def _clean_name(name: str) -> str:
    """Return the last part of a path, without characters that mean something to a file system."""
    last = re.split(r"[/\\]", name)[-1]
    return " ".join(_UNSAFE.sub(" ", last).split()).strip(". ")
