"""Records as the rows of a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.ops import masking
from service.ops.filters import FilterError
from service.ops.schemas import AuditRow, Item, Page
from service.ops.search_table import SubmissionRow
from worker.causes import cause_id, title
from worker.contract import Moment, State
from worker.errors import Unmappable
from worker.fate import REASONS
from worker.lead.rules import apply_rules
from worker.lead.settings import LeadMapping
from worker.lead.templates import build_context
from worker.ledger import Ledger, Record
from worker.ledger.audit import AuditTrail
from worker.units import format_iso

# Why a submission waits, besides the reasons of a failed delivery.
WAIT_REASONS = {
    "paused": "delivery is paused",
    "person-queue": "another submission of the same person goes first",
}


def read_items(
    ledger: Ledger,
    ids: Iterable[str],
    mappings: Mapping[str, LeadMapping],
    *,
    reveal: bool = False,
) -> list[Item]:
    """Read these submissions as they are now; those that are gone are left out.

    Raises `StoreUnavailable`.
    """
    records = list(ledger.each_record(ids, raw=False))
    reasons = read_quarantine_reasons(ledger, records)
    return [
        build_item(record, mappings, reveal=reveal, quarantined_for=reasons.get(record.id))
        for record in records
    ]


def read_audit_page(trail: AuditTrail, cursor: str | None, limit: int) -> Page[AuditRow]:
    """Read a page of the audit trail, newest first. Raises `FilterError`, `StoreUnavailable`."""
    try:
        entries, next_cursor, total = trail.read_page(cursor, limit)
    except ValueError as error:
        raise FilterError("cursor", str(error)) from None
    rows = [
        AuditRow(format_iso(entry.at) or "", entry.who, entry.action, entry.target, entry.detail)
        for entry in entries
    ]
    return Page(rows, next_cursor, total)


def read_quarantine_reasons(ledger: Ledger, records: Iterable[Record]) -> dict[str, str]:
    """Why submissions are in quarantine, by id, where a reason was recorded.

    Raises `StoreUnavailable`.
    """
    ids = [record.id for record in records if record.state is State.QUARANTINED]
    if not ids:
        return {}
    reasons = {
        id: quarantine_reason(timeline)
        for id, timeline in zip(ids, ledger.timelines(ids), strict=True)
    }
    return {id: reason for id, reason in reasons.items() if reason}


def quarantine_reason(timeline: Iterable[Moment]) -> str | None:
    """Why a submission was put into quarantine: the first reason in its timeline.

    A later one says why a discard was undone.
    """
    return next(
        (each.why for each in timeline if each.state is State.QUARANTINED and each.why), None
    )


def build_item(
    record: Record,
    mappings: Mapping[str, LeadMapping],
    *,
    reveal: bool = False,
    quarantined_for: str | None = None,
) -> Item:
    """Make a row from a record; `quarantined_for` says why it is in quarantine."""
    return Item(
        id=record.id,
        source=record.source,
        state=record.state,
        result=record.result,
        who=masking.describe_person(record.lead, reveal=reveal),
        campaign=record.lead.utm.campaign if record.lead else None,
        attempts=record.attempts,
        received_at=format_iso(record.received_at) or "",
        updated_at=format_iso(record.updated_at) or "",
        next_at=format_iso(record.next_at),
        channel=find_channel(record, mappings),
        cause_title=explain_state(
            record,
            quarantined_for
            if reveal or quarantined_for is None
            else masking.mask_text(quarantined_for),
        ),
        cause=cause_id(record.cause) if record.state is State.DEAD else None,
    )


def build_item_from_row(row: SubmissionRow, cause_title: str | None) -> Item:
    """Make a row from what the index remembers, while Redis is away."""
    return Item(
        id=row.id,
        source=row.source,
        state=State(row.state),
        result=row.result,
        who=row.who,
        campaign=row.campaign,
        attempts=row.attempts,
        received_at=format_iso(row.received) or "",
        updated_at=format_iso(row.at) or "",
        next_at=format_iso(row.next_at),
        cause_title=cause_title,
        cause=row.cause,
    )


def explain_state(record: Record, quarantined_for: str | None = None) -> str | None:
    """Why a submission died, waits or is in quarantine, in plain words."""
    if record.state is State.QUARANTINED and quarantined_for:
        return f"Held as spam: {quarantined_for}"
    if record.state is State.DEAD:
        return title(record.cause) if record.cause else "No cause was recorded"
    if record.state is not State.WAITING:
        return None
    if record.cause and record.reason in ("retry", "settle"):
        return title(record.cause)
    reason = record.reason or ""
    return WAIT_REASONS.get(reason) or REASONS.get(reason)


def find_channel(record: Record, mappings: Mapping[str, LeadMapping]) -> str | None:
    """The channel under the current source file: the matching rule's, or the source's."""
    mapping = mappings.get(record.source)
    if mapping is None or record.lead is None:
        return None
    if not mapping.rules:
        return mapping.lead.channel
    try:
        context = build_context(record.lead, record.source, record.id, record.received_at)
        return apply_rules(mapping, context)[0].channel
    except Unmappable:
        return mapping.lead.channel
