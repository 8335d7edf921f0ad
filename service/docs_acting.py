"""The part of the OpenAPI document about what operators do: `service/ops/acting_routes.py`."""

from __future__ import annotations

from typing import Any

from service.web.problems import MEDIA_TYPE, PROBLEM_KINDS

_SUBMISSION = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "A submission's id.",
}
_CAUSE = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "A cause's id.",
}
_BULK = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "A bulk action's id.",
}
_CURSOR = {
    "name": "cursor",
    "in": "query",
    "schema": {"type": "string"},
    "description": "`next` of the page before.",
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
}

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "integer"}
_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_EDIT = {
    "type": "object",
    "additionalProperties": True,
    "description": (
        "Canonical fields by name, also utm_…, value.…, click_ids.… and answers.…; empty removes a"
        " field."
    ),
}
_FILTER = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": dict.fromkeys(("state", "source", "cause", "q"), _TEXT),
}
_PROGRESS = {
    "id": _TEXT, "action": _TEXT, "count": _NUMBER, "left": _NUMBER, "delivered": _NUMBER,
    "dead": _NUMBER, "stopped": _MAYBE,
    "done": _NUMBER, "skipped": _NUMBER, "by": _MAYBE, "at": _MAYBE, "ended_at": _MAYBE,
}  # fmt: skip
_PAUSED = {
    "paused": {
        "type": ["object", "null"],
        "properties": {"reason": _TEXT, "since": _TEXT, "until": _MAYBE},
    }
}
_ERASURE = {
    "erased": _NUMBER, "persons": {"type": "array"}, "leads": {"type": "array"},
    "unknown": {"type": "array"},
    "left": {"type": "array", "items": _TEXT},
}  # fmt: skip


def acting() -> dict[str, Any]:
    """Path items, made afresh."""
    deed = _object({"id": _TEXT, "state": _TEXT})
    one = {
        "retry": (
            "Deliver a dead letter again, mended first where `edit` says how",
            {"edit": _EDIT},
        ),
        "accept": ("Deliver what is in quarantine", {}),
        "discard": ("Give a dead letter or a quarantined submission up", {"why": _TEXT}),
        "undo": ("Take a discard back", {}),
    }
    return {
        "/ops/api/submissions/{id}/{action}": {
            "parameters": [_SUBMISSION, _action(list(one))],
            "post": _change(
                "decide",
                "Retry, accept, discard or undo",
                "; ".join(f"`{name}`: {text.lower()}" for name, (text, _) in one.items()) + ".",
                {"edit": _EDIT, "why": _TEXT},
                {"200": _json("Its new state.", deed)},
                "409",
            ),
        },
        "/ops/api/causes/{id}/{action}": {
            "parameters": [_CAUSE, _action(["ignore", "reopen"])],
            "post": _change(
                "cause-decide",
                "Ignore a cause, or reopen it",
                "An ignored cause shows itself again once something dies of it.",
                {},
                {
                    "200": _json(
                        "Whether it is ignored.",
                        _object({"id": _TEXT, "ignored": {"type": "boolean"}}),
                    )
                },
            ),
        },
        "/ops/api/pause": {
            "post": _change(
                "pause", "Stop delivering", "Accepting goes on.", {"reason": _TEXT}, _paused()
            )
        },
        "/ops/api/resume": {
            "post": _change("resume", "Deliver again", "What waits goes first.", {}, _paused())
        },
        "/ops/api/erase": {
            "post": _change(
                "erase",
                "Erase everything of an e-mail address",
                "Answers once the bytes are gone from disk; what Pipedrive has is listed, for a"
                " person to remove there.",
                {"email": _TEXT},
                {"200": _json("How many submissions, and what is left.", _object(_ERASURE))},
                required=["email"],
            )
        },
        "/ops/api/bulk": {
            "get": _look("bulks", "Bulk actions, the newest first", _page(_object(_PROGRESS))),
            "post": _change(
                "bulk",
                "Retry, accept or discard all that match",
                "What delivers lets three go first. `expect` is the count that was seen; another"
                " one is refused.",
                {
                    "action": {"enum": ["retry", "discard", "accept"]},
                    "filter": _FILTER,
                    "expect": _NUMBER,
                    "edit": _EDIT,
                },
                {
                    "202": _json(
                        "Its id and how many it has.", _object({"id": _TEXT, "count": _NUMBER})
                    )
                },
                "400",
                "409",
                required=["action", "filter", "expect"],
            ),
        },
        "/ops/api/bulk/{id}": {
            "parameters": [_BULK],
            "get": _look("bulk-progress", "How a bulk action goes", _object(_PROGRESS)),
        },
        "/ops/api/bulk/{id}/stop": {
            "parameters": [_BULK],
            "post": _change(
                "bulk-stop",
                "Stop a bulk action",
                "What it did not begin stays as it is.",
                {},
                {"200": _json("How it stands.", _object(_PROGRESS))},
            ),
        },
        "/ops/api/audit": {
            "get": (
                _look("audit", "Who did what, the newest first", _page(_object(_ENTRY)))
                | {"parameters": [_CURSOR, _LIMIT]}
            )
        },
    }


_ENTRY = {
    "at": {"type": "string", "format": "date-time"},
    "who": _TEXT,
    "action": _TEXT,
    "target": _TEXT,
    "detail": _MAYBE,
}
_PROBLEMS = {
    "400": ("filter", "unreadable"),
    "401": ("not-signed-in",),
    "403": ("forbidden", "cross-site"),
    "404": ("not-found",),
    "408": ("too-slow",),
    "409": ("state", "count"),
    "413": ("too-large",),
    "422": ("value",),
    "429": ("locked-out",),
    "503": ("not-stored",),
}


def _change(
    name: str,
    summary: str,
    text: str,
    body: dict[str, Any],
    answers: dict[str, Any],
    *more: str,
    required: list[str] | None = None,
) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": body} | (
        {"required": required} if required else {}
    )
    statuses = ("400", "401", "403", "404", "408", "413", "422", "429", "503", *more)
    return {
        "operationId": name,
        "summary": summary,
        "description": f"{text} For operators; what is done is in the audit trail.",
        "security": [{"ops": []}],
        "requestBody": {
            "required": bool(required),
            "content": {"application/json": {"schema": schema}},
        },
        "responses": answers | {status: _refused(status) for status in sorted(set(statuses))},
    }


def _look(name: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"ops": []}],
        "responses": (
            {"200": _json(summary, schema)}
            | {each: _refused(each) for each in ("401", "404", "422", "429", "503")}
        ),
    }


def _action(names: list[str]) -> dict[str, Any]:
    return {"name": "action", "in": "path", "required": True, "schema": {"enum": names}}


def _paused() -> dict[str, Any]:
    return {"200": _json("What holds the deliveries up now, or null.", _object(_PAUSED))}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _page(item: dict[str, Any]) -> dict[str, Any]:
    return _object({"items": {"type": "array", "items": item}, "next": _MAYBE, "total": _NUMBER})


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _refused(status: str) -> dict[str, Any]:
    titles = "; ".join(PROBLEM_KINDS[name].title for name in _PROBLEMS[status])
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": titles, "content": content}
