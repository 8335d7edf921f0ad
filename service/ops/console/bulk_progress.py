"""The progress of bulk actions, in the corner of every page: outcomes, not what was queued."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlencode

from markupsafe import Markup
from msgspec import Struct

from service.ops.actions import Actions
from service.ops.console import rendering
from service.ops.console.console_request import ConsoleRequest
from service.ops.console.urls import BULK_URL
from service.ops.schemas import BulkStatus
from worker.ledger.bulk import CANARIES

# How long a finished action stays in view for whoever started it, unless it is closed.
FINISHED_SECONDS = 3600

MAX_PANELS = 3

# What an action is doing, and has done.
VERBS = {
    "retry": ("Retrying", "Retried"),
    "accept": ("Accepting", "Accepted"),
    "discard": ("Discarding", "Discarded"),
}
_ID = re.compile(r"[0-9a-f]{1,64}")


class OutcomeCount(Struct, frozen=True):
    """How many ended that way; `kind` is a state or `left`, and becomes a CSS class."""

    kind: str
    count: int
    label: str


class BulkPanel(Struct, frozen=True, kw_only=True):
    """One bulk action as the console shows it."""

    id: str
    title: str
    started_by: str
    started_at: str | None
    bar: Markup
    outcomes: list[OutcomeCount]
    stopped: str | None
    finished: bool
    may_stop: bool
    may_undo: bool
    close_url: str


def recent_bulks(actions: Actions, request: ConsoleRequest, now: float) -> list[BulkPanel]:
    """Those that run, and the user's own that ended lately. Raises `StoreUnavailable`."""
    closed = set(_ID.findall(unquote(request.closed_bulks)))
    bulks = [
        bulk
        for bulk in actions.newest_bulks(MAX_PANELS * 3)
        if bulk.id not in closed and _is_recent(bulk, request, now)
    ]
    return [build_panel(bulk, request) for bulk in bulks[:MAX_PANELS]]


def build_panel(bulk: BulkStatus, request: ConsoleRequest) -> BulkPanel:
    finished = bulk.ended_at is not None
    outcomes = _outcomes(bulk, finished)
    is_operator = request.user.is_operator
    return BulkPanel(
        id=bulk.id,
        title=_title(bulk, finished),
        started_by=f"by {bulk.by}" if bulk.by else "",
        started_at=bulk.at,
        bar=rendering.share_bar(
            [(each.kind, each.count) for each in outcomes],
            ", ".join(f"{each.count} {each.label}" for each in outcomes),
        ),
        outcomes=outcomes,
        stopped=_stopped(bulk),
        finished=finished,
        may_stop=is_operator and not finished and not bulk.stopped,
        may_undo=is_operator and finished and bulk.action == "discard" and bulk.done > 0,
        close_url=f"{BULK_URL}/{bulk.id}/close?{urlencode({'back': request.url})}",
    )


def _outcomes(bulk: BulkStatus, finished: bool) -> list[OutcomeCount]:
    if bulk.action == "discard":
        outcomes = [OutcomeCount("discarded", bulk.done, "discarded")]
    else:
        failed = "failed again" if bulk.action == "retry" else "failed"
        outcomes = [
            OutcomeCount("delivered", bulk.delivered, "delivered"),
            OutcomeCount("dead", bulk.dead, failed),
        ]
    if bulk.left or not finished:
        stopped = bulk.stopped is not None
        outcomes.append(OutcomeCount("left", bulk.left, "left untouched" if stopped else "to go"))
    if bulk.skipped:
        outcomes.append(OutcomeCount("ignored", bulk.skipped, "skipped"))
    return outcomes


def _title(bulk: BulkStatus, finished: bool) -> str:
    """`Retrying 5 leads`, `Retried 5 leads`; for a stopped action `Retried 3 of 6 leads`."""
    verb = VERBS.get(bulk.action, (bulk.action, bulk.action))[finished]
    taken = ""
    if bulk.stopped and bulk.left:
        taken = f"{rendering.number(bulk.count - bulk.left)} of "
    return f"{verb} {taken}{rendering.plural(bulk.count, 'lead')}"


def _stopped(bulk: BulkStatus) -> str | None:
    if bulk.stopped == "canaries failed":
        failed = "failed again" if bulk.action == "retry" else "failed"
        return (
            f"Stopped automatically: the first {CANARIES} {failed}. The others were left untouched."
            " Fix the cause first."
        )
    return f"{bulk.stopped[:1].upper()}{bulk.stopped[1:]}." if bulk.stopped else None


def _is_recent(bulk: BulkStatus, request: ConsoleRequest, now: float) -> bool:
    if bulk.ended_at is None:
        return True
    age = now - rendering.parse_time(bulk.ended_at).timestamp()
    return bulk.by == request.user.name and age < FINISHED_SECONDS
