"""A request as it is stored: without the secrets by which it was verified."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus, unquote_plus

from service.sources.request import InboundRequest
from service.sources.schema import Source, VerifySettings
from service.sources.verification.jwt import DEFAULT_HEADER
from worker.contract import Raw

REMOVED = "[removed]"
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"}
)
# Characters of the query, and of each header's value.
MAX_STORED_CHARS = 8_192
# What may stand between a field's name and its value in JSON, a form and multipart/form-data.
_BETWEEN = r'(?:"\s*:\s*"?|=|"?(?:;[^\r\n]*)?(?:\r\n[^\r\n]+)*\r\n\r\n)'


def redact_request(source: Source, request: InboundRequest) -> Raw:
    """The method, query, headers and body, with `[removed]` in place of secrets and signatures."""
    rules = source.verification
    secret_headers = SECRET_HEADERS | {
        name.lower() for name in (rules.header, DEFAULT_HEADER) if name
    }
    return Raw(
        method=request.method,
        query=_redact_query(request.query, rules),
        content_type=request.content_type[:MAX_STORED_CHARS],
        headers=[
            (name, REMOVED if name in secret_headers else value[:MAX_STORED_CHARS])
            for name, value in request.headers
        ],
        body=_redact_body(request.body, source),
    )


def _redact_query(query: str, rules: VerifySettings) -> str:
    query = query[:MAX_STORED_CHARS]
    if not rules.query:
        return query
    pairs = [
        f"{name}={REMOVED}" if unquote_plus(name) == rules.query else name + sign + value
        for name, sign, value in (pair.partition("=") for pair in query.split("&"))
    ]
    return "&".join(pairs)[:MAX_STORED_CHARS]


def _redact_body(body: bytes, source: Source) -> bytes:
    """Replaces a secret where it follows its field's name, however the body spells either."""
    rules = source.verification
    if rules.scheme != "token" or not rules.field:
        return body
    name = rules.field.rpartition(".")[2]
    names = _alternatives({name, quote_plus(name), quote(name, safe="")})
    for secret in source.secrets:
        values = _alternatives(_spellings(secret.value))
        pattern = rf"((?:{names}){_BETWEEN})(?:{values})"
        body = re.sub(pattern.encode(), rb"\1" + REMOVED.encode(), body)
    return body


def _alternatives(texts: set[str]) -> str:
    return "|".join(map(re.escape, texts))


def _spellings(secret: str) -> set[str]:
    """A secret as plain text, as a form and as JSON would write it."""
    ascii_json, json_text = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    escaped_slashes = ascii_json.replace("/", "\\/")
    form_texts = {quote_plus(secret), quote(secret, safe="")}
    return {secret, *form_texts, ascii_json, json_text, escaped_slashes}
