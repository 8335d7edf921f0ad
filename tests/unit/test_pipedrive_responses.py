from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from worker.errors import (
    AccountClosed,
    Blocked,
    BudgetSpent,
    EndpointGone,
    FeatureOff,
    Forbidden,
    Gone,
    Invalid,
    NotSent,
    OutcomeUnknown,
    PipedriveError,
    RateLimited,
    Unauthorized,
    Unavailable,
    WrongAddress,
)
from worker.pipedrive.calls import (
    CALLS,
    LABELS_LIST,
    LEADS_ADD,
    LEADS_GET,
    LEADS_LIST,
    NOTES_ADD,
    NOTES_LIST,
    PERSONS_ADD,
    PERSONS_SEARCH,
    USERS_LIST,
    USERS_ME,
    Call,
    scope_of,
)
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


# What a removed endpoint answered: `status`, and no `success`.
UNKNOWN_METHOD = b'{"status":false,"error":"Unknown method ."}'


DEFINITE: list[tuple[int, dict[str, str], bytes, type[PipedriveError]]] = [
    (400, JSON, v1("bad"), Invalid),
    (400, HTML, b"<html>bad request</html>", Invalid),
    (401, JSON, v1("unauthorized access", errorCode=401), Unauthorized),
    (401, {}, b"", Unauthorized),
    (402, JSON, v1("Company account is not open"), AccountClosed),
    (402, HTML, b"<html>Payment required</html>", AccountClosed),
    (403, JSON, v1("Forbidden"), Forbidden),
    (403, JSON, b'{"success":false,"error":"cut', Forbidden),
    (403, {}, v1("Forbidden"), Forbidden),
    (403, HTML, PAGE, Blocked),
    (403, JSON, PAGE, Blocked),
    (403, {"content-type": "text/plain"}, b"error code: 1020", Blocked),
    (403, {}, b"", Blocked),
    (404, JSON, UNKNOWN_METHOD, EndpointGone),
    (404, JSON, v1("Unknown method or path"), EndpointGone),
    (404, JSON, v1("No reason"), EndpointGone),
    (404, HTML, b"<html>Not Found</html>", WrongAddress),
    (404, JSON, b'{"message":"no Route matched with those values"}', WrongAddress),
    (404, {"content-type": "text/plain"}, b"404 page not found", WrongAddress),
    (405, JSON, v1("Method not allowed"), EndpointGone),
    (405, HTML, b"<html>405 Not Allowed</html>", WrongAddress),
    (409, JSON, v1("Conflict"), Invalid),
    (410, JSON, v1("Old resource permanently unavailable"), EndpointGone),
    (410, HTML, b"<html>Gone</html>", WrongAddress),
    (413, HTML, b"<html>Too Large</html>", Invalid),
    (415, JSON, v1("Feature is not enabled"), FeatureOff),
    (422, JSON, v1("Unprocessable"), Invalid),
    (429, JSON, v1("Request over limit"), RateLimited),
    (429, JSON, v1("Daily API token budget exceeded"), BudgetSpent),
]

UNCLEAR: list[tuple[int, dict[str, str], bytes]] = [
    (200, JSON, b""),
    (200, JSON, b'{"success":true,"data":{"id":'),
    (200, JSON, b'{"success":false,"error":"Something"}'),
    (200, JSON, b'{"success":"yes","data":{}}'),
    (202, JSON, b""),
    (204, {}, b""),
    (408, JSON, v1("Request timeout")),
    (500, JSON, v1("Server error", code="ERR_UNKNOWN")),
    (502, HTML, b"<html>Bad gateway</html>"),
    (503, JSON, b""),
    (504, {}, b"upstream timed out"),
    (599, {}, b""),
]


