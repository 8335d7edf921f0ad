"""How a stored submission is read: its raw bytes under the source file as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from service.ops import masking
from service.sources.fields.explanation import EMPTY, WITHHELD
from service.sources.normalize import normalize
from service.sources.request import FieldReading, InboundRequest, Outcome, SourceEvent
from service.sources.schema import Source
from worker.contract import Lead
from worker.ledger import Record

# Why a lead has no request: several events share one, and it goes with the first person erased.
REQUEST_ERASED = (
    "The request is erased: it also held somebody else, who asked for that. What was read of this"
    " event is kept."
)

# Fields that are shown.
MAX_READINGS = 300


class StoredReading(Struct, frozen=True, kw_only=True):
    """How each field was read, masked unless revealed; `cut` more are not shown.

    `note` says why there are none, or what is missing. `guessed` says what of the body had to be
    guessed.
    """

    fields: list[FieldReading] = field(default_factory=list)
    cut: int = 0
    note: str | None = None
    guessed: str | None = None


def read_stored(record: Record, source: Source | None, *, reveal: bool) -> StoredReading:
    """Reads a submission again. Its signature is not checked again, and nothing is changed."""
    raw = record.raw
    if raw is None:
        return StoredReading(note=why_no_request(record))
    if source is None:
        return StoredReading(note="This source is no longer in the source file.")
    request = InboundRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)
    result = normalize(source, request, record.received_at, explain=True)
    if result.outcome is Outcome.UNREADABLE:
        detail = result.detail or "The body cannot be read."
        return StoredReading(note=detail if reveal else masking.mask_text(detail))
    event = _find_own_event(result.events, record.lead)
    if event is None:
        note = "The request holds several events, and which of them this is cannot be told."
        return StoredReading(note=note, guessed=result.guessed)
    # The name of an empty field may be anything that was sent, and is no label of an answer.
    readings = [each for each in event.explanation if reveal or each.became != EMPTY]
    fields = readings[:MAX_READINGS]
    return StoredReading(
        fields=fields if reveal else [mask_reading(each, event.lead) for each in fields],
        cut=len(readings) - len(fields),
        note=(
            "This event holds ids only: the record that was fetched for it is not stored."
            if event.outcome is Outcome.NEEDS_FETCH
            else None
        ),
        guessed=result.guessed,
    )


def why_no_request(record: Record) -> str:
    """Why the request of this submission is not stored any more."""
    if record.lead is not None:
        return REQUEST_ERASED
    return "The request is no longer stored."


def _find_own_event(events: Sequence[SourceEvent], lead: Lead | None) -> SourceEvent | None:
    """The event of a stored lead among those of its request: by its id, else by what it says."""
    if len(events) <= 1 or lead is None:
        return events[0] if len(events) == 1 else None
    by_id = [
        event
        for event in events
        if event.lead and event.lead.event_id and event.lead.event_id == lead.event_id
    ]
    same = by_id if len(by_id) == 1 else [event for event in events if event.lead == lead]
    return same[0] if same else None


def mask_reading(reading: FieldReading, lead: Lead | None) -> FieldReading:
    """A reading for whoever may not see personal data: of values only what the masked lead shows.

    Names of fields stay, as the labels of answers do.
    """
    masked = masking.mask_lead(lead, reveal=False) if lead else {}
    return msgspec.structs.replace(
        reading,
        field=masking.mask_text(reading.field),
        value=_masked_value(masked, reading.became),
        why=masking.mask_text(reading.why),
        others=tuple(
            msgspec.structs.replace(other, lost=masking.mask_text(other.lost))
            for other in reading.others
        ),
    )


def _masked_value(masked: dict[str, Any], became: str) -> str:
    """The value of a field in a masked lead; `…` for anything that it does not have."""
    outer, _, inner = became.replace("utm_", "utm.", 1).partition(".")
    value = masked.get(outer)
    if inner:
        value = value.get(inner) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict | list):
        return WITHHELD
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
