"""The page a person looks at: leads, persons, notes and the latest calls. Plain HTML, no
scripts.
"""

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

from service.sandbox.account.stock import CHANNELS
from service.sandbox.call_log import LoggedCall
from service.sandbox.gateway import Gateway

# What `GET /_sandbox/state` and the page show of the account.

Record = dict[str, Any]


def state(gateway: Gateway, calls: int | None = None) -> Record:
    """Everything the account holds, the latest `calls` calls (all remembered ones by default) and
    the totals.
    """
    store = gateway.company.store
    return {
        "leads": list(store.leads),
        "persons": list(store.persons),
        "organizations": list(store.organizations),
        "notes": list(store.notes),
        "labels": list(store.labels),
        "deals": list(store.deals),
        "calls": latest_calls(gateway, calls),
        "totals": totals(gateway),
        "faults": gateway.faults.listed(),
    }


def latest_calls(gateway: Gateway, most: int | None) -> list[LoggedCall]:
    """Oldest first."""
    remembered = list(gateway.log.latest)
    return remembered if most is None else remembered[max(0, len(remembered) - most) :]


def totals(gateway: Gateway) -> Record:
    """Sums since the start or the last reset; duplicates as they stand now."""
    store, log, limits = gateway.company.store, gateway.log, gateway.limits
    held = ((record["origin_id"], record["id"]) for record in chain(store.leads, store.deals))
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
        "max_calls_in_2s": limits.calls.most,
        "max_searches_in_2s": limits.searches.most,
        "duplicates": {"origin_ids": _shared(held), "emails": _shared(emails)},
    }


def shown_leads(gateway: Gateway, most: int) -> list[Record]:
    """The newest leads with their names looked up, for the page."""
    store = gateway.company.store
    names = {label["id"]: label for label in store.labels}
    newest = list(store.leads)[::-1][:most]
    return [
        lead
        | {
            "person": store.persons.get(lead["person_id"]),
            "organization": store.organizations.get(lead["organization_id"]),
            "labels": [names[key] for key in lead["label_ids"] if key in names],
            "channel_name": CHANNELS.get(lead["channel"]) if lead["channel"] is not None else None,
        }
        for lead in newest
    ]


def _shared(pairs: Iterable[tuple[Any, Any]]) -> dict[str, list[Any]]:
    """Values that more than one record has, with the records' ids."""
    found: dict[str, dict[Any, None]] = defaultdict(dict)
    for value, key in pairs:
        if value:
            found[value][key] = None
    return {value: list(keys) for value, keys in found.items() if len(keys) > 1}


SHOWN = 50
BLOCK_END = re.compile(r"</(?:p|div|li|tr|h\d|blockquote|pre)>|<br>")
TAG = re.compile(r"<[^>]*>")
REFRESH_SECONDS = 5
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
            counts={
                table.name: len(table)
                for table in (store.leads, store.persons, store.notes, store.deals)
            },
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