# What Pipedrive's API never answers.
FOREIGN: list[tuple[int, dict[str, str], bytes]] = [
    (200, JSON, b'{"data":{"id":1}}'),
    (200, JSON, b'{"status":"ok"}'),
    (200, JSON, b"[1]"),
    (200, JSON, b"null"),
    (200, JSON, b"[" * 100_000),
    (200, JSON, b"\xff\xfe{}"),
    (200, HTML, PAGE),
    (200, {"content-type": "text/plain"}, b"OK"),
    (301, {"location": "https://elsewhere.example/v1/leads?x=ann@acme.example"}, b""),
    (302, {"location": "http://[bad"}, b""),
    (307, {}, b""),
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


@pytest.mark.parametrize("status", [400, 407, 413, 451, 495])
@pytest.mark.parametrize(
    ("body", "foreign"),
    [(PAGE, True), (b"nope", True), (b'{"error":"x"}', True), (v1("x"), False), (b"", False)],
)
def test_a_refusal_that_is_not_pipedrives(status: int, body: bytes, foreign: bool) -> None:
    """It is marked; to the call for our own user, which has no content, it means the address."""
    for call, kind in ((LEADS_ADD, Invalid), (USERS_ME, WrongAddress if foreign else Invalid)):
        with pytest.raises(PipedriveError) as caught:
            decipher(call, status, {}, body)
        assert (type(caught.value), caught.value.foreign) == (kind, foreign)


@pytest.mark.parametrize(
    ("status", "headers", "body", "repeatable"),
    [(*answer, Unavailable) for answer in UNCLEAR]
    + [(*answer, WrongAddress) for answer in FOREIGN],
)
@pytest.mark.parametrize("call", [LEADS_ADD, LEADS_LIST], ids=lambda call: call.name)
def test_unclear(
    call: Any, status: int, headers: dict[str, str], body: bytes, repeatable: type[PipedriveError]
) -> None:
    """What is neither success nor rejection leaves a create open, whoever sent it.

    Any other call may be repeated, if Pipedrive was there at all.
    """
    with pytest.raises(PipedriveError) as caught:
        decipher(call, status, headers, body)
    assert type(caught.value) is (OutcomeUnknown if call.create else repeatable)
    assert caught.value.status == status
    assert "acme" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "refers", "status", "body", "expected"),
    [
        (LEADS_GET, False, 404, v1("requested lead not found"), Gone),
        (LEADS_GET, False, 404, v1("anything"), Gone),
        (LEADS_GET, False, 410, v1("Gone"), Gone),
        (LEADS_GET, False, 404, b"", Gone),
        (LEADS_GET, False, 404, UNKNOWN_METHOD, EndpointGone),
        (LEADS_GET, False, 404, PAGE, WrongAddress),
        (NOTES_LIST, True, 404, v1("anything"), Gone),
        (NOTES_LIST, True, 404, UNKNOWN_METHOD, EndpointGone),
        (LEADS_ADD, True, 404, v1("Person not found"), Gone),
        (LEADS_ADD, True, 404, v1("No", error_info="Object was not found."), Gone),
        (LEADS_ADD, True, 404, v1("person with id 5 does not exist"), Gone),
        (LEADS_ADD, True, 410, v1("The person was merged"), Gone),
        (LEADS_ADD, True, 404, v1("Unknown method ."), EndpointGone),
        (LEADS_ADD, True, 404, UNKNOWN_METHOD, EndpointGone),
        (LEADS_ADD, True, 404, v1("This endpoint was removed, leads are gone"), EndpointGone),
        (LEADS_ADD, True, 410, v1("Old resource permanently unavailable"), EndpointGone),
        (NOTES_ADD, True, 404, v1("Lead not found"), Gone),
        (NOTES_ADD, True, 404, b'{"error":"Not Found"}', WrongAddress),
        (PERSONS_ADD, False, 404, v1("Not found", code="ERR_NOT_FOUND"), EndpointGone),
        (PERSONS_ADD, True, 404, v1("Organization not found"), Gone),
        (PERSONS_SEARCH, False, 404, v1("Not found", code="ERR_NOT_FOUND"), EndpointGone),
        (LABELS_LIST, False, 410, v1("Object was not found."), EndpointGone),
    ],
)
def test_what_is_missing(
    call: Call, refers: bool, status: int, body: bytes, expected: type[PipedriveError]
) -> None:
    """A missing record, a missing endpoint and a host that is not Pipedrive are told apart."""
    with pytest.raises(PipedriveError) as caught:
        decipher(call, status, JSON, body, written=["title", *(["person_id"] if refers else [])])
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("call", "message", "scope", "field"),
    [
        (USERS_LIST, "Scope and URL mismatch", "users:read", None),
        (USERS_ME, "Scope and URL mismatch", "base", None),
        (NOTES_ADD, "Scope and URL mismatch", "contacts:full", None),
        (LEADS_ADD, "Scope and URL mismatch", "leads:full", None),
        (LEADS_ADD, "This visibility is not available on your plan", None, "visible_to"),
        (LEADS_GET, "You have no visibility of this lead", None, None),
        (LEADS_ADD, "You cannot set 'visible_to'", None, "visible_to"),
        (LEADS_ADD, "You may not change owner_id", None, "owner_id"),
        (LEADS_ADD, "Forbidden", None, None),
    ],
)
def test_what_is_forbidden(call: Call, message: str, scope: str | None, field: str | None) -> None:
    """A 403 says which scope the app lacks, or which field is refused, if it says anything."""
    with pytest.raises(Forbidden) as caught:
        decipher(call, 403, JSON, v1(message), written=["visible_to"] if call.create else [])
    assert (caught.value.scope, caught.value.field) == (scope, field)


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
        ("Validation failed: emails.0.value: Invalid email", "emails"),
        ("Parameter validation failed for phones[0].value", "phones"),
        ('Couldn\'t create lead, body is invalid. - "channel" must be a number', "channel"),
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
        (
            v1("Body is invalid.", error_info='"channel" is wrong'),
            'Body is invalid. - "channel" is wrong',
        ),
        (v1("No", error_info="Please check developers.pipedrive.com for more information"), "No"),
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


def test_every_call_has_its_scope() -> None:
    """Whichever call an app may not make, the scope that it lacks can be named."""
    assert [name for name, call in CALLS.items() if not scope_of(call)] == []
