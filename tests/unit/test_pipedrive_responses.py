from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from worker.errors import (
    Blocked,
    BudgetSpent,
    Forbidden,
    Gone,
    Invalid,
    NotSent,
    OutcomeUnknown,
    PipedriveError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from worker.pipedrive.calls import CALLS, LEADS_ADD, LEADS_LIST, PERSONS_ADD
from worker.pipedrive.redaction import find_rejected_field
from worker.pipedrive.responses import connection_error, decipher

JSON = {"content-type": "application/json; charset=utf-8"}
HTML = {"content-type": "text/html"}
PAGE = b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"


def v1(error: str, **more: Any) -> bytes:
    answer = {
        "success": False,
        "error": error,
        "error_info": None,
        "data": None,
        "additional_data": None,
    }
    return json.dumps(answer | more).encode()


DEFINITE: list[tuple[int, dict[str, str], bytes, type[PipedriveError]]] = [
    (400, JSON, v1("bad"), Invalid),
    (400, HTML, b"<html>bad request</html>", Invalid),
    (401, JSON, v1("unauthorized access", errorCode=401), Unauthorized),
    (401, {}, b"", Unauthorized),
    (402, JSON, v1("Payment required"), Invalid),
    (403, JSON, v1("Forbidden"), Forbidden),
    (403, JSON, b'{"success":false,"error":"cut', Forbidden),
    (403, {}, v1("Forbidden"), Forbidden),
    (403, HTML, PAGE, Blocked),
    (403, JSON, PAGE, Blocked),
    (403, {"content-type": "text/plain"}, b"error code: 1020", Blocked),
    (403, {}, b"", Blocked),
    (404, JSON, v1("requested lead not found"), Gone),
    (405, JSON, v1("Method not allowed"), Invalid),
    (409, JSON, v1("Conflict"), Invalid),
    (410, JSON, v1("Gone"), Gone),
    (415, JSON, v1("Unsupported media type"), Invalid),
    (422, JSON, v1("Unprocessable"), Invalid),
    (429, JSON, v1("Request over limit"), RateLimited),
    (429, JSON, v1("Daily API token budget exceeded"), BudgetSpent),
]

UNCLEAR: list[tuple[int, dict[str, str], bytes]] = [
    (200, JSON, b""),
    (200, JSON, b'{"success":true,"data":{"id":'),
    (200, JSON, b'{"success":false,"error":"Something"}'),
    (200, JSON, b'{"success":"yes","data":{}}'),
    (200, JSON, b'{"data":{"id":1}}'),
    (200, JSON, b"[1]"),
    (200, JSON, b"null"),
    (200, JSON, b"[" * 100_000),
    (200, JSON, b"\xff\xfe{}"),
    (200, HTML, PAGE),
    (202, JSON, b""),
    (204, {}, b""),
    (301, {"location": "https://elsewhere.example/v1/leads?x=ann@acme.example"}, b""),
    (302, {"location": "http://[bad"}, b""),
    (307, {}, b""),
    (408, JSON, v1("Request timeout")),
    (500, JSON, v1("Server error", code="ERR_UNKNOWN")),
    (502, HTML, b"<html>Bad gateway</html>"),
    (503, JSON, b""),
    (504, {}, b"upstream timed out"),
    (599, {}, b""),
]


@pytest.mark.parametrize(("status", "headers", "body", "expected"), DEFINITE)
@pytest.mark.parametrize("call", [LEADS_ADD, LEADS_LIST], ids=lambda call: call.name)
def test_definite(
    call: Any, status: int, headers: dict[str, str], body: bytes, expected: type[PipedriveError]
) -> None:
    """A refusal is the same for a create as for a read: nothing was done."""
    with pytest.raises(PipedriveError) as caught:
        decipher(call, status, headers, body)
    assert type(caught.value) is expected
    assert (caught.value.call, caught.value.status) == (call.name, status)


@pytest.mark.parametrize(("status", "headers", "body"), UNCLEAR)
@pytest.mark.parametrize(
    ("call", "expected"), [(LEADS_ADD, OutcomeUnknown), (LEADS_LIST, Unavailable)]
)
def test_unclear(
    call: Any, expected: type[PipedriveError], status: int, headers: dict[str, str], body: bytes
) -> None:
    """What is neither success nor rejection leaves a create open; anything else may be repeated."""
    with pytest.raises(PipedriveError) as caught:
        decipher(call, status, headers, body)
    assert type(caught.value) is expected
    assert caught.value.status == status
    assert "acme" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "data", "additional"),
    [
        (b'{"success":true,"data":{"id":1}}', {"id": 1}, {}),
        (b'{"success":true,"data":null,"additional_data":null}', None, {}),
        (
            b'{"success":true,"data":[],"additional_data":{"next_cursor":"x"}}',
            [],
            {"next_cursor": "x"},
        ),
        (b'{"success":true,"data":[],"additional_data":[1]}', [], {}),
    ],
)
def test_success(body: bytes, data: Any, additional: dict[str, Any]) -> None:
    """A success gives its data, and for lists what tells where the next page is."""
    for status in (200, 201):
        answer = decipher(LEADS_LIST, status, JSON, body)
        assert (answer.data, answer.additional) == (data, additional)


