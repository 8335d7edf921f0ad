"""The committed extract agrees with the documents."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml

from service.sandbox.api_operations import read_operations
from service.sandbox.resources.handlers import HANDLERS
from tests.sandbox.documents import FOLDER
from tests.tools.extract import OPERATIONS, SourceOperation, dump, extract, load, main


@pytest.fixture(scope="module", params=["v1", "v2"])
def document(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    version = str(request.param)
    return version, load(FOLDER / f"openapi-{version}.yaml.gz")


def test_committed_extract_is_fresh(document: tuple[str, dict[str, Any]]) -> None:
    """A new extraction from the committed documents gives the committed files, byte for byte."""
    version, source = document
    committed = (files("service.sandbox") / "openapi" / f"{version}.json").read_text(
        encoding="utf-8"
    )
    assert dump(extract(version, source)) == committed


def test_prices_are_the_documents(document: tuple[str, dict[str, Any]]) -> None:
    """Every operation costs what `x-token-cost` says."""
    version, source = document
    prices = {
        operation.name: operation.tokens
        for operation in read_operations()
        if operation.version == version
    }
    assert prices == {
        each.name: source["paths"][each.path][each.method]["x-token-cost"]
        for each in OPERATIONS[version]
    }


def test_every_operation_has_a_handler() -> None:
    """The extracted operations and the handlers are the same."""
    names = [operation.name for operation in read_operations()]
    assert sorted(names) == sorted([*HANDLERS, "oauth.token"])


def test_bodies_are_closed() -> None:
    """Every body refuses unknown keys; only leads accept keys of custom fields."""
    for operation in read_operations():
        if operation.body:
            assert operation.body.schema["additionalProperties"] is False
            assert ("patternProperties" in operation.body.schema) is (
                operation.name in {"leads.add", "leads.update"}
            )


def test_nothing_of_openapi_is_left() -> None:
    """The extract is plain JSON Schema: no `nullable`, no `$ref`, no prose."""
    text = "".join(
        (files("service.sandbox") / "openapi" / f"{version}.json").read_text(encoding="utf-8")
        for version in OPERATIONS
    )
    assert [
        key for key in ('"nullable"', '"$ref"', '"description": "', '"example"') if key in text
    ] == []


def test_nullable_becomes_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nullable` becomes the type null, and a value of the enum if there is one."""
    source = yaml.safe_load("""
        info: {title: T}
        components: {schemas: {Colour: {type: string, enum: [red], nullable: true, description: D}}}
        paths:
          /persons:
            get:
              operationId: o
              x-token-cost: 3
              responses:
                '200': {content: {application/json: {schema: {$ref: '#/components/schemas/Colour'}}}}
        """)
    monkeypatch.setitem(OPERATIONS, "v2", (SourceOperation("persons.list", "get", "/persons"),))
    (operation,) = extract("v2", source)["operations"]
    assert operation["responses"]["200"] == {"type": ["string", "null"], "enum": ["red", None]}


def test_wrong_use_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its two documents the script explains its usage and fails."""
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
