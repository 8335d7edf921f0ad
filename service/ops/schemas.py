"""What operators see: the answers of `/ops/api`, from which the console's pages are built too.

Times are ISO 8601 in UTC. What a viewer may not see is masked before it gets into one of these.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from service.attribution import CampaignItem
from service.overview import Overview
from worker.contract import State

__all__ = [
    "AuditRow", "BulkStatus", "CampaignReport", "CauseCard", "DeliveryStep", "Detail", "Item",
    "Overview", "Page", "RawRequest", "Summary", "TimelineEntry",
]  # fmt: skip

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """One page of a list.

    `next` is the cursor of the next page, None at the end; `total` counts all that match.
    """

    items: list[T]
    next: str | None
    total: int


class CampaignReport(Struct, frozen=True):
    """Where leads come from and what became of them, the largest first.

    `outcomes_at` is when Pipedrive was last read and `outcomes_tokens` what that cost; None before
    the first time.
    """

    items: list[CampaignItem]
    next: None
    total: int
    outcomes_at: str | None
    outcomes_tokens: int | None


class CauseCard(Struct, frozen=True):
    """Dead letters with the same cause.

    `id` is stable over restarts: it is made of step, code, field and setting. `ignored` is true
    until another lead fails for it. `trend` counts its dead letters over the last 24 hours, an hour
    each, the current one last. `setting` is the TOML key or the Pipedrive setting to change.
    `detail` is that of the latest dead letter.
    """

    id: str
    title: str
    hint: str | None
    step: str
    code: str
    field: str | None
    count: int
    sources: list[str]
    first_seen: str
    last_seen: str
    ignored: bool
    setting: str | None = None
    trend: list[int] = msgspec.field(default_factory=list)
    detail: str | None = None


class Summary(Struct, frozen=True, kw_only=True):
    """The fields that list and detail share.

    `who` is the name (or e-mail, phone) and the company, masked unless revealed. `channel` is the
    one that its rule or source sets. `cause_title` says in plain words why it died, waits or is in
    quarantine.
    """

    id: str
    source: str
    state: State
    result: str | None
    who: str
    campaign: str | None
    attempts: int
    received_at: str
    updated_at: str
    next_at: str | None
    channel: str | None = None
    cause_title: str | None = None


class Item(Summary, frozen=True, kw_only=True):
    """One submission in a list.

    `cause` is the id of a `CauseCard`. Only dead letters have one, so that the list of a cause is
    as long as its card counts.
    """

    cause: str | None


class RawRequest(Struct, frozen=True):
    """The request as it came; None in `Detail.raw` once its content is erased.

    `withheld`: the body is left out, the query and the values of most headers are masked. `size` is
    that of the body in bytes. `checked` is the scheme that verifies the source's requests.
    """

    content_type: str
    headers: list[tuple[str, str]]
    body_base64: str
    method: str = "POST"
    query: str = ""
    size: int = 0
    checked: str | None = None
    withheld: bool = False


class DeliveryStep(Struct, frozen=True):
    """One call or decision of one delivery."""

    at: str
    step: str
    outcome: str
    status: int | None
    detail: str | None
    duration_ms: int | None


class TimelineEntry(Struct, frozen=True):
    at: str
    state: State
    by: str
    why: str | None


class Detail(Summary, frozen=True, kw_only=True):
    """Everything about one submission; `cause` is the cause itself.

    `lead` is the canonical lead, `came_in` the original one where somebody edited it since.
    `attribution` says what set channel, channel_id, labels and UTM. `revealed` is false where
    personal data are masked. `sealed`: the content is encrypted under a key that this process
    lacks.
    """

    cause: CauseCard | None
    lead: dict[str, Any] | None
    came_in: dict[str, Any] | None = None
    raw: RawRequest | None
    deliveries: list[DeliveryStep]
    timeline: list[TimelineEntry]
    attribution: dict[str, Any]
    person_id: int | None
    organization_id: int | None
    lead_id: str | None
    note_id: int | None
    revealed: bool
    duplicate_of: str | None = None
    edited_by: str | None = None
    sealed: bool = False


class BulkStatus(Struct, frozen=True):
    """The progress of a bulk action: `count` = `left` + `delivered` + `dead` + `done` + `skipped`.

    `left` wait for their turn or their outcome, `done` were discarded, `skipped` had changed
    meanwhile or could not be edited. `stopped` says why it stopped, else None; `ended_at` is None
    until the last outcome.
    """

    id: str
    action: str
    count: int
    left: int
    delivered: int
    dead: int
    stopped: str | None
    done: int = 0
    by: str | None = None
    at: str | None = None
    skipped: int = 0
    ended_at: str | None = None


class AuditRow(Struct, frozen=True):
    """An entry of the audit trail; `detail` names no personal data.

    `target` is a submission's id, a bulk action's id, a cause's id or what was paused.
    """

    at: str
    who: str
    action: str
    target: str
    detail: str | None
