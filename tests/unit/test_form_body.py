"""Request bodies with a file in them."""

from __future__ import annotations

import pytest

from worker.contract import Raw
from worker.lead.uploads import UploadedFile, read_uploads
from worker.pipedrive.form_body import content_type_of, encode_form


@pytest.mark.parametrize("content", [b"%PDF-1.7\r\n--leadline-\r\n", b"%PDF-1" + bytes(range(256))])
def test_a_file_survives_its_form(content: bytes) -> None:
    """Any content comes out as it went in, whatever it contains."""
    body = encode_form(
        {"lead_id": "abc", "file": UploadedFile("Größe.pdf", "application/pdf", content)}
    )
    raw = Raw("POST", "", content_type_of(body), [], body)
    [upload] = read_uploads(raw).files
    assert (upload.name, upload.content) == ("Größe.pdf", content)
    assert b'name="lead_id"\r\n\r\nabc\r\n' in body


def test_other_bodies_are_json() -> None:
    """Only a body that was encoded as a form is sent as one."""
    assert content_type_of(b'{"a":1}') == "application/json"
