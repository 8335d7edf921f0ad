"""The part of the OpenAPI document about what operators read, its schemas made from the structs
that are answered.
"""

from __future__ import annotations

from typing import Any

import msgspec

from service.ops.activity import MAX_HOURS, Activity
from service.ops.dry_run import AccountDrift, DryRunResult
from service.ops.filters import MAX_VALUE_CHARS
from service.ops.queries import MAX_PAGE_SIZE
from service.ops.schemas import CauseCard, Detail, Item, Overview, Page
from service.web.problems import MEDIA_TYPE, PROBLEM_KINDS
from worker.contract import State

_KINDS = (Overview, Page[CauseCard], Page[Item], Detail, Activity, DryRunResult, AccountDrift)
_REFERENCE = "#/components/schemas/{name}"

_PROBLEMS = {
    "400": ("unreadable",),
    "401": ("not-signed-in",),
    "403": ("forbidden",),
    "404": ("not-found",),
    "429": ("locked-out",),
    "503": ("away", "loading"),
}


def reading() -> dict[str, Any]:
    """Path items, made afresh."""
    schemas, _ = msgspec.json.schema_components(_KINDS, ref_template=_REFERENCE)
    overview, causes, items, detail, chart, dry_run, drift = (
        {"application/json": {"schema": schema}} for schema in schemas
    )
    lines = {"application/jsonl": {"schema": {"type": "string"}}}
    table = {"text/csv": {"schema": {"type": "string"}}}
    listed = [*_filter(), _reveal()]
    page = [_text("cursor", "`next` of the page before."), _number("limit", 1, MAX_PAGE_SIZE)]
    one = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "A submission's id.",
    }
    paths = {
        "overview": _look("overview", "How things stand", overview),
        "causes": _look(
            "causes", "Dead letters by cause", causes, _flag("ignored", "0 leaves them out.")
        ),
        "chart": _look(
            "chart",
            "What came and went by the hour",
            chart,
            _number("hours", 1, MAX_HOURS),
            status="400",
        ),
        "submissions": _look(
            "submissions",
            "Submissions, the latest change first",
            items,
            *listed,
            *page,
            status="400",
        ),
        "submissions/{id}": _look("submission", "One submission whole", detail, one, _reveal()),
        "submissions/{id}/dry-run": _look(
            "dry-run", "What a retry would do now", dry_run, one, _reveal()
        ),
        "drift": _look("drift", "What the account lacks of what the source file names", drift),
        "export.csv": _look(
            "export-csv",
            "The list as CSV without formulas",
            table,
            *listed,
            _flag("bom", "1: a mark for Excel."),
            status="400",
        ),
        "export.jsonl": _look(
            "export-jsonl", "The list as JSON Lines, with the leads", lines, *listed, status="400"
        ),
    }
    asked = paths["submissions/{id}/dry-run"]
    asked["post"] = asked["get"] | {"operationId": "dry-run-edited", "requestBody": _edit()}
    return {f"/ops/api/{path}": item for path, item in paths.items()}


def reading_schemas() -> dict[str, Any]:
    """The components that `reading` refers to, by name."""
    return msgspec.json.schema_components(_KINDS, ref_template=_REFERENCE)[1]


def _look(
    name: str, summary: str, content: dict[str, Any], *parameters: dict[str, Any], status: str = ""
) -> dict[str, Any]:
    """`status` is one that this call may be refused with besides those that all may."""
    reveals = any(parameter["name"] == "reveal" for parameter in parameters)
    refused = [
        *([status] if status else []),
        "401",
        *(["403"] if reveals else []),
        "404",
        "429",
        "503",
    ]
    get = {
        "operationId": name,
        "summary": summary,
        "security": [{"ops": []}],
        "parameters": list(parameters),
        "responses": (
            {"200": {"description": summary, "content": content}}
            | {each: _refused(each) for each in refused}
        ),
    }
    return {"get": get}


def _edit() -> dict[str, Any]:
    edit = {"type": "object", "description": "Canonical field: value; an empty value removes it."}
    schema = {"type": "object", "properties": {"edit": edit}, "additionalProperties": False}
    return {"required": False, "content": {"application/json": {"schema": schema}}}


def _filter() -> list[dict[str, Any]]:
    states = ", ".join(state.value for state in State)
    return [
        _text("state", f"One or several, joined by commas: {states}."),
        _text("source", "A source's name."),
        _text("cause", "A cause's id, or the code of causes."),
        _text(
            "q",
            'Words, "phrases", `source:`, `cause:`, `state:`, `utm_campaign:`, `email:`,'
            " `company:`; all must match.",
        ),
    ]


def _reveal() -> dict[str, Any]:
    return _flag("reveal", "1: with personal data. For operators; it goes into the audit trail.")


def _text(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "schema": {"type": "string", "maxLength": MAX_VALUE_CHARS},
        "description": description,
    }


def _flag(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"enum": ["0", "1"]}, "description": description}


def _number(name: str, low: int, high: int) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "schema": {"type": "integer", "minimum": low, "maximum": high},
    }


def _refused(status: str) -> dict[str, Any]:
    titles = "; ".join(PROBLEM_KINDS[name].title for name in _PROBLEMS[status])
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": titles, "content": content}
