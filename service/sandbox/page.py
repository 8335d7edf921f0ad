"""The page a person looks at: leads, persons, notes and the latest calls. Plain HTML, no scripts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from html import unescape
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from service.sandbox.gateway import Gateway
from service.sandbox.overview import latest_calls, shown_leads, totals

SHOWN = 50
BLOCK_END = re.compile(r"</(?:p|div|li|tr|h\d|blockquote|pre)>|<br>")
TAG = re.compile(r"<[^>]*>")
REFRESH_SECONDS = 5
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {"content-security-policy": POLICY, "cache-control": "no-store", "x-content-type-options": "nosniff"}
STYLE_HEADERS = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("service.sandbox", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = _clock
    environment.filters["plain"] = _plain
    return environment.get_template("account.html")


def page_routes() -> list[ControllerRouterHandler]:
    """The page and its style sheet."""
    style = (files("service.sandbox") / "pages" / "account.css").read_bytes()

    @get("/", sync_to_thread=False)
    def account(request: Request[Any, Any, State]) -> Response[str]:
        gateway: Gateway = request.app.state["gateway"]
        refresh = request.query_params.get("refresh", "")
        store = gateway.company.store
        html = _template().render(
            refresh=min(int(refresh), 3600) if refresh.isdecimal() else REFRESH_SECONDS,
            settings=gateway.company.settings,
            totals=totals(gateway),
            counts={table.name: len(table) for table in (store.leads, store.persons, store.notes, store.deals)},
            leads=shown_leads(gateway, SHOWN),
            persons=list(store.persons)[::-1][:SHOWN],
            notes=list(store.notes)[::-1][:SHOWN],
            calls=latest_calls(gateway, SHOWN)[::-1],
            faults=[rule for rule in gateway.faults.listed() if not rule["spent"]],
        )
        return Response(html, media_type=MediaType.HTML, headers=HEADERS)

    @get("/_sandbox/account.css", sync_to_thread=False)
    def style_sheet() -> Response[bytes]:
        return Response(style, media_type=MediaType.CSS, headers=STYLE_HEADERS)

    return [account, style_sheet]


def _plain(html: str) -> str:
    """A note's text, its blocks on lines of their own."""
    return unescape(TAG.sub("", BLOCK_END.sub("\n", html))).strip()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
