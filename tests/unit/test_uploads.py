"""Files posted with a form are judged by their content, and nothing else."""

from __future__ import annotations

import io
import zipfile

import pytest

from worker.contract import Raw
from worker.lead.uploads import MAX_FILE_BYTES, MAX_FILES, detect_kind, read_uploads

PDF = b"%PDF-1.7\n1 0 obj"
PNG = b"\x89PNG\r\n\x1a\n0000"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"


def archive(**entries: str) -> bytes:
    """A zip with these entries; `__` in a name is a slash, `_xml` its extension."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        for name, text in entries.items():
            container.writestr(name.replace("__", "/").replace("_xml", ".xml"), text)
    return buffer.getvalue()


def office(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        for name in ("[Content_Types].xml", *names):
            container.writestr(name, "<x/>")
    return buffer.getvalue()


def form(*files: tuple[str, bytes], boundary: str = "xyz") -> Raw:
    parts = [b'Content-Disposition: form-data; name="email"\r\n\r\nada@example.com']
    parts += [
        b'Content-Disposition: form-data; name="cv"; filename="%s"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%s" % (name.encode(), content)
        for name, content in files
    ]
    line = b"--" + boundary.encode()
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return Raw("POST", "", f"multipart/form-data; boundary={boundary}", [], body)


@pytest.mark.parametrize(
    ("content", "extension"),
    [
        (PDF, "pdf"),
        (PNG, "png"),
        (JPEG, "jpg"),
        (b"GIF89a..", "gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "webp"),
        (b"\x00\x00\x00\x18ftypheic", "heic"),
        (office("word/document.xml"), "docx"),
        (office("xl/workbook.xml"), "xlsx"),
        (office("ppt/presentation.xml"), "pptx"),
        (archive(mimetype="application/vnd.oasis.opendocument.text", content_xml="<x/>"), "odt"),
        ("name;Größe\r\nAda;1\n".encode(), "txt"),
    ],
)
def test_kinds(content: bytes, extension: str) -> None:
    """Documents and images that cannot run are told by their content."""
    kind = detect_kind(content)
    assert kind is not None
    assert kind.extensions[0] == extension


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\x00\x03",
        b"\x7fELF\x02",
        b"\xca\xfe\xba\xbe\x00",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"PK\x03\x04 broken",
        archive(setup_xml="x"),
        office("word/document.xml", "word/vbaProject.bin"),
        office("xl/workbook.xml", "xl/macrosheets/sheet1.xml"),
        archive(mimetype="application/vnd.oasis.opendocument.text", Basic__Module_xml="x"),
        archive(mimetype="application/java-archive"),
        b"text with \x00 in it",
        "Größe".encode("latin-1"),
    ],
)
def test_other_kinds(content: bytes) -> None:
    """Programs, archives, documents with macros and old binary formats are none of them."""
    assert detect_kind(content) is None


@pytest.mark.parametrize(
    ("name", "content", "attached"),
    [
        ("cv.pdf", PDF, "cv.pdf"),
        ("CV Ada.PDF", PDF, "CV Ada.pdf"),
        ("photo.jpeg", JPEG, "photo.jpeg"),
        ("image", PNG, "image.png"),
        ("C:\\fakepath\\cv.pdf", PDF, "cv.pdf"),
        ("../../etc/cv.pdf", PDF, "cv.pdf"),
        ("list.csv", b"a;b\n1;2", "list.csv"),
        ("x" * 300 + ".pdf", PDF, "x" * 120 + ".pdf"),
    ],
)
def test_names(name: str, content: bytes, attached: str) -> None:
    """A name loses its path, and one without extension gets the one of its content."""
    [upload] = read_uploads(form((name.replace("\\", "\\\\"), content))).files
    assert (upload.name, upload.content) == (attached, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cv.exe", PDF),
        ("cv.pdf", b"MZ\x90\x00"),
        ("cv.pdf.html", b"<script>alert(1)</script>"),
        ("logo.svg", b"<svg onload='x'/>"),
        ("run.sh", b"#!/bin/sh\nrm -rf /"),
        ("big.txt", b"x" * (MAX_FILE_BYTES + 1)),
    ],
)
def test_what_is_left_out(name: str, content: bytes) -> None:
    """What is not of the kind that its name says, or too large, is left out and said."""
    uploads = read_uploads(form((name, content), ("ok.pdf", PDF)))
    assert [upload.name for upload in uploads.files] == ["ok.pdf"]
    [sentence] = uploads.left_out
    assert sentence.startswith(f"The file “{name}” is left out: ")


def test_only_so_many() -> None:
    """More files than the most that are attached are left out, each with a sentence."""
    uploads = read_uploads(form(*[(f"{number}.pdf", PDF) for number in range(MAX_FILES + 2)]))
    assert (len(uploads.files), len(uploads.left_out)) == (MAX_FILES, 2)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        Raw("POST", "", "application/json", [], b"{}"),
        Raw("POST", "", "multipart/form-data", [], form(("cv.pdf", PDF)).body),
        Raw("POST", "", "multipart/form-data; boundary=other", [], form(("cv.pdf", PDF)).body),
        Raw("POST", "", "multipart/form-data; boundary=xyz", [], b"--xyz\r\nrubbish"),
        form(("", b"")),
    ],
)
def test_requests_without_files(raw: Raw | None) -> None:
    """What is no form, or has no file in it, has no files and raises nothing."""
    assert read_uploads(raw) == ((), ())
