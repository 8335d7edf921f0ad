"""What every page has around it: the policy, the static files, the templates and what their filters say."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Response
from markupsafe import Markup

from service import pages
from service.ops.console import words
from worker.contract import State

STATIC = Path(__file__).parent.parent / "static"
STATIC_PATH = "/ops/static"
MEDIA = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The static files there are."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = pages.PAGE_HEADERS | {
    "Content-Security-Policy": POLICY,
    "Vary": "Cookie, Authorization",
    # Without a referrer a browser sends `Origin: null`, and our own forms could not be told from others'.
    "Referrer-Policy": "same-origin",
}

KEYS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("j", "k"), "next, previous"),
    (("Enter",), "open"),
    (("Esc",), "back to the list, close"),
    (("x",), "select"),
    (("a",), "all matching"),
    (("e",), "edit"),
    (("r",), "retry or accept"),
    (("d",), "discard"),
    (("u",), "undo"),
    (("/",), "search"),
    (("?",), "this help"),
)

INPUTS = {
    kind: Markup(attributes)
    for kind, attributes in {
        "text": 'type="text" autocomplete="off"',
        "email": 'type="email" autocomplete="off" inputmode="email" spellcheck="false"',
        "tel": 'type="tel" autocomplete="off"',
        "url": 'type="url" autocomplete="off" spellcheck="false"',
        "decimal": 'type="text" inputmode="decimal" autocomplete="off"',
        "currency": 'type="text" maxlength="3" size="4" autocapitalize="characters" autocomplete="off" spellcheck="false"',
    }.items()
}
"""The attributes of an input by its kind: the only text of ours that templates take as HTML."""


@cache
def asset(name: str) -> tuple[bytes, str]:
    """A static file and its fingerprint."""
    content = (STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file, another one whenever the file is."""
    return f"{STATIC_PATH}/{name}?v={asset(name)[1]}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(pages.HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"static": static, "key_help": KEYS}
    environment.filters |= {
        "number": words.number,
        "plural": words.plural,
        "duration": words.duration,
        "absolute": words.absolute,
        "relative": _relative,
        "clock": _clock,
        "pretty": lambda body: msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
        "state": lambda state: words.STATES[State(state)],
    }
    return environment


@pass_context
def _relative(context: Context, moment: str) -> str:
    return words.relative(moment, context["now"])


@pass_context
def _clock(context: Context, moment: str) -> str:
    return words.clock(moment, context["now"])


def page(template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response[bytes]:
    """A page of the console; every value is escaped."""
    now = datetime.now(UTC)
    text = _templates().get_template(f"ops/{template}").render(now=now, **values)
    return Response(text.encode(), status_code=status, media_type="text/html", headers={**HEADERS, **(headers or {})})
