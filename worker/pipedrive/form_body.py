"""Request bodies with a file in them, as multipart/form-data. All others are JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from worker.lead.uploads import UploadedFile

# With this a body begins that is no JSON.
PREFIX = b"--leadline-"


def encode_form(body: Mapping[str, Any]) -> bytes:
    """Encode fields and files.

    The boundary is a digest of the files, which thus cannot contain it.
    """
    digest = hashlib.sha256()
    for value in body.values():
        digest.update(value.content if isinstance(value, UploadedFile) else str(value).encode())
    boundary = PREFIX + digest.hexdigest().encode()
    parts = [
        b"%s\r\n%s\r\n" % (boundary, _encode_part(name, value)) for name, value in body.items()
    ]
    return b"".join(parts) + boundary + b"--\r\n"


def content_type_of(content: bytes) -> str:
    """Return the content type of an encoded body."""
    if not content.startswith(PREFIX):
        return "application/json"
    boundary = content[2 : content.index(b"\r\n")].decode("ascii")
    return f"multipart/form-data; boundary={boundary}"


def _encode_part(name: str, value: Any) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if not isinstance(value, UploadedFile):
        return f"{disposition}\r\n\r\n{value}".encode()
    head = f'{disposition}; filename="{value.name}"\r\nContent-Type: {value.media_type}\r\n\r\n'
    return head.encode() + value.content
