"""The few HTML pages that a sender can see, and the headers that keep them inert."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response, route
from litestar.types import Message, Scope

TEMPLATES = Path(__file__).parent / "templates"
STYLE_PATH = "/docs/style.css"

BARE_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# For answers that set none of their own: nothing in them is a page, or may stand in one.
_DEFAULT_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
PAGE_HEADERS = BARE_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors"
        " 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


async def add_default_headers(message: Message, _: Scope) -> None:
    """A `before_send` hook that keeps every answer inert, whichever handler made it."""
    if message["type"] == "http.response.start":
        headers = list(message.get("headers", ()))
        names = {name.lower() for name, _ in headers}
        headers += [header for header in _DEFAULT_HEADERS if header[0] not in names]
        message["headers"] = headers


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def html(
    template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> Response[bytes]:
    """Render one of our templates; every value is escaped."""
    text = _templates().get_template(template).render(style=STYLE_PATH, **values)
    return Response(
        text.encode(),
        status_code=status,
        media_type="text/html",
        headers={**PAGE_HEADERS, **(headers or {})},
    )


def get_or_head(path: str) -> route:
    """The decorator of a handler for GET; HEAD answers alike, without the body."""
    return route(path, http_method=["GET", "HEAD"], status_code=200, include_in_schema=False)


@get_or_head(STYLE_PATH)
async def stylesheet() -> Response[bytes]:
    return Response(
        (TEMPLATES / "style.css").read_bytes(),
        media_type="text/css",
        headers={"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"},
    )


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML and ranks it at least as high as JSON.

    A browser that navigates does so, a script does not. Litestar's `request.accept` cannot tell:
    it counts `*/*` as HTML, and weights like `nan` or `1e999` either win or raise.
    """
    html_weight = json_weight = 0.0
    for part in accept[:1000].lower().split(","):
        kind, _, rest = part.strip().partition(";")
        kind = kind.strip()
        if kind in ("text/html", "application/xhtml+xml"):
            html_weight = max(html_weight, _weight(rest))
        elif kind.endswith(("/json", "+json")):
            json_weight = max(json_weight, _weight(rest))
    return html_weight > 0 and html_weight >= json_weight


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
