"""The state of the account, as JSON for programs and as a page (without scripts) for people."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from html import unescape
from importlib.resources import files
from itertools import chain
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from service.sandbox.call_log import LoggedCall
from service.sandbox.gateway import Gateway, whole_number

Record = dict[str, Any]
MAX_ROWS = 50
REFRESH_SECONDS, MAX_REFRESH_SECONDS = 5, 3600
BLOCK_END = re.compile(r"</(?:p|div|li|tr|h\d|blockquote|pre)>|<br>")
TAG = re.compile(r"<[^>]*>")
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors"
    " 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
STYLE_HEADERS = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


def build_state(gateway: Gateway, calls: int | None = None) -> Record:
    """Everything in the account, the latest `calls` calls (default: all logged), the totals."""
    store = gateway.company.store
    return {
        "leads": list(store.leads),
        "persons": list(store.persons),
        "organizations": list(store.organizations),
        "notes": list(store.notes),
        "files": list(store.files),
        "labels": list(store.labels),
        "deals": list(store.deals),
        "calls": latest_calls(gateway, calls),
        "totals": build_totals(gateway),
        "faults": gateway.faults.describe(),
    }


def latest_calls(gateway: Gateway, limit: int | None) -> list[LoggedCall]:
    """Oldest first."""
    calls = list(gateway.log.latest)
    return calls if limit is None else calls[max(0, len(calls) - limit) :]


def build_totals(gateway: Gateway) -> Record:
    """Sums since the start or the last reset; the duplicates that exist now."""
    store, log, limits = gateway.company.store, gateway.log, gateway.limits
    origin_ids = ((record["origin_id"], record["id"]) for record in chain(store.leads, store.deals))
    emails = (
        (email["value"].strip().lower(), person["id"])
        for person in store.persons
        for email in person["emails"]
    )
    return {
        "tokens": log.tokens,
        "tokens_today": limits.spent_today(),
        "calls": log.count,
        "calls_by_operation": dict(sorted(log.by_operation.items())),
        "answers_by_status": dict(sorted(log.by_status.items())),
        "max_calls_in_2s": limits.calls.peak,
        "max_searches_in_2s": limits.searches.peak,
        "duplicates": {"origin_ids": _find_shared(origin_ids), "emails": _find_shared(emails)},
    }


def list_newest_leads(gateway: Gateway, limit: int) -> list[Record]:
    """The newest leads, with names instead of ids."""
    store = gateway.company.store
    labels = {label["id"]: label for label in store.labels}
    channels = gateway.company.channels
    newest = list(store.leads)[::-1][:limit]
    return [
        lead
        | {
            "person": store.persons.get(lead["person_id"]),
            "organization": store.organizations.get(lead["organization_id"]),
            "labels": [labels[key] for key in lead["label_ids"] if key in labels],
            "channel_name": channels.get(lead["channel"]) if lead["channel"] is not None else None,
        }
        for lead in newest
    ]


def _find_shared(pairs: Iterable[tuple[Any, Any]]) -> dict[str, list[Any]]:
    """Values that several records share -> the ids of those records."""
    ids: dict[str, dict[Any, None]] = defaultdict(dict)
    for value, key in pairs:
        if value:
            ids[value][key] = None
    return {value: list(keys) for value, keys in ids.items() if len(keys) > 1}


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("service.sandbox", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = _format_time
    environment.filters["plain"] = _to_plain_text
    return environment.get_template("account.html")


def page_routes() -> list[ControllerRouterHandler]:
    """The page and its style sheet."""
    style = (files("service.sandbox") / "pages" / "account.css").read_bytes()

    @get("/", sync_to_thread=False)
    def account(request: Request[Any, Any, State]) -> Response[str]:
        gateway: Gateway = request.app.state["gateway"]
        refresh = whole_number(request.query_params.get("refresh", ""))
        store = gateway.company.store
        html = _template().render(
            refresh=REFRESH_SECONDS if refresh is None else min(refresh, MAX_REFRESH_SECONDS),
            settings=gateway.company.settings,
            totals=build_totals(gateway),
            counts={
                table.name: len(table)
                for table in (store.leads, store.persons, store.notes, store.deals)
            },
            leads=list_newest_leads(gateway, MAX_ROWS),
            persons=list(store.persons)[::-1][:MAX_ROWS],
            notes=list(store.notes)[::-1][:MAX_ROWS],
            calls=latest_calls(gateway, MAX_ROWS)[::-1],
            faults=[rule for rule in gateway.faults.describe() if not rule["spent"]],
        )
        return Response(html, media_type=MediaType.HTML, headers=HEADERS)

    @get("/_sandbox/account.css", sync_to_thread=False)
    def style_sheet() -> Response[bytes]:
        return Response(style, media_type=MediaType.CSS, headers=STYLE_HEADERS)

    return [account, style_sheet]


def _to_plain_text(html: str) -> str:
    """The text of a note, each block on a line of its own."""
    return unescape(TAG.sub("", BLOCK_END.sub("\n", html))).strip()


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
