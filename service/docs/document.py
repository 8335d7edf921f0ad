"""The OpenAPI 3.1 document: Litestar's part for `/ops/api`, and the hand-written public routes.

Litestar generates what typed handlers say. Added here is what they cannot say: examples, servers,
and how each source's senders prove who they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from service.docs import intake_paths, service_paths
from service.ops.api.examples import CAUSE_ID, EXAMPLES, SUBMISSION_ID
from service.sources.schema import Source
from service.web.problems import MEDIA_TYPE

METHODS = ("get", "head", "post", "options")
PARAMETER_EXAMPLES = {
    "bom": False,
    "cause": CAUSE_ID,
    "cursor": "ky0x",
    "hours": 24,
    "id": SUBMISSION_ID,
    "ignored": True,
    "limit": 50,
    "q": "email:ada",
    "reveal": False,
    "source": "contact",
    "state": "dead",
}
# Litestar names the schema of a generic struct after the full path of its argument.
_GENERIC_NAME = re.compile(r"Page_[\w.]*?(\w+)_(?=\")")

Json = dict[str, Any]


def build_document(
    api: Router, sources: Mapping[str, Source], public_url: str | None = None
) -> Json:
    """The whole document as plain data.

    `api` is the operators' router; it is documented whether or not it is open. `public_url` is the
    address that senders see; without one, it is the server that serves the document.
    """
    document = _generate(api)
    for _, _, operation in operations(document):
        _complete(operation)
        _complete_body(operation.get("requestBody"), document["components"]["schemas"])
    document["servers"] = [{"url": (public_url or "").rstrip("/") or "/"}]
    document["paths"] = (
        intake_paths.intake_paths(sources)
        | intake_paths.receipt_paths()
        | document["paths"]
        | service_paths.monitoring_paths()
        | service_paths.page_paths()
    )
    components = document["components"]
    components["schemas"] |= intake_paths.intake_schemas() | service_paths.monitoring_schemas()
    components["securitySchemes"] |= intake_paths.security_schemes(sources)
    return document


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Every path and method with its operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _generate(api: Router) -> Json:
    """Litestar's description of the router, as plain JSON."""
    ops = SecurityScheme(
        type="http", scheme="bearer", description="A token of `LEADLINE_OPS_TOKENS`."
    )
    config = OpenAPIConfig(
        title="Leadline",
        version=_version(),
        description="Takes web forms and webhooks, and brings each as one lead into Pipedrive.",
        components=Components(security_schemes={"ops": ops}),
    )
    schema = Litestar([api], openapi_config=config, logging_config=None).openapi_schema
    text = msgspec.json.encode(schema.to_schema()).decode()
    document: Json = msgspec.json.decode(_GENERIC_NAME.sub(r"\1Page", text))
    return document


def _version() -> str:
    try:
        return version("leadline")
    except PackageNotFoundError:
        return "0"


def _complete(operation: Json) -> None:
    """Add examples, and remove what Litestar adds of its own accord."""
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
        parameter["example"] = PARAMETER_EXAMPLES[parameter["name"]]
    responses = operation["responses"]
    for status, response in list(responses.items()):
        if status.startswith("2"):
            response["description"] = f"{operation['summary']}."
            answer = EXAMPLES[operation["operationId"]].answer
            response["content"] = {
                _bare(media_type): _content(media_type, content["schema"], answer)
                for media_type, content in response["content"].items()
            }
        elif MEDIA_TYPE not in response["content"]:  # Litestar's own form of an error
            del responses[status]
        else:
            for example in response["content"][MEDIA_TYPE]["examples"].values():
                del example["id"]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]
        body["example"] = msgspec.to_builtins(EXAMPLES[operation["operationId"]].body)


def _content(media_type: str, schema: Json, answer: Any) -> Json:
    is_json = _bare(media_type) == "application/json"
    return {
        "schema": schema if is_json else {"type": "string"},
        "example": msgspec.to_builtins(answer),
    }


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0]


def _complete_body(body: Json | None, schemas: Json) -> None:
    """Say that a body without required fields is optional, and that unknown fields are refused."""
    if body is None:
        return
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    body["required"] = bool(schemas[name]["required"])
    names = [name]
    for name in names:
        schemas[name]["additionalProperties"] = False
        names += [
            schema["$ref"].rpartition("/")[2]
            for schema in schemas[name].get("properties", {}).values()
            if "$ref" in schema
        ]


def _without_null(schema: Json) -> Json:
    """The schema of an optional parameter without null, which no parameter can send."""
    kinds = [kind for kind in schema.get("oneOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "oneOf"} | dict(kinds[0])
