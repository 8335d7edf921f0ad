"""Deliveries that Redis may have forgotten: it has gone back in time (`worker.tide`), and this came before.

What would be made is looked for first, as after a create with unknown outcome: person and organisation in the search and among
the newest, the lead by `origin_id` among those of the person and its deals, the note on the lead, or on any lead that it may
have labelled. Done once: a record that was looked for says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.contract import Result
from worker.delivery.run import Run
from worker.delivery.settle import LOOK, Facts, deal_of, leads_of, note_on
from worker.pipedrive.models import Lead, timestamp

INDEX_SECONDS = 900.0
"""How long around the horizon people are also looked for among the newest, because the search index may not know them yet."""

LEADS_SEARCHED = 10
"""The newest leads of a person on which a note is looked for: one label gives one note on one lead."""


def newest(run: Run, step: str) -> int | None:
    """The id of the person or organisation (`step`) that the search did not find, from the list of the newest."""
    if run.doubt is None:
        return None
    since = run.record.received_at
    if step == "organization" or run.identity is not None:
        if run.clock() > run.doubt + INDEX_SECONDS:
            return None
        since = max(since, run.doubt - INDEX_SECONDS)
    found = LOOK[step](run, since).get(f"{step}_id")
    return int(found) if found is not None else None


def look(run: Run) -> None:
    """After the person, before the lead: adopts what there is of this submission."""
    if run.doubt is None:
        return
    facts = {} if _new(run) else _found(run)
    run.note_down("look for what was lost", "adopted" if facts else "absent")
    run.learn("", looked=run.horizon, **facts)


def _new(run: Run) -> bool:
    """Who was made a moment ago has no leads."""
    return ("person" if run.person_id is not None else "organization") in run.made


def _found(run: Run) -> Facts:
    seen: list[Lead] = []
    facts: Facts = {}
    if run.lead_id is None:
        facts = _lead(run, seen)
    lead_id, result = facts.get("lead_id", run.lead_id), facts.get("result", run.result)
    if lead_id is None:
        return _labelled(run, seen) if run.plan.existing == "label" and run.plan.note_existing_html is not None else {}
    wanted = run.plan.note_existing_html if result == Result.LABELLED else run.plan.note_html
    if run.note_id is None and wanted is not None:
        facts |= note_on(run, str(lead_id))
    return facts


def _lead(run: Run, seen: list[Lead]) -> Facts:
    """`seen` takes the leads that are not it."""
    for found in leads_of(run):
        if run.record.id in (found.origin_id or ""):
            return {"lead_id": found.id, "result": Result.CREATED}
        seen.append(found)
    return deal_of(run)


def _labelled(run: Run, seen: list[Lead]) -> Facts:
    for lead in _newest_first(seen):
        note = note_on(run, lead.id)
        if note:
            return {"lead_id": lead.id, "result": Result.LABELLED} | note
    return {}


def _newest_first(leads: list[Lead]) -> Iterator[Lead]:
    yield from sorted(leads, key=lambda lead: timestamp(lead.add_time), reverse=True)[:LEADS_SEARCHED]
