"""The sandbox checked against Pipedrive's documents, by a validator that shares no code with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing.requests import MockRequest
from openapi_core.testing.responses import MockResponse

from service.sandbox.api_operations import read_operations
from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import ManualClock, connect_directly
from tests.sandbox.documents import (
    LISTS,
    NULLABLE,
    UNDOCUMENTED,
    Document,
    build_validator,
    build_validator_without,
    list_parts,
    lookup_document,
)
from tests.sandbox.exchanges import Exchange, talk, talk_amid_changes

HOST = "https://api.pipedrive.com"
PREFIXES = {"v1": "/v1", "v2": "/api/v2"}
NAMES = [operation.name for operation in read_operations()]


@pytest.fixture(scope="module")
def exchanges() -> Iterator[list[Exchange]]:
    clock = ManualClock()
    with connect_directly(SandboxSettings(), clock) as client:
        yield talk(client, clock)


@pytest.mark.parametrize("name", NAMES)
def test_requests_and_answers_suit_the_document(exchanges: list[Exchange], name: str) -> None:
    """The documents allow what the sandbox accepts, and describe what it answers."""
    of_operation = [exchange for exchange in exchanges if exchange.operation == name]
    assert of_operation
    for exchange in of_operation:
        _validate(build_validator(exchange.version), exchange)


def test_a_changed_account_suits_the_document() -> None:
    """Whatever people do to the account, and with contact sync, answers stay as documented."""
    clock = ManualClock()
    with connect_directly(SandboxSettings(contact_sync=True), clock) as client:
        exchanges = talk_amid_changes(client, clock)
    for exchange in (each for each in exchanges if each.status < 400):
        _validate(build_validator(exchange.version), exchange)
        document, schema = lookup_document(exchange.version), _answer_schema(exchange)
        unknown = _unknown_keys(document, schema, exchange.document)
        assert {key for key in unknown if not _is_custom(key)} <= UNDOCUMENTED


@pytest.mark.parametrize("name", NAMES)
def test_answers_hold_nothing_undocumented(exchanges: list[Exchange], name: str) -> None:
    """No response has a key that the documents do not know."""
    for exchange in exchanges:
        if exchange.operation == name and exchange.status < 400:
            schema = _answer_schema(exchange)
            unknown = _unknown_keys(lookup_document(exchange.version), schema, exchange.document)
            assert {key for key in unknown if not _is_custom(key)} <= UNDOCUMENTED


@pytest.mark.parametrize("name", sorted(NULLABLE.keys() | LISTS.keys()))
def test_every_known_mistake_is_still_one(exchanges: list[Exchange], name: str) -> None:
    """Each known mistake is still one: without its correction the validator refuses something."""
    concerned = [
        exchange for exchange in exchanges if exchange.operation == name and exchange.status < 400
    ]
    for place in (*NULLABLE.get(name, ()), *([LISTS[name]] if name in LISTS else [])):
        unmended = build_validator_without(concerned[0].version, (name, place))
        assert [exchange for exchange in concerned if not _is_valid(unmended, exchange)], place


@pytest.mark.parametrize(
    ("version", "method", "path", "body"),
    [
        ("v1", "patch", "/leads/00000000-0000-4000-8000-000000000000", b'{"origin_id":"x"}'),
        ("v1", "post", "/leads", b'{"title":"x","note":"gone since 2021"}'),
        ("v1", "post", "/leads", b'{"title":"nobody"}'),
        ("v1", "post", "/leads", b'{"title":"' + b"x" * 256 + b'","person_id":1}'),
        ("v1", "post", "/leads", b'{"title":"x","person_id":1,"channel":1}'),
        ("v1", "post", "/notes", b'{"content":"about nobody"}'),
        ("v2", "post", "/persons", b'{"name":"x","email":"x@example.org"}'),
        ("v2", "post", "/persons", b"{}"),
    ],
)
def test_documents_are_too_loose_here(version: str, method: str, path: str, body: bytes) -> None:
    """The sandbox refuses requests that the server refuses, although the documents allow them."""
    request = MockRequest(
        HOST,
        method,
        PREFIXES[version] + path,
        headers={"x-api-token": "t"},
        data=body,
        content_type="application/json",
    )
    build_validator(version).validate_request(request)
    with connect_directly(SandboxSettings(), ManualClock()) as client:
        answer = client.request(
            method,
            PREFIXES[version] + path,
            content=body,
            headers={"content-type": "application/json"},
        )
    assert answer.status_code in {400, 404}
    assert answer.json()["success"] is False


def _validate(openapi: OpenAPI, exchange: Exchange) -> None:
    is_token = exchange.operation == "oauth.token"
    request = MockRequest(
        "https://oauth.pipedrive.com" if is_token else HOST,
        exchange.method.lower(),
        exchange.path if is_token else PREFIXES[exchange.version] + exchange.path,
        args=exchange.query,
        headers={"x-api-token": "t", "authorization": "Basic c2FuZGJveDo="},
        data=exchange.body or None,
        content_type=exchange.content_type or "application/json",
    )
    if exchange.status < 400:
        openapi.validate_request(request)
    openapi.validate_response(request, MockResponse(exchange.answer, status_code=exchange.status))


def _is_valid(openapi: OpenAPI, exchange: Exchange) -> bool:
    try:
        _validate(openapi, exchange)
    except OpenAPIError:
        return False
    return True


def _answer_schema(exchange: Exchange) -> Document:
    document = lookup_document(exchange.version)
    (operation,) = [item for item in read_operations() if item.name == exchange.operation]
    responses = document["paths"][operation.path][operation.method.lower()]["responses"]
    schema: Document = responses[str(exchange.status)]["content"]["application/json"]["schema"]
    return schema


def _unknown_keys(document: Document, schema: Document, value: Any) -> set[str]:
    parts = list_parts(document, schema)
    if isinstance(value, list):
        items = [part["items"] for part in parts if "items" in part]
        return (
            set().union(*(_unknown_keys(document, {"allOf": items}, item) for item in value))
            if items
            else set()
        )
    properties: dict[str, Document] = {}
    for part in parts:
        properties |= part.get("properties", {})
    if not isinstance(value, dict) or not properties:
        return set()
    below = (
        _unknown_keys(document, properties[key], child)
        for key, child in value.items()
        if key in properties
    )
    return {key for key in value if key not in properties}.union(*below)


def _is_custom(key: str) -> bool:
    return len(key) == 40
