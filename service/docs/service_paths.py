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
PAGE_EXAMPLE = "<!doctype html>…"

# Why the console shows the page to sign in, by its status.
CONSOLE_REFUSALS = {"401": "nobody is signed in", "429": "too many wrong tokens"}


def monitoring_paths() -> Json:
    """`/healthz`, `/readyz` and `/metrics`."""
    alive = {"200": json_response("The process is alive.", "Liveness", {"alive": True})}
    ready = {
        "200": json_response(
            "Submissions can be stored.", "Readiness", {"ready": True, "degraded": []}
        ),
        "503": json_response(
            "They cannot.", "Readiness", {"ready": False, "degraded": ["redis", "spool"]}
        ),
    }
    metrics = {"200": text_response("Prometheus text.", "text/plain", METRICS_EXAMPLE)}
    return {
        "/healthz": _get_and_head("healthz", "Is the process alive?", "monitoring", alive),
        "/readyz": _get_and_head("readyz", "Can it accept durably?", "monitoring", ready),
        "/metrics": _get_and_head("metrics", "What all processes have done", "monitoring", metrics),
    }


def page_paths() -> Json:
    """The console's first page, and the documentation."""
    page = {"200": text_response("The page.", "text/html", PAGE_EXAMPLE)}
    document = {"200": json_response("This document.", None, {"openapi": "3.1.0"})}
    style = {"200": text_response("The style sheet.", "text/css", "body { margin: 0 }")}
    console = page | problem_responses("not-found")
    for status, why in CONSOLE_REFUSALS.items():
        console[status] = text_response(f"The page to sign in: {why}.", "text/html", PAGE_EXAMPLE)
    return {
        "/ops": {
            method: operation | {"security": [{"ops": []}]}
            for method, operation in _get_and_head(
                "console", "The overview as a page", "ops", console
            ).items()
        },
        "/docs": _get_and_head("docs", "This page", "docs", page),
        "/docs/openapi.json": _get_and_head("openapi", "This document", "docs", document),
        "/docs/style.css": _get_and_head("style", "The style of the pages", "docs", style),
    }


def monitoring_schemas() -> Json:
    """The components that the paths above refer to."""
    flag = {"type": "boolean"}
    readiness = {"ready": flag, "degraded": {"type": "array", "items": TEXT}}
    return {"Readiness": object_schema(readiness), "Liveness": object_schema({"alive": flag})}


def _get_and_head(name: str, summary: str, tag: str, responses: Json) -> Json:
    """A path whose HEAD answers like its GET, without the body."""
    bodiless = {
        status: {"description": response["description"]} for status, response in responses.items()
    }
    shared = {"summary": summary, "tags": [tag]}
    return {
        "get": {"operationId": name, "responses": responses} | shared,
        "head": {"operationId": f"{name}-head", "responses": bodiless} | shared,
    }
