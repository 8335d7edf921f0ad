"""Cuts the operations of the sandbox out of Pipedrive's OpenAPI documents, as plain JSON Schema.

    python -m tests.tools.extract openapi-v1.yaml openapi-v2.yaml

writes `openapi/v1.json` and `openapi/v2.json` beside this file. What differs from the documents:

* `nullable` becomes a type of its own, `$ref`s are resolved, prose and examples are left out;
* request bodies refuse unknown keys (the documents let any key pass), except custom-field keys on
  leads;
* a body is required wherever a create or update makes no sense without one;
* parameters that take a comma-separated list are marked, because the documents give them a
  one-value enum.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Cut(NamedTuple):
    """One operation to take over: our name for it and where the documents have it."""

    name: str
    method: str
    path: str


CUTS: dict[str, tuple[Cut, ...]] = {
    "v1": (
        Cut("leads.list", "get", "/leads"),
        Cut("leads.add", "post", "/leads"),
        Cut("leads.archived", "get", "/leads/archived"),
        Cut("leads.get", "get", "/leads/{id}"),
        Cut("leads.update", "patch", "/leads/{id}"),
        Cut("leads.delete", "delete", "/leads/{id}"),
        Cut("labels.list", "get", "/leadLabels"),
        Cut("labels.add", "post", "/leadLabels"),
        Cut("labels.update", "patch", "/leadLabels/{id}"),
        Cut("labels.delete", "delete", "/leadLabels/{id}"),
        Cut("sources.list", "get", "/leadSources"),
        Cut("lead_fields.list", "get", "/leadFields"),
        Cut("notes.list", "get", "/notes"),
        Cut("notes.add", "post", "/notes"),
        Cut("notes.get", "get", "/notes/{id}"),
        Cut("notes.update", "put", "/notes/{id}"),
        Cut("notes.delete", "delete", "/notes/{id}"),
        Cut("users.list", "get", "/users"),
        Cut("users.me", "get", "/users/me"),
        Cut("currencies.list", "get", "/currencies"),
        Cut("oauth.token", "post", "/oauth/token/"),
    ),
    "v2": (
        Cut("persons.list", "get", "/persons"),
        Cut("persons.add", "post", "/persons"),
        Cut("persons.search", "get", "/persons/search"),
        Cut("persons.get", "get", "/persons/{id}"),
        Cut("persons.update", "patch", "/persons/{id}"),
        Cut("persons.delete", "delete", "/persons/{id}"),
        Cut("organizations.list", "get", "/organizations"),
        Cut("organizations.add", "post", "/organizations"),
        Cut("organizations.search", "get", "/organizations/search"),
        Cut("organizations.get", "get", "/organizations/{id}"),
        Cut("organizations.update", "patch", "/organizations/{id}"),
        Cut("organizations.delete", "delete", "/organizations/{id}"),
        Cut("deal_fields.list", "get", "/dealFields"),
        Cut("deal_fields.get", "get", "/dealFields/{field_code}"),
        Cut("person_fields.list", "get", "/personFields"),
        Cut("person_fields.get", "get", "/personFields/{field_code}"),
        Cut("deals.list", "get", "/deals"),
        Cut("leads.search", "get", "/leads/search"),
        Cut("leads.convert", "post", "/leads/{id}/convert/deal"),
        Cut("leads.conversion", "get", "/leads/{id}/convert/status/{conversion_id}"),
    ),
}

CUSTOM_FIELD_KEYS = "^[0-9a-f]{40}$"
KEPT = (
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
BODY_OPTIONAL = frozenset({"leads.convert"})
WITH_CUSTOM_FIELDS = frozenset({"leads.add", "leads.update"})
DEEPEST = 40


def extract(version: str, document: dict[str, Any]) -> dict[str, Any]:
    """The sandbox's cut of one OpenAPI document."""
    operations = [_operation(document, cut) for cut in CUTS[version]]
    return {"title": document["info"]["title"], "version": version, "operations": operations}


def load(path: Path) -> dict[str, Any]:
    """Reads a YAML document, gzip-compressed or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(raw, Loader=loader)
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not an OpenAPI document")
    return document


def dump(cut: dict[str, Any]) -> str:
    """The text of an extract as it is committed."""
    return json.dumps(cut, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _operation(document: dict[str, Any], cut: Cut) -> dict[str, Any]:
    found = document["paths"][cut.path][cut.method]
    return {
        "name": cut.name,
        "operation_id": found["operationId"],
        "method": cut.method.upper(),
        "path": cut.path.rstrip("/"),
        "tokens": found["x-token-cost"],
        "parameters": [_parameter(document, item) for item in found.get("parameters", [])],
        "body": _body(document, cut, found.get("requestBody")),
        "responses": {
            status: _response(document, item) for status, item in found["responses"].items()
        },
    }


def _parameter(document: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    prose = (item.get("description") or item["schema"].get("description") or "").lower()
    listed = "comma separated" in prose or "comma-separated" in prose
    return {
        "name": item["name"],
        "in": item["in"],
        "required": bool(item.get("required")),
        "schema": _schema(document, item["schema"]),
        "form": "sort"
        if "sorting mode separated by a comma" in prose
        else "list"
        if listed
        else "single",
    }


def _body(document: dict[str, Any], cut: Cut, item: dict[str, Any] | None) -> dict[str, Any] | None:
    if item is None:
        return None
    ((media_type, content),) = item["content"].items()
    schema = _closed(_schema(document, content["schema"]))
    if cut.name in WITH_CUSTOM_FIELDS:
        schema["patternProperties"] = {CUSTOM_FIELD_KEYS: {}}
    return {"media_type": media_type, "required": cut.name not in BODY_OPTIONAL, "schema": schema}


def _response(document: dict[str, Any], item: dict[str, Any]) -> dict[str, Any] | None:
    content = item.get("content", {}).get("application/json")
    return _schema(document, content["schema"]) if content else None


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A body's `allOf` parts as one object, because `additionalProperties` does not see across
    them.
    """
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


def _schema(document: dict[str, Any], node: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    if depth > DEEPEST:
        raise ValueError("a schema refers to itself")
    if "$ref" in node:
        return _schema(document, _resolve(document, node["$ref"]), depth + 1)
    made: dict[str, Any] = {key: node[key] for key in KEPT if key in node}
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _schema(document, made["additionalProperties"], depth + 1)
    if "properties" in node:
        made["properties"] = {
            name: _schema(document, child, depth + 1) for name, child in node["properties"].items()
        }
    if "items" in node:
        made["items"] = _schema(document, node["items"], depth + 1)
    for several in ("allOf", "anyOf", "oneOf"):
        if several in node:
            made[several] = [_schema(document, child, depth + 1) for child in node[several]]
    return _nullable(made) if node.get("nullable") else made


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def _resolve(document: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    if not isinstance(found, dict):
        raise ValueError(f"{reference} is no schema")
    return found


def main(arguments: list[str]) -> int:
    """Writes both extracts; the arguments are the paths of the v1 and the v2 document."""
    if len(arguments) != len(CUTS):
        print("usage: python -m tests.tools.extract V1.yaml V2.yaml", file=sys.stderr)
        return 2
    folder = Path(__file__).parent / "openapi"
    for version, path in zip(CUTS, arguments, strict=True):
        (folder / f"{version}.json").write_text(
            dump(extract(version, load(Path(path)))), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
