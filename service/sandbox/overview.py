"""What `GET /_sandbox/state` and the page show of the account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

from service.sandbox.account import CHANNELS
from service.sandbox.calls import LoggedCall
from service.sandbox.gateway import Gateway

Record = dict[str, Any]


def state(gateway: Gateway, calls: int | None = None) -> Record:
    """Everything the account holds, the latest `calls` calls (all remembered ones by default) and the totals."""
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
    emails = ((email["value"].strip().lower(), person["id"]) for person in store.persons for email in person["emails"])
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
