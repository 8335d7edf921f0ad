"""`[sources.X.handshake]`: the challenge that a sender sends before it posts, and the answer.

An answer may contain an HMAC of a text that the sender chooses. If it were given without a
signature, anybody could have any text signed; so such an answer needs a signed request, or a secret
of its own (`verify.challenge_env`).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable

from service.sources.payload.decode import decode_body
from service.sources.payload.event import LookupScope, ParsedEvent
from service.sources.payload.tree import Tree, UnreadableBody, resolve, text_of
from service.sources.request import (
    CustomResponse,
    FieldError,
    InboundRequest,
    NormalizationResult,
    Outcome,
)
from service.sources.schema import HandshakeSettings, Source, SourceSecret
from service.sources.verification.common import header_value, query_value
from service.sources.verification.jwt import DEFAULT_HEADER

# Challenges are short: a longer body is a submission, and is not read twice.
MAX_CHALLENGE_BYTES = 16_384
MAX_ANSWER_CHARS = 8_192
# `{payload.path}` and `{hmac-sha256-hex:payload.path}`.
PLACEHOLDER = re.compile(r"\{(?:(hmac-[a-z0-9-]+):)?([^{}]+)\}")
_ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda digest: base64.b64encode(digest).decode(),
}
DIGESTS = {
    f"hmac-{algorithm}-{encoding}": (algorithm, encode)
    for algorithm in ("sha256", "sha1")
    for encoding, encode in _ENCODINGS.items()
}
_SIGNATURE = re.compile(r"signature|hmac", re.IGNORECASE)


def answer_challenge(
    source: Source, request: InboundRequest, signing_secret: SourceSecret | None
) -> NormalizationResult | None:
    """The answer to a challenge; None if the request is not one.

    `signing_secret` is the secret with which the request was signed, None if it was not signed.
    """
    rules = source.handshake
    if rules is None:
        return None
    if rules.query and (value := query_value(request.query, rules.query)):
        return _accept(_text(value.decode("utf-8", "replace")))
    if rules.header and (token := header_value(request, rules.header)) and token.isprintable():
        return _accept(CustomResponse(200, media_type="text/plain", headers={rules.header: token}))
    if request.method != "POST" or not (rules.when or rules.echo):
        return None
    return _answer_body(rules, _read_challenge(request), source.challenge or signing_secret)


def needs_secret(rules: HandshakeSettings) -> bool:
    """Whether an answer contains an HMAC."""
    return any(match[1] for text in rules.answer.values() for match in PLACEHOLDER.finditer(text))


def is_signed(source: Source, request: InboundRequest) -> bool:
    """Whether a request carries a signature or a token, right or wrong."""
    rules = source.verification
    default = DEFAULT_HEADER if rules.scheme == "jwt" else None
    names = {name.lower() for name in (rules.header, default) if name}
    return bool(
        any(name in names or _SIGNATURE.search(name) for name, _ in request.headers)
        or (rules.query and query_value(request.query, rules.query))
        or (rules.field and resolve(_read_challenge(request), rules.field))
    )


def accept_ping() -> NormalizationResult:
    """The answer to a request that only checks the URL."""
    return _accept(CustomResponse(200, media_type="text/plain"))


def _accept(response: CustomResponse) -> NormalizationResult:
    return NormalizationResult(outcome=Outcome.HANDSHAKE, status=response.status, response=response)


def _text(text: str) -> CustomResponse:
    return CustomResponse(200, text[:MAX_ANSWER_CHARS], "text/plain; charset=utf-8")


def _read_challenge(request: InboundRequest) -> Tree:
    if len(request.body) > MAX_CHALLENGE_BYTES:
        return None
    try:
        return decode_body(request)
    except UnreadableBody:
        return None


def _answer_body(
    rules: HandshakeSettings, tree: Tree, secret: SourceSecret | None
) -> NormalizationResult | None:
    if rules.when:
        challenge = ParsedEvent(scopes=[LookupScope((), tree)], fields=[])
        if not challenge.matches(rules.when):
            return None
    if rules.echo:
        text = _find_text(tree, rules.echo)
        if text is None and rules.when:
            return _refuse("echo", rules.echo)
        return _accept(_text(text)) if text else None
    if not rules.answer:
        return accept_ping()
    if needs_secret(rules) and secret is None:
        return None
    answer: dict[str, str] = {}
    for name, template in rules.answer.items():
        for _, path in PLACEHOLDER.findall(template):
            if _find_text(tree, path) is None:
                return _refuse(f"answer.{name}", path)
        answer[name] = _fill(template, tree, secret)
    return _accept(CustomResponse(200, answer))


def _refuse(setting: str, path: str) -> NormalizationResult:
    """Refuse a challenge that lacks a value for its answer: it must not be taken for a lead."""
    return NormalizationResult(
        outcome=Outcome.UNREADABLE,
        status=400,
        detail="The challenge lacks a value that its answer needs.",
        reason=f"handshake.{setting}: the challenge has no value at {path!r}",
        field_errors=[FieldError(path, f"expected by handshake.{setting}, got nothing")],
    )


def _fill(template: str, tree: Tree, secret: SourceSecret | None) -> str:
    """A template with its placeholders filled in."""

    def write(match: re.Match[str]) -> str:
        text = _find_text(tree, match[2]) or ""
        if not match[1] or secret is None:
            return text
        algorithm, encode = DIGESTS[match[1]]
        return encode(hmac.digest(secret.raw, text.encode("utf-8", "surrogatepass"), algorithm))

    return PLACEHOLDER.sub(write, template)[:MAX_ANSWER_CHARS]


def _find_text(tree: Tree, path: str) -> str | None:
    match = resolve(tree, path)
    return text_of(match[1]) if match else None
