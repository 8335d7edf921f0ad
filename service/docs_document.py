"""The OpenAPI 3.1 document of the public routes. A test compares it with the routes that are really
there.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from service.docs_acting import acting
from service.docs_reading import reading, reading_schemas
from service.web.problems import MEDIA_TYPE, PROBLEM_KINDS
from service.web.request_id import SUBMISSION_ID_PATTERN
from worker.contract import Result, State

_SOURCE = {
    "name": "source",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "A source of the source file.",
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    "description": (
        "The same key with the same body is the same submission, for a week after its final state."
    ),
}
_ID = {"type": "string", "pattern": f"^{SUBMISSION_ID_PATTERN}$", "description": "A ULID."}
_ANY_FIELDS = {"type": "object", "additionalProperties": True}
_TIME = {"type": "string", "format": "date-time"}


def openapi() -> dict[str, Any]:
    """The whole document as plain data, made afresh."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leadline",
            "version": _version(),
            "description": (
                "Takes web forms and webhooks, and brings each as one lead into Pipedrive."
            ),
        },
        "paths": {
            **_intake(),
            **_receipts(),
            **_ops(),
            **reading(),
            **acting(),
            **_monitoring(),
            **_docs(),
        },
        "components": {
            "schemas": reading_schemas() | _schemas(),
            "responses": {f"problem-{name}": _problem(name) for name in PROBLEM_KINDS},
            "securitySchemes": {"ops": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return version("leadline")
    except PackageNotFoundError:
        return "0"


def _intake() -> dict[str, Any]:
    taken = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    post = {
        "operationId": "submit",
        "summary": "Submit a form or a webhook",
        "description": (
            "Stores the submission before it answers. Products with an adapter get what they count"
            " as success."
        ),
        "parameters": [_KEY],
        "requestBody": {
            "required": True,
            "content": (
                {kind: {"schema": _ANY_FIELDS} for kind in taken}
                | {"text/plain": {"schema": {"type": "string"}}}
            ),
        },
        "responses": {
            "202": {
                **_json("On disk; it will be one lead.", "Accepted"),
                "headers": _accepted_headers(),
            },
            "200": {
                "description": (
                    "A thank-you page, for a browser that navigates; or what a product counts as"
                    " success."
                )
            },
            "303": {
                "description": "To the page of thanks, for a browser that navigates.",
                "headers": {"Location": _text()},
            },
            "400": _problem("unreadable", "idempotency-key"),
            "401": _refer("not-genuine"),
            "403": _problem("origin", "handshake"),
            "404": _refer("not-found"),
            "408": _refer("too-slow"),
            "413": _refer("too-large"),
            "415": _refer("media-type"),
            "422": _problem("no-contact", "key-reused"),
            "429": _refer("rate"),
            "503": _refer("not-stored"),
        },
    }
    get = {
        "operationId": "handshake",
        "summary": "Answer a provider's handshake",
        "description": "For products that ask before they send; 405 for all others.",
        "responses": {
            "200": {"description": "The challenge, answered."},
            "403": _refer("handshake"),
            "404": _refer("not-found"),
            "405": _refer("method"),
            "429": _refer("rate"),
        },
    }
    options = {
        "operationId": "preflight",
        "summary": "Answer a browser's CORS preflight",
        "responses": {
            "204": {"description": "What a page may send."},
            "403": _refer("origin"),
            "404": _refer("not-found"),
        },
    }
    return {"/in/{source}": {"parameters": [_SOURCE], "post": post, "get": get, "options": options}}


def _receipts() -> dict[str, Any]:
    get = {
        "operationId": "receipt",
        "summary": "What became of a submission",
        "description": (
            "No personal data. With an ops token, or the source's own, also how the delivery goes."
        ),
        "security": [{}, {"ops": []}],
        "responses": {
            "200": _json("The submission.", "Receipt"),
            "404": _refer("not-found"),
            "503": _refer("not-stored"),
        },
    }
    options = {
        "operationId": "receipt-preflight",
        "summary": "Answer a browser's CORS preflight",
        "responses": {"204": {"description": "What a page may send."}},
    }
    place = {"name": "submission", "in": "path", "required": True, "schema": _ID}
    return {"/submissions/{submission}": {"parameters": [place], "get": get, "options": options}}


def _ops() -> dict[str, Any]:
    """For the holders of a token; all of it reads, nothing changes."""
    page = {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}

    def look(name: str, summary: str, found: dict[str, Any]) -> dict[str, Any]:
        refused = {
            "401": _refer("not-signed-in"),
            "404": _refer("not-found"),
            "429": _refer("rate"),
            "503": _refer("not-stored"),
        }
        get = {
            "operationId": name,
            "summary": summary,
            "security": [{"ops": []}],
            "responses": {"200": found} | refused,
        }
        return {"get": get}

    return {
        "/ops": look("console", "How things stand, as a page", page),
    }


def _monitoring() -> dict[str, Any]:
    alive = {"200": {"description": "The process lives."}}
    ready = {
        "200": _json("Submissions can be stored.", "Readiness"),
        "503": _json("They cannot.", "Readiness"),
    }
    metrics = {
        "200": {
            "description": "Prometheus text.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }
    return {
        "/healthz": _with_head("healthz", "Does the process live?", alive),
        "/readyz": _with_head("readyz", "Can it accept durably?", ready),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "What all processes have done",
                "responses": metrics,
            }
        },
    }


def _with_head(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    bodiless = {
        status: {"description": answer["description"]} for status, answer in responses.items()
    }
    return {
        "get": {"operationId": name, "summary": summary, "responses": responses},
        "head": {"operationId": f"{name}-head", "summary": summary, "responses": bodiless},
    }


def _docs() -> dict[str, Any]:
    def page(name: str, summary: str, kind: str) -> dict[str, Any]:
        content = (
            {kind: {"schema": {"type": "string"}}}
            if kind != "application/json"
            else {kind: {"schema": {"type": "object"}}}
        )
        answer = {"200": {"description": summary, "content": content}}
        return {"get": {"operationId": name, "summary": summary, "responses": answer}}

    return {
        "/docs": page("docs", "This page", "text/html"),
        "/docs/openapi.json": page("openapi", "This document", "application/json"),
        "/docs/style.css": page("style", "The style of the pages", "text/css"),
    }


def _schemas() -> dict[str, Any]:
    flag, text, number = {"type": "boolean"}, {"type": "string"}, {"type": ["integer", "null"]}
    state = {"type": "string", "enum": [each.value for each in State]}
    accepted = {"id": _ID, "state": state, "duplicate": flag, "status_url": text}
    public = {
        "id": _ID, "source": text, "state": state,
        "result": {"enum": [None, *(each.value for each in Result)]},
        "received_at": _TIME, "updated_at": _TIME, "duplicate_of": {"type": ["string", "null"]},
    }  # fmt: skip
    private = {
        "lead_id": {"type": ["string", "null"]}, "person_id": number,
        "attempts": {"type": "integer"},
        "cause": {"type": ["object", "null"]},
        "next_at": {"type": ["string", "null"], "format": "date-time"},
    }  # fmt: skip
    item = {"type": "object", "required": list(accepted), "properties": accepted}
    fault = {
        "type": "object",
        "required": ["field", "message"],
        "properties": {"field": text, "message": text},
    }
    problem = {
        "type": text, "title": text, "status": {"type": "integer"}, "detail": text,
        "instance": text,
        "errors": {"type": "array", "items": fault},
    }  # fmt: skip
    ready = {"ready": flag, "degraded": {"type": "array", "items": text}}
    return {
        "Accepted": (
            item | {"properties": accepted | {"submissions": {"type": "array", "items": item}}}
        ),
        "Receipt": {"type": "object", "required": list(public), "properties": public | private},
        "Readiness": {"type": "object", "required": list(ready), "properties": ready},
        "Problem": {"type": "object", "required": list(problem), "properties": problem},
    }


def _accepted_headers() -> dict[str, Any]:
    return {
        "Location": _text("Where to ask what became of it."),
        "Idempotent-Replayed": _text("`true` where it was here before."),
        "X-Request-Id": _text("Yours if you sent one."),
    }


def _text(description: str = "") -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _refer(kind: str) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/problem-{kind}"}


def _problem(*kinds: str) -> dict[str, Any]:
    """An error answer; several problems may share one status."""
    title = "; or: ".join(PROBLEM_KINDS[kind].title for kind in kinds)
    return {
        "description": title + ".",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
