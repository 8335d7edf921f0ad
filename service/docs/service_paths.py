"""The hand-written operations of monitoring, the console's first page and the documentation."""

from __future__ import annotations

from service.docs.described import (
    TEXT,
    Json,
    json_response,
    object_schema,
    problem_responses,
    text_response,
)

METRICS_EXAMPLE = 'leadline_submissions_total{source="contact",outcome="accepted"} 118\n'


def monitoring_paths() -> Json:
    """`/healthz`, `/readyz` and `/metrics`."""
    ready = {
        "200": json_response(
            "Submissions can be stored.", "Readiness", {"ready": True, "degraded": []}
        ),
        "503": json_response(
            "They cannot.", "Readiness", {"ready": False, "degraded": ["redis", "spool"]}
        ),
    }
    alive = {"200": json_response("The process is alive.", "Liveness", {"alive": True})}
    metrics = {
        "operationId": "metrics",
        "summary": "What all processes have done",
        "tags": ["monitoring"],
        "responses": {"200": text_response("Prometheus text.", "text/plain", METRICS_EXAMPLE)},
    }
    return {
        "/healthz": _with_head("healthz", "Is the process alive?", alive),
        "/readyz": _with_head("readyz", "Can it accept durably?", ready),
        "/metrics": {"get": metrics},
    }


def page_paths() -> Json:
    """The console's first page, and the documentation."""

    def page(name: str, summary: str, content: Json, tag: str = "docs") -> Json:
        operation = {"operationId": name, "summary": summary, "tags": [tag]}
        return {"get": operation | {"responses": {"200": content}}}

    console = page(
        "console",
        "The overview as a page",
        text_response("The page.", "text/html", "<!doctype html>…"),
        "ops",
    )
    console["get"]["security"] = [{"ops": []}]
    console["get"]["responses"] |= problem_responses("not-signed-in", "not-found", "locked-out")
    document = json_response("This document.", None, {"openapi": "3.1.0"})
    return {
        "/ops": console,
        "/docs": page(
            "docs", "This page", text_response("The page.", "text/html", "<!doctype html>…")
        ),
        "/docs/openapi.json": page("openapi", "This document", document),
        "/docs/style.css": page(
            "style",
            "The style of the pages",
            text_response("The style sheet.", "text/css", "body { margin: 0 }"),
        ),
    }


def monitoring_schemas() -> Json:
    """The components that the paths above refer to."""
    flag = {"type": "boolean"}
    readiness = {"ready": flag, "degraded": {"type": "array", "items": TEXT}}
    return {"Readiness": object_schema(readiness), "Liveness": object_schema({"alive": flag})}


def _with_head(name: str, summary: str, responses: Json) -> Json:
    bodiless = {
        status: {"description": response["description"]} for status, response in responses.items()
    }
    shared = {"summary": summary, "tags": ["monitoring"]}
    return {
        "get": {"operationId": name, "responses": responses} | shared,
        "head": {"operationId": f"{name}-head", "responses": bodiless} | shared,
    }
