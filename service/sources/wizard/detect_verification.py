"""How a captured request proves who sent it, as `[sources.X.verify]` would say it: by its headers,
query and body.
"""

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
from worker.units import parse_unix_time

DEFAULT_QUERY = "key"
_SIGNATURE = re.compile(r"(?:^|-)(?:signature|hmac|hash|digest|sig|signed)(?:-|$)|signature")
_TIMESTAMP = re.compile(r"timestamp|request-time$|-ts$")
_ID = re.compile(r"(?:webhook|event|delivery|request|message|hook|notification)-id$|-delivery$")
_TOKEN = re.compile(
    r"^x-(?:[a-z0-9]+-)*(?:key|token|secret|apikey|auth)$|^(?:api-?key|auth-token|secret|token)$"
)
_QUERY = re.compile(
    r"(?:[a-z_-]*(?:secret|token|apikey|api_key|api-key))|key|auth|pass|password|sig", re.IGNORECASE
)
_FIELD = re.compile(
    r"handshake_?key|[a-z_.-]*secret(?:_?key)?|[a-z_]*api_?key|verification_?token|auth_?token|webhook_?key",
    re.I,
)
_LISTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*=[^,\s]+(?:,\s*[A-Za-z][A-Za-z0-9_]*=[^,\s]+)+")
_JWT = re.compile(r"(?:Bearer )?(eyJ[\w-]+\.[\w-]+\.[\w-]+)")
_PREFIX = re.compile(r"(?:(?:hmac-)?sha-?(?:1|256)|v[0-9])=", re.IGNORECASE)
_DIGESTS = {32: "sha256", 20: "sha1"}
NOT_SIGNATURES = frozenset({"content-md5", "content-digest", "if-none-match"})
SIGNED = (
    "{body}", "{timestamp}.{body}", "{timestamp}:{body}", "{timestamp}{body}", "{body}{timestamp}",
    "v0:{timestamp}:{body}",
    "{id}.{timestamp}.{body}", "{url}{body}", "{method}{url}{body}",
    "{method}{url}{body}{timestamp}", "{timestamp}\n{body}",
)  # fmt: skip
"""What senders sign, the most usual first; tried one after the other where the secret is known."""


class Door(Struct, frozen=True):
    """`rules` are keys of `[sources.X.verify]` without `secret_env`; None: nothing was shown. `why`
    by key, "" for the whole.

    `unread` is a header that looks like a signature and is none that could be checked.
    """

    rules: dict[str, Any] | None
    why: dict[str, str] = field(default_factory=dict)
    is_certain: bool = True
    unread: str | None = None


def door(captured: Captured, secrets: Sequence[SourceSecret] = ()) -> Door:
    """The scheme that the request shows. With the secret, what is signed is found by trying, else
    guessed.
    """
    request = captured.request
    headers = {name: value for name, value in request.headers if name not in NOT_SIGNATURES}
    for kind in ("webhook", "svix"):
        if {f"{kind}-id", f"{kind}-signature"} <= headers.keys():
            return Door(
                {"scheme": "standard-webhooks"}, {"": f"the headers {kind}-id and {kind}-signature"}
            )
    for name, value in headers.items():
        if found := _JWT.fullmatch(value.strip()):
            rules = {"scheme": "jwt"} | (
                {} if name == "authorization" else {"header": _shown(name)}
            )
            return Door(
                rules,
                {"": f"{_shown(name)} holds a token of three parts ({len(found[1])} characters)"},
            )
    for name, value in headers.items():
        if _SIGNATURE.search(name) and (signed := _hmac(name, value, headers)):
            return _tried(signed, request, secrets) or _guessed(signed)
    unread = next((_shown(name) for name in headers if _SIGNATURE.search(name)), None)
    return structs.replace(_token(captured, headers), unread=unread)


def _hmac(name: str, value: str, headers: dict[str, str]) -> dict[str, Any] | None:
    """The rules of a signature but for what is signed; None if the header holds no digest."""
    rules: dict[str, Any] = {"scheme": "hmac", "header": _shown(name)}
    digest = value.strip()
    if _LISTED.fullmatch(digest):
        parts = [part.strip().partition("=") for part in digest.split(",")]
        time = next((key for key, _, text in parts if parse_unix_time(text) is not None), None)
        signed = next(
            ((key, text) for key, _, text in parts if key != time and _digest(text)), None
        )
        if time is None or signed is None:
            return None
        rules |= {"list": f"{time}=,{signed[0]}="}
        digest = signed[1]
    elif prefix := _PREFIX.match(digest):
        rules |= {"prefix": prefix[0]}
        digest = digest[prefix.end() :]
    if not (found := _digest(digest)):
        return None
    algorithm, encoding = found
    rules |= ({"algorithm": algorithm} if algorithm != "sha256" else {}) | (
        {"encoding": encoding} if encoding != "hex" else {}
    )
    if "list" not in rules:
        timed = next(
            (
                key
                for key, text in headers.items()
                if _TIMESTAMP.search(key) and parse_unix_time(text) is not None
            ),
            None,
        )
        rules |= {"timestamp_header": _shown(timed)} if timed else {}
    numbered = next((key for key in headers if _ID.search(key)), None)
    return rules | ({"id_header": _shown(numbered)} if numbered else {})


