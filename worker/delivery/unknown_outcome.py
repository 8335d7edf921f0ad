"""Creates with unknown outcome: let them settle, look for what they made, adopt it or let the step
be tried again.

Pipedrive has no idempotency key, so a create whose answer was lost cannot be repeated blindly. It
may also still be committing when its connection breaks, so it settles first. Only list endpoints
are asked: the search index lags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from worker.contract import Result
from worker.delivery.context import DeliveryRun
from worker.delivery.duplicates import schedule_duplicate_check
from worker.errors import Absent, Gone, Settling
from worker.fate import Policy, wait_after
from worker.lead.note import has_marker_of
from worker.ledger.contact_cache import normalize_name
from worker.pipedrive.models import PipedriveLead, parse_timestamp

Facts = dict[str, str | int | None]
"""Fields of a record, as a look brings them; empty where there is nothing."""

CLOCK_SKEW_SECONDS = 300.0
"""How far Pipedrive's clock may be behind ours when the newest persons are looked through."""


def settle_announced_create(run: DeliveryRun, policy: Policy) -> None:
    """Clears up an announced create.

    Raises `Settling` while it is too young to be looked for, and `Absent` when it made nothing and
    may not be repeated yet, or no more: it stays announced, so that it is looked for again right
    before it is repeated.
    """
    step, announced_at = run.record.announced, run.record.announced_at
    if step is None or announced_at is None:
        return
    # By the clock that wrote the announcement: a worker's own may be an hour ahead.
    now, since = run.ledger.now(), max(announced_at, run.lease.store.clock_jump_at)
    if now < since + policy.settle_seconds:
        raise Settling(step, since + policy.settle_seconds)
    facts = FINDERS[step](run, announced_at)
    run.record_attempt(f"look for the {step}", "adopted" if facts else "absent")
    if not facts:
        wait = wait_after(policy, run.record.attempts)
        if wait is None or now < announced_at + wait:
            if step == "person":
                # Others of the person go on from here, and may make the one that this create still
                # commits.
                schedule_duplicate_check(run.ledger.redis, run.record.id, step, now)
            raise Absent(step, announced_at)
        schedule_duplicate_check(run.ledger.redis, run.record.id, step, now)
    if step == "lead" and run.record.edited_by is not None:
        # It was looked for where it was sent; the mended lead may name somebody else.
        facts |= {"person_id": None, "person_created": None, "organization_id": None}
    # The announcement changes hands first, so that a late answer to the old one cannot be taken for
    # the new one's.
    run.leases.announce(run.lease, step)
    run.record_facts(step, **facts)


def _find_organization(run: DeliveryRun, announced_at: float) -> Facts:
    wanted = normalize_name(run.plan.organization or "")
    for found in run.pipedrive.organizations.list_newest(since=announced_at - CLOCK_SKEW_SECONDS):
        if normalize_name(found.name or "") == wanted:
            return {"organization_id": found.id}
    return {}


def _find_person(run: DeliveryRun, announced_at: float) -> Facts:
    """The newest persons by e-mail, else phone, else (a person who gave neither) by name."""
    email, phone, name = (
        run.lead.email,
        run.lead.phone,
        run.plan.person.name if run.plan.person else None,
    )
    for found in run.pipedrive.persons.list_newest(since=announced_at - CLOCK_SKEW_SECONDS):
        emails = {entry.value.casefold() for entry in found.emails}
        phones = {entry.value for entry in found.phones}
        if (
            email.casefold() in emails
            if email
            else phone in phones
            if phone
            else found.name == name
        ):
            return {"person_id": found.id, "person_created": 1}
    return {}


def _find_lead(run: DeliveryRun, _: float) -> Facts:
    """By `origin_id` among the person's (else the organisation's) leads, open and archived, and
    deals it was converted to.

    Every origin_id holds the submission's id, which is compared: its template may have changed
    since the create.
    """
    for found in leads_of(run):
        if run.record.id in (found.origin_id or ""):
            return {"lead_id": found.id, "result": Result.CREATED}
    return find_deal(run)


def leads_of(run: DeliveryRun) -> Iterator[PipedriveLead]:
    """The person's leads, else the organisation's, the archived ones last; each list is asked for
    when it is reached.
    """
    target: dict[str, Any] = _owner_filter(run, "organization_id")
    return chain(
        run.pipedrive.leads.list_all(**target), run.pipedrive.leads.list_all_archived(**target)
    )


