"""The steps of a delivery: organisation, person, lead or label, note. Each looks whether it is
done, does it, records it.
"""

from __future__ import annotations

from msgspec import structs

from worker.contract import Result
from worker.delivery import unknown_outcome
from worker.delivery.context import DeliveryRun
from worker.delivery.resolve import ResolvedNames
from worker.errors import Gone
from worker.ledger.contact_cache import CachedPerson, normalize_name
from worker.pipedrive.models import PersonHit, PipedriveLead, parse_timestamp
from worker.pipedrive.request_bodies import (
    lead_body,
    lead_patch,
    note_body,
    organization_body,
    organization_search,
    person_body,
    person_search,
)


def resolve_organization(run: DeliveryRun, resolved: ResolvedNames) -> None:
    """By our memory, else by an exact search that we compare again, else created."""
    name = run.plan.organization
    if name is None or run.organization_id is not None:
        return
    known = run.contacts.organization(name)
    if known is None:
        hits = run.pipedrive.organizations.search(**organization_search(name))
        same = [hit.id for hit in hits if normalize_name(hit.name or "") == normalize_name(name)]
        known = min(same) if same else unknown_outcome.find_among_newest(run, "organization")
    if known is None:
        body = organization_body(name, owner_id=resolved.owner_id)
        known = run.create("organization", lambda: run.pipedrive.organizations.add(body)).id
        run.record_facts("organization", organization_id=known)
    else:
        run.record_facts("", organization_id=known)
    run.contacts.remember_organization(name, known)


def resolve_person(run: DeliveryRun, resolved: ResolvedNames) -> CachedPerson | None:
    """By our memory, else by an exact search that we compare again, else created. None for a lead
    without a person.

    Several persons with the e-mail: the oldest is taken, and the attempt says so.
    """
    if run.plan.person is None:
        return None
    known = _remembered_person(run)
    if run.person_id is not None:
        if known is None or known.person_id != run.person_id:
            known = _remember(
                run, run.person_id, created=run.person_created and run.lookup_before is None
            )
        return known
    if known is not None:
        run.record_facts("", person_id=known.person_id)
        return known
    found = _search_person(run) or unknown_outcome.find_among_newest(run, "person")
    if found is not None:
        run.record_facts("", person_id=found)
        return _remember(run, found, created=False)
    body = person_body(
        run.plan.person,
        organization_id=run.organization_id,
        owner_id=resolved.owner_id,
        custom=resolved.person_custom,
    )
    made = run.create("person", lambda: run.pipedrive.persons.add(body)).id
    run.record_facts("person", person_id=made, person_created=1)
    return _remember(run, made, created=True)


def _remembered_person(run: DeliveryRun) -> CachedPerson | None:
    """Our memory of the person. Written before Redis was set back it does not know all of the
    person's leads.
    """
    known = run.contacts.person(*run.identity) if run.identity else None
    return (
        structs.replace(known, created=False)
        if known and known.restored_at != run.lease.store.restored_at
        else known
    )


def _remember(run: DeliveryRun, person_id: int, *, created: bool) -> CachedPerson:
    if run.identity:
        run.contacts.remember_person(
            *run.identity, person_id, created=created, restored_at=run.lease.store.restored_at
        )
    return CachedPerson(person_id=person_id, created=created)


def _search_person(run: DeliveryRun) -> int | None:
    """The id of the person with this e-mail (else phone). Exact match is not always exact, so hits
    are compared again.
    """
    query = person_search(run.plan.person) if run.plan.person else None
    if run.identity is None or query is None:
        return None
    kind, value = run.identity
    hits = run.pipedrive.persons.search(**query)
    same = sorted(hit.id for hit in hits if value in _normalized_values(hit, kind))
    if len(same) > 1:
        run.record_attempt(
            "person", "several", f"{len(same)} persons have this {kind}; took the oldest, {same[0]}"
        )
    return same[0] if same else None


