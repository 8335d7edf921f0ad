"""Extracts the operations of the sandbox from Pipedrive's OpenAPI documents, as plain JSON Schema.

    python -m tests.tools.extract openapi-v1.yaml openapi-v2.yaml

writes `v1.json` and `v2.json` in `service/sandbox/openapi`. What differs from the documents:

* `nullable` becomes the type null, `$ref`s are resolved, prose and examples are left out;
* request bodies refuse unknown keys (the documents allow any), except custom-field keys of leads;
* a body is required wherever a create or an update makes no sense without one;
* parameters that take a comma-separated list are marked, because the documents give them an enum
  of one value.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class SourceOperation(NamedTuple):
    """One operation to extract: our name, and where it is in the documents."""

    name: str
    method: str
    path: str


OPERATIONS: dict[str, tuple[SourceOperation, ...]] = {
    "v1": (
        SourceOperation("leads.list", "get", "/leads"),
        SourceOperation("leads.add", "post", "/leads"),
        SourceOperation("leads.archived", "get", "/leads/archived"),
        SourceOperation("leads.get", "get", "/leads/{id}"),
        SourceOperation("leads.update", "patch", "/leads/{id}"),
        SourceOperation("leads.delete", "delete", "/leads/{id}"),
        SourceOperation("labels.list", "get", "/leadLabels"),
        SourceOperation("labels.add", "post", "/leadLabels"),
        SourceOperation("labels.update", "patch", "/leadLabels/{id}"),
        SourceOperation("labels.delete", "delete", "/leadLabels/{id}"),
        SourceOperation("sources.list", "get", "/leadSources"),
        SourceOperation("lead_fields.list", "get", "/leadFields"),
        SourceOperation("notes.list", "get", "/notes"),
        SourceOperation("notes.add", "post", "/notes"),
        SourceOperation("notes.get", "get", "/notes/{id}"),
        SourceOperation("notes.update", "put", "/notes/{id}"),
        SourceOperation("notes.delete", "delete", "/notes/{id}"),
        SourceOperation("files.list", "get", "/files"),
        SourceOperation("files.add", "post", "/files"),
        SourceOperation("users.list", "get", "/users"),
        SourceOperation("users.me", "get", "/users/me"),
        SourceOperation("currencies.list", "get", "/currencies"),
        SourceOperation("oauth.token", "post", "/oauth/token/"),
    ),
    "v2": (
        SourceOperation("persons.list", "get", "/persons"),
        SourceOperation("persons.add", "post", "/persons"),
        SourceOperation("persons.search", "get", "/persons/search"),
        SourceOperation("persons.get", "get", "/persons/{id}"),
        SourceOperation("persons.update", "patch", "/persons/{id}"),
        SourceOperation("persons.delete", "delete", "/persons/{id}"),
        SourceOperation("organizations.list", "get", "/organizations"),
        SourceOperation("organizations.add", "post", "/organizations"),
        SourceOperation("organizations.search", "get", "/organizations/search"),
        SourceOperation("organizations.get", "get", "/organizations/{id}"),
        SourceOperation("organizations.update", "patch", "/organizations/{id}"),
        SourceOperation("organizations.delete", "delete", "/organizations/{id}"),
        SourceOperation("deal_fields.list", "get", "/dealFields"),
        SourceOperation("deal_fields.get", "get", "/dealFields/{field_code}"),
        SourceOperation("person_fields.list", "get", "/personFields"),
        SourceOperation("person_fields.get", "get", "/personFields/{field_code}"),
        SourceOperation("deals.list", "get", "/deals"),
        SourceOperation("deals.archived", "get", "/deals/archived"),
        SourceOperation("deals.update", "patch", "/deals/{id}"),
        SourceOperation("leads.search", "get", "/leads/search"),
        SourceOperation("leads.convert", "post", "/leads/{id}/convert/deal"),
        SourceOperation("leads.conversion", "get", "/leads/{id}/convert/status/{conversion_id}"),
    ),
}

CUSTOM_FIELD_KEYS = "^[0-9a-f]{40}$"
SCHEMA_KEYS = (
    "type",
    "format",
    "enum",
    "default",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "additionalProperties",
)
OPTIONAL_BODIES = frozenset({"leads.convert"})
WITH_CUSTOM_FIELDS = frozenset({"leads.add", "leads.update"})
MAX_DEPTH = 40


def extract(version: str, document: dict[str, Any]) -> dict[str, Any]:
    """The operations of the sandbox in one OpenAPI document; `version` is "v1" or "v2"."""
    operations = [_build_operation(document, source) for source in OPERATIONS[version]]
    return {"title": document["info"]["title"], "version": version, "operations": operations}


def load(path: Path) -> dict[str, Any]:
    """Read a YAML document, compressed with gzip or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(raw, Loader=loader)
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not an OpenAPI document")
    return document


