"""Everything about one submission: what came in, what went out, what became of it and why."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from service.ops import masking
from service.ops.items import build_item, quarantine_reason
from service.ops.schemas import CauseCard, DeliveryStep, Detail, RawRequest, TimelineEntry
from service.sources.fields.attribution import tracking_from_url
from service.sources.normalize import normalize
from service.sources.request import InboundRequest
from service.sources.schema import Source
from worker.contract import Attempt, Lead, Moment, Raw
from worker.errors import Unmappable
from worker.lead.plan import build_plan
from worker.lead.settings import LeadMapping, LeadSettings
from worker.ledger import Record
from worker.ledger.reader import SubmissionHistory
from worker.units import format_iso

DEFAULTS = LeadSettings()


class Origin(NamedTuple):
    """What set a value, in words, and the key of the source file that holds it."""

    set_by: str
    setting: str | None


def explain_attribution(record: Record, mapping: LeadMapping | None) -> dict[str, Any]:
    """Say which rule or default of the current source file sets channel, labels and campaign.

    The keys are `rule` (its index from 0, and `when`), `channel`, `channel_id`, `labels`, `utm` and
    `click_ids`, each value with `set_by`: `rule N` (counted from 1, as people do), `source`,
    `default`, `payload` or `page_url`. `error` says why the source file cannot be applied.
    """
    lead = record.lead
    if lead is None:
        return {}
    explanation: dict[str, Any] = {
        "utm": _explain_utm(lead),
        "click_ids": _explain_click_ids(lead),
        "error": None,
    }
    if mapping is None:
        return explanation | {"error": f"the source file has no source “{record.source}”"}
    try:
        lead_plan = build_plan(
            mapping,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=record.received_at,
        )
    except Unmappable as error:
        return explanation | {"error": f"{error} ({error.setting})"}
    index = lead_plan.matched_rule
    return explanation | {
        "rule": None if index is None else {"index": index, "when": mapping.rules[index].when},
        "channel": _explain_value(lead_plan.channel, _find_origin(mapping, index, "channel")),
        "channel_id": (
            _explain_value(lead_plan.channel_id, _find_origin(mapping, index, "channel_id"))
            | {"template": _find_template(mapping, index)}
        ),
        "labels": [
            _explain_value(label, _find_label_origin(mapping, index, label))
            for label in lead_plan.labels
        ],
    }


def _explain_value(value: str | None, origin: Origin) -> dict[str, Any]:
    return {"value": value, "set_by": origin.set_by, "setting": origin.setting}


def _find_origin(mapping: LeadMapping, index: int | None, key: str) -> Origin:
    """A rule overrides the source, the source overrides the default."""
    if index is not None and getattr(mapping.rules[index], key) is not None:
        return Origin(f"rule {index + 1}", f"sources.{mapping.source}.rules[{index}].{key}")
    if getattr(mapping.lead, key) != getattr(DEFAULTS, key):
        return Origin("source", f"sources.{mapping.source}.lead.{key}")
    return Origin("default", None)


def _find_label_origin(mapping: LeadMapping, index: int | None, label: str) -> Origin:
    folded = label.casefold()
    if index is None or folded in (name.strip().casefold() for name in mapping.lead.labels):
        return Origin("source", f"sources.{mapping.source}.lead.labels")
    return Origin(f"rule {index + 1}", f"sources.{mapping.source}.rules[{index}].labels")


def _find_template(mapping: LeadMapping, index: int | None) -> str:
    rule_template = mapping.rules[index].channel_id if index is not None else None
    return rule_template or mapping.lead.channel_id


def _explain_utm(lead: Lead) -> dict[str, Any]:
    """Each part, and whether it came as a field of the payload or in the page's URL."""
    in_url = dict(tracking_from_url(lead.page_url or ""))
    parts = {
        name: value for name in lead.utm.__struct_fields__ if (value := getattr(lead.utm, name))
    }
    return {
        name: {
            "value": value,
            "set_by": "page_url" if in_url.get(f"utm_{name}") == value else "payload",
        }
        for name, value in parts.items()
    }


def _explain_click_ids(lead: Lead) -> dict[str, Any]:
    in_url = dict(tracking_from_url(lead.page_url or ""))
    return {
        name: {
            "value": value,
            "set_by": "page_url" if in_url.get(f"click_ids.{name}") == value else "payload",
        }
        for name, value in lead.click_ids.items()
    }


def build_detail(
    history: SubmissionHistory,
    cause: CauseCard | None,
    source: Source | None,
    mappings: Mapping[str, LeadMapping],
    *,
    reveal: bool,
) -> Detail:
    """Assemble the detail of a submission, masked unless `reveal`.

    `source` is its source in the current source file, None if that no longer has it.
    """
    record = history.record
    summary = structs.asdict(
        build_item(
            record, mappings, reveal=reveal, quarantined_for=quarantine_reason(history.timeline)
        )
    ) | {"cause": cause}
    original = find_original_lead(record, source)
    return Detail(
        **summary,
        lead=masking.mask_lead(record.lead, reveal=reveal) if record.lead else None,
        came_in=masking.mask_lead(original, reveal=reveal) if original else None,
        raw=_build_raw_request(record.raw, source, reveal=reveal) if record.raw else None,
        deliveries=_build_delivery_steps(history.attempts, reveal=reveal),
        timeline=[_build_timeline_entry(each, reveal=reveal) for each in history.timeline],
        attribution=explain_attribution(record, mappings.get(record.source)),
        person_id=record.person_id,
        organization_id=record.organization_id,
        lead_id=record.lead_id,
        note_id=record.note_id,
        revealed=reveal,
        duplicate_of=record.duplicate_of,
        edited_by=record.edited_by,
        sealed=record.unreadable,
    )


def find_original_lead(record: Record, source: Source | None) -> Lead | None:
    """The lead before somebody edited it: the raw bytes read under the current source file."""
    raw = record.raw
    if not record.edited_by or raw is None or source is None:
        return None
    request = InboundRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)
    leads = [
        event.lead for event in normalize(source, request, record.received_at).events if event.lead
    ]
    event_id = record.lead.event_id if record.lead else None
    matches = [lead for lead in leads if event_id and lead.event_id == event_id]
    return matches[0] if matches else leads[0] if len(leads) == 1 else None


def _build_raw_request(raw: Raw, source: Source | None, *, reveal: bool) -> RawRequest:
    scheme = source.verification.scheme if source and source.verification.scheme != "none" else None
    if reveal:
        body = base64.b64encode(raw.body).decode()
        return RawRequest(
            raw.content_type, raw.headers, body, raw.method, raw.query, len(raw.body), scheme
        )
    return RawRequest(
        masking.mask_content_type(raw.content_type), masking.mask_headers(raw.headers), "",
        raw.method, masking.HIDDEN if raw.query else "",
        len(raw.body), scheme, withheld=True,
    )  # fmt: skip


def _build_delivery_steps(attempts: Sequence[Attempt], *, reveal: bool) -> list[DeliveryStep]:
    return [
        DeliveryStep(
            format_iso(each.at) or "",
            each.step,
            each.outcome,
            each.status,
            _mask_text(each.detail, reveal=reveal),
            each.duration_ms,
        )
        for each in attempts
    ]


def _build_timeline_entry(moment: Moment, *, reveal: bool) -> TimelineEntry:
    return TimelineEntry(
        format_iso(moment.at) or "", moment.state, moment.by, _mask_text(moment.why, reveal=reveal)
    )


def _mask_text(text: str | None, *, reveal: bool) -> str | None:
    return text if text is None or reveal else masking.mask_text(text)