def find_deal(run: DeliveryRun) -> Facts:
    """The lead of this submission, if it was converted to a deal."""
    for deal in run.pipedrive.deals.list_all(**_owner_filter(run, "org_id")):
        if run.record.id in (deal.origin_id or ""):
            return {"lead_id": deal.source_lead_id or f"deal:{deal.id}", "result": Result.CREATED}
    return {}


def _owner_filter(run: DeliveryRun, organization: str) -> dict[str, Any]:
    return (
        {"person_id": run.person_id}
        if run.person_id is not None
        else {organization: run.organization_id}
    )


def _find_note(run: DeliveryRun, _: float) -> Facts:
    return find_note_on(run, run.lead_id) if run.lead_id is not None else {}


def find_note_on(run: DeliveryRun, lead_id: str) -> Facts:
    """The note of this submission on a lead; none on a lead that is gone."""
    try:
        for found in run.pipedrive.notes.list_all_of_lead(lead_id):
            if has_marker_of(found.content or "", run.record.id):
                return {"note_id": found.id}
    except Gone:
        run.record_attempt(
            "look for the note", "absent", "its lead was converted or deleted meanwhile"
        )
    return {}


FINDERS: dict[str, Callable[[DeliveryRun, float], Facts]] = {
    "organization": _find_organization,
    "person": _find_person,
    "lead": _find_lead,
    "note": _find_note,
}
"""How each create is looked for; its keys are the names that are announced."""


# Deliveries that Redis may have forgotten: it has gone back in time (`worker.ledger.rollback`), and
# this came before.
#
# What would be made is looked for first, as after a create with unknown outcome: person and
# organisation in the search and among the newest, the lead by `origin_id` among those of the person
# and its deals, the note on the lead, or on any lead that it may have labelled. Done once: a record
# that was looked for says so.

SEARCH_LAG_SECONDS = 900.0
"""How long around `restored_at` people are also looked for among the newest, because the search index
may not know them yet.
"""

MAX_LEADS_SEARCHED = 10
"""The newest leads of a person on which a note is looked for: one label gives one note on one lead.
"""


def find_among_newest(run: DeliveryRun, step: str) -> int | None:
    """The id of the person or organisation (`step`) that the search did not find, from the list of
    the newest.
    """
    if run.lookup_before is None:
        return None
    since = run.record.received_at
    if step == "organization" or run.identity is not None:
        if run.clock() > run.lookup_before + SEARCH_LAG_SECONDS:
            return None
        since = max(since, run.lookup_before - SEARCH_LAG_SECONDS)
    found = FINDERS[step](run, since).get(f"{step}_id")
    return int(found) if found is not None else None


def adopt_lost_work(run: DeliveryRun) -> None:
    """After the person, before the lead: adopts what there is of this submission."""
    if run.lookup_before is None:
        return
    facts = {} if _was_just_created(run) else _find_lost_work(run)
    run.record_attempt("look for what was lost", "adopted" if facts else "absent")
    run.record_facts("", looked_up_for=run.lease.store.restored_at, **facts)


def _was_just_created(run: DeliveryRun) -> bool:
    """Who was made a moment ago has no leads."""
    return ("person" if run.person_id is not None else "organization") in run.created_steps


def _find_lost_work(run: DeliveryRun) -> Facts:
    seen: list[PipedriveLead] = []
    facts: Facts = {}
    if run.lead_id is None:
        facts = _find_created_lead(run, seen)
    lead_id, result = facts.get("lead_id", run.lead_id), facts.get("result", run.result)
    if lead_id is None:
        return (
            _find_labelled_lead(run, seen)
            if run.plan.existing == "label" and run.plan.note_existing_html is not None
            else {}
        )
    wanted = run.plan.note_existing_html if result == Result.LABELLED else run.plan.note_html
    if run.note_id is None and wanted is not None:
        facts |= find_note_on(run, str(lead_id))
    return facts


def _find_created_lead(run: DeliveryRun, seen: list[PipedriveLead]) -> Facts:
    """`seen` takes the leads that are not it."""
    for found in leads_of(run):
        if run.record.id in (found.origin_id or ""):
            return {"lead_id": found.id, "result": Result.CREATED}
        seen.append(found)
    return find_deal(run)


def _find_labelled_lead(run: DeliveryRun, seen: list[PipedriveLead]) -> Facts:
    for lead in _newest_first(seen):
        note = find_note_on(run, lead.id)
        if note:
            return {"lead_id": lead.id, "result": Result.LABELLED} | note
    return {}


def _newest_first(leads: list[PipedriveLead]) -> Iterator[PipedriveLead]:
    yield from sorted(leads, key=lambda lead: parse_timestamp(lead.add_time), reverse=True)[
        :MAX_LEADS_SEARCHED
    ]