def dump(extracted: dict[str, Any]) -> str:
    """The text of an extract, as it is committed."""
    return json.dumps(extracted, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _build_operation(document: dict[str, Any], source: SourceOperation) -> dict[str, Any]:
    operation = document["paths"][source.path][source.method]
    return {
        "name": source.name,
        "operation_id": operation["operationId"],
        "method": source.method.upper(),
        "path": source.path.rstrip("/"),
        "tokens": operation["x-token-cost"],
        "parameters": [
            _build_parameter(document, item) for item in operation.get("parameters", [])
        ],
        "body": _build_body(document, source, operation.get("requestBody")),
        "responses": {
            status: _build_response(document, item)
            for status, item in operation["responses"].items()
        },
    }


def _build_parameter(document: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    prose = (item.get("description") or item["schema"].get("description") or "").lower()
    return {
        "name": item["name"],
        "in": item["in"],
        "required": bool(item.get("required")),
        "schema": _build_schema(document, item["schema"]),
        "form": _parse_form(prose),
    }


def _parse_form(prose: str) -> str:
    if "sorting mode separated by a comma" in prose:
        return "sort"
    return "list" if "comma separated" in prose or "comma-separated" in prose else "single"


def _build_body(
    document: dict[str, Any], source: SourceOperation, item: dict[str, Any] | None
) -> dict[str, Any] | None:
    if item is None:
        return None
    ((media_type, content),) = item["content"].items()
    schema = _close(_build_schema(document, content["schema"]))
    if source.name in WITH_CUSTOM_FIELDS:
        schema["patternProperties"] = {CUSTOM_FIELD_KEYS: {}}
    return {
        "media_type": media_type,
        "required": source.name not in OPTIONAL_BODIES,
        "schema": schema,
    }


def _build_response(document: dict[str, Any], item: dict[str, Any]) -> dict[str, Any] | None:
    content = item.get("content", {}).get("application/json")
    return _build_schema(document, content["schema"]) if content else None


def _close(schema: dict[str, Any]) -> dict[str, Any]:
    """The `allOf` parts of a body as one object, because `additionalProperties` sees only one."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in [schema, *schema.get("allOf", [])]:
        properties |= part.get("properties", {})
        required += part.get("required", [])
    closed: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return closed | ({"required": required} if required else {})


def _build_schema(document: dict[str, Any], node: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ValueError("a schema refers to itself")
    if "$ref" in node:
        return _build_schema(document, _resolve(document, node["$ref"]), depth + 1)
    schema: dict[str, Any] = {key: node[key] for key in SCHEMA_KEYS if key in node}
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _build_schema(
            document, schema["additionalProperties"], depth + 1
        )
    if "properties" in node:
        schema["properties"] = {
            name: _build_schema(document, child, depth + 1)
            for name, child in node["properties"].items()
        }
    if "items" in node:
        schema["items"] = _build_schema(document, node["items"], depth + 1)
    for several in ("allOf", "anyOf", "oneOf"):
        if several in node:
            schema[several] = [_build_schema(document, child, depth + 1) for child in node[several]]
    return _allow_null(schema) if node.get("nullable") else schema


def _allow_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def _resolve(document: dict[str, Any], reference: str) -> dict[str, Any]:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    if not isinstance(node, dict):
        raise ValueError(f"{reference} is not a schema")
    return node


def main(arguments: list[str]) -> int:
    """Write both extracts; the arguments are the paths of the v1 and the v2 document."""
    if len(arguments) != len(OPERATIONS):
        print("usage: python -m tests.tools.extract V1.yaml V2.yaml", file=sys.stderr)
        return 2
    folder = Path(__file__).parents[2] / "service/sandbox/openapi"
    for version, path in zip(OPERATIONS, arguments, strict=True):
        (folder / f"{version}.json").write_text(
            dump(extract(version, load(Path(path)))), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
