"""The intake's hand-written operations: `/in/{source}`, each source's own path, and receipts.

These routes read the bytes of strangers themselves, so nothing about them can be generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from service.docs.described import (
    OPTIONAL_TEXT,
    TEXT,
    TIME,
    ULID,
    Json,
    header,
    json_response,
    object_schema,
    problem_responses,
    reference,
)
from service.ops.api.examples import RECEIVED_AT, SUBMISSION_ID, UPDATED_AT
from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import Source, VerifySettings
from worker.contract import Lead, Result, State, Utm
from worker.lead.templates import CLICK_IDS

# Fields that a sender cannot fill by name: they need a line in the source's `map` or `read`, or
# hold whatever has no field of its own.
UNNAMED_FIELDS = frozenset({"value", "event_id", "is_test", "answers"})
BODY_TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
# Their senders choose the field names; a product's names are its own.
PLAIN_ADAPTERS = ("form", "json")
LEAD_EXAMPLE: Json = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "company": "Analytical Engines",
    "message": "Please call me back.",
    "utm_campaign": "spring",
}
RECEIPT_EXAMPLE: Json = {
    "id": SUBMISSION_ID,
    "source": "contact",
    "state": State.DELIVERED.value,
    "result": Result.CREATED.value,
    "received_at": RECEIVED_AT,
    "updated_at": UPDATED_AT,
    "duplicate_of": None,
}
ACCEPTED_EXAMPLE: Json = {
    "id": SUBMISSION_ID,
    "state": State.QUEUED.value,
    "duplicate": False,
    "status_url": f"/submissions/{SUBMISSION_ID}",
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    "description": (
        "The same key with the same body is the same submission, for a week after its final state."
    ),
    "example": "order-1815",
}


def intake_paths(sources: Mapping[str, Source]) -> Json:
    """`/in/{source}`, and one path for each configured source."""
    name = {
        "name": "source",
        "in": "path",
        "required": True,
        "schema": TEXT,
        "description": "A source of the source file.",
        "example": next(iter(sources), "contact"),
    }
    template = {
        "parameters": [name],
        "post": _submit("submit", "Submit a form or a webhook"),
        "get": _handshake("handshake"),
        "options": _preflight("preflight"),
    }
    return {"/in/{source}": template} | {
        f"/in/{source.name}": _source_path(source) for source in sources.values()
    }


def receipt_paths() -> Json:
    """`/submissions/{submission}`."""
    receipt = {
        "operationId": "receipt",
        "summary": "What became of a submission",
        "description": (
            "No personal data. With an ops token, or the source's own, also how the delivery goes."
        ),
        "tags": ["intake"],
        "security": [{}, {"ops": []}],
        "responses": {
            "200": json_response("The submission.", "Receipt", RECEIPT_EXAMPLE),
            **problem_responses("not-found", "not-stored"),
        },
    }
    submission = {
        "name": "submission",
        "in": "path",
        "required": True,
        "schema": ULID,
        "example": SUBMISSION_ID,
    }
    return {
        "/submissions/{submission}": {
            "parameters": [submission],
            "get": receipt,
            "options": {
                "operationId": "receipt-preflight",
                "summary": "Answer a browser's CORS preflight",
                "tags": ["intake"],
                "responses": {
                    "204": {"description": "What a page may send."},
                    **problem_responses("not-found"),
                },
            },
        }
    }


def security_schemes(sources: Mapping[str, Source]) -> Json:
    """How each source's senders prove who they are, where a header or the query says so."""
    schemes = {name: _security_scheme(source.verification) for name, source in sources.items()}
    return {_scheme_name(name): scheme for name, scheme in schemes.items() if scheme is not None}


def intake_schemas() -> Json:
    """The components that the paths above refer to."""
    flag = {"type": "boolean"}
    state = TEXT | {"enum": [each.value for each in State]}
    accepted = {"id": ULID, "state": state, "duplicate": flag, "status_url": TEXT}
    public = {
        "id": ULID,
        "source": TEXT,
        "state": state,
        "result": OPTIONAL_TEXT | {"enum": [*(each.value for each in Result), None]},
        "received_at": TIME,
        "updated_at": TIME,
        "duplicate_of": OPTIONAL_TEXT,
    }
    private = {
        "lead_id": OPTIONAL_TEXT,
        "person_id": {"type": ["integer", "null"]},
        "attempts": {"type": "integer"},
        "cause": {"type": ["object", "null"]},
        "next_at": OPTIONAL_TEXT | {"format": "date-time"},
    }
    several = {"submissions": {"type": "array", "items": {"$ref": reference("AcceptedSubmission")}}}
    return {
        "AcceptedSubmission": object_schema(accepted),
        "Accepted": object_schema(accepted) | {"properties": accepted | several},
        "Receipt": object_schema(public) | {"properties": public | private},
        "LeadFields": {
            "type": "object",
            "description": (
                "The canonical fields. Common names for them are recognised too (see the source's"
                " `map`); every other field is kept as an answer."
            ),
            "properties": lead_fields(),
            "additionalProperties": True,
        },
    }