def _normalized_values(hit: PersonHit, kind: str) -> set[str]:
    """What a hit is known by, normalised as `worker.delivery.context.identity` does."""
    if kind == "email":
        return {email.casefold() for email in hit.emails}
    return {
        "".join(sign for sign in phone if sign.isdigit() or sign == "+") for phone in hit.phones
    }


def create_or_label_lead(
    run: DeliveryRun, known: CachedPerson | None, resolved: ResolvedNames
) -> None:
    """Labels the person's open lead where the source asks for it and there is one, else creates the
    lead.
    """
    if run.lead_id is not None:
        _remember_earlier(run, known, run.lead_id)
        return
    if run.plan.existing == "label" and known is not None:
        found = _find_open_lead(run, known)
        if found is not None:
            _label_lead(run, found, resolved)
            return
    _create_lead(run, resolved)


def _remember_earlier(run: DeliveryRun, known: CachedPerson | None, lead_id: str) -> None:
    """A lead that was adopted, or made by a worker that died, is what the person's next submission
    labels.
    """
    if run.identity and known is not None and known.lead_id is None:
        run.contacts.remember_lead(*run.identity, lead_id, run.record.received_at)


def _find_open_lead(run: DeliveryRun, known: CachedPerson) -> PipedriveLead | None:
    """The lead to label: the remembered one, else (for a person we did not create) the newest of
    its open leads.
    """
    after = run.plan.existing_since
    if known.lead_id is not None and run.identity is not None:
        try:
            lead = run.pipedrive.leads.get(known.lead_id)
        except Gone:
            lead = None
        if lead is not None and not lead.is_archived:
            return lead if parse_timestamp(lead.add_time) >= after else None
        run.contacts.forget_lead(*run.identity)
    if known.created:
        return None
    leads = [
        lead
        for lead in run.pipedrive.leads.list_all_of_person(known.person_id)
        if not lead.is_archived
    ]
    newest = max(leads, key=lambda lead: parse_timestamp(lead.add_time), default=None)
    return newest if newest is not None and parse_timestamp(newest.add_time) >= after else None


def _label_lead(run: DeliveryRun, lead: PipedriveLead, resolved: ResolvedNames) -> None:
    """Extends the labels (Pipedrive replaces the list, so it is read first) and fills empty channel
    fields.

    Harmless to repeat, so not announced.
    """
    changes = lead_patch(
        run.plan, lead=structs.asdict(lead), label_ids=resolved.label_ids, channel=resolved.channel
    )
    if changes:
        run.pipedrive.leads.update(lead.id, changes)
    run.record_facts("", lead_id=lead.id, result=Result.LABELLED)
    if run.identity:
        run.contacts.remember_lead(*run.identity, lead.id, parse_timestamp(lead.add_time))


def _create_lead(run: DeliveryRun, resolved: ResolvedNames) -> None:
    body = lead_body(
        run.plan,
        person_id=run.person_id,
        organization_id=run.organization_id,
        label_ids=resolved.label_ids,
        channel=resolved.channel,
        owner_id=resolved.owner_id,
        custom=resolved.custom,
    )
    made = run.create("lead", lambda: run.pipedrive.leads.add(body)).id
    run.record_facts("lead", lead_id=made, result=Result.CREATED)
    if run.identity:
        run.contacts.remember_lead(*run.identity, made, run.clock())


def add_note(run: DeliveryRun) -> None:
    """One note per submission, on the lead.

    A lead of this submission that is gone by now was converted or deleted by a person: making it
    again would be a second one.
    """
    content = run.plan.note_existing_html if run.result == Result.LABELLED else run.plan.note_html
    if content is None or run.note_id is not None or run.lead_id is None:
        return
    body = note_body(content, lead_id=run.lead_id)
    try:
        made = run.create("note", lambda: run.pipedrive.notes.add(body)).id
    except Gone:
        if run.result != Result.CREATED:
            raise
        run.record_attempt("note", "left out", "the lead was converted or deleted meanwhile")
    else:
        run.record_facts("note", note_id=made)
