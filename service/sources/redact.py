"""A request as it is stored: without the secrets that opened the door."""

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
MAX_STORED_CHARS = 8_192


def redact_request(source: Source, request: InboundRequest) -> Raw:
    """The method, query, headers and body; secrets in any of them are replaced by `[removed]`."""
    rules = source.verification
    secret = SECRET_HEADERS | {name.lower() for name in (rules.header, DEFAULT_HEADER) if name}
    return Raw(
        method=request.method,
        query=_query(request.query, rules),
        content_type=request.content_type[:MAX_STORED_CHARS],
        headers=[
            (name, REMOVED if name in secret else value[:MAX_STORED_CHARS])
            for name, value in request.headers
        ],
        body=_body(request.body, source),
    )


def _query(query: str, rules: VerifySettings) -> str:
    if not rules.query:
        return query[:MAX_STORED_CHARS]
    pairs = [pair.partition("=") for pair in query[:MAX_STORED_CHARS].split("&")]
    kept = [
        f"{name}={REMOVED}" if unquote_plus(name) == rules.query else name + sign + value
        for name, sign, value in pairs
    ]
    return "&".join(kept)[:MAX_STORED_CHARS]


def _body(body: bytes, source: Source) -> bytes:
    """A secret in a field goes with the field's value: after the name as JSON, a form or multipart
    writes it.
    """
    name = source.verification.field
    if source.verification.scheme != "token" or not name:
        return body
    last = name.rpartition(".")[2]
    names = "|".join({re.escape(spelt) for spelt in (last, quote_plus(last), quote(last, safe=""))})
    for secret in source.secrets:
        spellings = "|".join({re.escape(spelt) for spelt in _spellings(secret.value)})
        between = r'(?:"\s*:\s*"?|=|"?(?:;[^\r\n]*)?(?:\r\n[^\r\n]+)*\r\n\r\n)'
        pattern = rf"((?:{names}){between})(?:{spellings})"
        body = re.sub(pattern.encode(), rb"\1" + REMOVED.encode(), body)
    return body


def _spellings(secret: str) -> set[str]:
    ascii_json, json_text = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    return {
        secret,
        quote_plus(secret),
        quote(secret, safe=""),
        ascii_json,
        json_text,
        ascii_json.replace("/", "\\/"),
    }
