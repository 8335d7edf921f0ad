"""One submission whole: what came in, what went out, what became of it and why."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, structs

from service.ops import masks
from service.ops.answers import CauseCard, Delivery, Detail, RawRequest, TimelineEntry
from service.ops.attribution import attribution
from service.ops.items import held_as, item
from service.sources.config import Source
from service.sources.judge import interpret
from service.sources.reading import Request
from service.times import iso
from worker import keys
from worker.contract import Attempt, Lead, Moment, Raw
from worker.ledger import Ledger, Record
from worker.ledger.record import decode
from worker.store import asking
from worker.writing import SourceWriting

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
"""What may be an id: nothing that makes another key of the record's."""


class Found(Struct, frozen=True):
    """All that is stored of one submission, read at one moment."""

    record: Record
    attempts: list[Attempt]
    timeline: list[Moment]


def find(ledger: Ledger, submission_id: str) -> Found | None:
    """None where there is none. Raises `StoreUnavailable`."""
    if not _ID.fullmatch(submission_id):
        return None
    with asking(), ledger.redis.pipeline(transaction=True) as pipe:
        pipe.hgetall(keys.submission(submission_id))
        pipe.lrange(keys.attempts(submission_id), 0, -1)
        pipe.lrange(keys.timeline(submission_id), 0, -1)
        fields, attempts, timeline = pipe.execute()
    if b"state" not in fields:
        return None
    return Found(
        decode(submission_id, fields, ledger.vault),
        [msgspec.json.decode(each, type=Attempt) for each in attempts],
        [msgspec.json.decode(each, type=Moment) for each in timeline],
    )


def detail(
    found: Found, cause: CauseCard | None, source: Source | None, writings: Mapping[str, SourceWriting], *, reveal: bool
) -> Detail:
    """Masked unless `reveal`. `source` is that of the source file as it is now, if it still has it."""
    record = found.record
    summary = structs.asdict(item(record, writings, reveal=reveal, held=held_as(found.timeline))) | {"cause": cause}
    first = came_in(record, source)
    return Detail(
        **summary,
        lead=masks.lead(record.lead, reveal=reveal) if record.lead else None,
        came_in=masks.lead(first, reveal=reveal) if first else None,
        raw=_raw(record.raw, source, reveal=reveal) if record.raw else None,
        deliveries=_deliveries(found.attempts, reveal=reveal),
        timeline=[_moment(each, reveal=reveal) for each in found.timeline],
        attribution=attribution(record, writings.get(record.source)),
        person_id=record.person_id,
        organization_id=record.organization_id,
        lead_id=record.lead_id,
        note_id=record.note_id,
        revealed=reveal,
        duplicate_of=record.duplicate_of,
        edited_by=record.edited_by,
        sealed=record.sealed,
    )


def came_in(record: Record, source: Source | None) -> Lead | None:
    """For a lead that somebody edited: what the raw bytes read to, by the source file as it is now."""
    raw = record.raw
    if not record.edited_by or raw is None or source is None:
        return None
    request = Request(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)
    leads = [event.lead for event in interpret(source, request, record.received_at).events if event.lead]
    own = record.lead.event_id if record.lead else None
    same = [lead for lead in leads if own and lead.event_id == own]
    return same[0] if same else leads[0] if len(leads) == 1 else None


def _raw(raw: Raw, source: Source | None, *, reveal: bool) -> RawRequest:
    checked = source.check.scheme if source and source.check.scheme != "none" else None
    if reveal:
        body = base64.b64encode(raw.body).decode()
        return RawRequest(raw.content_type, raw.headers, body, raw.method, raw.query, len(raw.body), checked)
    return RawRequest(
        masks.content_type(raw.content_type), masks.headers(raw.headers), "", raw.method, masks.HIDDEN if raw.query else "",
        len(raw.body), checked, withheld=True,
    )  # fmt: skip


def _deliveries(attempts: Sequence[Attempt], *, reveal: bool) -> list[Delivery]:
    return [
        Delivery(iso(each.at) or "", each.step, each.outcome, each.status, _said(each.detail, reveal=reveal), each.duration_ms)
        for each in attempts
    ]


def _moment(moment: Moment, *, reveal: bool) -> TimelineEntry:
    return TimelineEntry(iso(moment.at) or "", moment.state, moment.by, _said(moment.why, reveal=reveal))


def _said(text: str | None, *, reveal: bool) -> str | None:
    return text if text is None or reveal else masks.sentence(text)