def lead_fields() -> Json:
    """The canonical field names that a form or a partner may send, from the `Lead` struct."""
    fields: Json = {}
    for name, hint in get_type_hints(Lead).items():
        if name == "utm":
            fields |= {f"utm_{part}": TEXT for part in Utm.__struct_fields__}
        elif name == "click_ids":
            fields |= dict.fromkeys(CLICK_IDS, TEXT)
        elif name not in UNNAMED_FIELDS:
            fields[name] = _schema_of(hint)
    return fields


def _schema_of(hint: Any) -> Json:
    """The schema of text or a flag; an absent value is left out, never null."""
    return {"type": "boolean"} if bool in (hint, *get_args(hint)) else TEXT


def _source_path(source: Source) -> Json:
    path = {
        "post": _submit(
            f"submit-{source.name}", f"Submit to the source “{source.name}”", source=source
        )
    }
    is_asked = source.handshake is not None and (source.handshake.query or source.handshake.header)
    if ADAPTERS[source.adapter].handshake is not None or is_asked:
        path["get"] = _handshake(f"handshake-{source.name}")
    return path


def _submit(operation: str, summary: str, source: Source | None = None) -> Json:
    is_plain = source is None or source.adapter in PLAIN_ADAPTERS
    fields = {"$ref": reference("LeadFields")}
    product: Json = {
        "type": "object",
        "additionalProperties": True,
        "description": f"What {source.adapter} sends." if source else "",
    }
    description = (
        "Stores the submission before it answers. Products with an adapter get what they count as"
        " success."
    )
    if source is not None and (proof := _describe_proof(source)):
        description = f"{description} {proof}"
    example = LEAD_EXAMPLE if is_plain else {}
    content: Json = {
        kind: {"schema": fields if is_plain else product, "example": example} for kind in BODY_TYPES
    }
    content["text/plain"] = {
        "schema": TEXT | {"description": "JSON or a form, as `navigator.sendBeacon` sends it."},
        "example": '{"email": "ada@example.com"}',
    }
    post = {
        "operationId": operation,
        "summary": summary,
        "description": description,
        "tags": ["intake"],
        "parameters": [_IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": content},
        "responses": _submit_responses(),
    }
    if source is not None and _security_scheme(source.verification) is not None:
        post["security"] = [{_scheme_name(source.name): []}]
    return post


def _submit_responses() -> Json:
    accepted = json_response("On disk; it will be one lead.", "Accepted", ACCEPTED_EXAMPLE)
    accepted["headers"] = {
        "Location": header("Where to look up its state."),
        "Idempotent-Replayed": header("`true` if it was received before."),
        "X-Request-Id": header("Yours if you sent one."),
    }
    return {
        "202": accepted,
        "200": {
            "description": (
                "A thank-you page, for a browser that navigates; or what a product counts as"
                " success."
            )
        },
        "303": {
            "description": "To the page of thanks, for a browser that navigates.",
            "headers": {"Location": header("The source's `redirect`, or the form's own.")},
        },
        **problem_responses(
            "unreadable", "idempotency-key", "incomplete", "not-genuine", "origin", "handshake",
            "not-found", "too-slow", "too-large", "media-type", "too-many-events", "no-contact",
            "key-reused", "rate", "framing", "head-too-large", "connections", "full", "not-stored",
            "no-room",
        ),
    }  # fmt: skip


def _handshake(operation: str) -> Json:
    return {
        "operationId": operation,
        "summary": "Answer a provider's handshake",
        "description": "For products that ask before they send; 405 for all others.",
        "tags": ["intake"],
        "responses": {
            "200": {"description": "The challenge, answered."},
            **problem_responses("handshake", "not-found", "method", "rate"),
        },
    }


def _preflight(operation: str) -> Json:
    return {
        "operationId": operation,
        "summary": "Answer a browser's CORS preflight",
        "tags": ["intake"],
        "responses": {
            "204": {"description": "What a page may send."},
            **problem_responses("origin", "not-found"),
        },
    }


def _security_scheme(rules: VerifySettings) -> Json | None:
    """The OpenAPI security scheme of a source's verification; None where there is none to name."""
    match rules.scheme:
        case "token" if rules.header and rules.header.lower() == "authorization":
            return {"type": "http", "scheme": "bearer", "description": "The source's token."}
        case "token" if rules.header:
            return _api_key("header", rules.header, "The source's token.")
        case "token" if rules.query:
            return _api_key("query", rules.query, "The source's token.")
        case "hmac":
            signed = f"HMAC-{rules.algorithm.upper()} of `{rules.signed}`, {rules.encoding}"
            prefix = f", after `{rules.prefix}`" if rules.prefix else ""
            return _api_key("header", rules.header or "", f"{signed}{prefix}.")
        case "standard-webhooks":
            return _api_key("header", "webhook-signature", "As standardwebhooks.com specifies.")
        case "jwt":
            return _api_key("header", rules.header or "Authorization", "A signed JWT.")
    return None


def _describe_proof(source: Source) -> str:
    """How a request proves who sent it, where no security scheme of OpenAPI can say it."""
    rules = source.verification
    if rules.scheme == "token" and rules.field and not rules.header and not rules.query:
        return f"The source's token stands in the field `{rules.field}` of the body."
    if rules.scheme is None:
        return f"The request is signed as {source.adapter} does it."
    return ""


def _api_key(place: str, name: str, description: str) -> Json:
    return {"type": "apiKey", "in": place, "name": name, "description": description}


def _scheme_name(source: str) -> str:
    return f"source-{source}"
