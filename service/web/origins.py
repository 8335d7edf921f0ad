"""Which pages may post here and where senders may be redirected: CORS, Origin check, redirects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

PREFLIGHT_MAX_AGE_SECONDS = 600
EXPOSED_HEADERS = "Idempotent-Replayed, Location, Retry-After, X-Request-Id"
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,2000}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


def origin_of(url: str) -> str | None:
    """The origin of an absolute URL, such as `https://host` or `http://host:8080`; None otherwise.

    The default port is left out. Strict on purpose: no credentials, backslashes, control characters
    or white space, nothing that a browser and this parser could read differently.
    """
    if not _URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme
    if scheme not in _PORTS or not url.lower().startswith(f"{scheme}://") or "@" in parts.netloc:
        return None
    host = (
        f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    )
    plain = host if port is None else f"{host}:{port}"
    if not _HOST.fullmatch(host) or plain != parts.netloc.lower():
        return None
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"


def origin_allowed(origins: Sequence[str], origin: str | None) -> bool:
    """Whether a request with this Origin header may post; without one it comes from a program."""
    if not origins or "*" in origins or origin is None:
        return True
    return origin_of(origin) is not None and origin_of(origin) in {
        origin_of(listed) for listed in origins
    }


def redirect_allowed(target: str | None, redirect_origins: Sequence[str]) -> bool:
    """Whether a form's own `_redirect` leads to an allowed origin."""
    origin = origin_of(target) if target else None
    return origin is not None and origin in {origin_of(listed) for listed in redirect_origins}


def cors_headers(origins: Sequence[str], origin: str | None) -> dict[str, str]:
    """The headers that let a page of an allowed origin read the response, errors included."""
    if not origins or "*" in origins:
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        }
    if origin is None or not origin_allowed(origins, origin):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        "Vary": "Origin",
    }


def preflight_headers(headers: Sequence[str]) -> dict[str, str]:
    """What a preflight response adds to `cors_headers`; `headers` are the source's own."""
    return {
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": ", ".join(
            dict.fromkeys(["content-type", "idempotency-key", *headers])
        ),
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_SECONDS),
    }