@pytest.mark.parametrize(
    ("error", "sent_bytes", "create", "other"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), None, NotSent, NotSent),
        (httpx.ConnectError("certificate has expired"), 0, NotSent, NotSent),
        (httpx.ConnectTimeout("timed out"), 0, NotSent, NotSent),
        (httpx.PoolTimeout(""), None, NotSent, NotSent),
        (httpx.LocalProtocolError("Illegal header value"), 0, NotSent, NotSent),
        (httpx.WriteError("Broken pipe"), 0, NotSent, NotSent),
        (httpx.ReadError("Connection reset by peer"), 0, NotSent, NotSent),
        (httpx.WriteError("Broken pipe"), 100, OutcomeUnknown, Unavailable),
        (httpx.ReadError("Connection reset by peer"), 100, OutcomeUnknown, Unavailable),
        (httpx.ReadError("Connection reset by peer"), None, OutcomeUnknown, Unavailable),
        (httpx.ReadTimeout("timed out"), 100, OutcomeUnknown, Unavailable),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            100,
            OutcomeUnknown,
            Unavailable,
        ),
        (httpx.LocalProtocolError("late"), 100, OutcomeUnknown, Unavailable),
    ],
)
def test_lost(
    error: Exception,
    sent_bytes: int | None,
    create: type[PipedriveError],
    other: type[PipedriveError],
) -> None:
    """Without an answer, only what certainly never left counts as not sent."""
    assert type(connection_error(LEADS_ADD, error, sent_bytes=sent_bytes)) is create
    assert type(connection_error(LEADS_LIST, error, sent_bytes=sent_bytes)) is other


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('"title" length must be less than or equal to 255 characters long', "title"),
        ('One of the "person_id" or "organization_id" must be set.', "person_id"),
        ("Name must be given.", "name"),
        ("Email must be given if marketing status is set.", "email"),
        ('"value.currency" is required', "value.currency"),
        ('"emails[0].value" must be a string', "emails"),
        ('"label_ids[1]" must be a valid GUID', "label_ids"),
        ("Parameter 'owner_id' is invalid", "owner_id"),
        ("body/phones/0/value must be string", "phones"),
        ("Provided organization_id does not exist", "organization_id"),
        (
            "custom_fields.dcf558aac1ae4e8c4f849ba5e668430d8df9be12 must be a number",
            "dcf558aac1ae4e8c4f849ba5e668430d8df9be12",
        ),
        (
            '"dcf558aac1ae4e8c4f849ba5e668430d8df9be12" must be a number',
            "dcf558aac1ae4e8c4f849ba5e668430d8df9be12",
        ),
        (
            (
                "Note must be associated with at least one organization, person, deal, lead or"
                " project."
            ),
            None,
        ),
        ("Bad request", None),
        ('"something" is odd', None),
        ("", None),
    ],
)
def test_field(text: str, field: str | None) -> None:
    """The field that Pipedrive complains of is found in its own words, where it names one."""
    assert find_rejected_field(text) == field
    with pytest.raises(Invalid) as caught:
        decipher(LEADS_ADD, 400, JSON, v1(text))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (v1("Limit", code="feature_capping_deals_limit"), "feature_capping_deals_limit"),
        (b'{"success":false,"error":"Scope and URL mismatch","errorCode":403}', "403"),
        (v1("No"), None),
        (v1("No", code={"odd": 1}), None),
        (v1("No", code=True), None),
    ],
)
def test_vendor_code(body: bytes, code: str | None) -> None:
    """A plan limit and a missing permission are told apart by Pipedrive's own code."""
    with pytest.raises(Forbidden) as caught:
        decipher(LEADS_ADD, 403, JSON, body)
    assert caught.value.vendor_code == code


def test_words_are_bounded_and_inert() -> None:
    """An error's text is one line of at most 500 characters without control characters."""
    body = v1("a\r\nb\x1b[31mc\u2028d\u202ee\x00" + "x" * 10_000)
    with pytest.raises(Invalid) as caught:
        decipher(LEADS_ADD, 400, JSON, body)
    assert caught.value.detail.startswith("a b [31mc d e x")
    assert len(caught.value.detail) == 500
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(
    "echo",
    [
        "Email Ann.Lee+x@acme.example is taken",
        "<ann.lee+x@ACME.example>",
        "phone +49 (0)170 123-4567 is wrong",
        "person Ann Lee exists",
        "ANN LEE",
        (
            "note: Please call me about the offer you made to my brother in May, his name is Tom"
            " and he said that"
        ),
        "note: Please call me about the offer you made to my bro",
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_personal_data(echo: str, status: int) -> None:
    """What we sent, and e-mails and phone numbers, do not come back in an error's text."""
    note = (
        "Please call me about the offer you made to my brother in May, his name is Tom and he said"
        " that it is fine."
    )
    with pytest.raises(PipedriveError) as caught:
        decipher(
            PERSONS_ADD,
            status,
            JSON,
            v1(echo),
            sent=["Ann Lee", "ann.lee+x@acme.example", note, "no", ""],
        )
    for part in ("ann", "lee", "acme", "170", "brother", "my bro", "tom"):
        assert part not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"success":false,"error":{"message":"inner"}}', "inner"),
        (b'{"success":false,"errors":[{"message":"one"},{"message":"two"}]}', "one; two"),
        (b'{"success":false,"error":"Same","error_info":"Same"}', "Same"),
        (b"{}", "no reason given"),
        (b"", "no reason given"),
        (b"  <html>", "answered with an HTML page"),
        (b"plain words", "plain words"),
    ],
)
def test_words_are_found(body: bytes, detail: str) -> None:
    """Pipedrive's own words are found in each of the shapes it puts them in."""
    with pytest.raises(Invalid) as caught:
        decipher(LEADS_ADD, 400, JSON, body)
    assert caught.value.detail == detail


def test_creates() -> None:
    """Exactly the POSTs are creates, and only what asks the search index is a search."""
    assert all(call.create == (call.method == "POST") for call in CALLS.values())
    assert {name for name, call in CALLS.items() if call.search} == {
        "persons.search",
        "organizations.search",
    }
    assert all(name == call.name for name, call in CALLS.items())
