"""How bulk actions go, in the corner of every page: not queued, but delivered, failed again,
left.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlencode

from markupsafe import Markup
from msgspec import Struct

from service.ops.actions import Actions
from service.ops.console import rendering
from service.ops.console.request import Visit
from service.ops.schemas import BulkProgress

FRESH_SECONDS = 3600
"""An action that is over stays in the tray of who began it for so long, or until it is closed."""

MOST = 3
DOING = {
    "retry": ("Retrying", "Retried"),
    "accept": ("Accepting", "Accepted"),
    "discard": ("Discarding", "Discarded"),
}
_ID = re.compile(r"[0-9a-f]{1,64}")


class Run(Struct, frozen=True, kw_only=True):
    """One bulk action. `outcomes` are state, count and words."""

    id: str
    title: str
    by: str
    at: str | None
    bar: Markup
    outcomes: list[tuple[str, int, str]]
    stopped: str | None
    over: bool
    may_stop: bool
    may_undo: bool
    close_href: str


def tray(actions: Actions, seen: Visit, now: float) -> list[Run]:
    """What runs, and what of one's own has ended lately. Raises `StoreUnavailable`."""
    closed = set(_ID.findall(unquote(seen.closed)))
    found = [
        each
        for each in actions.newest_bulks(MOST * 3)
        if _shown(each, seen, now) and each.id not in closed
    ]
    return [run(each, seen) for each in found[:MOST]]


def run(found: BulkProgress, seen: Visit) -> Run:
    over = found.ended_at is not None
    outcomes = [("delivered", found.delivered, "delivered"), ("dead", found.dead, "failed again")]
    if found.action == "discard":
        outcomes = [("discarded", found.done, "discarded")]
    if found.left or not over:
        outcomes.append(("left", found.left, "left as they were" if found.stopped else "left"))
    if found.skipped:
        outcomes.append(("ignored", found.skipped, "skipped"))
    return Run(
        id=found.id,
        title=_title(found, over),
        by=f"by {found.by}" if found.by else "",
        at=found.at,
        bar=rendering.shares(
            [(kind, count) for kind, count, _ in outcomes],
            ", ".join(f"{n} {what}" for _, n, what in outcomes),
        ),
        outcomes=outcomes,
        stopped=_stopped(found),
        over=over,
        may_stop=seen.me.acts and not over and not found.stopped,
        may_undo=seen.me.acts and over and found.action == "discard" and found.done > 0,
        close_href=f"/ops/bulk/{found.id}/close?{urlencode({'back': seen.here})}",
    )


def _title(found: BulkProgress, over: bool) -> str:
    """Of one that was stopped, how many it came to."""
    doing = DOING.get(found.action, (found.action, found.action))[over]
    begun = (
        f"{rendering.number(found.count - found.left)} of " if found.stopped and found.left else ""
    )
    return f"{doing} {begun}{rendering.plural(found.count, 'lead')}"


def _stopped(found: BulkProgress) -> str | None:
    if found.stopped == "canaries failed":
        return (
            "Stopped by itself: the first three failed again. The rest stays as it was; mend the"
            " cause first."
        )
    return f"{found.stopped[:1].upper()}{found.stopped[1:]}." if found.stopped else None


def _shown(found: BulkProgress, seen: Visit, now: float) -> bool:
    if found.ended_at is None:
        return True
    return (
        found.by == seen.me.name
        and now - rendering.read(found.ended_at).timestamp() < FRESH_SECONDS
    )
