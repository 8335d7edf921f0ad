"""A request as it is stored: without the secrets by which it was verified."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from service.sources.request import InboundRequest
from service.sources.schema import Source, SourceSecret, VerifySettings
from service.sources.verification.jwt import DEFAULT_HEADER
from worker.contract import Raw

REMOVED = "[removed]"
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"}
)
# Characters of the query, and of each header's value.
MAX_STORED_CHARS = 8_192


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
    """Replaces a secret where it follows its field's name, however the body spells either.

    The secret is looked for first, and its name in what stands before it: the other way round,
    a body that repeats the name would be read again from each of them.
    """
    rules = source.verification
    if rules.scheme != "token" or not rules.field:
        return body
    name = rules.field.rpartition(".")[2]
    names = tuple(sorted(one.encode() for one in {name, quote_plus(name), quote(name, safe="")}))
    quoted = tuple(one + b'"' for one in names)
    in_head = re.compile(b"(?:" + b"|".join(map(re.escape, names)) + rb')"?(?:;|\r\n)').search

    def follows_name(before: bytes) -> bool:
        if before.endswith(b"="):
            return before[:-1].endswith(names)
        if before.endswith(b"\r\n\r\n"):
            # The head of a part, in which the name ends a parameter.
            return in_head(before[before.rfind(b"\r\n\r\n", 0, -4) + 1 : -2]) is not None
        key = before.removesuffix(b'"').rstrip()
        return key.endswith(b":") and key[:-1].rstrip().endswith(quoted)

    parts: list[bytes] = []
    end = start = 0
    for match in _find_secrets(body, source):
        # What stands between two secrets is looked at once; a name may hold the first of them.
        before = body[start : match.start()]
        start = max(0, match.start() - max(map(len, names)))
        if follows_name(before):
            parts += (body[end : match.start()], REMOVED.encode())
            end = match.end()
    return b"".join((*parts, body[end:]))


def _find_secrets(body: bytes, source: Source) -> Iterator[re.Match[bytes]]:
    spellings = {one for secret in source.secrets for one in _spellings(secret) if one}
    longest_first = sorted(spellings, key=lambda one: (-len(one), one))
    return re.finditer(b"|".join(map(re.escape, longest_first)), body) if spellings else iter(())


def _spellings(secret: SourceSecret) -> set[bytes]:
    """A secret as plain text, as a form and as JSON would write it."""
    ascii_json = json.dumps(secret.value)[1:-1]
    json_text = json.dumps(secret.value, ensure_ascii=False)[1:-1]
    texts = {ascii_json, json_text, ascii_json.replace("/", "\\/")}
    form_texts = {quote_plus(secret.raw), quote(secret.raw, safe="")}
    return {secret.raw, *(one.encode("utf-8", "surrogateescape") for one in texts | form_texts)}
