"""What the operators' windows show, as `/ops/api` answers it: the pages are made from the same
structs.

Times are ISO 8601 UTC. What a viewer may not see is masked before it gets into one of these.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from worker.contract import State
from worker.ledger.overview import Overview

__all__ = [
    "AuditRow", "BulkStatus", "CauseCard", "DeliveryStep", "Detail", "Item", "Overview", "Page",
    "RawRequest", "Summary",
    "TimelineEntry",
]  # fmt: skip

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """One page of a list. `next` is the cursor of the following one, None at the end; `total`
    counts all that match.
    """

    items: list[T]
    next: str | None
    total: int


class CauseCard(Struct, frozen=True):
    """Dead letters that died of the same thing. `id` is stable over restarts: it is made of step,
    code, field and setting.

    `ignored` is true until the cause comes back after it was ignored. `trend` counts its dead
    letters over the last 24 hours, an hour each, the current one last. `setting` is the TOML key or
    the Pipedrive setting to mend. `detail` is what was said of the latest of them.
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
    """What list and detail say alike. `who` is the masked name (or e-mail, phone) and the company.

    `channel` is the one that its rule or source sets. `cause_title` says in plain words what it
    died of, is held or waits for.
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
    """One submission in a list; `cause` is a `CauseCard`'s id, of what is dead alone: its list is
    as long as the card counts.
    """

    cause: str | None


class RawRequest(Struct, frozen=True):
    """The request as it came; None in `Detail.raw` once its content was erased.

    `withheld`: for who may not see personal data the body is empty, the query and the values of
    most headers are masked. `size` counts the body's bytes. `checked` is the scheme by which the
    source's requests prove where they come from.
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
    """One submission whole, with the cause itself.

    `lead` is the canonical lead, `came_in` the one that came in where somebody edited it since.
    `attribution` says which rule set channel, channel_id, labels and the UTM, and what it set.
    `revealed` is false where data are masked. `sealed`: the content is there, and this process
    lacks the key to it.
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
    """How a bulk action goes. `count` = `left` + `delivered` + `dead` + `done` + `skipped`.

    `left` waits for its turn or its outcome; `done` was discarded, `skipped` had moved on or could
    not be edited. `stopped` says why it stopped, else None; `ended_at` is None until the last
    outcome.
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
    """`target` is a submission's id, a bulk's id, a cause's id or what was paused; `detail` names
    no personal data.
    """

    at: str
    who: str
    action: str
    target: str
    detail: str | None
