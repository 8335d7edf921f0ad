"""How a captured request proves who sent it, as the keys of `[sources.X.verify]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any
from urllib.parse import unquote_plus

from msgspec import Struct, convert, field, structs

from service.sources.redact import REMOVED
from service.sources.request import InboundRequest
from service.sources.schema import SourceSecret, VerifySettings
from service.sources.verification.common import decode_base64, decode_hex
from service.sources.verification.hmac import verify_hmac
from service.sources.wizard.captured import Captured, scalars
from service.sources.wizard.detect_handshake import SECRET_HEADER, is_challenge_name
from worker.units import parse_unix_time

DEFAULT_QUERY = "key"
MIN_SECRET_CHARS = 4
_SIGNATURE_HEADER = re.compile(r"(?:^|-)(?:signature|hmac|hash|digest|sig|signed)(?:-|$)|signature")
_TIMESTAMP_HEADER = re.compile(r"timestamp|request-time$|-ts$")
_ID_HEADER = re.compile(
    r"(?:webhook|event|delivery|request|message|hook|notification)-id$|-delivery$"
)
_TOKEN_HEADER = re.compile(
    r"^x-(?:[a-z0-9]+-)*(?:key|token|secret|apikey|auth)$|^(?:api-?key|auth-token|secret|token)$"
)
_TOKEN_QUERY = re.compile(
    r"(?:[a-z_-]*(?:secret|token|apikey|api_key|api-key))|key|auth|pass|password|sig", re.IGNORECASE
)
_TOKEN_FIELD = re.compile(
    r"handshake_?key|[a-z_.-]*secret(?:_?key)?|[a-z_]*api_?key|verification_?token|auth_?token"
    r"|webhook_?key",
    re.IGNORECASE,
)
_LISTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*=[^,\s]+(?:,\s*[A-Za-z][A-Za-z0-9_]*=[^,\s]+)+")
_JWT = re.compile(r"(?i:Bearer )?(eyJ[\w-]+\.[\w-]+\.[\w-]+)")
_PREFIX = re.compile(r"(?:(?:hmac-)?sha-?(?:1|256)|v[0-9])=", re.IGNORECASE)
# Bytes of a digest -> algorithm.
_DIGESTS = {32: "sha256", 20: "sha1"}
NOT_SIGNATURES = frozenset({"content-md5", "content-digest", "if-none-match"})
# What senders sign, the most usual first: tried in turn if the secret is known.
SIGNED = (
    "{body}", "{timestamp}.{body}", "{timestamp}:{body}", "{timestamp}{body}",
    "{body}{timestamp}", "v0:{timestamp}:{body}", "{id}.{timestamp}.{body}", "{url}{body}",
    "{method}{url}{body}", "{method}{url}{body}{timestamp}", "{timestamp}\n{body}",
)  # fmt: skip


class DetectedScheme(Struct, frozen=True):
    """`rules` are the keys of `[sources.X.verify]` without `secret_env`, None if nothing was found.

    `reasons` are by key; that of the empty key is for the whole. `is_certain` is False if what is
    signed was guessed. `unread_header` looks like a signature but could not be read as one.
    """

    rules: dict[str, Any] | None
    reasons: dict[str, str] = field(default_factory=dict)
    is_certain: bool = True
    unread_header: str | None = None


def detect_verification(captured: Captured, secrets: Sequence[SourceSecret] = ()) -> DetectedScheme:
    """The scheme of the request: Standard Webhooks, a JWT, a signature or a token, in this order.

    With a secret, what is signed is found by trying; otherwise it is guessed.
    """
    request = captured.request
    headers = {name: value for name, value in request.headers if name not in NOT_SIGNATURES}
    for kind in ("webhook", "svix"):
        if {f"{kind}-id", f"{kind}-signature"} <= headers.keys():
            reasons = {"": f"the headers {kind}-id and {kind}-signature"}
            return DetectedScheme({"scheme": "standard-webhooks"}, reasons)
    for name, value in headers.items():
        if match := _JWT.fullmatch(value.strip()):
            rules: dict[str, Any] = {"scheme": "jwt"}
            if name != "authorization":
                rules["header"] = _title_case(name)
            reason = (
                f"{_title_case(name)} holds a token of three parts ({len(match[1])} characters)"
            )
            return DetectedScheme(rules, {"": reason})
    for name, value in headers.items():
        if _SIGNATURE_HEADER.search(name) and (signature := _parse_signature(name, value, headers)):
            return _try_secrets(signature, request, secrets) or _guess_signed(signature)
    unread = next((_title_case(name) for name in headers if _SIGNATURE_HEADER.search(name)), None)
    return structs.replace(_detect_token(captured, headers), unread_header=unread)


def _parse_signature(name: str, value: str, headers: dict[str, str]) -> dict[str, Any] | None:
    """The rules of a signature but for what is signed; None if the header holds no digest."""
    rules: dict[str, Any] = {"scheme": "hmac", "header": _title_case(name)}
    digest = value.strip()
    if _LISTED.fullmatch(digest):
        pairs = [part.strip().partition("=") for part in digest.split(",")]
        time_key = next((key for key, _, text in pairs if parse_unix_time(text) is not None), None)
        digests = ((key, text) for key, _, text in pairs if key != time_key and _parse_digest(text))
        key, digest = next(digests, ("", ""))
        if time_key is None or not digest:
            return None
        rules["list"] = f"{time_key}=,{key}="
    elif prefix := _PREFIX.match(digest):
        rules["prefix"] = prefix[0]
        digest = digest[prefix.end() :]
    if not (parsed := _parse_digest(digest)):
        return None
    algorithm, encoding = parsed
    if algorithm != "sha256":
        rules["algorithm"] = algorithm
    if encoding != "hex":
        rules["encoding"] = encoding
    if "list" not in rules and (timed := _find_timestamp_header(headers)):
        rules["timestamp_header"] = _title_case(timed)
    if numbered := next((key for key in headers if _ID_HEADER.search(key)), None):
        rules["id_header"] = _title_case(numbered)
    return rules


def _find_timestamp_header(headers: dict[str, str]) -> str | None:
    times = (
        name
        for name, text in headers.items()
        if _TIMESTAMP_HEADER.search(name) and parse_unix_time(text) is not None
    )
    return next(times, None)


def _parse_digest(text: str) -> tuple[str, str] | None:
    """Algorithm and encoding, by length and alphabet."""
    for encoding, raw in (("hex", decode_hex(text)), ("base64", decode_base64(text))):
        if raw is not None and len(raw) in _DIGESTS:
            return _DIGESTS[len(raw)], encoding
    return None


def _try_secrets(
    rules: dict[str, Any], request: InboundRequest, secrets: Sequence[SourceSecret]
) -> DetectedScheme | None:
    """The rules with what is signed, if one of the usual forms fits a secret."""
    if not secrets:
        return None
    untimed = {key: value for key, value in rules.items() if key != "timestamp_header"}
    for signed, base in product(SIGNED, (rules, untimed)):
        if "list" not in base and ("timestamp_header" in base) != ("{timestamp}" in signed):
            continue
        verify = convert(base | {"signed": signed}, VerifySettings, strict=False)
        if verify_hmac(request, verify, secrets, _find_time(request, verify)).ok:
            fitting = base if signed == "{body}" else base | {"signed": signed}
            reasons = {"": "the signature fits the secret", "signed": "tried with the secret"}
            return DetectedScheme(fitting, reasons)
    return None


def _find_time(request: InboundRequest, rules: VerifySettings) -> float:
    """The time that the request claims, so that an old capture is not refused for its age."""
    if rules.timestamp_header:
        return parse_unix_time(request.header(rules.timestamp_header.lower()) or "") or 0.0
    prefix = (rules.list_prefixes or "").partition(",")[0]
    parts = (request.header((rules.header or "").lower()) or "").split(",")
    times = (
        part.strip().removeprefix(prefix)
        for part in parts
        if prefix and part.strip().startswith(prefix)
    )
    return parse_unix_time(next(times, "")) or 0.0


def _guess_signed(rules: dict[str, Any]) -> DetectedScheme:
    is_timed = "list" in rules or "timestamp_header" in rules
    algorithm, encoding = rules.get("algorithm", "sha256"), rules.get("encoding", "hex")
    reasons = {
        "": (
            f"{rules['header']} holds a digest: {algorithm} in {encoding}, by its length and its"
            " letters"
        )
    }
    if rules.get("prefix") == "v0=":
        rules = rules | {"signed": "v0:{timestamp}:{body}"}
    elif is_timed:
        rules = rules | {"signed": "{timestamp}.{body}"}
    if is_timed:
        reasons["signed"] = "guessed: the sender's documentation says what is signed"
    return DetectedScheme(rules, reasons, is_certain=not is_timed)


def _detect_token(captured: Captured, headers: dict[str, str]) -> DetectedScheme:
    request = captured.request
    authorization = headers.get("authorization", "")
    if authorization.strip():
        kind = authorization.split(" ")[0]
        is_bearer = authorization[:7].lower() == "bearer "
        whole = "" if is_bearer else f", whole: {kind} and what follows"
        return _build_token("header", "Authorization", f"the secret is in Authorization{whole}")
    for name in headers:
        if _TOKEN_HEADER.search(name) and name != SECRET_HEADER.lower():
            header = _title_case(name)
            return _build_token("header", header, f"{header} looks like a secret")
    for pair in request.query.split("&"):
        name = unquote_plus(pair.partition("=")[0])
        if _TOKEN_QUERY.fullmatch(name) and not is_challenge_name(name):
            return _build_token("query", name, f"{name} in the query looks like a secret")
    for path in _find_secret_fields(captured):
        return _build_token("field", path, f"{path} in the body looks like a secret")
    return DetectedScheme(None)


def _build_token(place: str, name: str, reason: str) -> DetectedScheme:
    return DetectedScheme({"scheme": "token", place: name}, {"": reason})


def _find_secret_fields(captured: Captured) -> Iterator[str]:
    for path, value in scalars(captured.top):
        is_secret = bool(_TOKEN_FIELD.fullmatch(path[-1])) or value == REMOVED
        if is_secret and isinstance(value, str) and len(value) >= MIN_SECRET_CHARS:
            yield ".".join(path)


def _title_case(name: str) -> str:
    """A header's name as people write it."""
    return "-".join(part[:1].upper() + part[1:] for part in name.split("-"))