def _digest(text: str) -> tuple[str, str] | None:
    """Algorithm and encoding, by length and alphabet."""
    for encoding, raw in (("hex", decode_hex(text)), ("base64", decode_base64(text))):
        if raw is not None and len(raw) in _DIGESTS:
            return _DIGESTS[len(raw)], encoding
    return None


def _tried(
    rules: dict[str, Any], request: InboundRequest, secrets: Sequence[SourceSecret]
) -> Door | None:
    """With what is signed, if any usual form fits the secret."""
    if not secrets:
        return None
    timed = [rules, {key: value for key, value in rules.items() if key != "timestamp_header"}]
    for signed, base in product(SIGNED, timed):
        if "list" not in base and ("timestamp_header" in base) != ("{timestamp}" in signed):
            continue
        tried = base | {"signed": signed}
        verify = convert(tried, VerifySettings, strict=False)
        if verify_hmac(request, verify, secrets, _time(request, verify)).ok:
            if signed == "{body}":
                del tried["signed"]
            return Door(
                tried, {"": "the signature fits the secret", "signed": "tried with the secret"}
            )
    return None


def _time(request: InboundRequest, rules: VerifySettings) -> float:
    """The time that the request claims, so that an old capture is not refused for its age."""
    if rules.timestamp_header:
        return parse_unix_time(request.header(rules.timestamp_header.lower()) or "") or 0.0
    prefix = (rules.list_prefixes or "").partition(",")[0]
    parts = (request.header((rules.header or "").lower()) or "").split(",")
    found = next(
        (
            part.strip().removeprefix(prefix)
            for part in parts
            if prefix and part.strip().startswith(prefix)
        ),
        "",
    )
    return parse_unix_time(found) or 0.0


def _guessed(rules: dict[str, Any]) -> Door:
    is_timed = "list" in rules or "timestamp_header" in rules
    if rules.get("prefix") == "v0=":
        rules = rules | {"signed": "v0:{timestamp}:{body}"}
    elif is_timed:
        rules = rules | {"signed": "{timestamp}.{body}"}
    said = "guessed: see what the sender's documents say is signed" if is_timed else ""
    how = rules.get("encoding", "hex")
    why = {
        "": (
            f"{rules['header']} holds a digest: {rules.get('algorithm', 'sha256')} in {how}, by its"
            " length and its letters"
        )
    }
    return Door(rules, why | ({"signed": said} if said else {}), is_certain=not is_timed)


def _token(captured: Captured, headers: dict[str, str]) -> Door:
    request = captured.request
    for name, value in headers.items():
        if name == "authorization" and value.strip():
            whole = (
                ""
                if value[:7].lower() == "bearer "
                else f", whole: {value.split(' ')[0]} and what follows"
            )
            return Door(
                {"scheme": "token", "header": "Authorization"},
                {"": f"the secret is in Authorization{whole}"},
            )
    for name in headers:
        if _TOKEN.search(name):
            return Door(
                {"scheme": "token", "header": _shown(name)},
                {"": f"{_shown(name)} looks like a secret"},
            )
    for pair in request.query.split("&"):
        name = unquote_plus(pair.partition("=")[0])
        if _QUERY.fullmatch(name):
            return Door(
                {"scheme": "token", "query": name}, {"": f"{name} in the query looks like a secret"}
            )
    for found in _fields(captured):
        return Door(
            {"scheme": "token", "field": found}, {"": f"{found} in the body looks like a secret"}
        )
    return Door(None)


def _fields(captured: Captured) -> Iterator[str]:
    for path, value in scalars(captured.top):
        if (
            isinstance(value, str)
            and len(value) >= 4
            and (_FIELD.fullmatch(path[-1]) or value == REMOVED)
        ):
            yield ".".join(path)


def _shown(name: str) -> str:
    """A header's name as people write it."""
    return "-".join(part[:1].upper() + part[1:] for part in name.split("-"))
