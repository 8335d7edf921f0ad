"""What gave a lead its channel, labels and campaign: which rule or default, as the source file is now."""

from __future__ import annotations

from typing import Any, NamedTuple

from service.sources.attribution import from_url
from worker.contract import Lead
from worker.errors import Unmappable
from worker.ledger import Record
from worker.plan import plan
from worker.writing import LeadSettings, SourceWriting

DEFAULTS = LeadSettings()


class Origin(NamedTuple):
    """Who set a value, in words, and the key of the source file where it stands."""

    set_by: str
    setting: str | None


def attribution(record: Record, writing: SourceWriting | None) -> dict[str, Any]:
    """`rule` (its place from 0, and `when`), `channel`, `channel_id`, `labels`, `utm`, `click_ids`: each value with `set_by`.

    `set_by` is `rule N` (counted from 1, as people do), `source`, `default`, `payload` or `page_url`. `error` says why the
    source file cannot be applied.
    """
    lead = record.lead
    if lead is None:
        return {}
    said: dict[str, Any] = {"utm": _utm(lead), "click_ids": _click_ids(lead), "error": None}
    if writing is None:
        return said | {"error": f"the source file has no source “{record.source}”"}
    try:
        made = plan(writing, lead, submission_id=record.id, received_at=record.received_at, now=record.received_at)
    except Unmappable as error:
        return said | {"error": f"{error} ({error.setting})"}
    index = made.matched_rule
    return said | {
        "rule": None if index is None else {"index": index, "when": writing.rules[index].when},
        "channel": _value(made.channel, _origin(writing, index, "channel")),
        "channel_id": _value(made.channel_id, _origin(writing, index, "channel_id")) | {"template": _template(writing, index)},
        "labels": [_value(label, _label_origin(writing, index, label)) for label in made.labels],
    }


def _value(value: str | None, origin: Origin) -> dict[str, Any]:
    return {"value": value, "set_by": origin.set_by, "setting": origin.setting}


def _origin(writing: SourceWriting, index: int | None, key: str) -> Origin:
    """A rule goes before the source, the source before the default."""
    if index is not None and getattr(writing.rules[index], key) is not None:
        return Origin(f"rule {index + 1}", f"sources.{writing.source}.rules[{index}].{key}")
    if getattr(writing.lead, key) != getattr(DEFAULTS, key):
        return Origin("source", f"sources.{writing.source}.lead.{key}")
    return Origin("default", None)


def _label_origin(writing: SourceWriting, index: int | None, label: str) -> Origin:
    wanted = label.casefold()
    if index is None or wanted in (name.strip().casefold() for name in writing.lead.labels):
        return Origin("source", f"sources.{writing.source}.lead.labels")
    return Origin(f"rule {index + 1}", f"sources.{writing.source}.rules[{index}].labels")


def _template(writing: SourceWriting, index: int | None) -> str:
    own = writing.rules[index].channel_id if index is not None else None
    return own or writing.lead.channel_id


def _utm(lead: Lead) -> dict[str, Any]:
    """Each part and whether it came as a field of the payload or in the address of the page."""
    in_url = dict(from_url(lead.page_url or ""))
    parts = {name: value for name in lead.utm.__struct_fields__ if (value := getattr(lead.utm, name))}
    return {
        name: {"value": value, "set_by": "page_url" if in_url.get(f"utm_{name}") == value else "payload"}
        for name, value in parts.items()
    }


def _click_ids(lead: Lead) -> dict[str, Any]:
    in_url = dict(from_url(lead.page_url or ""))
    return {
        name: {"value": value, "set_by": "page_url" if in_url.get(f"click_ids.{name}") == value else "payload"}
        for name, value in lead.click_ids.items()
    }
