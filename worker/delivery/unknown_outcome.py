"""Creates with an unknown outcome: let them settle, then adopt what they made or try again.

Pipedrive has no idempotency key, so a create whose response was lost cannot be repeated blindly. It
may still be committing after its connection broke, so it has to settle first. We then look in lists
only, because the search index lags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from worker.contract import Result
from worker.delivery.context import DeliveryRun
from worker.delivery.duplicates import schedule_duplicate_check
from worker.delivery.refused import PERSON
from worker.errors import Absent, Forbidden, Gone, Invalid, Settling
from worker.fate import Policy, wait_after
from worker.lead.note import has_marker_of
from worker.ledger.contact_cache import normalize_name
from worker.ledger.identifiers import is_one_of, person_identities
from worker.pipedrive.models import PipedriveFile, PipedriveLead, contact_texts, parse_timestamp

# Fields of a record, as a lookup returns them; empty if it found nothing.
Facts = dict[str, str | int | None]

# Pipedrive's clock may be this far behind ours when we look through the newest persons.
CLOCK_SKEW_SECONDS = 300.0

# Before the id of a deal that is recorded in place of a lead.
DEAL_PREFIX = "deal:"

# What a note or a file is added to: one field of `NOTE_TARGETS`, with an id.
NoteTarget = dict[str, int | str]
NOTE_TARGETS = {
    "lead_id": "lead",
    "deal_id": "deal",
    "person_id": "person",
    "org_id": "organisation",
}


def settle_announced_create(run: DeliveryRun, policy: Policy) -> None:
    """Settle an announced create: adopt what it made, or let the step try again.

    Raises `Settling` while it is too early to look, and `Absent` if it made nothing and may not be
    repeated yet, or ever. It then stays announced, so that we look again right before it is
    repeated.
    """
    step, announced_at = run.record.announced, run.record.announced_at
    if step is None or announced_at is None:
        return
    # Use the clock that wrote the announcement: a worker's own may be an hour ahead.
    now, since = run.ledger.now(), max(announced_at, run.lease.store.clock_jump_at)
    if now < since + policy.settle_seconds:
        raise Settling(step, since + policy.settle_seconds)
    facts = FINDERS[step](run, announced_at)
    run.record_attempt(f"look for the {step}", "adopted" if facts else "absent")
    if not facts:
        wait = wait_after(policy, run.record.attempts)
        if wait is None or now < announced_at + wait:
            if step == "person":
                # The person's other submissions go on from here and may create the person that this
                # create still commits.
                schedule_duplicate_check(run.ledger.redis, run.record.id, step, now)
            raise Absent(step, announced_at)
        schedule_duplicate_check(run.ledger.redis, run.record.id, step, now)
    if step == "lead" and run.record.edited_by is not None:
        # We looked where it was sent; the edited lead may name somebody else.
        facts |= {"person_id": None, "person_created": None, "organization_id": None}
    # Take over the announcement first, so that a late answer to the old create is not taken for one
    # to the new create.
    run.leases.announce(run.lease, step)
    run.record_facts(step, **facts)


def _find_organization(run: DeliveryRun, announced_at: float) -> Facts:
    name = normalize_name(run.plan.organization or "")
    for organization in run.pipedrive.organizations.list_newest(
        since=announced_at - CLOCK_SKEW_SECONDS
    ):
        if normalize_name(organization.name or "") == name:
            return {"organization_id": organization.id}
    return {}


def _find_person(run: DeliveryRun, announced_at: float) -> Facts:
    """Find the person among the newest: by what identifies them first, else by name."""
    planned = run.plan.person
    identity = next(iter(run.identities or person_identities(run.lead)), None)
    for person in run.pipedrive.persons.list_newest(since=announced_at - CLOCK_SKEW_SECONDS):
        if (
            is_one_of(identity, contact_texts(person, identity[0]))
            if identity
            else planned is not None and person.name == planned.name
        ):
            return {"person_id": person.id, "person_created": 1}
    return {}


def _find_lead(run: DeliveryRun, _: float) -> Facts:
    """Find the lead by `origin_id` among the person's (else the organisation's) leads and deals.

    It looks through open and archived leads and the deals they were converted to. Every origin_id
    contains the submission's id, and only that is compared, because the template may have changed
    since the create.
    """
    for lead in leads_of(run):
        if run.record.id in (lead.origin_id or ""):
            return {"lead_id": lead.id, "result": Result.CREATED}
    return find_deal(run)


def leads_of(run: DeliveryRun) -> Iterator[PipedriveLead]:
    """Yield the person's leads, else the organisation's, the archived ones last.

    The archived leads are requested only when they are reached. There are none while both are being
    resolved afresh.
    """
    if run.person_id is None and run.organization_id is None:
        return iter(())
    target: dict[str, Any] = _owner_filter(run, "organization_id")
    return chain(
        run.pipedrive.leads.list_all(**target), run.pipedrive.leads.list_all_archived(**target)
    )


def find_deal(run: DeliveryRun) -> Facts:
    """Return the lead of this submission if it was converted to a deal."""
    if run.person_id is None and run.organization_id is None:
        return {}
    for deal in run.pipedrive.deals.list_all(**_owner_filter(run, "org_id")):
        if run.record.id in (deal.origin_id or ""):
            lead_id = deal.source_lead_id or f"{DEAL_PREFIX}{deal.id}"
            return {"lead_id": lead_id, "result": Result.CREATED}
    return {}


def note_targets(run: DeliveryRun, lead_id: str) -> Iterator[NoteTarget]:
    """Yield what note and files may be added to: the lead, else its deal, person, organisation.

    The deal is looked up only when it is reached, which costs 10 tokens.
    """
    deal_id = _deal_in(lead_id)
    if deal_id is None:
        yield {"lead_id": lead_id}
        deal_id = _find_deal_of(run, lead_id)
    if deal_id is not None:
        yield {"deal_id": deal_id}
    if run.person_id is not None:
        yield {"person_id": run.person_id}
    if run.organization_id is not None:
        yield {"org_id": run.organization_id}


def _deal_in(lead_id: str) -> int | None:
    """Return the id of the deal that is recorded in place of the lead that it was."""
    return int(lead_id.removeprefix(DEAL_PREFIX)) if lead_id.startswith(DEAL_PREFIX) else None


def _find_deal_of(run: DeliveryRun, lead_id: str) -> int | None:
    """Return the deal that a lead was converted to: it names the lead, or has our `origin_id`."""
    try:
        for deal in run.pipedrive.deals.list_all(**_owner_filter(run, "org_id")):
            if deal.is_deleted:
                continue
            if deal.source_lead_id == lead_id or run.record.id in (deal.origin_id or ""):
                return deal.id
    except (Gone, Invalid, Forbidden):
        pass  # the person or organisation is gone as well, or deals are none of ours to read
    return None


def _owner_filter(run: DeliveryRun, organization: str) -> dict[str, Any]:
    return (
        {"person_id": run.person_id}
        if run.person_id is not None
        else {organization: run.organization_id}
    )


def adopt_moved_lead(run: DeliveryRun) -> None:
    """Adopt the lead of an earlier attempt that moved when its person was merged.

    That attempt looked for it where it had sent it. Runs right before the lead, only after a person
    was refused and an attempt has failed.
    """
    moved = PERSON in run.refused and run.record.attempts and PERSON not in run.created_steps
    if run.lead_id is not None or not moved:
        return
    facts = _find_lead(run, 0.0)
    run.record_attempt("look for the lead", "adopted" if facts else "absent")
    run.record_facts("", **facts)


def _find_note(run: DeliveryRun, _: float) -> Facts:
    return _find_note_of(run, run.lead_id) if run.lead_id is not None else {}


def _find_note_of(run: DeliveryRun, lead_id: str) -> Facts:
    """Return the note of this submission, wherever it went if its lead was converted or deleted."""
    for target in note_targets(run, lead_id):
        note = find_note_on(run, **target)
        if note or ("lead_id" in target and _is_lead_there(run, lead_id)):
            return note
    return {}


def _is_lead_there(run: DeliveryRun, lead_id: str) -> bool:
    try:
        return not run.pipedrive.leads.get(lead_id).is_deleted
    except (Gone, Invalid):
        run.record_attempt("look for the note", "moved", "its lead was converted or deleted")
        return False


def find_note_on(run: DeliveryRun, **target: Any) -> Facts:
    """Return the note of this submission on a target of `note_targets`; nothing if that is gone."""
    try:
        for note in run.pipedrive.notes.list_all(**target):
            if has_marker_of(note.content or "", run.record.id):
                return {"note_id": note.id}
    except (Gone, Invalid):
        pass
    return {}


def _find_file(run: DeliveryRun, announced_at: float) -> Facts:
    """Find the file among the newest by its name, wherever it went if its lead is gone.

    A file is compared with what it was added to, not with whom that belongs to.
    """
    if run.lead_id is None or run.files_done >= len(run.uploads):
        return {}
    name = run.uploads[run.files_done].name
    places = [
        _place_of(file)
        for file in run.pipedrive.files.list_newest()
        if file.name == name and parse_timestamp(file.add_time) >= announced_at - CLOCK_SKEW_SECONDS
    ]
    if places and any(target in places for target in note_targets(run, run.lead_id)):
        return {"files_done": run.files_done + 1}
    return {}


def _place_of(file: PipedriveFile) -> NoteTarget:
    ids = {field: getattr(file, field) for field in NOTE_TARGETS}
    return dict([(field, value) for field, value in ids.items() if value is not None][:1])


# How to look for each create, by the step that was announced.
FINDERS: dict[str, Callable[[DeliveryRun, float], Facts]] = {
    "organization": _find_organization,
    "person": _find_person,
    "lead": _find_lead,
    "note": _find_note,
    "file": _find_file,
}


# Deliveries that Redis may have forgotten: it went back in time (`worker.ledger.rollback`), and the
# submission is older than that.
#
# As after a create with unknown outcome, we look before we create anything: for person and
# organisation by search and among the newest, for the lead by `origin_id` among the person's leads
# and deals, for the note on that lead or on any lead that may have been labelled. We look only
# once; the record says that it was done.

# For this long around `restored_at` we also look among the newest persons, because the search index
# may not know them yet.
SEARCH_LAG_SECONDS = 900.0

# We look for the note on this many of a person's newest leads.
MAX_LEADS_SEARCHED = 10


def find_among_newest(run: DeliveryRun, step: str) -> int | None:
    """Return the id of a person or organisation that the search missed, from the newest ones.

    `step` is `person` or `organization`.
    """
    if run.lookup_before is None:
        return None
    since = run.record.received_at
    if step == "organization" or run.identities:
        if run.clock() > run.lookup_before + SEARCH_LAG_SECONDS:
            return None
        since = max(since, run.lookup_before - SEARCH_LAG_SECONDS)
    found_id = FINDERS[step](run, since).get(f"{step}_id")
    return int(found_id) if found_id is not None else None


def adopt_lost_work(run: DeliveryRun) -> None:
    """Adopt what this submission created before Redis was set back; runs right before the lead."""
    if run.lookup_before is None:
        return
    facts = {} if _was_just_created(run) else _find_lost_work(run)
    run.record_attempt("look for what was lost", "adopted" if facts else "absent")
    run.record_facts("", looked_up_for=run.lease.store.restored_at, **facts)


def _was_just_created(run: DeliveryRun) -> bool:
    """Return whether the person or organisation is new, and so has no leads."""
    return ("person" if run.person_id is not None else "organization") in run.created_steps


def _find_lost_work(run: DeliveryRun) -> Facts:
    other_leads: list[PipedriveLead] = []
    facts: Facts = {}
    if run.lead_id is None:
        facts = _find_created_lead(run, other_leads)
    lead_id, result = facts.get("lead_id", run.lead_id), facts.get("result", run.result)
    if lead_id is None:
        return (
            _find_labelled_lead(run, other_leads)
            if run.plan.existing == "label" and run.plan.note_existing_html is not None
            else {}
        )
    content = run.plan.note_for(str(result) if result else None)
    if run.note_id is None and content is not None:
        facts |= _find_note_of(run, str(lead_id))
    return facts


def _find_created_lead(run: DeliveryRun, other_leads: list[PipedriveLead]) -> Facts:
    """Find the lead that this submission created; collect the others in `other_leads`."""
    for lead in leads_of(run):
        if run.record.id in (lead.origin_id or ""):
            return {"lead_id": lead.id, "result": Result.CREATED}
        other_leads.append(lead)
    return find_deal(run)


def _find_labelled_lead(run: DeliveryRun, leads: list[PipedriveLead]) -> Facts:
    for lead in _newest_first(leads):
        note = find_note_on(run, lead_id=lead.id)
        if note:
            return {"lead_id": lead.id, "result": Result.LABELLED} | note
    return {}


def _newest_first(leads: list[PipedriveLead]) -> Iterator[PipedriveLead]:
    yield from sorted(leads, key=lambda lead: parse_timestamp(lead.add_time), reverse=True)[
        :MAX_LEADS_SEARCHED
    ]
