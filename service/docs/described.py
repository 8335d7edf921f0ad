"""Building blocks for the hand-written operations of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from service.web.openapi import describe_problems, group_by_status, problem_example
from service.web.problems import MEDIA_TYPE, PROBLEM_KINDS
from worker.contract import SUBMISSION_ID_PATTERN

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
OPTIONAL_TEXT: Json = {"type": ["string", "null"]}
TIME: Json = {"type": "string", "format": "date-time"}
ULID: Json = TEXT | {"pattern": f"^{SUBMISSION_ID_PATTERN}$", "description": "A ULID."}


def object_schema(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def header(description: str) -> Json:
    return {"description": description, "schema": TEXT}


def json_response(description: str, schema: str | None, example: Json) -> Json:
    content = {"schema": {"$ref": reference(schema)} if schema else {"type": "object"}}
    return {
        "description": description,
        "content": {"application/json": content | {"example": example}},
    }


def text_response(description: str, media_type: str, example: str) -> Json:
    return {
        "description": description,
        "content": {media_type: {"schema": TEXT, "example": example}},
    }


def problem_responses(*kinds: str) -> Json:
    """Describe the problems that an operation may answer with, by status."""
    return {
        str(status): {
            "description": describe_problems(same_status),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": reference("Problem")},
                    "examples": {
                        kind: {
                            "summary": PROBLEM_KINDS[kind].title,
                            "value": problem_example(kind),
                        }
                        for kind in same_status
                    },
                }
            },
        }
        for status, same_status in group_by_status(kinds).items()
    }


def reference(schema: str) -> str:
    return f"#/components/schemas/{schema}"
